"""Trends over generations with intervals over seeds, and tests before anything is called stable.

One number a seed is the unit: generations of one chain depend on each other, seeds do not.

    slope(value_SG)                 mean of the seeds' least-squares slopes, 95 % Student interval over seeds
    equivalent(value_S, margin)     p of two one-sided tests (TOST): the mean lies within +- margin
    holm(p_values)                  p-values adjusted for testing several regimes at once (Holm 1979)

Shapes: S seeds, G generations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.student import student_cdf, student_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval; of one seed there is none."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Slope(Estimate):
    """Change a generation."""

    value_S: Floats
    """Each seed's own slope."""


def slope(value_SG: ArrayLike, generation_G: ArrayLike | None = None) -> Slope:
    """The slope over generations (0, 1, ... unless given). Raises ValueError below two generations."""
    values = np.atleast_2d(np.asarray(value_SG, np.float64))
    x_G = np.arange(values.shape[1]) if generation_G is None else np.asarray(generation_G, np.float64)
    if values.shape[1] < 2:
        raise ValueError("a slope needs two generations")
    centred_G = x_G - x_G.mean()
    value_S = values @ centred_G / (centred_G @ centred_G)
    found = estimate(value_S)
    return Slope(found.mean, found.low, found.high, value_S)


def estimate(value_S: ArrayLike) -> Estimate:
    """Mean and 95 % Student interval."""
    values = np.asarray(value_S, np.float64)
    mean, error = float(values.mean()), _standard_error(values)
    if error is None:
        return Estimate(mean, None, None)
    half = student_quantile(0.975, len(values) - 1) * error
    return Estimate(mean, mean - half, mean + half)


def rises(value_S: ArrayLike) -> float | None:
    """One-sided p of "the mean is not positive"; None for one seed."""
    values = np.asarray(value_S, np.float64)
    error = _standard_error(values)
    return None if error is None else 1 - _cdf(float(values.mean()), error, len(values) - 1)


def equivalent(value_S: ArrayLike, margin: float) -> float | None:
    """p of two one-sided tests of "the mean lies outside [-margin, margin]": small means equivalent to zero.

    None for one seed: without a spread over seeds nothing can be called stable.
    """
    values = np.asarray(value_S, np.float64)
    error = _standard_error(values)
    if error is None:
        return None
    mean, freedom = float(values.mean()), len(values) - 1
    return max(1 - _cdf(mean + margin, error, freedom), _cdf(mean - margin, error, freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given: rejecting those below alpha errs once or more with probability <= alpha."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = largest
    return adjusted


def _standard_error(values: Floats) -> float | None:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def _cdf(difference: float, error: float, freedom: int) -> float:
    """P(T <= difference / error); seeds that agree exactly leave no doubt."""
    if error > 0:
        return student_cdf(difference / error, freedom)
    return 1.0 if difference > 0 else 0.0 if difference < 0 else 0.5
