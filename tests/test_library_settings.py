"""Settings and errors of the library: what cannot take effect is refused, what a caller can mend is a ToEditError."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, repetitive_documents, write_jsonl

import toedit
from toedit.command_line import main
from toedit.settings import config_of, flat, is_scores

TEXTS = [document["text"] for document in repetitive_documents(6)]
P = {"p": 0.6, "temperature": 3, "settings": {"score.min_p": 0.5}}


@pytest.fixture(scope="module")
def scored(small_prior, tmp_path_factory):
    """A folder with my.jsonl and the scores of it."""
    folder = tmp_path_factory.mktemp("scored")
    path = write_jsonl(folder / "my.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)])
    settings = {"score.min_p": 0.5}
    toedit.score(path, small_prior, artifacts=folder / "artifacts", out=folder / "scores", settings=settings)
    return folder


def test_sections_may_be_written_as_mappings():
    nested = {"score": {"window": 32, "min_p": 0.5}, "edit": {"p": 0.7}, "seed": 3}
    assert flat(nested) == {"score.window": 32, "score.min_p": 0.5, "edit.p": 0.7, "seed": 3}
    assert flat(flat(nested)) == flat(nested)
    assert config_of(nested) == config_of(flat(nested))


def test_the_folder_of_scores_is_edited_as_scores(scored, monkeypatch):
    monkeypatch.chdir(scored)
    edited = toedit.edit("scores", p=0.6, temperature=3)
    assert edited.changed > 0 and edited.path.is_relative_to("artifacts")
    scores = toedit.Scores(Path("scores"), config_of({}))
    assert toedit.edit(scores, p=0.6, temperature=3).path == edited.path
    elsewhere = toedit.edit("scores", p=0.6, temperature=3, artifacts="others", settings={"executor.workers": 1})
    assert elsewhere.path.is_relative_to("others") and elsewhere.changed == edited.changed


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"text": "body"}, "text=body: "),
        ({"prior": "another"}, "prior=another: "),
        ({"settings": {"score": {"window": 9}}}, r"score\.window: scores are made already"),
        ({"settings": {"dry_run": True}}, r"dry_run: toedit\.plan"),
        ({"k": 100}, r"edit\.k=100: .*; score again with score\.top_k=100"),
        ({"p": 0.1}, r"edit\.p=0\.1: .*; score again with score\.min_p=0\.1"),
        ({"settings": {"edit.generation": 2}}, r"edit\.generation=2: "),
    ],
)
def test_scores_take_what_concerns_the_edit_alone(options, named, scored):
    with pytest.raises(toedit.ToEditError, match=named):
        toedit.edit(scored / "scores", **options)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("edit", "scores", "--text", "nonsense"), "--text=nonsense: "),
        (("edit", "scores", "score.window=7"), "score.window: scores are made already"),
        (("edit", "scores", "corpus.path=nope"), "corpus.path: scores are made already"),
        (("edit", "scores", "prior={path: nope}"), "prior.path: scores are made already"),
        (("edit", "scores", "edit.generation=2"), "edit.generation=2: "),
        (("edit", "scores", "-k", "100"), "score again with score.top_k=100"),
        (("edit", "my.jsonl", "--prior", "MODEL", "stage=revert"), "stage: belongs to run.py"),
        (("edit", "my.jsonl", "--prior", "MODEL", "corpus=local"), "corpus: names a group of keys"),
    ],
)
def test_the_command_refuses_what_would_do_nothing(arguments, named, scored, small_prior, monkeypatch, capsys):
    monkeypatch.chdir(scored)
    assert main([str(small_prior) if part == "MODEL" else part for part in arguments]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert named in error


def test_the_command_still_plans_an_edit_of_scores(scored, monkeypatch, capsys):
    monkeypatch.chdir(scored)
    assert main(["edit", "scores", "-p", "0.65", "executor.workers=1", "dry_run=true", "artifacts=others"]) == 0
    assert "others/edited_corpus" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "options", "named"),
    [
        ("my.jsonl", {"out": "/proc/foo/bar"}, "/proc"),
        ("my.jsonl", {"out": "afile/x", "artifacts": "afile"}, "afile"),
        ("a word " * 2000, {}, "14,000 characters of text are no path"),
        ("ab/" * 3000, {}, "9,000 characters of text"),
        ("two\nlines", {}, "9 characters of text"),
        ("a\0b", {}, "3 characters of text"),
        (TEXTS, {"settings": {"corpus.id_field": "text"}}, "corpus.id_field: rows in memory"),
        (TEXTS, {"settings": {"corpus": {"path": "my.jsonl"}}}, "corpus.path: rows in memory"),
        (TEXTS, {"settings": {"scores.path": "scores"}}, "scores.path: "),
        (TEXTS, {"settings": {"dry_run": True}}, "dry_run: toedit.plan"),
        (TEXTS, {"settings": [("a", 1)]}, "settings: a list"),
        (TEXTS, {"settings": {1: 2}}, "1: no such key"),
        (TEXTS, {"settings": {"score": 3}}, "score: names a group of keys"),
        (TEXTS, {"settings": {"stage": "revert"}}, "stage: belongs to run.py"),
    ],
)
def test_what_a_caller_can_mend_is_one_line(data, options, named, scored, small_prior, monkeypatch):
    monkeypatch.chdir(scored)
    Path("afile").touch()
    with pytest.raises(toedit.ToEditError) as found:
        toedit.edit(data, small_prior, **{**P, **options})
    assert named in str(found.value) and "\n" not in str(found.value) and len(str(found.value)) < 300


def test_an_interrupt_of_the_caller_stays_one(small_prior, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("toedit.library._built", interrupted)
    with pytest.raises(KeyboardInterrupt):
        toedit.edit(TEXTS, small_prior, **P)


def test_a_script_without_a_guard_ends_and_says_what_it_lacks(small_prior, tmp_path):
    write_jsonl(tmp_path / "my.jsonl", repetitive_documents(30))
    settings = {"executor.workers": 2, "corpus.shard_bytes": 2000}
    (tmp_path / "script.py").write_text(
        f"import toedit\ntoedit.edit('my.jsonl', {str(small_prior)!r}, settings={settings})\n", encoding="utf-8"
    )
    run = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert run.returncode == 1 and 'if __name__ == "__main__":' in run.stderr


def test_a_folder_of_texts_may_hold_a_manifest_of_another_program(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    assert not is_scores(tmp_path)
