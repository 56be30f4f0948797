"""Settings of the next-token model's studies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from toedit.config.checks import require, require_one_of

LAWS = ("zipf", "uniform", "dirichlet", "list")


@dataclass
class LawConfig:
    """The law p of the next token in one context."""

    kind: str = "zipf"
    """zipf: proportional to 1/rank^exponent; uniform; dirichlet: drawn, symmetric; list: `probabilities`."""
    tokens: int = 50
    """The vocabulary s."""
    support: int | None = None
    """Tokens with a positive probability, the others never occur; null: all of them. Not of a list."""
    exponent: float = 1.0
    """zipf: its exponent; 0 is the uniform law."""
    squared_norm: float | None = None
    """zipf: the exponent that gives this S_0 = sum of p^2 is found and used; null: `exponent` is."""
    concentration: float = 1.0
    """dirichlet: its parameter, the same for all tokens; small ones make a few tokens likely."""
    probabilities: list[float] = field(default_factory=list)
    """list: the law itself."""

    def __post_init__(self) -> None:
        require_one_of("law.kind", self.kind, LAWS)
        alone = "must be at least 2: a law of a single token is collapsed before it begins"
        require(self.tokens >= 2, "law.tokens", self.tokens, alone)
        support = self.tokens if self.support is None else self.support
        require(support >= 2, "law.support", self.support, alone)
        require(support <= self.tokens, "law.support", self.support, f"must not exceed tokens={self.tokens}")
        require(self.exponent >= 0, "law.exponent", self.exponent, "must not be negative")
        require(self.concentration > 0, "law.concentration", self.concentration, "must be more than 0")
        if self.squared_norm is not None:
            range_ = f"must lie in [1/support, 1) = [{1 / support:.4g}, 1), and kind must be zipf"
            fits = self.kind == "zipf" and 1 / support <= self.squared_norm < 1
            require(fits, "law.squared_norm", self.squared_norm, range_)
        if self.kind == "list":
            positive = [p for p in self.probabilities if p > 0]
            key, shown = "law.probabilities", self.probabilities
            require(all(0 <= p <= 1 for p in shown), key, shown, "every share must lie in [0, 1]")
            require(math.isclose(sum(shown), 1, abs_tol=1e-6), key, shown, "must sum to 1")
            require(len(positive) >= 2, key, shown, "at least 2 must be positive: one token alone is collapsed already")


@dataclass
class TokenEditingConfig:
    """Token editing inside the next-token model."""

    threshold: float = 0.99
    """p of Algorithm 1: tokens that the prior gives at least this probability are drawn again."""
    top_k: int = 8
    """Candidates of a draw."""
    temperatures: list[float] = field(default_factory=lambda: [1.0, 1.5])
    """Of the draws; each is a simulation of its own."""

    def __post_init__(self) -> None:
        prefix = "theory.next_token.editing"
        require(0 < self.threshold <= 1, f"{prefix}.threshold", self.threshold, "must lie in (0, 1]")
        require(self.top_k >= 1, f"{prefix}.top_k", self.top_k, "must be at least 1")
        fits = bool(self.temperatures) and all(value > 0 for value in self.temperatures)
        require(fits, f"{prefix}.temperatures", self.temperatures, "must be one or more numbers above 0")


@dataclass
class NextTokenConfig:
    """The next-token model of Seddik et al. 2024. All counts are of one context."""

    laws: dict[str, LawConfig] = field(default_factory=dict)
    """The laws p^(0) by names of your choice, which the figure shows."""
    squared_norms: list[float] = field(default_factory=list)
    """collapse_time, partially_synthetic: instead of `laws`, the first of them with each of these S_0."""
    n: Any = 10
    """Synthetic tokens of a generation, in each context; a list for the studies that compare several."""
    N: Any = 100
    """Real tokens in each context, the same in all generations; safe_amount takes a list."""
    contexts: int = 81
    """simplex, token_editing: contexts, each with a law of its own where the law is random."""
    windows: list[int] = field(default_factory=lambda: [1, 2, 5])
    """windows: models that a generation learns from, the most recent ones; each must divide n."""
    shown: list[int] = field(default_factory=lambda: [0, 10, 20, 30, 40])
    """simplex: the generations that have a panel; the last ends the simulation."""
    epsilons: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.3])
    """safe_amount: the largest L1 distance to the first generation, in mean."""
    largest_ratio: float = 50.0
    """safe_amount: simulate up to this many synthetic tokens for each real one, no further."""
    editing: TokenEditingConfig = field(default_factory=TokenEditingConfig)
    """token_editing: what is drawn again, and how."""

    def __post_init__(self) -> None:
        key = "theory.next_token"
        for name in ("n", "N"):
            value = getattr(self, name)
            setattr(self, name, _counts(f"{key}.{name}", value))
        require(self.contexts >= 1, f"{key}.contexts", self.contexts, "must be at least 1")
        for name in ("windows", "epsilons", "shown"):
            require(bool(getattr(self, name)), f"{key}.{name}", getattr(self, name), "must name at least one")
        require(all(value >= 1 for value in self.windows), f"{key}.windows", self.windows, "must all be at least 1")
        rising = self.shown == sorted(set(self.shown)) and self.shown[0] >= 0 and self.shown[-1] >= 1
        require(rising, f"{key}.shown", self.shown, "must be rising generations from 0 on, one above 0 among them")
        fits = all(0 < value < 2 for value in self.epsilons)
        require(fits, f"{key}.epsilons", self.epsilons, "must all lie in (0, 2): no L1 distance exceeds 2")
        require(self.largest_ratio > 0, f"{key}.largest_ratio", self.largest_ratio, "must be more than 0")


def _counts(key: str, value: Any) -> list[int]:
    """A count, or a list of them, as a list."""
    counts = list(value) if isinstance(value, (list, tuple)) else [value]
    fits = bool(counts) and all(isinstance(count, int) and not isinstance(count, bool) for count in counts)
    require(fits, key, value, "must be a whole number, or a list of them")
    require(all(count >= 1 for count in counts), key, value, "must be at least 1")
    return counts
