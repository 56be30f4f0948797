"""Start a training: in this process, or as ranks under torch's elastic launcher, which is what torchrun runs.

A rank that dies ends the others; the checkpoint stands, and the same command resumes (exit code 75). A rank that meets
an error of the user's leaves it in a file, and it is raised here.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.job import Job
from toedit import errors
from toedit.config import TrainerConfig
from toedit.errors import Interrupted, ToEditError

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

_ROOT = Path(__file__).resolve().parents[1]
LOST = 76
"""Exit code of a rank that could no longer reach the others."""
FULL = 77
"""Exit code of a rank on a full disk, which has no room to say so."""


def launch(job: Job) -> None:
    """Train to the end, or raise what stopped it."""
    python = interpreter(job)
    _forget_errors(job)  # before the job is there, for which other machines wait
    path = job.write()
    try:
        if job.config.trainer.ranks == 1 and python == Path(sys.executable):
            run(job)
        else:
            run_ranks(job, path, python, job.config.trainer)
    finally:
        path.unlink(missing_ok=True)
        if job.config.trainer.nodes == 1:  # other machines have yet to read them
            _forget_errors(job)


def interpreter(job: Job) -> Path:
    """The Python of the ranks: this one, or that of the trainer's own environment."""
    if job.config.trainer.kind == "olmo":
        from pretrain import olmo

        return olmo.interpreter(job.config.trainer)
    return Path(sys.executable)


def run(job: Job) -> None:
    """What this process or rank does, with the trainer that `trainer.kind` names."""
    if job.config.trainer.kind == "olmo":
        from pretrain import olmo_run

        olmo_run.run(job)
    else:
        from pretrain import loop

        loop.run(job)


def error_file(job: Job, rank: int) -> Path:
    """Where a rank leaves an error of the user's."""
    return job.folder / "state" / f"error-{rank}.json"


def _forget_errors(job: Job) -> None:
    """Remove what the ranks of an earlier run left, of which there may have been more."""
    for file in (job.folder / "state").glob("error-*.json"):
        file.unlink(missing_ok=True)


def run_ranks(job: Job, path: Path, python: Path, trainer: TrainerConfig) -> None:
    """This machine's ranks of the training whose job lies in `path`; `trainer` is this machine's own."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    with _ranks_find_us(), _handlers_restored():
        try:
            elastic_launch(_launch_config(job, trainer), str(python))("-m", "pretrain.worker", str(path))
        except SignalException:
            raise KeyboardInterrupt from None
        except RendezvousError as error:
            raise Interrupted(
                f"trainer.rendezvous={trainer.rendezvous}: the {trainer.nodes} machines did not find each other "
                f"({' '.join(str(error).split())[:200]}); the same commands try again"
            ) from None
        except ChildFailedError as failed:
            codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
            raise _what_stopped(job, codes) from None


def _launch_config(job: Job, trainer: TrainerConfig) -> LaunchConfig:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    is_alone = trainer.nodes == 1
    return LaunchConfig(
        min_nodes=trainer.nodes,
        max_nodes=trainer.nodes,
        nproc_per_node=trainer.nproc,
        # Machines of one training know each other by it; the job names its folder in full, machine 0 as it was given.
        run_id=uuid.uuid4().hex if is_alone else hashlib.sha256(str(job.folder.resolve()).encode()).hexdigest()[:16],
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0" if is_alone else trainer.rendezvous,
        rdzv_configs={} if is_alone else {"is_host": trainer.node == 0, "timeout": trainer.rendezvous_seconds,
                                          "join_timeout": trainer.rendezvous_seconds},
        local_addr="localhost" if is_alone else trainer.address,
        max_restarts=0,
        monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(),
    )  # fmt: skip


def _what_stopped(job: Job, codes: dict[int, int]) -> BaseException:
    killed = [rank for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM]
    if killed:
        name = signal.Signals(-codes[killed[0]]).name
        return Interrupted(
            f"rank {killed[0]} died ({name}); the others were stopped, the last checkpoint stands, and the same "
            "command resumes there"
        )
    for rank in range(job.config.trainer.ranks):
        with suppress(FileNotFoundError):  # it stays: the other machines look for it, too
            held = json.loads(error_file(job, rank).read_text())
            kind = getattr(errors, held["class"], ToEditError)
            return kind(held["message"])
    if FULL in codes.values():
        return Interrupted(f"the disk is full ({job.folder}); make room, and the same command resumes where it stopped")
    if Interrupted.exit_code in codes.values():
        return Interrupted("a rank was interrupted; the same command resumes at the last checkpoint")
    if all(code == -signal.SIGTERM for code in codes.values()):
        return KeyboardInterrupt()
    if LOST in codes.values() and set(codes.values()) <= {LOST, -signal.SIGTERM}:
        return Interrupted(
            "another rank or machine was lost; the last checkpoint stands, and the same command resumes there, on as "
            "many machines as there are"
        )
    return RuntimeError(f"a rank failed (exit codes {codes}); its traceback stands above")


@contextmanager
def _ranks_find_us() -> Iterator[None]:
    """Ranks import this very checkout, wherever they are started."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _handlers_restored() -> Iterator[None]:
    """The launcher takes the signals over and does not give them back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
