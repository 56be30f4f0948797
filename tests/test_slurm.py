"""The Slurm script, run as Slurm would: a warning signal ends in a clean stop, a requeue and a resumption."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import REPOSITORY, training_overrides

SCRIPT = REPOSITORY / "scripts" / "slurm" / "run.sbatch"


@pytest.fixture
def job(tmp_path):
    """What Slurm gives a job; `scontrol` writes down what it is asked."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "scontrol"
    tool.write_text(f'#!/usr/bin/env bash\necho "$@" >> {tmp_path}/asked\n')
    tool.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "TOEDIT_REPOSITORY": str(REPOSITORY),
        "TOEDIT_PYTHON": sys.executable,
    }


def test_a_warning_ends_in_a_requeue_and_the_next_run_in_the_result(corpus_file, job, tmp_path):
    command = ["bash", str(SCRIPT), "stage=prior", "corpus@prior.corpus=local", f"prior.corpus.path={corpus_file}",
               "prior.corpus.split=null", *training_overrides(steps=400, checkpoint_every=20),
               f"artifacts={tmp_path / 'artifacts'}", f"out={tmp_path / 'prior'}"]  # fmt: skip
    first = subprocess.Popen(command, env=job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    state = tmp_path / "prior" / "state"
    for _ in range(600):
        if (state.is_dir() and any(state.iterdir())) or first.poll() is not None:
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 75, said
    assert "the same command resumes" in said and (tmp_path / "asked").read_text() == "requeue 7\n"
    second = subprocess.run(command, env=job, capture_output=True, text=True, timeout=300)
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "prior" / "manifest.json").exists()
    assert (tmp_path / "asked").read_text() == "requeue 7\n"  # no second time


def test_any_other_exit_code_is_the_job_s(job, tmp_path):
    run = subprocess.run(["bash", str(SCRIPT), "stage=edti"], env=job, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and "stage" in run.stderr and not (tmp_path / "asked").exists()
