"""What the regression studies read from `theory`, and refuse."""

from __future__ import annotations

from typing import Any

from analysis.theory.regression.subsample import LEAST_ROWS
from toedit.config import Config
from toedit.config.checks import require

_MOST_NUMBERS = 2e8
"""1.6 GB."""


def chosen(config: Config, *keys: str) -> dict[str, Any]:
    """The named settings of `theory`, with the seed."""
    return {key: getattr(config.theory, key) for key in (*keys, "seed")}


def require_finite_mean(d: int, T: int, key: str = "theory.T") -> None:
    """Refuse T <= d + 1: (X'X)^-1 has no finite mean there, and so no error has."""
    require(d + 1 < T, key, T, f"the mean error is infinite unless T > d + 1 (here {d + 1})")


def require_intervals(config: Config, *keys: str) -> None:
    """Refuse a single trial or draw of X, which has no standard error."""
    for key in keys:
        value = getattr(config.theory, key)
        require(value >= 2, f"theory.{key}", value, "an interval needs at least 2")


def require_small_enough(d: int, T: int, key: str = "theory.T") -> None:
    """Refuse what the exact engine for random masks has no memory for."""
    wanted = f"exact errors take min(T, d^2) T numbers, at most {_MOST_NUMBERS:.0e}; error / v changes little with T"
    require(min(T, d * d) * T <= _MOST_NUMBERS, key, T, wanted)


def require_rows_to_subsample(d: int, T: int, key: str) -> None:
    least = LEAST_ROWS * (d + 1)
    wanted = f"accumulate-subsample needs T >= {LEAST_ROWS} (d + 1) = {least}: its samples repeat rows of X"
    require(least <= T, key, T, wanted)


def require_disjoint(share: float, generations: int, key: str = "theory.generations") -> None:
    """Refuse more disjoint rounds than there are rows for."""
    rounds = int(1 / share + 1e-9) if share else generations
    wanted = f"disjoint masks of share {share:g} have edited every row after {rounds} rounds (1 / theory.share)"
    require(share * generations <= 1 + 1e-9, key, generations, wanted)
