"""Build the points of an experiment: one after the other, or in several processes, each an ordinary command.

A point that fails is remembered and the others go on. What several points need (the scores, say) is built once, and
where that fails, it fails once. Interruptions and full disks end the work; the same command resumes it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from toedit import command
from toedit.artifacts import Artifact
from toedit.console import duration, note
from toedit.errors import Interrupted, ToEditError
from toedit.experiments import PlannedPoint

_POLL_SECONDS = 0.05
Failures = dict[str, ToEditError]
"""What could not be built, by fingerprint."""


def build_points(
    planned: Sequence[PlannedPoint], jobs: int, point_command: Callable[[PlannedPoint], list[str]], logs: Path
) -> None:
    """Build all that can be built; note in each point why it could not.

    `point_command` is a point's own command line behind `python`; its output goes to a file below `logs`.
    """
    failures: Failures = {}
    todo = {
        entry.artifact.fingerprint: entry
        for entry in planned
        if entry.artifact is not None and entry.artifact.state() != "cached"
    }
    done = sum(entry.artifact is not None for entry in planned) - len(todo)
    if done:
        note(f"{done} of {len(planned)} points: already there, or the same as another")
    progress = _Progress(len(todo))
    if jobs == 1:
        for entry in todo.values():
            assert entry.artifact is not None
            _build(entry.artifact, failures)
            progress.advance(entry, failures)
    else:
        artifacts = [entry.artifact for entry in todo.values() if entry.artifact is not None]
        shared = _shared(artifacts)
        for artifact in artifacts:
            _build_shared(artifact, shared, failures)
        progress.started = time.monotonic()  # what they share says nothing about a point
        _build_in_children(list(todo.values()), jobs, point_command, logs, failures, progress)
    for entry in planned:
        if entry.artifact is not None:
            entry.failure = failures.get(entry.artifact.fingerprint)


class _Progress:
    """Which point of how many, and how long the rest may take."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.started = total, 0, time.monotonic()

    def advance(self, entry: PlannedPoint, failures: Failures) -> None:
        assert entry.artifact is not None
        self.done += 1
        failure = failures.get(entry.artifact.fingerprint)
        state = f"failed: {failure}" if failure else "ok"
        left = (time.monotonic() - self.started) / self.done * (self.total - self.done)
        rest = f"; about {duration(left)} left" if self.done < self.total else ""
        note(f"point {self.done} of {self.total}: {entry.point.setting}, seed {entry.point.seed}: {state}{rest}")


def _build(artifact: Artifact, failures: Failures) -> None:
    """Build an artifact and what it needs; on failure remember the error for it and for what led to it."""
    if artifact.fingerprint in failures or artifact.state() == "cached":
        return
    for source in artifact.inputs.values():
        _build(source, failures)
        if source.fingerprint in failures:
            failures[artifact.fingerprint] = failures[source.fingerprint]
            return
    try:
        artifact.ensure()
    except Exception as error:
        known = command.as_user_error(error)
        if isinstance(known, Interrupted):
            raise
        if known is None:
            traceback.print_exception(error)
            known = ToEditError(repr(error))
            known.exit_code = 1
        failures[artifact.fingerprint] = known


def _shared(artifacts: Sequence[Artifact]) -> set[str]:
    """Fingerprints of what more than one of the artifacts is made from."""
    users: dict[str, set[str]] = {}

    def visit(node: Artifact, user: str) -> None:
        for source in node.inputs.values():
            visit(source, user)
            users.setdefault(source.fingerprint, set()).add(user)

    for artifact in artifacts:
        visit(artifact, artifact.fingerprint)
    return {fingerprint for fingerprint, known in users.items() if len(known) > 1}


def _build_shared(artifact: Artifact, shared: set[str], failures: Failures) -> None:
    """Build the shared ones among what an artifact is made from; stop where one fails, as the rest would be in vain."""
    for source in artifact.inputs.values():
        if source.fingerprint in shared:
            _build(source, failures)
        else:
            _build_shared(source, shared, failures)
        if source.fingerprint in failures:
            failures[artifact.fingerprint] = failures[source.fingerprint]
            return


def _build_in_children(
    entries: Sequence[PlannedPoint],
    jobs: int,
    point_command: Callable[[PlannedPoint], list[str]],
    logs: Path,
    failures: Failures,
    progress: _Progress,
) -> None:
    """Run the points' commands, `jobs` at a time. When this process is interrupted, so are they."""
    # More threads than cores are slower than one, by far; who set the number knows better.
    environment = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // jobs, 1)), **os.environ}
    waiting, running = list(entries), dict[str, tuple[subprocess.Popen[bytes], PlannedPoint, Path]]()
    logs.mkdir(parents=True, exist_ok=True)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                entry = waiting.pop(0)
                assert entry.artifact is not None
                if entry.artifact.fingerprint in failures:
                    progress.advance(entry, failures)
                    continue
                log = logs / f"{entry.point.role}.log"
                with log.open("wb") as file:
                    arguments = [sys.executable, *point_command(entry)]
                    child = subprocess.Popen(arguments, stdout=file, stderr=file, env=environment)
                running[entry.point.role] = child, entry, log
            time.sleep(_POLL_SECONDS)
            for role, (child, entry, log) in list(running.items()):
                if child.poll() is not None:
                    del running[role]
                    _take_over(child.returncode, entry, log, failures)
                    progress.advance(entry, failures)
    finally:
        for child, _, _ in running.values():
            child.terminate()
        for child, _, _ in running.values():
            child.wait()


def _take_over(code: int, entry: PlannedPoint, log: Path, failures: Failures) -> None:
    """What a finished child means for its point."""
    assert entry.artifact is not None
    if code == 0 and entry.artifact.state() == "cached":
        return
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code == Interrupted.exit_code:
        raise Interrupted(told[-1] if told else "interrupted; the same command resumes where it stopped")
    if code < 0:
        raise Interrupted(
            f"the process of {entry.point.setting}, seed {entry.point.seed}, was killed ({_signal(-code)}; out of "
            f"memory?); the same command resumes where it stopped; its output: {log}"
        )
    error = ToEditError(told[-1] if told else f"ended with code {code}; its output: {log}")
    error.exit_code = code or 1
    failures[entry.artifact.fingerprint] = error


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
