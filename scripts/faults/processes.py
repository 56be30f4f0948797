"""Faults of processes: the run killed at a random moment, a worker or rank killed, no memory left.

kill      SIGKILL, or at times SIGTERM, for all processes of the run, once or several times
worker    SIGKILL for one worker of a pool (or rank of a training), as the kernel does where memory is short
memory    the address space of the run is closed at a random moment: what it asks for then, it does not get
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from faults.runs import Finding, Trial

AGAIN = 0.3
"""How likely a run that goes on is killed again."""
_WORKERS = ("spawn_main", "pretrain.worker")
_KILLED = {-signal.SIGKILL, -signal.SIGTERM}


def kill(trial: Trial) -> str:
    """Kill the run, let it go on, perhaps kill it again."""
    taken, code = 0, -1
    while code != 0:
        process = trial.start()
        if taken == 0 or trial.draw.random() < AGAIN:
            try:
                process.wait(trial.moment())
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGTERM if trial.draw.random() < 0.25 else signal.SIGKILL)
                taken += 1
        code = trial.wait(process, {0, 75, *_KILLED})
    trial.compare()
    return f"killed {taken} times, as undisturbed" if taken > 1 else "killed, as undisturbed" if taken else "too late"


def worker(trial: Trial) -> str:
    """Kill one worker; the run has to say so, and to go on when it is called again."""
    if trial.stage.name != "ranks":
        trial.settings = ["executor.workers=2"]
    process = trial.start()
    victims: list[int] = []
    while process.poll() is None and not (victims := list(_workers_of(process.pid))):
        time.sleep(0.01)
    time.sleep(trial.draw.uniform(0, 0.3) * trial.stage.seconds)
    victims = list(_workers_of(process.pid)) or victims
    if victims and process.poll() is None:
        try:
            os.kill(trial.draw.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            pass
    if trial.wait(process, {0, 75}) == 0:
        trial.compare()
        return "too late"
    trial.finish()
    return "one line, then as undisturbed"


def memory(trial: Trial) -> str:
    """Close the address space of the run where it stands, with a little room or none."""
    process = trial.start()
    try:
        process.wait(trial.draw.uniform(0.3, 1.0) * trial.stage.seconds)
    except subprocess.TimeoutExpired:
        room = int(trial.draw.uniform(0, 2) ** 4 * (1 << 20))  # often nearly nothing, at times 16 MB
        try:
            held = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(process.pid, resource.RLIMIT_AS, (held + room, held + room))
        except (OSError, IndexError):
            pass
    # A library of C++ or Rust aborts where it gets no memory: as good as killed.
    try:
        code = trial.wait(process, {0, 75, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL})
    except Finding:
        # Python waits for ever for a thread that gets no memory before its first line; nothing of ours runs then.
        if process.wait() != -signal.SIGKILL or "Exception ignored in thread started by" not in trial.log.read_text():
            raise
        trial.finish()
        return "hung as Python started a thread; killed, then as undisturbed"
    if code == 0:
        trial.compare()
        return "as undisturbed"
    trial.finish()
    return "one line, then as undisturbed" if code > 0 else "aborted, then as undisturbed"


def _workers_of(parent: int) -> Iterator[int]:
    """Worker processes below `parent`."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            above = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(above, []).append(int(folder.name))
    waiting = list(children.get(parent, []))
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        try:
            command = Path(f"/proc/{one}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(word in command for word in _WORKERS):
            yield one
