"""Settings of what is known before it is paid for: the cost of a pass, the rate of an edit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of
from toedit.config.prior import PriorConfig

THIS_MACHINE = "this_machine"


@dataclass
class DeviceConfig:
    """A device that a pass could run on."""

    flops_per_second: float = 0.0
    """Peak dense bfloat16 rate."""
    memory_bytes: float = 0.0
    """Memory that weights can lie in."""

    def __post_init__(self) -> None:
        for key in ("flops_per_second", "memory_bytes"):
            require(0 < getattr(self, key) < math.inf, f"device.{key}", getattr(self, key), "must be positive")


@dataclass
class PlanConfig:
    """What `stage=plan` assumes of a pass, and the grid of `stage=forecast`."""

    tokens: float | None = None
    """Tokens of the pass; null: those of the corpus."""
    device: str = "h100"
    """One of `plan.devices`, or this_machine, whose rate is measured."""
    utilisation: float = 0.4
    """Share of the device's rate that the pass reaches."""
    confident_share: float = 0.15
    """Share of tokens with P >= score.min_p, whose candidates are kept on disk."""
    devices: dict[str, DeviceConfig] = field(default_factory=dict)
    """Devices by name."""
    priors: dict[str, PriorConfig] = field(default_factory=dict)
    """Priors by name, the rows of the table; the prior of the command is added."""
    p: list[float] = field(default_factory=lambda: [0.99])
    """Thresholds of the forecast."""
    k: list[int] = field(default_factory=lambda: [8])
    """Numbers of candidates of the forecast."""
    temperature: list[float] = field(default_factory=lambda: [1.0])
    """Temperatures of the forecast."""

    def __post_init__(self) -> None:
        require(self.tokens is None or 1 <= self.tokens < math.inf, "plan.tokens", self.tokens, "must be at least 1")
        if self.devices:
            require_one_of("plan.device", self.device, (*self.devices, THIS_MACHINE))
        require(0 < self.utilisation <= 1, "plan.utilisation", self.utilisation, "must lie in (0, 1]")
        require(0 <= self.confident_share <= 1, "plan.confident_share", self.confident_share, "must lie in [0, 1]")
        for key in ("p", "k", "temperature"):
            values = getattr(self, key)
            require(0 < len(values) == len(set(values)), f"plan.{key}", values, "must be a list of different values")
        require(all(0 < p <= 1 for p in self.p), "plan.p", self.p, "must lie in (0, 1]")
        require(min(self.k) >= 1, "plan.k", self.k, "must be at least 1")
        require(
            all(0 < temperature < math.inf for temperature in self.temperature),
            "plan.temperature",
            self.temperature,
            "must be positive",
        )
