"""Trends over generations with intervals over seeds, and tests before anything is called stable.

One number a seed is the unit: generations of one chain depend on each other, seeds do not.

    slope(value_SG)                 mean of the seeds' least-squares slopes, 95 % Student interval over seeds
    equivalent(value_S, margin)     p of two one-sided tests (TOST): the mean lies within +- margin
    holm(p_values)                  p-values adjusted for testing several regimes at once (Holm 1979)

Student's distribution is computed here for whole degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4: finite
sums, exact), so that nothing but NumPy is needed.

Shapes: S seeds, G generations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def student_cdf(t: float, freedom: int) -> float:
    """P(T <= t) of Student's distribution with a whole number of degrees of freedom."""
    angle = math.atan2(abs(t), math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    term = total = 1.0 if freedom % 2 == 0 else cosine
    for number in range(2 if freedom % 2 == 0 else 3, freedom, 2):
        term *= cosine**2 * (number - 1) / number
        total += term
    odd = 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))
    within = sine * total if freedom % 2 == 0 else odd
    return 0.5 + math.copysign(within / 2, t)


def student_quantile(p: float, freedom: int) -> float:
    """The t with P(T <= t) = p, 0 < p < 1, by bisection."""
    low, high = -1.0, 1.0
    while student_cdf(low, freedom) > p:
        low *= 2
    while student_cdf(high, freedom) < p:
        high *= 2
    while high - low > 1e-12 * max(abs(low), abs(high), 1.0):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def _standard_error(values: Floats) -> float | None:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def _cdf(difference: float, error: float, freedom: int) -> float:
    """P(T <= difference / error); seeds that agree exactly leave no doubt."""
    if error > 0:
        return student_cdf(difference / error, freedom)
    return 1.0 if difference > 0 else 0.0 if difference < 0 else 0.5
