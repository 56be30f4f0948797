"""Runs programs that nobody has read: each in a process, a folder and an environment of its own, many at a time.

`code_sandbox.py` is that process; this module starts it, waits for what it says, and clears up. What the program may
use stands in `eval.execution`. It protects the machine from blunders; it is no boundary against a program that is made
to break out (docs/downstream.md says what is guaranteed). Reads and writes nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import code_sandbox
from eval.code_sandbox import PASSED, TIME
from toedit.config import ExecutionConfig
from toedit.console import Progress, printable
from toedit.errors import UnusableInput

_GRACE_SECONDS = 30.0
"""For the process around the program, on a busy machine; it keeps the time of the program itself."""


@dataclass(frozen=True)
class Verdict:
    """What became of a program."""

    reason: str
    """`passed`, or why not: `wrong answer`, `time`, `memory`, an exception, an end before the tests were over."""
    guards: tuple[str, ...] = ()
    """What stood between it and the machine."""

    @property
    def passed(self) -> bool:
        return self.reason == PASSED


def run_programs(programs: Sequence[str], limits: ExecutionConfig, kernel: bool = True) -> list[Verdict]:
    """A verdict for each program, in order. A program passes when it runs to its end; its tests are part of it.

    `kernel` false leaves namespaces and Landlock out, as on a machine that has none.
    """
    guards(limits, kernel)
    workers = limits.workers or os.cpu_count() or 1
    verdicts = []
    with ThreadPoolExecutor(workers) as pool, Progress("execution", len(programs), "programs") as progress:
        for verdict in pool.map(lambda program: run_program(program, limits, kernel), programs):
            verdicts.append(verdict)
            progress.advance(1)
    return verdicts


def guards(limits: ExecutionConfig, kernel: bool = True) -> tuple[str, ...]:
    """What stands between a program and this machine. Raises UnusableInput where nothing can pass: every model would
    get 0."""
    verdict = run_program("assert sum(range(10)) == 45", limits, kernel)
    if not verdict.passed:
        raise UnusableInput(f"eval.execution: not even a program without a mistake passes here: {verdict.reason}")
    return verdict.guards


def run_program(program: str, limits: ExecutionConfig, kernel: bool = True) -> Verdict:
    """One program, to its end or to a limit."""
    with tempfile.TemporaryDirectory(prefix="program-", ignore_cleanup_errors=True) as folder:
        try:
            return _run_in(folder, program, limits, kernel)
        finally:
            _reopen(Path(folder))


def _run_in(folder: str, program: str, limits: ExecutionConfig, kernel: bool) -> Verdict:
    asked: dict[str, Any] = {
        "program": program,
        "kernel": kernel,
        "limits": {
            "seconds": limits.seconds,
            "memory_bytes": limits.memory_mb << 20,
            "file_bytes": limits.file_mb << 20,
            "open_files": limits.open_files,
            "processes": limits.processes,
        },
    }
    environment = {
        "HOME": folder,
        "TMPDIR": folder,
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",  # sets in the same order every time
        "OPENBLAS_NUM_THREADS": "1",  # each thread would count as a process
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-s", "-P", "-B", str(Path(code_sandbox.__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(json.dumps(asked).encode(), timeout=limits.seconds + _GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return Verdict(TIME)
    finally:
        _end_group(process)
    try:
        answer = json.loads(said)
    except ValueError:
        return Verdict(f"the process around it ended (exit code {process.returncode})")
    return Verdict(printable(answer["reason"]), tuple(answer["guards"]))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """The process and all of its group, whether it has ended or not."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left
        pass
    process.wait()


def _reopen(folder: Path) -> None:
    """Folders that the program closed, so that they can be removed."""
    for inside, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(inside) / name
            if not path.is_symlink():
                path.chmod(0o700)
