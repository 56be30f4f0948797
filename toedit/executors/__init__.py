"""Executors: who works on the shards of a corpus, and where.

Scoring, editing, tokenising and counting are each a piece of work that takes a shard and commits what it makes of it
(`toedit/workspace.py`). `over_shards` has it done for many: by processes of this machine (`local.py`), or by the actors
of a Ray cluster (`ray_cluster.py`). As a shard is one worker's alone, bytes never depend on who did it, on the number
of workers, or on how many of them were lost.

    python run.py stage=edit executor=ray executor.address=node0:6379 out=/shared/edited

`Work` is what `prepare(*arguments)` makes, once in each worker: a callable that takes the folder being built, a shard,
and whatever else a task holds. It may have `many(tasks)`, which does several at once where their steps overlap.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from toedit.config import ExecutorConfig
from toedit.executors.local import Work, in_order
from toedit.workspace import Workspace

_executor: ContextVar[ExecutorConfig | None] = ContextVar("executor", default=None)


@dataclass(frozen=True)
class Need:
    """What one worker needs besides a CPU."""

    memory_bytes: float = 0.0
    memory_of: str = "its work"
    """What takes the memory, for the line that says it does not fit."""
    gpu: bool = False
    """Whether it would use a GPU."""


@dataclass(frozen=True)
class ShardWork:
    """What is done with every shard."""

    title: str
    prepare: Callable[..., Work]
    arguments: tuple[Any, ...] = ()
    need: Need = field(default_factory=Need)


@contextmanager
def using(config: ExecutorConfig) -> Iterator[None]:
    """What is built inside is worked on by this executor. It is nobody's identity, so it is nobody's argument."""
    token = _executor.set(config)
    try:
        yield
    finally:
        _executor.reset(token)
        if config.kind == "ray" and "toedit.executors.ray_cluster" in sys.modules:
            sys.modules["toedit.executors.ray_cluster"].disconnect()


def current() -> ExecutorConfig:
    """The executor of the command that is running."""
    return _executor.get() or ExecutorConfig()


def over_shards(
    workspace: Workspace, work: ShardWork, tasks: Sequence[tuple[Any, ...]], processes: int | None
) -> Iterator[tuple[int, Any]]:
    """Have the work done for every task; yield (number of the task, what the work returned), in any order.

    `processes` is what the stage itself says where `executor.workers` says nothing; None is one a core. Raises what the
    work raises, and Interrupted where workers are lost and a repetition does not help.
    """
    executor = current()
    if executor.kind == "ray" and tasks:
        from toedit.executors.ray_cluster import on_cluster

        return on_cluster(workspace, work, tasks, executor)
    return enumerate(in_order(work.prepare, work.arguments, tasks, executor.workers or processes))
