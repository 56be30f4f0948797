"""Settings of `theory=transformer_generations`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TransformerStudyConfig:
    """Transformers over generations."""
