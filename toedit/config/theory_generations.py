"""Settings of `theory=generations`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class GenerationsConfig:
    """N-gram language models over generations."""
