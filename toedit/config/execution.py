"""Limits of the programs that a model writes and `stage=eval` runs."""

from __future__ import annotations

from dataclasses import dataclass

from toedit.config.checks import require


@dataclass
class ExecutionConfig:
    """What one program, its tests included, may use. All but `workers` are part of the identity."""

    seconds: float = 10.0
    """Time on the clock; a program that needs more has failed."""
    memory_mb: int = 1024
    """Address space of each of its processes, in MiB."""
    processes: int = 8
    """Processes and threads at a time, itself among them."""
    file_mb: int = 16
    """Size of a file that it writes, in MiB."""
    open_files: int = 64
    """Open files at a time."""
    workers: int | None = None
    """Programs that run at a time; null: one a core."""

    def __post_init__(self) -> None:
        require(self.seconds > 0, "eval.execution.seconds", self.seconds, "must be positive")
        for key, least in (("memory_mb", 64), ("processes", 1), ("file_mb", 1), ("open_files", 16)):
            value = getattr(self, key)
            require(value >= least, f"eval.execution.{key}", value, f"must be at least {least}")
        workers = self.workers
        require(workers is None or workers >= 1, "eval.execution.workers", workers, "must be at least 1, or null")
