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
    "regression_sweep",
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

MASKS = ("fresh", "fixed", "disjoint", "geometric", "confidence")


def _check_masks(masks: Any) -> None:
    if not isinstance(masks, list | tuple):
        require_one_of("theory.masks", masks, (*MASKS, "or a list of shares"))
        return
    require(bool(masks), "theory.masks", masks, "must hold at least one share, or be one of " + ", ".join(MASKS))
    for share in masks:
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        require(is_number and 0 <= share <= 1, "theory.masks", list(masks), f"{share} is not a number in [0, 1]")


@dataclass
class TheoryConfig:
    """What `stage=theory` computes: linear regression (Zhu et al. 2025), token models (Seddik et al. 2024)."""

    name: str = "bound"
    """The study; docs/theory.md describes them."""
    d: int = 10
    """Regression: dimensions of x."""
    T: int = 40
    """Regression: rows that every generation trains on; more than d + 1, else the mean error is infinite."""
    sizes: list[int] = field(default_factory=lambda: [40, 200])
    """regression_generations and regression_one_edit: the values of T; regression_sweep: those of T / (d + 1)."""
    dimensions: list[int] = field(default_factory=lambda: [1, 3, 10, 32])
    """regression_sweep: the values of d."""
    fresh_X: bool = False
    """regression_sweep: a new X in every generation; false: one for all, as the closed forms have it."""
    noise: float = 1.0
    """Regression: standard deviation of the label noise."""
    masks: Any = "fresh"
    """Regression: which rows an editing generation edits: fresh, fixed, disjoint, geometric or confidence; or a
    list, the share that each generation edits."""
    share: float = 0.125
    """Regression: share of the rows that a generation edits (geometric: the first one)."""
    ratio: float = 0.941
    """Regression, geometric masks: the share of a generation by that of the one before."""
    real_share: float = 0.5
    """Regression, strategies that keep or add real rows: the share of the rows that is real."""
    points: int = 21
    """regression_one_edit and regression_map: shares from 0 to 1."""
    designs: int = 100
    """Regression: draws of X that exact errors are averaged over."""
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
        require(1e-100 < self.noise < 1e100, "theory.noise", self.noise, "must be a number above 0")
        require(0 <= self.share <= 1, "theory.share", self.share, "must lie in [0, 1]")
        require(0 < self.ratio <= 1, "theory.ratio", self.ratio, "must lie in (0, 1]")
        require(0 <= self.real_share <= 1, "theory.real_share", self.real_share, "must lie in [0, 1]")
        require(self.points >= 2, "theory.points", self.points, "must be at least 2")
        for key in ("sizes", "dimensions"):
            values = getattr(self, key)
            require(bool(values) and min(values) >= 1, f"theory.{key}", values, "must be a list of numbers from 1 up")
        _check_masks(self.masks)
        for key in ("generations", "trials", "designs"):
            require(getattr(self, key) >= 1, f"theory.{key}", getattr(self, key), "must be at least 1")
        require(self.seed >= 0, "theory.seed", self.seed, "must not be negative")
