"""Workers: results in the order of the tasks, errors as they are, no silence when a worker dies, no unlike machines."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from conftest import REPOSITORY

from toedit.config import ExecutorConfig
from toedit.errors import BadConfiguration, Interrupted, UnusableInput
from toedit.executors.local import in_order
from toedit.executors.machines import difference, here


def prepare(offset: int):
    def work(number: int, what: str) -> int:
        if what == "refuse":
            raise UnusableInput(f"shard {number}: damaged")
        if what == "die":
            os._exit(9)
        return number + offset

    return work


@pytest.mark.parametrize("processes", [1, 2, None])
def test_results_come_in_the_order_of_the_tasks(processes):
    assert list(in_order(prepare, (100,), [(number, "add") for number in range(9)], processes)) == list(range(100, 109))
    assert list(in_order(prepare, (100,), [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_is_raised_as_it_is(processes):
    results = in_order(prepare, (0,), [(0, "add"), (1, "refuse"), (2, "add")], processes)
    assert next(results) == 0
    with pytest.raises(UnusableInput, match="shard 1: damaged"):
        next(results)


def prepare_from(file: str):
    raise UnusableInput(f"{file}: damaged")


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_the_preparation_is_raised_as_it_is(processes, capfd):
    with pytest.raises(UnusableInput, match=r"^tokenizer\.json: damaged$"):
        list(in_order(prepare_from, ("tokenizer.json",), [(number,) for number in range(5)], processes))
    assert capfd.readouterr().err == ""


STARTING = """
import os, signal, sys, time
from toedit.executors.local import in_order

def prepare():
    return abs

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it, and so would this
    try:
        list(in_order(prepare, (), [(number,) for number in range(4)], 2))
    except KeyboardInterrupt:
        sys.exit(75)
else:  # a worker, which imports this file before it does anything else
    open(f"started-{os.getpid()}", "w").close()
    time.sleep(2)
"""


def test_an_interrupt_while_the_workers_start_is_the_parent_s_alone(tmp_path):
    (tmp_path / "script.py").write_text(STARTING)
    script = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                              start_new_session=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("started-*"))) < 2:
        assert script.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(script.pid, signal.SIGINT)  # as a terminal sends it
    _, said = script.communicate(timeout=60)
    assert (script.returncode, said) == (75, "")


def test_a_worker_that_dies_interrupts_the_run():
    with pytest.raises(Interrupted, match="same command resumes"):
        list(in_order(prepare, (0,), [(0, "die"), (1, "add")], 2))


@pytest.mark.parametrize(
    "value", [{"cpus": 2.0}, {"gpus": 0.0}, {"memory_gb": 4.0}, {"shards_per_task": 2}, {"connect_seconds": 5.0},
              {"address": "node0:6379"}],
)  # fmt: skip
def test_a_setting_of_ray_is_refused_where_it_would_do_nothing(value):
    (key,) = value
    assert getattr(ExecutorConfig(kind="ray", **value), key) == value[key]
    with pytest.raises(BadConfiguration, match=rf"^executor\.{key}=.*belongs to executor=ray"):
        ExecutorConfig(**value)


def test_a_machine_that_differs_is_named_with_what_differs(tmp_path):
    output, model = tmp_path / "out", tmp_path / "model"
    for folder in (output, model):
        folder.mkdir()
    (output / ".building.json").write_text("{}")
    (model / "config.json").write_text("{}")
    weights = model / "model.safetensors"
    weights.write_bytes(bytes(40 << 20))
    inputs = {"prior": model}
    ours = here(inputs, output, "toedit")
    assert difference(ours, here(inputs, output, "toedit"), "node1", inputs, output) is None

    other = replace(ours, versions={**ours.versions, "torch": "1.0"})
    assert difference(ours, other, "node1", inputs, output) == (
        f"executor=ray: node1 has another version of torch: 1.0 there, {ours.versions['torch']} here"
    )
    with weights.open("r+b") as file:  # gigabytes are not read, but revisions differ at their ends too
        file.seek(-3, 2)
        file.write(b"x")
    assert "node1 holds another version of the prior" in difference(
        ours, here(inputs, output, "toedit"), "node1", inputs, output
    )
    nothing = here({"prior": tmp_path / "nowhere"}, output, "toedit")
    assert f"{model}: node1 does not see the prior" in difference(ours, nothing, "node1", inputs, output)
    unseen = here(inputs, tmp_path / "nowhere", "toedit")
    assert difference(ours, unseen, "node1", inputs, output).startswith(f"out={output}: node1 does not see this folder")
