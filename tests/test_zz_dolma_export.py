"""The Dolma toolkit's mixer on what `toedit export-dolma` writes: its text is the edited text, document by document.

Late in order, for its environment takes a minute. Absent, the environment is made with CI=true; otherwise the tests are
skipped and say how to make it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from artifact_fixtures import build_edited
from conftest import REPOSITORY, run_command, write_jsonl
from test_dolma_export import forge, texts_of
from tokenizers_fixture import real_texts

import toedit
from toedit.documents import read_documents, shard_paths
from toedit.dolma_export import INEXACT, plan_export
from toedit.dolma_spans import MAX_SPANS, Change
from toedit.workspace import read_manifest

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
NASTY = [
    "one line\r\nand another\r\rand a last",
    "e\u0301 é o\u0308 ö n\u0303, the café, Å and Å, ﬁ and ﬃ, ½",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 😀😀😀 the cat \U00010348 𝔘𝔫𝔦 𠜎𠜱",
    "".join(map(chr, range(1, 32))) + "\x7f\x80\x85\x9f the cat \u2028\u2029\ufeff\u200b\u202e\ufffe\U0010ffff",
    "\x00 the \x00\x00 cat",
    "{}{} {{}} ${the} $the $.text %s \\n \\u0041 {} the cat sat on {}",
    "a",
    " ",
    "\n\n",
    "日本語のテキスト、猫はマットの上に座った。" * 20,
    "the cat sat on the mat, and the dog sat on the cat\n" * 400,
    "\"quoted\" <b>bold</b> & the 'cat': - ? | > [x] #y @z `w` ??? ~ null true 0x1F\t",
]


@pytest.fixture(scope="module")
def dolma() -> Path:
    """The toolkit's command."""
    command = REPOSITORY / os.environ.get("TOEDIT_DOLMA_VENV", ".venv-dolma") / "bin" / "dolma"
    if not command.exists() and os.environ.get("CI") != "true":
        pytest.skip("no Dolma toolkit here: make its environment with `bash scripts/environment_dolma.sh`, or CI=true")
    script = str(REPOSITORY / "scripts" / "environment_dolma.sh")
    made = subprocess.run(["bash", script], capture_output=True, text=True, timeout=1800)
    assert made.returncode == 0, made.stderr
    assert (REPOSITORY / made.stdout.strip()).samefile(command)
    return command


def mix(dolma: Path, export: Path, *options: str) -> Path:
    """Apply the export as its report says; the folder with the mixed documents."""
    command = [str(dolma), "-c", "mixer.yaml", "mix", *options]
    done = subprocess.run(command, cwd=export, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "panicked" not in done.stderr, done.stderr[-4000:]
    return export / "mixed"


def test_real_and_nasty_text_comes_out_as_edited(dolma, tmp_path):
    """In a folder whose name has what paths of attributes are made from, and what patterns are."""
    root = tmp_path / "documents" / "my [1] texts*"
    texts = [text[:6000] for text in real_texts(40)] + NASTY
    edited = build_edited(root, texts, ids=[f"a/b c/{number}" for number in range(len(texts))])
    export = plan_export(edited, root, root / "documents" / "out").ensure()
    counts = read_manifest(export)["counts"]
    assert counts["changed"] > 10_000 and counts["inexact"] == 0 and counts["rules"] >= MAX_SPANS
    mixed = mix(dolma, export, "--processes", "2")
    original = edited.inputs["corpus"].path
    assert texts_of(mixed) == texts_of(edited.path) != texts_of(original)
    files = [shard_paths(folder) for folder in (mixed, original)]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    for number, document in enumerate(document for path in files[0] for document in read_documents(path)):
        place = f"{number // 2:05d}.jsonl.zst:{number % 2 + 1}"
        assert document["source"] == "fixture <&>" and document["metadata"] == {"provenance": place}
        assert set(document) == {"id", "text", "source", "metadata"}  # no attributes


def test_every_case_at_the_limits_of_the_mixer(dolma, tmp_path):
    texts = [
        ("abc", [Change(0, 1, "{}"), Change(1, 2, "{}")], {}),
        ("abc", [Change(1, 2, "${} $.text {")], {"toedit": {"tokens": 1}}),
        ("}{}{", [Change(0, 1, "{"), Change(3, 4, "}")], {}),
        ("😀b", [Change(0, 1, ""), Change(1, 2, "\x00\r\n\u2028\U0010ffff")], {}),
        ("x", [Change(0, 1, "{}")], {}),
        ("gone and kept", [Change(0, 4, ""), Change(9, 13, "$")], {"half": "\ud83d", "n": 10**400}),
        ("word " * 500, [Change(start, start + 1, "W😀") for start in range(0, 2500, 5)], {"n": [2**63, -1.5e300]}),
        ("a {} b " * 60, [Change(start, start + 1, "A") for start in range(0, 420, 7)], {}),
        ("untouched {} $", [], {"key": [None, {"k": "v"}]}),
    ]
    edited = forge(tmp_path, texts)
    export = plan_export(edited, tmp_path, tmp_path / "out").ensure()
    assert len((export / INEXACT).read_text().splitlines()) == 2  # "x", and the metadata that Rust cannot read
    mixed = mix(dolma, export)
    expected = dict(texts_of(edited.path)) | {"1/1": "x"}
    assert dict(texts_of(mixed)) == expected
    metadata = {one["id"]: one["metadata"] for path in shard_paths(mixed) for one in read_documents(path)}
    assert metadata["0/1"]["toedit"] == {"tokens": 1} and metadata["2/2"]["key"] == [None, {"k": "v"}]
    assert set(metadata["1/2"]) == {"provenance"} and metadata["2/0"]["n"] == [2**63, -1.5e300]


def test_a_prior_s_own_edits_come_out_as_edited(dolma, small_prior, tmp_path):
    """Resampled and deleted tokens, by both commands."""
    rows = [{"id": f"{number}", "text": text[:800]} for number, text in enumerate(real_texts(6))]
    path = write_jsonl(tmp_path / "mine.jsonl", rows)
    scores = toedit.score(path, prior=small_prior, artifacts=tmp_path / "artifacts", settings={"score.min_p": 0.0})
    resampled = toedit.edit(scores, p=0.5, temperature=3, out=tmp_path / "resampled")
    deleting = {"edit.sampler": "delete", "edit.delete_above": 0.8}
    deleted = toedit.edit(scores, settings=deleting, out=tmp_path / "deleted")
    assert resampled.changed > 20 and deleted.changed > 20
    command = [sys.executable, "-m", "toedit", "export-dolma", "resampled", "--out", "one"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert run.returncode == 0, run.stderr
    run_command("stage=export_dolma", "edited.path=deleted", "out=two", cwd=tmp_path)
    assert texts_of(mix(dolma, tmp_path / "one")) == texts_of(resampled.path)
    assert texts_of(mix(dolma, tmp_path / "two")) == texts_of(deleted.path)
