"""Settings of `theory=collapse_threshold` and `theory=phase_diagram`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toedit.config.checks import require, require_one_of

CASES = ("regression_kept", "regression_replaced", "next_token_kept", "next_token_replaced")


@dataclass
class ThresholdConfig:
    """The share beyond which collapse sets in."""

    cases: list[str] = field(default_factory=lambda: list(CASES))
    """Toy models and what happens to their real data: `_kept`, the same real data in every generation, synthetic data
    beside them; `_replaced`, every generation redraws that share of the data, wherever it came from."""
    shares: list[float] = field(default_factory=lambda: [0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    """Synthetic shares that are run."""
    support: int = 20
    """Next-token model: tokens, with probabilities as 1 / rank (Zipf)."""
    real: int = 100
    """Next-token model: real tokens of a context."""
    kappa: float = 1.25
    """Tolerance: how many times its baseline the metric may be."""
    delta: float = 0.5
    """Irreversibility: a trial has not recovered that stays so many baselines above its beginning."""
    resamples: int = 1000
    """Bootstrap resamples of trials."""
    path: str | None = None
    """A csv of runs to look at instead (columns share, or regime or arm; seed or trial; generation; metric, value)."""
    metric: str | None = None
    """The metric of that csv; null: its only one."""
    worse: str = "up"
    """Whether more of that metric is worse (up) or less (down)."""
    share_of: Any = None
    """Synthetic share of each regime of that csv, `{edit: 0.1}`; those not named are left out. By themselves `replace`
    is 1, `same_text` and `real` are 0, `real_share 0.25` is 0.75 and `mix_20` 0.2."""
    recovered: str | None = None
    """The metric of that csv after retraining on the real data that are left; null: no irreversibility."""
    map_shares: int = 41
    """phase_diagram: synthetic shares between 0 and 1."""
    map_designs: int = 40
    """phase_diagram, regression: draws of X that the exact errors are averaged over."""
    map_amounts: int = 41
    """phase_diagram, next-token model: real and synthetic amounts, each evenly on a logarithmic axis."""
    map_checks: int = 5
    """phase_diagram, next-token model: amounts a side that are also simulated; 0: none."""
    contours: list[float] = field(default_factory=lambda: [1.5, 2.0, 4.0])
    """phase_diagram, regression: errors, in units of the first generation's, whose contours are drawn."""
    epsilon: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.2])
    """phase_diagram, next-token model: drifts whose contours are drawn."""

    def __post_init__(self) -> None:
        for case in self.cases:
            require_one_of("theory.threshold.cases", case, CASES)
        require(bool(self.cases), "theory.threshold.cases", self.cases, "must name at least one")
        in_range = all(0 <= share <= 1 for share in self.shares)
        require(in_range, "theory.threshold.shares", self.shares, "must lie in [0, 1]")
        is_grid = len(set(self.shares)) >= 3 and 0 in self.shares
        require(is_grid, "theory.threshold.shares", self.shares, "must be at least three different ones, 0 among them")
        require(self.support >= 2, "theory.threshold.support", self.support, "must be at least 2: one cannot drift")
        require(self.real >= 1, "theory.threshold.real", self.real, "must be at least 1")
        require(self.kappa > 1, "theory.threshold.kappa", self.kappa, "must be more than 1")
        require(self.delta > 0, "theory.threshold.delta", self.delta, "must be more than 0")
        require(self.resamples >= 100, "theory.threshold.resamples", self.resamples, "must be at least 100")
        require_one_of("theory.threshold.worse", self.worse, ("up", "down"))
        named = {} if self.share_of is None else self.share_of
        is_mapping = isinstance(named, dict) and all(isinstance(share, int | float) for share in named.values())
        require(is_mapping, "theory.threshold.share_of", named, "must name shares: {edit: 0.1}")
        require(
            all(0 <= share <= 1 for share in named.values()), "theory.threshold.share_of", named, "must lie in [0, 1]"
        )
        for key in ("map_shares", "map_amounts"):
            value = getattr(self, key)
            require(2 <= value <= 1000, f"theory.threshold.{key}", value, "must lie between 2 and 1000")
        require(self.map_designs >= 2, "theory.threshold.map_designs", self.map_designs, "must be at least 2")
        checks = self.map_checks
        require(0 <= checks <= self.map_amounts, "theory.threshold.map_checks", checks, "must lie in [0, map_amounts]")
        more = bool(self.contours) and all(level > 1 for level in self.contours)
        require(more, "theory.threshold.contours", self.contours, "must be numbers more than 1")
        more = bool(self.epsilon) and all(0 < epsilon <= 2 for epsilon in self.epsilon)
        require(more, "theory.threshold.epsilon", self.epsilon, "must be numbers in (0, 2]")
