"""Runs LLaMA-Factory's own command in its own environment, shows its progress, and ends it when this process ends.

Reads `<checkpoint>/llamafactory/train.yaml`. The command writes below `output/`, and everything that it says into
`train.log`. A killed training goes on from its last checkpoint when the command is started again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pretrain import tether
from pretrain.llamafactory_environment import Environment
from pretrain.llamafactory_files import OUTPUT, needs_torchrun
from toedit.config import Config
from toedit.console import Progress
from toedit.errors import Interrupted, ToEditError, UnusableInput

LOG, TRAINER_LOG, STATE = "train.log", "trainer_log.jsonl", "trainer_state.json"
CACHE, RUNNING = ".cache", ".running"
_LOOK_EVERY = 0.2
# Switches of LLaMA-Factory and torchrun that a shell may hold, and the paths of another environment.
_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "USE_V1", "USE_MCA", "USE_RAY", "USE_KT", "LLAMABOARD_ENABLED",
             "FORCE_TORCHRUN", "NNODES", "NODE_RANK", "RDZV_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE")  # fmt: skip
_ERROR = re.compile(r"^(?:\[rank\d+\]:\s*)?((?:\w+\.)*\w*(?:Error|Exception|Exit)): (.+)$")
_PACKED_IN = ("ChildFailedError", "CalledProcessError")  # of torchrun and the command itself: they repeat another's

Row = dict[str, Any]


def environment_variables(environment: Environment, folder: Path, config: Config) -> dict[str, str]:
    """What the command runs with; without the Hub, as everything that it reads lies in folders."""
    variables = {key: value for key, value in os.environ.items() if key not in _LEFT_OUT}
    variables["PATH"] = os.pathsep.join([str(environment.python.parent), variables.get("PATH", os.defpath)])
    variables |= {"PYTHONUNBUFFERED": "1", "NPROC_PER_NODE": str(config.trainer.nproc)}
    variables["HF_DATASETS_CACHE"] = str((folder / CACHE).resolve())
    if needs_torchrun(config):
        variables["FORCE_TORCHRUN"] = "1"
    if config.trainer.threads is not None:
        variables["OMP_NUM_THREADS"] = str(config.trainer.threads)
    if not config.llamafactory.settings.get("push_to_hub"):
        variables |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return variables


def last_step(folder: Path) -> int:
    """The step at which a training goes on: that of the last complete checkpoint, or 0."""
    complete = [path.parent.name for path in (folder / OUTPUT).glob(f"checkpoint-*/{STATE}")]
    return max((int(name.rpartition("-")[2]) for name in complete), default=0)


def train(environment: Environment, folder: Path, variables: Mapping[str, str], log: Callable[[Row], None]) -> float:
    """`llamafactory-cli train train.yaml` in `folder`; `log` gets each row of losses as it is written.

    Returns the seconds that the command ran, as `export` does.
    """
    started = time.monotonic()
    output = folder / OUTPUT
    for checkpoint in output.glob("checkpoint-*"):
        if not (checkpoint / STATE).is_file():  # written last: a killed run left this one unfinished
            shutil.rmtree(checkpoint)
    rows = output / TRAINER_LOG
    with _command([environment.command, "train", "train.yaml"], folder, variables, folder / LOG) as process:
        _follow(process, rows, rows.stat().st_size if rows.is_file() else 0, log)
    return time.monotonic() - started


def export(environment: Environment, folder: Path, variables: Mapping[str, str]) -> float:
    """`llamafactory-cli export export.yaml` in `folder`."""
    started = time.monotonic()
    with _command([environment.command, "export", "export.yaml"], folder, variables, folder / LOG) as process:
        process.wait()
    return time.monotonic() - started


def _follow(process: subprocess.Popen[bytes], path: Path, read: int, log: Callable[[Row], None]) -> None:
    """Show the rows of `path` from byte `read` on, until the process ends."""
    progress: Progress | None = None
    done = 0
    running = True
    while running:
        running = process.poll() is None  # before the rows are read: none is missed
        found, read = _new_rows(path, read)
        for row in found:
            if "loss" not in row:
                continue
            if progress is None:
                progress = Progress("training", row["total_steps"], "steps").__enter__()
                done = row["current_steps"] - 1  # near enough; what an earlier run did is no part of the rate
                progress.skip(done)
            progress.advance(row["current_steps"] - done, f"loss {row['loss']:.4f}")
            done = row["current_steps"]
            log(row)
        if running:
            time.sleep(_LOOK_EVERY)
    if progress is not None:
        progress.__exit__(None, None, None)


def _new_rows(path: Path, read: int) -> tuple[list[Row], int]:
    """(whole lines from byte `read` on, the byte behind them)."""
    if not path.is_file() or path.stat().st_size <= read:
        return [], read
    with path.open("rb") as file:
        file.seek(read)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], read + len(whole)


@contextmanager
def _command(
    command: list[str], folder: Path, variables: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The running command, its output appended to `log`; it ends with this block, and a failure is raised."""
    with log.open("ab") as file, (folder / RUNNING).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the command of a killed run may be ending just now
        start = file.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [sys.executable, "-I", str(tether.__file__), *command],
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock.fileno()],  # the lock is the tether's from now on
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        code = process.wait()
    if code:
        raise what_stopped(code, log, start)


def what_stopped(code: int, log: Path, start: int = 0) -> ToEditError:
    """The error of a command that ended with `code`, from what it wrote behind byte `start` of its log."""
    if code - 128 in signal.valid_signals():
        how = signal.Signals(code - 128).name
        return Interrupted(
            f"LLaMA-Factory was killed ({how}); its log: {log}; the same command resumes at the last checkpoint"
        )
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    found = [match for line in lines if (match := _ERROR.match(line))]
    own = [match for match in found if match[1].rpartition(".")[2] not in _PACKED_IN]
    reason = f"{own[-1][1]}: {own[-1][2]}" if own else f"exit code {code}"
    return UnusableInput(f"LLaMA-Factory failed: {reason[:400]}; its log: {log}")
