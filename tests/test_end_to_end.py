"""Whole commands on small real runs: edit, revert, sweep, resume, wait, and odd input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, files_of, repetitive_documents, run_command, training_overrides, write_jsonl

from toedit.documents import read_documents, shard_paths

# Temperature 3 at p = 0.9: enough edits to look at in a small corpus.
LIVELY = ["edit.p=0.9", "edit.temperature=3"]


def own_inputs(corpus: Path, prior: Path) -> list[str]:
    return ["corpus=local", f"corpus.path={corpus}", "prior=local", f"prior.path={prior}"]


def documents_of(folder: Path) -> list[dict]:
    return [document for path in shard_paths(folder) for document in read_documents(path)]


def ledger_of(folder: Path) -> list[dict]:
    return [row for path in sorted((folder / "edits").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def edited(tmp_path_factory, corpus_file, small_prior) -> Path:
    """A workplace with the small corpus edited in `edited`."""
    work = tmp_path_factory.mktemp("work")
    run_command("stage=edit", *own_inputs(corpus_file, small_prior), *LIVELY, "out=edited", cwd=work)
    return work


def test_the_edited_corpus_keeps_its_contract(edited, corpus_file):
    originals = [json.loads(line) for line in corpus_file.read_text().splitlines()]
    documents, ledger = documents_of(edited / "edited"), ledger_of(edited / "edited")
    manifest = json.loads((edited / "edited" / "manifest.json").read_text())
    assert [document["id"] for document in documents] == [original["id"] for original in originals]
    counts = manifest["counts"]
    assert manifest["kind"] == "edited_corpus"
    assert counts["changed"] == len(ledger) > 20
    assert 0 < counts["changed"] < counts["eligible"] < counts["tokens"]
    notes = [document["metadata"]["toedit"] for document in documents]
    for key in ("tokens", "eligible", "changed"):
        assert sum(note[key] for note in notes) == counts[key]
    assert all(set(note) == {"tokens", "eligible", "changed"} for note in notes)
    assert (
        abs(counts["changed"] + counts["unspliceable"] - counts["expected_changed"])
        < 6 * counts["expected_changed"] ** 0.5
    )

    by_id = {original["id"]: original for original in originals}
    for row in ledger:
        original = by_id[row["id"]]["text"].encode()
        assert original[row["start"] : row["end"]].decode() == row["old_text"]
        assert row["old_id"] != row["new_id"] and row["old_logprob"] >= -0.10537
    for document, original in zip(documents, originals, strict=True):
        text, rows = original["text"].encode(), [row for row in ledger if row["id"] == document["id"]]
        for row in reversed(rows):
            text = text[: row["start"]] + row["new_text"].encode() + text[row["end"] :]
        assert document["text"] == text.decode()
        assert document["source"] == "pattern" and document["metadata"]["n"] == original["metadata"]["n"]


def test_the_summary_shows_samples_rates_and_the_folder(edited, corpus_file, small_prior):
    run = run_command("stage=edit", *own_inputs(corpus_file, small_prior), *LIVELY, "out=edited", cwd=edited)
    assert " → " in run.stdout
    assert "eligible" in run.stdout and "changed" in run.stdout and "expected" in run.stdout
    assert run.stdout.strip().splitlines()[-1] == "already there: edited"


def test_revert_restores_the_corpus_artifact_byte_for_byte(edited, corpus_file):
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=edited)
    run_command("stage=corpus", "corpus=local", f"corpus.path={corpus_file}", "out=corpus", cwd=edited)
    assert files_of(edited / "original", "documents") == files_of(edited / "corpus", "documents")


def test_an_edited_corpus_can_be_edited_again_and_reverted_step_by_step(edited, small_prior):
    run_command("stage=edit", *own_inputs(Path("edited"), small_prior), *LIVELY, "edit.seed=1", "out=twice", cwd=edited)
    documents = documents_of(edited / "twice")
    assert all(len(document["metadata"]["toedit_history"]) == 1 for document in documents)
    run_command("stage=revert", "edited.path=twice", "out=once", cwd=edited)
    assert files_of(edited / "once", "documents") == files_of(edited / "edited", "documents")


def test_no_edit_is_the_identity(edited, corpus_file, small_prior):
    run_command("stage=edit", *own_inputs(corpus_file, small_prior), "edit=none", "out=none", cwd=edited)
    originals = [json.loads(line)["text"] for line in corpus_file.read_text().splitlines()]
    assert [document["text"] for document in documents_of(edited / "none")] == originals
    assert ledger_of(edited / "none") == []


def test_the_edit_does_not_depend_on_shards(edited, corpus_file, small_prior, tmp_path):
    outcomes = []
    for shard_bytes in (700, 10_000_000):
        out = tmp_path / str(shard_bytes)
        run_command(
            "stage=edit", *own_inputs(corpus_file, small_prior), *LIVELY,
            f"corpus.shard_bytes={shard_bytes}", "scorer.batch_tokens=1", f"out={out}", cwd=edited,
        )  # fmt: skip
        outcomes.append((len(shard_paths(out)), documents_of(out), ledger_of(out)))
    assert outcomes[0][0] > 5 and outcomes[1][0] == 1
    assert outcomes[0][1:] == outcomes[1][1:]


def test_a_sweep_scores_once_and_ends_with_a_table(corpus_file, small_prior, tmp_path):
    run = run_command(
        "-m", "stage=edit", *own_inputs(corpus_file, small_prior), "edit.p=0.9,0.99,0.999", "edit.k=4,8", cwd=tmp_path
    )
    lines = run.stdout.splitlines()
    header = next(number for number, line in enumerate(lines) if "expected changed" in line)
    rows = [line.split() for line in lines[header + 2 :] if line.strip()]
    assert [(row[0], row[1]) for row in rows] == [(p, k) for p in ("0.9", "0.99", "0.999") for k in ("4", "8")]
    eligible = {row[0]: float(row[3].rstrip("%")) for row in rows}
    assert eligible["0.9"] >= eligible["0.99"] >= eligible["0.999"] > 0
    assert len(list((tmp_path / "artifacts" / "scores").iterdir())) == 1
    assert len(list((tmp_path / "artifacts" / "edited_corpus").iterdir())) == 6
    # Changed tokens are nested: the higher threshold's are among the lower one's.
    changed = {}
    for folder in (tmp_path / "artifacts" / "edited_corpus").iterdir():
        if "-k8--" in folder.name:
            changed[folder.name.split("-k8")[0][-5:]] = {(row["id"], row["position"]) for row in ledger_of(folder)}
    by_size = sorted(changed.values(), key=len)
    assert len(by_size) == 3 and by_size[0] <= by_size[1] <= by_size[2]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray_local"])
def test_launchers_of_hydra_run_a_sweep_and_its_failures(launcher, corpus_file, small_prior, tmp_path):
    """Points in processes of their own: scored once, the same artifacts, the same closing table."""
    sweep = ["-m", "stage=edit", *own_inputs(corpus_file, small_prior), "edit.k=4,100,8"]
    run = run_command(*sweep, f"hydra/launcher={launcher}", cwd=tmp_path, expect=2)
    table = [line.split() for line in run.stdout.splitlines()[-3:]]
    assert [row[-1] for row in table] == ["ok", "(2)", "ok"] and table[1][0] == "100"
    assert len(list((tmp_path / "artifacts" / "scores").iterdir())) == 1
    alone = run_command(*sweep, cwd=tmp_path, expect=2)
    assert alone.stdout.splitlines()[-3:] == run.stdout.splitlines()[-3:]
    assert len(list((tmp_path / "artifacts" / "edited_corpus").iterdir())) == 2


def test_a_sweep_in_an_odd_folder_shows_its_own_points_alone(corpus_file, small_prior, tmp_path):
    """Its folder, a comma in it, holds an earlier and larger sweep; points have folders of other names."""
    odd = tmp_path / "my texts, 2024=a"
    odd.mkdir()
    sweep = ["stage=edit", *own_inputs(corpus_file, small_prior), "hydra.sweep.subdir='p,${edit.p}'", "dry_run=true"]
    asked = (["-m"], ["hydra.mode=MULTIRUN"], ["++hydra.sweep.dir='${now:%Y}, sweep'", "-m"])
    for own in (*asked, ["hydra.sweep.dir='the, sweep'", "hydra/launcher=joblib", "-m"]):
        for points in ("0.9,0.95,0.99", "0.92,0.95"):
            run = run_command(*sweep, f"edit.p={points}", *own, cwd=odd)
            table = run.stdout[run.stdout.index("state\n") :].splitlines()[2:]
            assert [line.split()[0] for line in table if line.endswith(" ok")] == points.split(",")
    assert (odd / "the, sweep" / "p,0.95" / "report.txt").is_file()


def test_a_failed_point_does_not_stop_a_sweep(corpus_file, small_prior, tmp_path):
    run = run_command(
        "-m", "stage=edit", *own_inputs(corpus_file, small_prior), "edit.k=8,100,4", cwd=tmp_path, expect=2
    )
    assert run.stdout.count(" ok") == 2 and "failed (2)" in run.stdout
    assert "score.top_k=100" in run.stderr


def start(*arguments: str, cwd: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "run.py"), *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
        text=True,
    )


def stop_when(process: subprocess.Popen, seen: str, folder: Path, number: int) -> int:
    """Send the signal as soon as a path matching `seen` exists below `folder`; return the exit code."""
    deadline = time.monotonic() + 120
    while not any(folder.rglob(seen)):
        assert process.poll() is None, f"ended before {seen} was seen: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


def test_a_killed_scoring_resumes_to_the_same_bytes(corpus_file, small_prior, tmp_path):
    inputs = [*own_inputs(corpus_file, small_prior), "corpus.shard_bytes=1500", *LIVELY]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir(), whole.mkdir()
    process = start("stage=edit", *inputs, cwd=killed)
    code = stop_when(process, "scores/*/.progress/00003.json", killed, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not list(killed.glob("artifacts/scores/*/manifest.json"))
    run_command("stage=edit", *inputs, cwd=killed)
    run_command("stage=edit", *inputs, cwd=whole)
    assert (
        files_of(killed / "artifacts", "scores", "edited_corpus").keys()
        == files_of(whole / "artifacts", "scores", "edited_corpus").keys()
    )
    for name, content in files_of(whole / "artifacts", "corpus", "scores", "edited_corpus").items():
        if not name.endswith("manifest.json"):
            assert (killed / "artifacts" / name).read_bytes() == content, name


def test_a_killed_training_resumes_to_the_same_weights(corpus_file, tmp_path):
    arguments = [
        "stage=prior", "corpus@prior.corpus=local", f"prior.corpus.path={corpus_file}", "prior.corpus.split=null",
        *training_overrides(steps=60, checkpoint_every=15),
    ]  # fmt: skip
    process = start(*arguments, f"out={tmp_path / 'killed'}", cwd=tmp_path)
    stop_when(process, "state/training.pt", tmp_path / "killed", signal.SIGKILL)
    assert not (tmp_path / "killed" / "manifest.json").exists()
    run = run_command(*arguments, f"out={tmp_path / 'killed'}", cwd=tmp_path)
    assert "resuming after step" in run.stderr
    run_command(*arguments, f"out={tmp_path / 'whole'}", cwd=tmp_path)
    weights = [(tmp_path / name / "hf" / "model.safetensors").read_bytes() for name in ("killed", "whole")]
    assert weights[0] == weights[1]
    assert (tmp_path / "killed" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_a_scheduler_s_warning_is_exit_code_75(corpus_file, small_prior, tmp_path):
    inputs = [*own_inputs(corpus_file, small_prior), "corpus.shard_bytes=1500"]
    process = start("stage=score", *inputs, cwd=tmp_path)
    assert stop_when(process, "scores/*/.progress/00000.json", tmp_path, signal.SIGTERM) == 75
    run_command("stage=score", *inputs, cwd=tmp_path)


def test_two_identical_commands_at_once_end_with_one_artifact(corpus_file, small_prior, tmp_path):
    inputs = [*own_inputs(corpus_file, small_prior), "corpus.shard_bytes=1500", "out=same"]
    both = [start("stage=edit", *inputs, cwd=tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert (tmp_path / "same" / "manifest.json").exists()
    assert not list((tmp_path / "same").rglob("*.tmp"))


def test_odd_text_is_ordinary_text(small_prior, tmp_path):
    texts = [
        "x",
        "<script>alert('hello')</script> The cat sat quietly on the mat, as the story goes.",
        "\x1b]0;owned\x07\x1b[31mThe cat sat quietly on the mat, as the story goes.",
        "The cat sat quietly\x00 on the mat, <|endoftext|> as the story goes.",
        "zoë \U0001f469‍\U0001f469‍\U0001f467 نص عربي 漢字 \u202egnisrever",
    ]
    ids = ["../../x", "a/b/../c", "<script>", "\x1b[31mred", "5"]
    rows = [{"id": id, "text": text, "source": "odd"} for id, text in zip(ids, texts, strict=True)]
    corpus = write_jsonl(tmp_path / "odd = corpus, really.jsonl", rows)
    run = run_command(
        "stage=edit", "corpus=local", f"corpus.path='{corpus}'", "prior=local", f"prior.path={small_prior}",
        "edit.p=0.9", "edit.temperature=20", "out=edited", cwd=tmp_path,
    )  # fmt: skip
    assert "\x1b" not in run.stdout and "\x07" not in run.stdout
    documents = documents_of(tmp_path / "edited")
    assert [document["id"] for document in documents] == ids
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=tmp_path)
    assert [document["text"] for document in documents_of(tmp_path / "original")] == texts
    assert not (tmp_path.parent / "x").exists() and not (tmp_path / "b").exists()


def test_a_dry_run_prints_the_plan_and_builds_nothing(corpus_file, small_prior, tmp_path):
    run = run_command("stage=edit", *own_inputs(corpus_file, small_prior), "dry_run=true", cwd=tmp_path)
    for kind in ("corpus", "model", "scores", "edited_corpus"):
        assert any(line.split()[:1] == [kind] for line in run.stdout.splitlines()), kind
    assert not list((tmp_path / "artifacts").glob("*/*/manifest.json"))
    assert len(repetitive_documents()) == 60


def test_a_full_disk_is_one_line_and_resumable(corpus_file, small_prior, tmp_path):
    """A real full disk: a file system of 200 kB, in a mount namespace of its own."""
    small = tmp_path / "small"
    small.mkdir()
    command = [
        sys.executable, str(REPOSITORY / "run.py"), "stage=edit", *own_inputs(corpus_file, small_prior),
        f"artifacts={small}",
    ]  # fmt: skip
    script = 'mount -t tmpfs -o size=200k tmpfs "$0" && exec "$@"'
    run = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(small), *command],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if run.returncode == 1 and "unshare" in run.stderr:
        assert not os.environ.get("CI"), run.stderr
        pytest.skip(f"no user namespaces on this machine: {run.stderr.strip()}")
    assert run.returncode == 75, run.stderr
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "disk is full" in errors[0] and "Traceback" not in run.stderr
