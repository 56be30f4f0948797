"""Who does the work of scoring, editing and corpus statistics: this machine, or a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass

from toedit.config.checks import require, require_one_of

_OF_RAY = ("address", "connect_seconds", "cpus", "gpus", "memory_gb", "shards_per_task")


@dataclass
class ExecutorConfig:
    """Where the shards of a corpus are worked on. No part of an artifact's identity: the bytes are the same."""

    kind: str = "local"
    """local: processes of this machine; ray: actors of a Ray cluster."""
    workers: int | None = None
    """Shards worked on at a time; null: local: what the stage itself says, ray: as many as the cluster has room for.
    Scoring with executor=local has scorer.processes instead."""
    address: str | None = None
    """ray: host:port of a running cluster, or auto; null: a cluster of this machine, for this command alone."""
    connect_seconds: float = 30.0
    """ray: how long to wait for the cluster at the address."""
    cpus: float = 1.0
    """ray: CPUs of one worker; torch uses as many threads."""
    gpus: float | None = None
    """ray: GPUs of one worker; null: one for scoring where the cluster has GPUs, none for anything else."""
    memory_gb: float | None = None
    """ray: memory set aside for one worker, in 10^9 bytes; null: what its work is estimated to need."""
    shards_per_task: int | None = None
    """ray: shards that a worker is handed at a time, less work for the head of the cluster; null: 1, or 4 for scoring
    where there are many, so that one is read while another is scored."""

    def __post_init__(self) -> None:
        require_one_of("executor.kind", self.kind, ("local", "ray"))
        for key in ("workers", "shards_per_task"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"executor.{key}", value, "must be at least 1")
        for key in ("connect_seconds", "cpus", "memory_gb"):
            value = getattr(self, key)
            require(value is None or value > 0, f"executor.{key}", value, "must be positive")
        require(self.gpus is None or self.gpus >= 0, "executor.gpus", self.gpus, "must not be negative")
        if self.kind == "local":
            for key in _OF_RAY:
                value = getattr(self, key)
                require(value == getattr(ExecutorConfig, key), f"executor.{key}", value, "belongs to executor=ray")
