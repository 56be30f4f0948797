"""`toedit verify`: every kind of damage to an artifact is named, and nothing else is."""

import errno
import json
import shutil

import pytest
from artifact_fixtures import build_edited

from toedit import verifying
from toedit.command_line import main
from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import hash_file
from toedit.verifying import artifacts_in, faults_of, verify

TEXTS = ["the cat sat on the mat, and the dog sat on the cat", "a bold claim & one"] * 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("verified")
    return build_edited(root / "artifacts", TEXTS).path


@pytest.fixture
def edited(made):
    """The edited corpus, mended after each test."""
    before = {file: file.read_bytes() for file in made.rglob("*") if file.is_file()}
    yield made
    for file, content in before.items():
        if file.is_dir():
            file.rmdir()
        file.write_bytes(content)


def test_what_was_just_written_is_as_written(edited):
    assert verify(edited) == []
    everything = artifacts_in(edited.parents[1])
    assert len(everything) == 4 and edited in everything
    assert [fault for artifact in everything for fault in verify(artifact)] == []


def test_each_bit_of_each_file_counts(edited):
    for one in json.loads((edited / "manifest.json").read_text())["outputs"]:
        file = edited / one["path"]
        content = bytearray(file.read_bytes())
        for place in (0, len(content) // 2, len(content) - 1):
            content[place] ^= 1
            file.write_bytes(content)
            assert verify(edited) == [f"{file}: damaged: its bytes are not those that were written"]
            content[place] ^= 1
        file.write_bytes(content)
    assert verify(edited) == []


def test_other_damage_is_named(edited):
    first, second, third, *_ = sorted((edited / "edits").iterdir())
    size = first.stat().st_size
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    third.unlink()
    third.mkdir()
    assert verify(edited) == [
        f"{first}: damaged: {size - 1} bytes instead of {size}",
        f"{second}: gone",
        f"{third}: gone",
    ]


def test_a_manifest_that_is_not_its_own(edited):
    file = edited / "manifest.json"
    manifest = json.loads(file.read_text())
    for key, value in (("identity", {**manifest["identity"], "p": 0.5}), ("kind", "corpus"), ("inputs", {})):
        file.write_text(json.dumps({**manifest, key: value}))
        assert verify(edited) == [f"{file}: damaged: its settings and inputs are not those of its fingerprint"]
    file.write_text(json.dumps({**manifest, "counts": {"documents_in": 3, "documents_out": 1, "rejected": 1}}))
    assert verify(edited) == [f"{file}: damaged: 3 documents in, 1 out, 1 rejected"]
    file.write_text(json.dumps({key: manifest[key] for key in ("kind", "fingerprint", "identity")}))
    with pytest.raises(UnusableInput, match=r"manifest\.json: not a manifest"):
        verify(edited)


def test_the_command(edited, tmp_path, capsys):
    assert main(["verify", str(edited)]) == 0
    assert capsys.readouterr().out == f"{edited}: 1 artifact as written\n"
    file = next((edited / "documents").iterdir())
    file.write_bytes(b"!" + file.read_bytes()[1:])
    assert main(["verify", str(edited.parents[1])]) == 2
    said = capsys.readouterr()
    assert said.out == f"{file}: damaged: its bytes are not those that were written\n"
    assert said.err.splitlines()[-1].startswith(f"error: {edited.parents[1]}: 1 of 4 artifacts damaged")
    assert main(["verify", str(tmp_path / "nowhere")]) == 3
    assert main(["verify", str(tmp_path)]) == 2
    with pytest.raises(MissingInput):
        artifacts_in(tmp_path / "nowhere")


def test_a_file_the_manifest_does_not_name_is_seen_where_stages_would_read_it(edited):
    first = min((edited / "documents").iterdir())
    (edited / "README.md").write_text("what hf download brings")
    more = [edited / "documents" / "00030.jsonl.zst", edited / "edits" / "inside" / "00030.parquet", edited / "0.npy"]
    for file in more:
        file.parent.mkdir(exist_ok=True)
        shutil.copy(first, file)
    assert verify(edited) == [
        f"{file}: not named by the manifest, but stages would read it; remove it" for file in more
    ]
    shutil.rmtree(more[1].parent)
    for file in (more[0], more[2], edited / "README.md"):
        file.unlink()
    assert verify(edited) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outputs", [{"path": "documents/00000.jsonl.zst", "bytes": "x", "sha256": "0"}]),
        ("outputs", [{"path": 3, "bytes": 3, "sha256": "0"}]),
        ("outputs", 7),
        ("outputs", [7]),
        ("counts", 7),
        ("counts", {"documents_in": 1}),
        ("counts", {"documents_in": 1, "documents_out": "x", "rejected": 0}),
        ("inputs", []),
        ("inputs", {"corpus": 7}),
    ],
)
def test_wrong_types_in_a_manifest_are_one_line(edited, key, value, capsys):
    file = edited / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    assert main(["verify", str(edited)]) == 2
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {file}: not a manifest") and not said.out


def test_unreadable_manifests_hide_no_other_damage(edited, tmp_path, capsys):
    root = tmp_path / "copy"
    shutil.copytree(edited.parents[1], root)
    (corpus,) = (root / "corpus").iterdir()
    (corpus / "manifest.json").write_text('{"kind": "corp')
    file = root / edited.relative_to(edited.parents[1]) / "edits" / "00001.parquet"
    file.unlink()
    (root / "app").mkdir()
    (root / "app" / "manifest.json").write_text('{"name": "of a page", "icons": []}')
    assert main(["verify", str(root)]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{corpus / 'manifest.json'}: not a manifest", f"{file}: gone"]
    assert f"{root / 'app' / 'manifest.json'}: not a manifest of ours; left out" in said.err
    assert said.err.splitlines()[-1].startswith(f"error: {root}: 2 of 4 artifacts damaged")
    assert main(["verify", str(root / "app")]) == 2 and faults_of(root / "app")


def test_a_file_that_the_disk_does_not_give_hides_no_other_damage(edited, monkeypatch):
    first, *_, last = sorted((edited / "documents").iterdir())

    def read(file):
        if file == first:
            raise OSError(errno.EIO, "Input/output error")
        return hash_file(file)

    monkeypatch.setattr(verifying, "hash_file", read)
    last.unlink()
    assert verify(edited) == [f"{first}: cannot be read: Input/output error", f"{last}: gone"]
