"""`import toedit`: the artifacts of the command; rows come back in their own type; nothing heavy is imported early."""

import os
import re
import subprocess
import sys

import pandas
import pytest
from conftest import REPOSITORY, repetitive_documents, run_command, write_jsonl
from datasets import Dataset

import toedit
from toedit.artifacts import load_artifact
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

TEXTS = [document["text"] for document in repetitive_documents(12)]
P = {"p": 0.6, "temperature": 3, "settings": {"score.min_p": 0.5}}  # changes a few tokens of so short a text


@pytest.fixture(scope="module")
def edited_texts(small_prior):
    return toedit.edit(TEXTS, prior=small_prior, **P)


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, toedit; print(sorted({'torch', 'transformers', 'datasets', 'numpy', 'hydra'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert run.stdout.strip() == "[]"
    assert set(toedit.__all__) <= set(dir(toedit))


def test_files_give_the_artifact_that_the_command_finds(small_prior, tmp_path):
    path = write_jsonl(tmp_path / "mine.jsonl", repetitive_documents(12))
    edited = toedit.edit(path, prior=small_prior, artifacts=tmp_path / "artifacts", **P)
    run = run_command(
        "stage=edit", "corpus=local", f"corpus.path={path}", "prior=local", f"prior.path={small_prior}", "edit.p=0.6",
        "edit.temperature=3", "score.min_p=0.5", cwd=tmp_path,
    )  # fmt: skip
    assert f"already there: {edited.path.relative_to(tmp_path)}" in run.stdout
    assert 0 < edited.changed <= edited.eligible < edited.tokens
    documents = list(edited.documents())
    assert edited.to_pandas()["text"].tolist() == [document["text"] for document in documents]
    dataset = edited.to_dataset()
    assert sum(dataset["changed"]) == edited.changed and dataset["text"][:] == edited.to_pandas()["text"].tolist()


def test_rows_come_back_in_their_places_and_their_own_type(small_prior, edited_texts):
    assert isinstance(edited_texts, list) and len(edited_texts) == len(TEXTS) and edited_texts != TEXTS
    rows = [*TEXTS[:5], None, "", *TEXTS[5:]]
    expected = [*edited_texts[:5], None, "", *edited_texts[5:]]
    frame = pandas.DataFrame({"n": range(len(rows)), "body": rows}, index=range(100, 100 + len(rows)))
    back = toedit.edit(frame, prior=small_prior, text="body", **P)
    assert list(back.columns) == ["n", "body", "toedit"] and back.index.equals(frame.index)
    # The draw depends on (seed, id, position), and a row's id is its number.
    assert back["body"].tolist()[:5] == expected[:5] and back["n"].equals(frame["n"])
    assert back["body"].isna().tolist() == frame["body"].isna().tolist() and back["body"][106] == ""
    assert back["toedit"][105] is None and set(back["toedit"][100]) == {"tokens", "eligible", "changed"}
    assert frame["body"].tolist()[:5] == TEXTS[:5]  # what went in is as it was
    dataset = toedit.edit(Dataset.from_dict({"text": TEXTS, "n": list(range(12))}), prior=small_prior, **P)
    assert dataset.column_names == ["text", "n", "toedit"] and dataset["text"][:] == edited_texts
    assert sum(row["changed"] for row in dataset["toedit"]) > 0
    assert toedit.edit(tuple(TEXTS), prior=small_prior, **P) == tuple(edited_texts)


def test_scores_serve_every_edit(small_prior, edited_texts, tmp_path):
    scores = toedit.score(TEXTS, prior=small_prior, settings={"score.min_p": 0.5})
    assert 0 < scores.confident < scores.tokens
    assert toedit.edit(scores, p=0.6, temperature=3) == edited_texts
    strict = toedit.edit(scores, p=0.95, temperature=3)
    for old, less, more in zip(TEXTS, strict, edited_texts, strict=True):
        assert less == old or more != old  # what a higher p changes, a lower p changes, too
    assert toedit.edit(scores, p=1.0) == TEXTS
    with pytest.raises(toedit.ToEditError, match=r"score\.min_p"):
        toedit.edit(scores, p=0.3)
    with pytest.raises(BadConfiguration, match="the scores name theirs"):
        toedit.edit(scores, prior="another")
    with pytest.raises(BadConfiguration, match=r"only edit\.\* can be set"):
        toedit.edit(scores, settings={"score.window": 9})
    kept = toedit.edit(scores, p=0.6, temperature=3, out=tmp_path / "kept")
    assert kept == edited_texts and load_artifact(tmp_path / "kept", ("edited_corpus",), "", "").manifest()["counts"]


def test_an_edit_is_taken_back_and_shown(small_prior, tmp_path):
    path = write_jsonl(tmp_path / "mine.jsonl", repetitive_documents(6))
    edited = toedit.edit(path, prior=small_prior, artifacts=tmp_path / "artifacts", out=tmp_path / "edited", **P)
    original = toedit.Edited(toedit.revert(edited, out=tmp_path / "original"))
    assert [document["text"] for document in original.documents()] == TEXTS[:6]
    page = toedit.diff(edited, documents=2, out=tmp_path / "shown")
    assert page.read_text(encoding="utf-8").startswith("<!") and page.parent == tmp_path / "shown"


def test_a_plan_builds_nothing(small_prior, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = toedit.plan(write_jsonl(tmp_path / "mine.jsonl", repetitive_documents(6)), prior=small_prior)
    assert "edited_corpus" in said and "to build" in said and not (tmp_path / "artifacts" / "corpus").exists()


@pytest.mark.parametrize(
    ("data", "options", "error", "named"),
    [
        ("nowhere.jsonl", {}, MissingInput, "nowhere.jsonl"),
        (TEXTS, {"prior": "./nowhere"}, MissingInput, "nowhere"),
        (TEXTS, {"p": 1.5}, BadConfiguration, "edit.p"),
        (TEXTS, {"settings": {"edit.sampeler": "top_p"}}, BadConfiguration, "edit.sampler"),
        ([{"text": "a"}], {}, UnusableInput, "row 0"),
        (pandas.DataFrame({"body": TEXTS}), {}, BadConfiguration, "body"),
        (Dataset.from_dict({"body": TEXTS}), {}, BadConfiguration, "body"),
        (TEXTS, {"prior": None}, BadConfiguration, "prior"),
        (TEXTS, {"p": "high"}, BadConfiguration, "edit.p"),
        (TEXTS, {"settings": {"edit": 1}}, BadConfiguration, "edit"),
    ],
)
def test_bad_input_is_one_line(data, options, error, named, small_prior, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as found:
        toedit.edit(data, **{"prior": small_prior, **options})
    assert named in str(found.value) and "\n" not in str(found.value)


def test_the_example_in_the_readme(small_prior, tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(import toedit\n.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 4
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "my.jsonl", repetitive_documents(6))
    (tmp_path / "my-model").symlink_to(small_prior)
    found: dict = {}
    exec(example, found)
    assert found["edited"].path.samefile("edited") and found["edited"].eligible > 0


# --- the command ------------------------------------------------------------------------------------------------------


def toedit_command(*arguments, cwd, expect=0):
    run = subprocess.run(
        [sys.executable, "-m", "toedit", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert run.returncode == expect, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run


def test_the_command_edits_shows_and_takes_back(small_prior, tmp_path):
    write_jsonl(tmp_path / "mine.jsonl", [{"body": text} for text in TEXTS[:6]])
    common = ("--prior", small_prior, "--text", "body")
    planned = toedit_command("plan", "mine.jsonl", *common, "-p", 0.6, "score.min_p=0.5", cwd=tmp_path)
    assert "edited_corpus" in planned.stdout
    toedit_command("score", "mine.jsonl", *common, "--out", "scores", "score.min_p=0.5", cwd=tmp_path)
    said = toedit_command("edit", "scores", "-p", 0.6, "-k", 4, "--out", "edited", cwd=tmp_path)
    assert "eligible" in said.stdout and "written: edited" in said.stdout
    toedit_command("diff", "edited", "--documents", 1, "--out", "shown", cwd=tmp_path)
    toedit_command("revert", "edited", "--out", "original", cwd=tmp_path)
    texts = [document["text"] for document in toedit.Edited(tmp_path / "original").documents()]
    assert texts == TEXTS[:6]


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("edit", "mine.jsonl"), 2, "--prior"),
        (("edit", "mine.jsonl", "--prior", "./nowhere"), 3, "nowhere"),
        (("score", "nowhere.jsonl", "--prior", "MODEL"), 3, "nowhere.jsonl"),
        (("edit", "mine.jsonl", "--prior", "MODEL", "edit.pp=1"), 2, "edit.p"),
        (("edit", "mine.jsonl", "--prior", "MODEL", "edit.p"), 2, "key=value"),
        (("revert", "nowhere", "--out", "there"), 3, "nowhere"),
        (("edit", "mine.jsonl", "--prior", "MODEL", "edit.p=high"), 2, "edit.p"),
        (("edti",), 2, "invalid choice"),
    ],
)
def test_a_command_that_cannot_be_is_one_line(arguments, code, named, small_prior, tmp_path):
    write_jsonl(tmp_path / "mine.jsonl", [{"text": TEXTS[0]}])
    run = toedit_command(
        *(str(small_prior) if part == "MODEL" else part for part in arguments), cwd=tmp_path, expect=code
    )
    errors = [line for line in run.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1 and named in errors[0]
