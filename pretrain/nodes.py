"""A training on several machines, seen from those that do not write its checkpoint.

    machine 0    python run.py stage=pretrain ... trainer.nodes=2 trainer.rendezvous=node0:29400
    machine 1    python run.py stage=pretrain ... trainer.nodes=2 trainer.rendezvous=node0:29400 trainer.node=1

Machine 0 does what it would do alone: it builds the inputs, holds the checkpoint's lock, writes the job, exports the
model. The others wait for that job, add their ranks to it, and end when the checkpoint is finished. A machine that is
lost ends all with exit code 75; the same commands resume at the last checkpoint, on fewer machines too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from pretrain.job import RUN_FILE, Job
from toedit.artifacts import Artifact
from toedit.config import TrainerConfig
from toedit.console import note
from toedit.errors import Interrupted

_PAUSE = 0.2


class JoinedCheckpoint(Artifact):
    """A checkpoint that machine 0 builds, and this one helps with."""

    trainer: TrainerConfig

    def ensure(self) -> Path:
        if self.state() != "cached":
            join(self.path, self.trainer)
            _wait(lambda: self.state() == "cached", self.trainer, f"{self.path}: machine 0 has not finished it")
        return self.path


def joined(checkpoint: Artifact, trainer: TrainerConfig) -> JoinedCheckpoint:
    made = JoinedCheckpoint(**{item.name: getattr(checkpoint, item.name) for item in fields(Artifact)})
    made.trainer = trainer
    return made


def join(folder: Path, trainer: TrainerConfig) -> None:
    """This machine's ranks of the training of the checkpoint in `folder`, once machine 0 has begun it."""
    from pretrain.launch import interpreter, run_ranks

    path = folder / RUN_FILE
    note(f"machine {trainer.node} of {trainer.nodes}: waiting for machine 0 to begin {folder}")
    _wait(path.exists, trainer, f"{folder}: machine 0 has not begun it; give it the same command with trainer.node=0")
    job = Job.read(path)
    run_ranks(job, path, interpreter(job), trainer)


def _wait(done: Callable[[], bool], trainer: TrainerConfig, otherwise: str) -> None:
    end = time.monotonic() + trainer.rendezvous_seconds
    while not done():
        if time.monotonic() > end:
            raise Interrupted(f"{otherwise} (trainer.rendezvous_seconds={trainer.rendezvous_seconds:g})")
        time.sleep(_PAUSE)
