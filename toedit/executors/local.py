"""executor=local: processes of this machine; results come in the order of the tasks.

A worker prepares itself once (loads a tokenizer), then takes one shard after another.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from toedit.errors import Interrupted

Work = Callable[..., Any]

_work: Work | None = None
_failure: Exception | None = None
"""What the worker's `prepare` raised: an initializer that raises would break the pool, and say nothing but that."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    prepare: Callable[..., Work], arguments: tuple[Any, ...], tasks: Sequence[tuple[Any, ...]], processes: int | None
) -> Iterator[Any]:
    """`work(*task)` for every task, in their order; `work` is what `prepare(*arguments)` makes in each process.

    One task, or one process, is done in this one. Raises what `prepare` or `work` raises, and Interrupted where a
    worker dies.
    """
    count = min(processes or cores(), len(tasks))
    if count <= 1:
        if tasks:
            work = prepare(*arguments)
            yield from (work(*task) for task in tasks)
        return
    context = get_context("spawn")  # a fork would inherit the threads of whatever library was used before
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(prepare, arguments))
    try:
        with _interrupts_held():
            results = pool.map(_one, tasks)  # the processes start here
        yield from results
    except BrokenProcessPool:
        raise Interrupted(
            "a worker process ended unexpectedly (out of memory?); the same command resumes where it stopped, and "
            "executor.workers=1 needs least"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that are started meanwhile begin without SIGINT, which comes to this one afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(prepare: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    """What a worker does first."""
    global _work, _failure
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    try:
        _work = prepare(*arguments)
    except Exception as error:
        _failure = error


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(task: tuple[Any, ...]) -> Any:
    if _failure is not None:
        raise _failure
    assert _work is not None
    return _work(*task)
