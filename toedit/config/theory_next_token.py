"""Settings of the next-token model's studies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class NextTokenConfig:
    """The next-token model of Seddik et al. 2024."""
