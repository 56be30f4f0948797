"""Two machines train one model."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import REPOSITORY
from machines_fixture import two_machines
from tokens_fixture import build_tokens

from pretrain.nodes import joined
from pretrain.tracking import read_metrics
from toedit.config import TrainerConfig
from toedit.errors import BadConfiguration

RECIPE = ("recipe.sequence_length=32", "recipe.batch_sequences=32", "recipe.steps=20", "recipe.warmup_steps=4",
          "trainer.log_every=1", "trainer.checkpoint_every=10", "trainer.micro_batch_sequences=16",
          "recipe.dtype=float32", "trainer.rendezvous_seconds=60")  # fmt: skip
COMMAND = (sys.executable, str(REPOSITORY / "run.py"), "stage=pretrain")


@pytest.fixture(scope="module")
def machines():
    with two_machines("train", "10.213.7") as machines:
        yield machines


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return build_tokens(tmp_path_factory.mktemp("tokens"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Training:
    """The same command on both machines."""

    def __init__(self, machines, tokens, out, *overrides):
        port = free_port()
        self.processes, self.logs = [], []
        for node, machine in enumerate(machines):
            interface = {"GLOO_SOCKET_IFNAME": machine.interface}
            log = out.parent / f"{out.name}.{node}.log"
            command = [*machine.inside, *COMMAND, f"tokens.path={tokens}", *RECIPE, *overrides,
                       "trainer.nodes=2", f"trainer.node={node}", f"trainer.address={machine.address}",
                       f"trainer.rendezvous={machines[0].address}:{port}", f"out={out.name}"]  # fmt: skip
            with log.open("w") as file:
                self.processes.append(
                    subprocess.Popen(command, cwd=out.parent, stdout=file, stderr=file, env={**os.environ, **interface},
                                     start_new_session=True)
                )  # fmt: skip
            self.logs.append(log)

    def codes(self, timeout=240):
        codes = [process.wait(timeout) for process in self.processes]
        return codes, [log.read_text() for log in self.logs]


def losses(out):
    return np.array([float(row["loss"]) for row in read_metrics(out / "metrics.csv")])


@pytest.fixture(scope="module")
def alone(tokens, tmp_path_factory):
    """The same training as one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    command = [
        sys.executable,
        str(REPOSITORY / "run.py"),
        "stage=pretrain",
        f"tokens.path={tokens}",
        *RECIPE,
        f"out={out}",
    ]
    subprocess.run(command, cwd=out.parent, check=True, capture_output=True)
    return out


@pytest.mark.parametrize("sharding", ["full", "hybrid"])
def test_two_machines_make_the_model_of_one(machines, tokens, alone, tmp_path, sharding):
    nproc = 2 if sharding == "hybrid" else 1
    both = Training(machines, tokens, tmp_path / "both", f"trainer.sharding={sharding}", f"trainer.nproc={nproc}",
                    "trainer.micro_batch_sequences=8")  # fmt: skip
    codes, logs = both.codes()
    assert codes == [0, 0], "\n".join(logs)
    np.testing.assert_allclose(losses(tmp_path / "both"), losses(alone), rtol=2e-5)
    assert (tmp_path / "both" / "hf" / "model.safetensors").exists()
    for log in logs:
        assert log.splitlines()[-1].endswith(": both")  # both say where it is


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_machine_ends_in_75_and_fewer_go_on(machines, tokens, alone, tmp_path, lost):
    out = tmp_path / "lost"
    both = Training(machines, tokens, out, "recipe.steps=20", "trainer.checkpoint_every=5")
    state = out / "state"
    for _ in range(1200):
        begun = list(state.glob("step*")) if state.is_dir() else []
        if begun or both.processes[0].poll() is not None:
            break
        time.sleep(0.05)
    os.killpg(both.processes[lost].pid, signal.SIGKILL)
    codes, logs = both.codes()
    assert codes[1 - lost] == 75, "\n".join(logs)
    assert "Traceback" not in logs[1 - lost].split("error:")[-1] and "the same command" in logs[1 - lost]
    assert not (out / "manifest.json").exists()
    command = [*COMMAND, f"tokens.path={tokens}", *RECIPE, "trainer.checkpoint_every=5", f"out={out}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and "resuming after step" in run.stderr, run.stderr
    np.testing.assert_allclose(losses(out), losses(alone), rtol=2e-5)


def test_a_machine_that_nobody_joins_says_so(machines, tokens, tmp_path):
    command = [*COMMAND, f"tokens.path={tokens}", *RECIPE, "trainer.nodes=2", "trainer.rendezvous_seconds=2"]
    command.append(f"trainer.rendezvous=127.0.0.1:{free_port()}")
    for node, words in ((0, "did not find each other"), (1, "machine 0 has not begun it")):
        run = subprocess.run(
            [*command, f"trainer.node={node}", f"out={tmp_path / str(node)}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 75 and words in run.stderr and "Traceback" not in run.stderr, run.stderr


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"nodes": 0}, "trainer.nodes"),
        ({"nodes": 2, "node": 2}, "trainer.node"),
        ({"nodes": 2, "kind": "llamafactory"}, "trainer.nodes"),
        ({"rendezvous": "here"}, "trainer.rendezvous"),
        ({"sharding": "half"}, "trainer.sharding"),
    ],
)
def test_settings_that_cannot_be_name_their_key(wrong, key):
    with pytest.raises(BadConfiguration, match=rf"^{key}="):
        TrainerConfig(**wrong)


def test_a_joined_checkpoint_is_the_same_artifact(tokens):
    from pretrain.stage import plan
    from toedit.config import Config, TokensConfig

    trainers = [TrainerConfig(nodes=2, node=node) for node in (0, 1)]
    first, second = (plan(Config(tokens=TokensConfig(path=str(tokens)), trainer=trainer)) for trainer in trainers)
    assert first.fingerprint == second.fingerprint and first.path == second.path
    assert type(second) is type(joined(first, trainers[1]))
