"""Settings of `theory=collapse_threshold` and `theory=phase_diagram`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ThresholdConfig:
    """The share beyond which collapse sets in."""
