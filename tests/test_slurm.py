"""The Slurm script, run as Slurm would: a warning signal ends in a clean stop, a requeue and a resumption."""

import os
import signal
import socket
import subprocess
import time

import pytest
from conftest import REPOSITORY, training_overrides
from slurm_fixture import slurm_job
from tokens_fixture import build_tokens

SCRIPT = REPOSITORY / "scripts" / "slurm" / "run.sbatch"
NODES = REPOSITORY / "scripts" / "slurm" / "nodes.sbatch"
SMALL = ("recipe.sequence_length=32", "recipe.steps=60", "recipe.batch_sequences=8", "trainer.checkpoint_every=5",
         "trainer.micro_batch_sequences=4", "trainer.address=127.0.0.1", "trainer.rendezvous_seconds=60")  # fmt: skip


@pytest.fixture
def job(tmp_path):
    return slurm_job(tmp_path)


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


def test_two_machines_stop_together_and_go_on_together(job, tmp_path):
    tokens = build_tokens(tmp_path / "tokens")
    command = ["bash", str(NODES), "stage=pretrain", f"tokens.path={tokens}", f"out={tmp_path / 'model'}", *SMALL]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        job = {**job, "TOEDIT_PORT": str(probe.getsockname()[1]), "GLOO_SOCKET_IFNAME": "lo"}
    first = subprocess.Popen(command, env=job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    state = tmp_path / "model" / "state"
    for _ in range(1200):
        if list(state.glob("step*")) or first.poll() is not None:
            break
        time.sleep(0.05)
    # Slurm tells the processes of the steps, one of each machine.
    steps = subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True).stdout.split()
    assert len(steps) == 2
    for step in steps:
        os.kill(int(step), signal.SIGTERM)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 75 and (tmp_path / "asked").read_text() == "requeue 7\n", said
    second = subprocess.run(command, env=job, capture_output=True, text=True, timeout=300)
    assert second.returncode == 0 and "resuming after step" in second.stderr, second.stderr
    assert (tmp_path / "model" / "hf" / "model.safetensors").exists()


def test_a_bad_input_is_not_put_back_into_the_queue(job, tmp_path):
    """Only machine 0 meets it; the other one waits for a training that never begins, and would resume."""
    rows, tokenizer = tmp_path / "bad.jsonl", build_tokens(tmp_path / "tokens") / "tokenizer"
    rows.write_text('{"text": "a row"}\nno row\n')
    command = ["bash", str(NODES), "stage=pretrain", "model=gpt2_tiny", "corpus=local", f"corpus.path={rows}",
               "corpus.on_bad_row=stop", f"tokens.tokenizer={tokenizer}", "trainer.rendezvous_seconds=5", *SMALL[:-1],
               f"artifacts={tmp_path / 'artifacts'}", f"out={tmp_path / 'model'}"]  # fmt: skip
    run = subprocess.run(command, env=job, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert run.returncode == 2 and not (tmp_path / "asked").exists(), run.stderr
    assert "line 2" in run.stderr and "machine 0 ended with exit code 2" in run.stderr, run.stderr


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((75, 75), 75), ((2, 75), 2), ((75, 3), 3), ((75, 1), 1), ((75, 137), 75), ((137, 75), 75)],
)
def test_what_the_machines_end_with_decides_about_the_queue(codes, expected, job, tmp_path):
    """Lost machines and interrupted ones go on; an error that some machine met by itself would be met again."""
    stub = tmp_path / "python"
    stub.write_text('#!/usr/bin/env bash\nfor word; do [[ $word == trainer.node=* ]] && node=${word#*=}; done\n'
                    f"codes=({' '.join(map(str, codes))})\nexit ${{codes[node]}}\n")  # fmt: skip
    stub.chmod(0o755)
    run = subprocess.run(["bash", str(NODES)], env={**job, "TOEDIT_PYTHON": str(stub)}, capture_output=True, text=True)
    assert run.returncode == expected, run.stderr
    assert (tmp_path / "asked").exists() == (expected == 75)
