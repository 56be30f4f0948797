"""Which arms collapse, and which are stable: changes over generations, a value a seed, with tests over seeds.

`drift` is the slope of a straight line through the second half of the generations, times the generations that it spans:
how much a metric still changes there. `change` is its last value minus that of generation 0.

    stable     drift lies within the margin, either way: two one-sided t-tests (TOST, Schuirmann 1987)
    collapses  it does not, and the drift of the loss is more than 0: a one-sided t-test
    neither    the seeds do not say

p-values of both kinds are adjusted over the arms (Holm 1979). Where all seeds drift alike, to the last digit, there is
nothing to test: the verdict is the number's own. A stable arm may have lost much before; `change` says so.

Shapes: S seeds, G1 generations and the first one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.student import student_cdf, student_quantile
from analysis.theory.statistics import holm

Floats = NDArray[np.float64]
LEVEL = 0.05
STABLE, COLLAPSES, NEITHER = "stable", "collapses", "neither"


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its 95 % interval; None where one seed, or seeds that are all alike, have none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Trend:
    """What one arm's loss does."""

    change: Mean
    drift: Mean
    p_stable: float
    """Of the null hypothesis that the drift is the margin or more; adjusted."""
    p_rises: float
    """Of the null hypothesis that it is at most 0; adjusted."""
    verdict: str


def trends(loss_SG1_by_arm: dict[str, Floats], margin: float) -> dict[str, Trend]:
    """The verdicts; of at least one generation besides the first."""
    drift = {arm: drifts(loss_SG1) for arm, loss_SG1 in loss_SG1_by_arm.items()}
    stable = holm([p_equivalent(drift_S, margin) for drift_S in drift.values()])
    rises = holm([p_above(drift_S, 0.0) for drift_S in drift.values()])
    found = {}
    for (arm, loss_SG1), p_stable, p_rises in zip(loss_SG1_by_arm.items(), stable, rises, strict=True):
        verdict = STABLE if p_stable < LEVEL else COLLAPSES if p_rises < LEVEL else NEITHER
        change = mean(loss_SG1[:, -1] - loss_SG1[:, 0])
        found[arm] = Trend(change, mean(drift[arm]), p_stable, p_rises, verdict)
    return found


def drifts(value_SG1: Floats) -> Floats:
    """`drift_S`: the fitted change over the second half of the generations, at least two of them."""
    half_SH = value_SG1[:, min(value_SG1.shape[1] // 2, value_SG1.shape[1] - 2) :]
    generation_H = np.arange(half_SH.shape[1]) - (half_SH.shape[1] - 1) / 2
    slope_S = half_SH @ generation_H / (generation_H @ generation_H)
    # Rounding alone would make the seeds of an arm in which nothing moves differ.
    return np.where(np.ptp(half_SH, axis=1) == 0, 0.0, slope_S * (half_SH.shape[1] - 1))


def mean(value_S: Floats) -> Mean:
    """With Student's interval."""
    value = float(value_S.mean())
    if np.ptp(value_S) == 0:
        return Mean(value, None, None)
    half = student_quantile(1 - LEVEL / 2, len(value_S) - 1) * value_S.std(ddof=1) / math.sqrt(len(value_S))
    return Mean(value, value - half, value + half)


# --- tests ------------------------------------------------------------------------------------------------------------


def p_above(value_S: Floats, bound: float) -> float:
    """One-sided t-test against a mean of at most `bound`."""
    if np.ptp(value_S) == 0:
        return _p_of_equal_seeds(value_S, lambda value: value > bound)
    t = (value_S.mean() - bound) / value_S.std(ddof=1) * math.sqrt(len(value_S))
    return 1 - student_cdf(float(t), len(value_S) - 1)


def p_equivalent(value_S: Floats, margin: float) -> float:
    """Two one-sided tests against a mean of at least `margin` away from 0."""
    if np.ptp(value_S) == 0:
        return _p_of_equal_seeds(value_S, lambda value: abs(value) < margin)
    return max(p_above(value_S, -margin), p_above(-value_S, -margin))


def p_different(value_S: Floats) -> float:
    """Two-sided t-test against a mean of 0."""
    if np.ptp(value_S) == 0:
        return _p_of_equal_seeds(value_S, lambda value: value != 0)
    return min(2 * min(p_above(value_S, 0.0), p_above(-value_S, 0.0)), 1.0)


def _p_of_equal_seeds(value_S: Floats, holds: Callable[[float], bool]) -> float:
    """One seed says nothing; several with the same value have no spread, and the value speaks."""
    return 0.0 if len(value_S) > 1 and holds(float(value_S[0])) else 1.0
