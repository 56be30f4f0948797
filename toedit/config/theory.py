"""Settings of `stage=theory`: the linear regression and what all studies share; nested, what single studies read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toedit.config.checks import require, require_one_of
from toedit.config.theory_generations import GenerationsConfig
from toedit.config.theory_next_token import NextTokenConfig
from toedit.config.theory_safe_mix import SafeMixConfig
from toedit.config.theory_sequences import BeyondTextConfig
from toedit.config.theory_threshold import ThresholdConfig
from toedit.config.theory_transformer import TransformerStudyConfig

THEORIES = (
    "bound",
    "regression_generations",
    "regression_one_edit",
    "regression_map",
    "simplex",
    "collapse_time",
    "partially_synthetic",
    "windows",
    "dirac_probability",
    "safe_amount",
    "token_editing",
    "safe_mix",
    "generations",
    "transformer_generations",
    "collapse_threshold",
    "phase_diagram",
    "beyond_text",
)


@dataclass
class TheoryConfig:
    """What `stage=theory` computes: linear regression (Zhu et al. 2025), token models (Seddik et al. 2024)."""

    name: str = "bound"
    """The study; docs/theory.md describes them."""
    d: int = 10
    """Regression: dimensions of x."""
    T: int = 40
    """Regression: rows that every generation trains on."""
    noise: float = 1.0
    """Regression: standard deviation of the label noise."""
    masks: Any = "fresh"
    """Regression: which rows an editing generation edits: fresh, fixed, disjoint, geometric or confidence; or a
    list, the share that each generation edits."""
    share: float = 0.125
    """Regression: share of the rows that a generation edits (geometric: the first one)."""
    ratio: float = 0.941
    """Regression, geometric masks: the share of a generation by that of the one before."""
    generations: int = 20
    """Generations after the one that is trained on real data."""
    trials: int = 2000
    """Independent trials of a simulation."""
    seed: int = 0
    """Of the simulations; the same for all strategies, so that their differences vary little."""
    next_token: NextTokenConfig = field(default_factory=NextTokenConfig)
    """The next-token model."""
    safe_mix: SafeMixConfig = field(default_factory=SafeMixConfig)
    """safe_mix: how much synthetic text a corpus carries."""
    language_model: GenerationsConfig = field(default_factory=GenerationsConfig)
    """generations: n-gram language models trained on each other's output."""
    transformer: TransformerStudyConfig = field(default_factory=TransformerStudyConfig)
    """transformer_generations: the same with transformers, trained by the other stages."""
    threshold: ThresholdConfig = field(default_factory=ThresholdConfig)
    """collapse_threshold and phase_diagram."""
    beyond_text: BeyondTextConfig = field(default_factory=BeyondTextConfig)
    """beyond_text: editing sequences that are not text."""

    def __post_init__(self) -> None:
        require_one_of("theory", self.name, THEORIES)
        require(self.d >= 1, "theory.d", self.d, "must be at least 1")
        require(self.noise > 0, "theory.noise", self.noise, "must be more than 0")
        require(0 <= self.share <= 1, "theory.share", self.share, "must lie in [0, 1]")
        require(0 < self.ratio <= 1, "theory.ratio", self.ratio, "must lie in (0, 1]")
        for key in ("generations", "trials"):
            require(getattr(self, key) >= 1, f"theory.{key}", getattr(self, key), "must be at least 1")
        require(self.seed >= 0, "theory.seed", self.seed, "must not be negative")
