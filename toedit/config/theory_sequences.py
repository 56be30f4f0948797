"""Settings of `theory=beyond_text`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class BeyondTextConfig:
    """Editing sequences that are not text."""
