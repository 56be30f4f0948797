"""Faults at random moments: the script that injects them, as long as CI can spare; for an hour, call it yourself."""

import re
import subprocess
import sys

from conftest import REPOSITORY


def test_killed_runs_of_every_stage_end_as_if_undisturbed(tmp_path):
    script = [sys.executable, str(REPOSITORY / "scripts" / "inject_faults.py"), "--kills", "7", "--documents", "120"]
    run = subprocess.run([*script, "--work", str(tmp_path)], capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = dict(re.findall(r"^(\w+) +\d+ +(\d+) +none$", run.stdout, re.MULTILINE))
    assert list(rows) == ["corpus", "score", "edit", "mix", "tokenize", "pretrain"]
    assert sum(map(int, rows.values())) >= 3  # some ended before their moment came


def test_a_difference_is_found(tmp_path):
    """The script itself: a run whose files are not those of the undisturbed one is a fault."""
    sys.path.insert(0, str(REPOSITORY / "scripts"))
    try:
        from inject_faults import Stage, files_of
    finally:
        sys.path.pop(0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "text").write_text("one")
    stage = Stage("edit", [], files=files_of(tmp_path / "a"))
    (tmp_path / "a" / "manifest.json").write_text("{}")
    assert files_of(tmp_path / "a") == stage.files
    (tmp_path / "a" / "text").write_text("two")
    assert files_of(tmp_path / "a") != stage.files
