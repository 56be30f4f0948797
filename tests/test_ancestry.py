"""Where artifacts come from, and which of them nothing needs: on artifacts of real stages."""

import fcntl
import json
import shutil

import pytest
from artifact_fixtures import build_edited
from conftest import repetitive_documents, write_jsonl

import toedit
from toedit import edit_corpus
from toedit.ancestry import ancestry, removable, remove
from toedit.command_line import main
from toedit.errors import BadConfiguration, MissingInput, UnusableInput


@pytest.fixture(scope="module")
def made(small_prior, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    path = write_jsonl(folder / "mine.jsonl", repetitive_documents(6))
    scores = toedit.score(path, prior=small_prior, artifacts=folder / "artifacts", settings={"score.min_p": 0.5})
    edits = {p: toedit.edit(scores, p=p).path for p in (0.5, 0.9)}
    toedit.edit(scores, p=0.7, out=folder / "kept elsewhere")
    return folder, scores.path, edits


@pytest.fixture
def folder(made, tmp_path):
    """A copy to delete from: the paths in manifests are relative."""
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy"


def states(path) -> dict[str, str]:
    return {f"{one.depth} {one.role}": one.state for one in ancestry(path)}


def test_an_artifact_knows_everything_it_was_made_from(made):
    _, scores, edits = made
    found = list(ancestry(edits[0.5]))
    assert found[0].depth == 0 and found[0].path == edits[0.5] and not found[0].role
    (direct,) = [one for one in found if one.role == "scores"]
    assert direct.depth == 1 and direct.path == scores.resolve() and direct.counts["tokens"] > 0
    assert {one.role for one in found if one.depth == 2} >= {"corpus", "prior"}
    assert all(one.state in ("there", "external") for one in found)
    assert all(one.command for one in found if one.state == "there")


def test_an_ancestor_that_is_gone_or_replaced_is_said(folder):
    edited = next(folder.glob("artifacts/edited_corpus/*"))
    scores = next(folder.glob("artifacts/scores/*"))
    assert states(edited)["1 scores"] == "there"
    (scores / "manifest.json").write_text((edited / "manifest.json").read_text())
    assert states(edited)["1 scores"] == "replaced"
    shutil.rmtree(scores)
    assert states(edited)["1 scores"] == "gone"


def test_what_is_kept_keeps_its_ancestors_and_nothing_else(folder, made):
    _, scores, edits = made
    root = folder / "artifacts"
    keep = root / "edited_corpus" / edits[0.5].name
    found = removable(root, [keep])
    assert [one.path.name for one in found] == [edits[0.9].name] and found[0].bytes > 0 and found[0].is_finished
    remove(found)
    assert not found[0].path.exists() and states(keep)["1 scores"] == states(keep)["2 corpus"] == "there"
    assert removable(root, [keep]) == []
    left = {one.path.name for one in removable(root, [root / "corpus"])}
    assert left == {scores.name, edits[0.5].name}


def test_an_artifact_elsewhere_keeps_what_it_was_made_from(folder, made):
    left = {one.path.name for one in removable(folder / "artifacts", [folder / "kept elsewhere"])}
    assert left == {path.name for path in made[2].values()}


def test_what_is_being_built_or_not_ours_stays(folder, made):
    root = folder / "artifacts"
    (root / "edited_corpus" / "notes--12345678").mkdir()
    (root / "edited_corpus" / "notes--12345678" / "mine.txt").write_text("mine")
    busy = root / "edited_corpus" / made[2][0.9].name
    with (busy / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        found = removable(root, [root / "scores"])
    assert {one.path.name for one in found} == {made[2][0.5].name}


def test_what_a_running_build_reads_stays_with_all_that_came_before(tmp_path, monkeypatch):
    """A folder is cleaned of all but what is at work there: the edit goes on, its corpus, scores and prior stay."""
    root, texts = tmp_path / "artifacts", ["the cat sat on the mat", "the dog sat on the cat"]
    elsewhere = build_edited(tmp_path / "others", texts).path  # the one that is kept by name
    stray = build_edited(root, texts[::-1]).path
    seen, build = [], edit_corpus.build_edit

    def build_and_clean(*arguments, **settings):
        remove(found := removable(root, [elsewhere]))
        seen.extend(one.path for one in found)
        return build(*arguments, **settings)

    monkeypatch.setattr(edit_corpus, "build_edit", build_and_clean)
    edited = build_edited(root, texts).path
    assert stray in seen and edited not in seen
    assert {one.kind for one in ancestry(edited) if one.state == "there"} == {one.name for one in root.iterdir()}
    assert set(states(edited).values()) == {"there"} and len(seen) == 3  # the stray edit, its scores, its corpus


def test_what_unfinished_work_reads_stays_as_long_as_it_does(folder, made):
    root = folder / "artifacts"
    work = root / "edited_corpus" / made[2][0.9].name
    held = json.loads((work / "manifest.json").read_text())
    inputs = {role: {"fingerprint": one["fingerprint"]} for role, one in held["inputs"].items()}
    (work / ".building.json").write_text(json.dumps({**held, "inputs": inputs}))
    (work / "manifest.json").unlink()
    names = []
    for _ in range(2):
        remove(found := removable(root, [made[2][0.5]]))  # that one lies elsewhere: nothing here is kept by name
        names.append([one.path.name for one in found])
    assert sorted(names[0]) == sorted(path.name for path in made[2].values())
    assert made[1].name in names[1] and not list((root / "scores").iterdir())


@pytest.mark.parametrize(
    ("keep", "error"), [([], BadConfiguration), (["nowhere"], MissingInput), (["empty"], UnusableInput)]
)
def test_keeping_nothing_is_refused(folder, keep, error, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(error):
        removable(folder / "artifacts", [tmp_path / name for name in keep])


def test_the_commands(folder, made, capsys):
    keep = folder / "artifacts" / "edited_corpus" / made[2][0.5].name
    assert main(["why", str(keep)]) == 0
    said = capsys.readouterr().out
    assert "edited_corpus" in said and "scores: scores" in said and "tokens" in said
    assert main(["clean", str(folder / "artifacts"), "--keep", str(keep)]) == 0
    assert "--yes removes them" in capsys.readouterr().out
    assert (folder / "artifacts" / "edited_corpus" / made[2][0.9].name).exists()
    assert main(["clean", str(folder / "artifacts"), "--keep", str(keep), "--yes"]) == 0
    assert "removed: 1 artifacts" in capsys.readouterr().out
    assert not (folder / "artifacts" / "edited_corpus" / made[2][0.9].name).exists()
    assert main(["why", "nowhere"]) == 3 and main(["clean", str(folder / "artifacts")]) == 2
