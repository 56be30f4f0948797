"""Tasks answered by the real vLLM: the hf model's numbers within a tolerance, its text where replies are the most
probable ones; `vllm serve` on a checkpoint of ours.

The environment of vLLM: see tests/conftest.py.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from code_fixtures import humaneval_rows, write_code_tasks
from conftest import run_command
from task_fixtures import save_model, task_rows, write_tasks
from test_zz_downstream import configured, evaluate, rows_of

from eval.stage import plan
from eval.vllm_model import VllmModel
from toedit.config import EvalConfig, ExecutionConfig, ScorerConfig
from toedit.errors import BadConfiguration, UnusableInput
from toedit.workspace import read_manifest

NAMES = ["piqa", "winogrande", "truthfulqa_gen"]
GENERATED = {"truthfulqa_gen": {"metric": "bleu_acc"}}
TOLERANCE = 1e-4
"""Of a log-likelihood in float32, relative; docs/downstream.md."""
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def model(harness, tmp_path_factory) -> Path:
    """Random weights; heads of 32, which vLLM's kernels for CPUs take; a chat template."""
    import transformers

    texts = [json.dumps(row) for name in NAMES for row in task_rows(name, 10)]
    texts += [json.dumps(row) for row in humaneval_rows()]
    folder = save_model(tmp_path_factory.mktemp("vllm") / "model", texts, width=64)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("questions"), NAMES, 9, splits=("train",))


@pytest.fixture(scope="module")
def engine(vllm_python, model):
    """One engine for several evaluations: it takes long to start."""
    return VllmModel(model, EvalConfig(kind="downstream", batch_size=8, seed=1234), ScorerConfig())


@pytest.fixture
def running(engine, monkeypatch):
    import eval.vllm_model

    monkeypatch.setattr(eval.vllm_model, "VllmModel", lambda *_: engine)


def compare(tmp_path, model, questions, names, **settings):
    """(samples of hf, samples of vllm) by task, and vLLM's folder."""
    theirs, ours = (
        evaluate(tmp_path / "a", model, questions, names, backend=backend, batch_size=8, **settings)
        for backend in ("hf", "vllm")
    )
    return {
        name: tuple(pq.read_table(folder / "samples" / f"{name}.parquet").to_pylist() for folder in (theirs, ours))
        for name in names
    }, ours


@pytest.mark.parametrize("shots", [0, 2])
def test_log_likelihoods_and_replies_are_those_of_the_hf_model(shots, running, model, questions, tmp_path):
    pairs, ours = compare(tmp_path, model, questions, NAMES, piqa={"shots": shots}, **GENERATED)
    for name in ("piqa", "winogrande"):
        for theirs, own in zip(*pairs[name], strict=True):
            np.testing.assert_allclose(own["logprobs"], theirs["logprobs"], rtol=TOLERANCE)
            assert (own["prompt_hash"], own["greedy"], own["tokens"], own["acc"]) == (
                theirs["prompt_hash"], theirs["greedy"], theirs["tokens"], theirs["acc"]
            )  # fmt: skip
    same = [own["replies"] == theirs["replies"] for theirs, own in zip(*pairs["truthfulqa_gen"], strict=True)]
    assert np.mean(same) > 0.8  # two tokens may be equally likely but for a hair
    row = rows_of(ours)["piqa"]
    assert row["backend"] == "vllm" and row["backend_version"].startswith("vllm 0.32")
    assert read_manifest(ours)["identity"]["backend"] == "vllm"


def test_prompts_longer_than_the_context_lose_their_beginning_and_are_counted(vllm_python, harness, tmp_path):
    """A model of 32 positions: one more token than there fits into the hf model, which does not read the last one."""
    short = save_model(tmp_path / "short", [json.dumps(row) for row in task_rows("piqa", 10)], width=64, positions=32)
    folder = write_tasks(tmp_path / "tasks", ["piqa", "truthfulqa_gen"], 4)
    longer = [{**row, "goal": row["goal"] * 20} for row in task_rows("piqa", 4)]
    (folder / "piqa" / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in longer))
    pairs, ours = compare(tmp_path, short, folder, ["piqa"])
    assert rows_of(ours)["piqa"]["truncated"] == 8
    assert all(np.isfinite(own["logprobs"]).all() for own in pairs["piqa"][1])
    with pytest.raises(UnusableInput, match=r"eval\.tasks\.truthfulqa_gen: the model reads 32 tokens, answers of up"):
        evaluate(tmp_path / "a", short, folder, ["truthfulqa_gen"], backend="vllm", **GENERATED)


def test_programs_and_chat_templates_go_through_vllm_too(running, model, tmp_path):
    folder = write_code_tasks(tmp_path / "code")
    asked = {"metric": "pass@2", "max_new_tokens": 6, "samples": 3, "temperature": 2.0}
    settings = {"execute_code": True, "execution": ExecutionConfig(seconds=60), "chat_template": True}
    done = evaluate(tmp_path / "a", model, folder, ["humaneval"], humaneval=asked, backend="vllm", **settings)
    samples = pq.read_table(done / "samples" / "humaneval.parquet").to_pylist()
    assert rows_of(done)["humaneval"]["value"] == 0.0 and rows_of(done)["humaneval"]["chat_template"] is True
    assert any(len(set(sample["replies"])) > 1 for sample in samples)  # drawn one by one
    theirs = evaluate(tmp_path / "a", model, folder, ["humaneval"], humaneval=asked, backend="hf", **settings)
    hashes = [row["prompt_hash"] for row in pq.read_table(theirs / "samples" / "humaneval.parquet").to_pylist()]
    assert [sample["prompt_hash"] for sample in samples] == hashes


def test_the_command_runs_in_the_environment_that_it_finds(vllm_python, model, questions, tmp_path):
    run = run_command("stage=eval", "eval=general", "eval.backend=vllm", f"eval.tasks_path='{questions}'",
                      "eval.only=[piqa]", f"checkpoint.path='{model}'", "out=done", cwd=tmp_path)  # fmt: skip
    assert "vllm" in run.stdout and rows_of(tmp_path / "done")["piqa"]["backend"] == "vllm"


def test_vllm_serves_a_checkpoint_unchanged(vllm_python, harness, tmp_path):
    """The user's own command on the folder that training leaves."""
    from tokens_fixture import build_tokens

    build_tokens(tmp_path / "artifacts")
    (tokens,) = (tmp_path / "artifacts" / "tokens").iterdir()
    run_command("stage=pretrain", f"tokens.path='{tokens}'", "recipe.steps=3", "recipe.warmup_steps=1",
                "recipe.sequence_length=32", "trainer.compile=false", "model.settings.n_embd=64",
                "model.settings.n_head=2", "out=trained", cwd=tmp_path)  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(vllm_python.parent / "vllm"), "serve", "trained/hf", "--port", str(port), "--host", "127.0.0.1",
               "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "2"]  # fmt: skip
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            answer = ask_when_ready(server, port, {"model": "trained/hf", "prompt": "The", "max_tokens": 4})
        except (AssertionError, urllib.error.HTTPError) as error:
            pytest.fail(f"{error}\n{(tmp_path / 'log').read_text()[-3000:]}")
        finally:
            stop(server)
    assert answer["usage"]["completion_tokens"] >= 1 and isinstance(answer["choices"][0]["text"], str)


def stop(server: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(server.pid, number)
            server.wait(timeout=30)


def ask_when_ready(server: subprocess.Popen, port: int, question: dict) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert server.poll() is None, f"vllm serve ended with {server.returncode}"
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.5)
    raise AssertionError("vllm serve did not answer")


# --- without vLLM -----------------------------------------------------------------------------------------------------


def test_a_missing_environment_is_one_line_with_the_command_that_makes_it(model, questions, tmp_path):
    run = run_command("stage=eval", "eval=general", "eval.backend=vllm", f"eval.tasks_path='{questions}'",
                      "eval.only=[piqa]", f"checkpoint.path='{model}'", cwd=tmp_path, expect=2,
                      TOEDIT_VLLM_VENV=str(tmp_path / "nowhere"))  # fmt: skip
    line = run.stderr.strip().splitlines()[-1]
    assert line.startswith("error: eval.backend=vllm: ") and "0.32" in line
    assert "bash scripts/environment_vllm.sh" in line and line.endswith("or name one with eval.python")
    assert "Traceback" not in run.stderr


def test_a_python_without_vllm_is_one_line(model, questions, tmp_path):
    with pytest.raises(BadConfiguration, match=r"^eval\.backend=vllm: vllm 0\.32 serves, this Python has none; "):
        evaluate(tmp_path / "a", model, questions, ["piqa"], backend="vllm", python=sys.executable)


def test_the_backend_is_part_of_the_identity_and_where_it_lives_is_not(model, questions, tmp_path):
    def address(**settings):
        return plan(configured(tmp_path, model, questions, ["piqa"], **settings)).path

    assert address() == address(backend="hf") != address(backend="vllm")
    assert address(backend="vllm") == address(backend="vllm", python="/elsewhere/bin/python")
    with pytest.raises(BadConfiguration, match=r"eval\.python=x: is read with eval\.backend=vllm alone"):
        address(python="x")
    with pytest.raises(BadConfiguration, match=r"eval\.backend=gguf: must be one of hf, vllm"):
        address(backend="gguf")
