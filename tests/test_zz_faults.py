"""Faults at random moments: the script that injects them, as long as CI can spare; for an hour, call it yourself."""

import json
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest
from conftest import REPOSITORY

SCRIPT = [sys.executable, str(REPOSITORY / "scripts" / "inject_faults.py")]
FAULTS = ["kill", "worker", "full", "readonly", "dying", "input", "unfinished"]
"""Without `memory`: what a process says that gets none is another thing on every machine; the hour has it."""
STAGES = ["corpus", "score", "edit", "revert", "mix", "tokenize", "pretrain"]


@pytest.fixture
def scripts(monkeypatch):
    """Makes the script and its parts importable."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))


def test_runs_end_as_if_undisturbed_or_with_one_line(tmp_path):
    """Each fault once, the kill twice; the seed is one that goes through all the stages."""
    command = [*SCRIPT, "--runs", "8", "--documents", "80", "--seed", "48", "--work", str(tmp_path)]
    command += ["--faults", *FAULTS, "--only", *STAGES]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = re.findall(r"^(\w+) +(\w*) +(\d+)  (.*)$", run.stdout, re.MULTILINE)
    met = {fault for fault, _, runs, _ in rows if int(runs)}
    left_out = {fault for fault, _, _, said in rows if said.startswith("left out")}
    assert met | left_out == set(FAULTS)
    assert left_out <= {"full", "readonly", "dying"}
    assert "8 runs, no findings" in run.stdout


def test_every_stage_meets_every_fault_in_time(scripts):
    from inject_faults import FAULTS, schedule

    drawn = Counter(islice(schedule(list(FAULTS), None, random.Random(0)), 200))
    assert set(drawn) == {(fault, stage) for fault, (_, stages) in FAULTS.items() for stage in stages}
    edits = islice(schedule(["kill", "memory", "full"], ["edit"], random.Random(0)), 40)
    assert Counter(edits) == {("kill", "edit"): 20, ("memory", "edit"): 10, ("full", "edit"): 10}
    assert not list(schedule(["worker"], ["corpus"], random.Random(0)))


@pytest.fixture
def trial(scripts, tmp_path):
    from faults.runs import Stage, Trial

    return Trial(Stage("edit", []), tmp_path, tmp_path / "trial", random.Random(0))


def ended(trial, script, codes):
    """What the judgement makes of a process that does this."""
    trial.log, trial.said = trial.folder / "log.txt", [""]
    with trial.log.open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=log, stderr=log)
    return trial.wait(process, codes)


@pytest.mark.parametrize(
    ("script", "finding"),
    [
        ("1 / 0", "a traceback"),
        ("exit(3)", "exit code 3, wanted 0 or 75"),
        ("exit(75)", "exit code 75 without one line"),
        ("print('error: one'); print('error: two'); exit(75)", "exit code 75 without one line"),
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
    ],
)
def test_what_must_not_be_is_a_finding(trial, script, finding):
    from faults.runs import Finding

    with pytest.raises(Finding, match=finding):
        ended(trial, script, {0, 75})


def test_one_line_is_none(trial):
    from faults.runs import Finding

    full = "print('error: the disk is full'); exit(75)"
    assert ended(trial, full, {0, 75}) == 75 and trial.error() == "error: the disk is full"
    trial.out.mkdir()
    (trial.out / "manifest.json").write_text("{}")
    with pytest.raises(Finding, match="and yet there is a manifest"):
        ended(trial, full, {0, 75})


def test_other_bytes_and_lost_documents_are_findings(trial):
    from faults.runs import Finding, files_of

    trial.out.mkdir()
    (trial.out / "text").write_text("one")
    trial.stage.files = files_of(trial.out)
    (trial.out / "manifest.json").write_text(
        json.dumps({"counts": {"documents_in": 3, "documents_out": 2, "rejected": 0}})
    )
    with pytest.raises(Finding, match="documents are lost"):
        trial.compare()
    (trial.out / "text").write_text("two")
    with pytest.raises(Finding, match="1 files differ, first text"):
        trial.compare()
    (trial.out / "text").write_text("one")
    (trial.out / "manifest.json").write_text(json.dumps({"counts": {}}))
    with pytest.raises(Finding, match="the manifest promises something else"):
        trial.compare()
