"""The ranks of a training and what they say to each other; one process is a rank among none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

from toedit.config import TrainerConfig
from toedit.errors import BadConfiguration


@dataclass(frozen=True)
class Ranks:
    """This process among the others."""

    rank: int
    count: int
    device: torch.device
    on_this_machine: int = 1
    """Ranks of one machine; all have as many."""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def total_(self, value: Tensor) -> Tensor:
        """Sum over the ranks, in place."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def wait(self) -> None:
        if self.count > 1:
            dist.barrier()


@contextmanager
def join(trainer: TrainerConfig) -> Iterator[Ranks]:
    """Join the ranks that the launcher started (WORLD_SIZE in the environment), or be alone."""
    is_cuda = trainer.device == "cuda" or (trainer.device == "auto" and torch.cuda.is_available())
    if is_cuda and not torch.cuda.is_available():
        raise BadConfiguration(f"trainer.device={trainer.device}: this machine has no CUDA device")
    local, count = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if is_cuda and local >= torch.cuda.device_count():
        raise BadConfiguration(f"trainer.nproc={trainer.nproc}: this machine has {torch.cuda.device_count()} devices")
    device = torch.device("cuda", local) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(device)
    if count == 1:
        yield Ranks(0, 1, device)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if is_cuda else "gloo")
    yield Ranks(dist.get_rank(), count, device, int(os.environ.get("LOCAL_WORLD_SIZE", count)))
    # The group is not taken down: worker.py ends the process at once, and nobody may still be waiting for it.
    dist.barrier()
