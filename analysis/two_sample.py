"""How far apart are two samples, and could that be chance? Distances, bootstrap intervals, permutation p-values.

Three distances between the distribution functions F and G of the samples, of the values as they are given:

    kolmogorov_smirnov    max |F - G|
    wasserstein           integral of |F - G|, in the unit of the values
    energy                square root of twice the integral of (F - G)^2 (Szekely and Rizzo), in the root of that unit

Each is a function of how often every document counts: once for the distance itself, as often as it was drawn for a
bootstrap resample, and 0 or 1 for a permutation, which deals the documents out anew. What is drawn and dealt out are
units: works that several documents may come from. Where units are as many documents each in both samples, or their size
says nothing, the permutation test is exact; documents dealt out one by one would reject far too often.

A bootstrap resample is further from the other one than the samples are: the mean excess is taken off the interval. Its
lower end is 0 where the permutation test does not reject at 5 %, as that is the test of a distance of 0.

Shapes: A, B documents of the samples, N = A + B of both, in the order of their values; U units, V in the second sample;
R resamples. Deterministic: one generator a kind of resample, keyed by the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from toedit.units import draw_counts

DISTANCES = ("kolmogorov_smirnov", "wasserstein", "energy")
LEVEL = 0.05
"""Of tests; intervals hold the rest."""

Counts = NDArray[np.int64]
Values = dict[str, NDArray[np.float64]]
Statistic = Callable[[Counts, Counts], Values]
"""(count_RA, count_RB) -> {name: value_R}: the samples' documents in the order of their values, each so many times."""

_MATRIX = 1_000_000
"""Elements of a batch of resamples: small enough to stay near the processor."""
_BOOTSTRAP, _PERMUTATION = 0, 1


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval (None where a sample is a single unit) and the p-value of its being 0."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


class Sample:
    """One sample in ascending order. `unit_A` says which unit a document belongs to, 0 to `units` - 1."""

    def __init__(self, value_A: NDArray[np.floating], unit_A: NDArray[np.integer]) -> None:
        """Raises ValueError where there is nothing, or something that is no number."""
        if not len(value_A) or len(value_A) != len(unit_A) or not np.isfinite(value_A).all():
            raise ValueError("a sample has finite values, at least one, and a unit for each")
        order_A = np.argsort(value_A, kind="stable")
        self.value_A = np.asarray(value_A, np.float64)[order_A]
        _, unit_A = np.unique(unit_A, return_inverse=True)
        self.unit_A = unit_A[order_A]
        self.units = int(unit_A.max()) + 1


@dataclass(frozen=True)
class Pair:
    """Two samples, also pooled."""

    first: Sample
    second: Sample

    @cached_property
    def order_N(self) -> NDArray[np.int64]:
        """Where the pooled documents lie in first, second laid end to end."""
        return np.argsort(np.concatenate([self.first.value_A, self.second.value_A]), kind="stable")

    @cached_property
    def value_N(self) -> NDArray[np.float64]:
        return np.concatenate([self.first.value_A, self.second.value_A])[self.order_N]

    @cached_property
    def last_N(self) -> NDArray[np.int64]:
        """The last document of every distinct value but the largest: there the distribution functions are compared."""
        return np.flatnonzero(np.diff(self.value_N))

    def pooled(self, count_RA: Counts, count_RB: Counts) -> tuple[Counts, Counts]:
        """The same counts among the pooled documents, in their order."""
        first_RN = np.concatenate([count_RA, np.zeros((len(count_RA), len(self.second.value_A)), np.int64)], axis=1)
        second_RN = np.concatenate([np.zeros((len(count_RB), len(self.first.value_A)), np.int64), count_RB], axis=1)
        return first_RN[:, self.order_N], second_RN[:, self.order_N]


def distances(first_RN: Counts, second_RN: Counts, pair: Pair) -> Values:
    """The distances where each pooled document counts so many times in the first and in the second sample.

    F - G is a fraction of integers, so samples with equal distributions are exactly 0 apart.
    """
    total_R1, other_R1 = first_RN.sum(axis=1, keepdims=True), second_RN.sum(axis=1, keepdims=True)
    difference_RN = np.cumsum(first_RN * other_R1 - second_RN * total_R1, axis=1)
    gap_RN = np.abs(difference_RN[:, pair.last_N]) / (total_R1 * other_R1)
    width_N = np.diff(pair.value_N)[pair.last_N]
    return {
        "kolmogorov_smirnov": gap_RN.max(axis=1, initial=0.0),
        "wasserstein": gap_RN @ width_N,
        "energy": np.sqrt(2 * (gap_RN**2 @ width_N)),
    }


def compare(pair: Pair, resamples: int, seed: int) -> dict[str, Estimate]:
    """The distances with intervals and p-values."""

    def statistic(count_RA: Counts, count_RB: Counts) -> Values:
        return distances(*pair.pooled(count_RA, count_RB), pair)

    value = once(statistic, pair)
    drawn = bootstrap(statistic, pair, resamples, seed)
    dealt = permutations(pair, resamples, seed)
    estimates = {}
    for name in DISTANCES:
        # One part in 10^12 is what the order of a sum can do to equal values.
        as_far = int((dealt[name] >= value[name] * (1 - 1e-12)).sum())
        p_value = (1 + as_far) / (1 + resamples)
        low, high = None, None
        if name in drawn:
            low, high = interval(drawn[name] - max(float(drawn[name].mean()) - value[name], 0.0))
            low, high = (0.0 if p_value > LEVEL else max(low, 0.0)), max(high, value[name])
            low = min(low, value[name])
        estimates[name] = Estimate(value[name], low, high, p_value)
    return estimates


def once(statistic: Statistic, pair: Pair) -> dict[str, float]:
    """The statistic of the samples as they are."""
    one_1A, one_1B = (np.ones((1, len(sample.value_A)), np.int64) for sample in (pair.first, pair.second))
    return {name: float(value_R[0]) for name, value_R in statistic(one_1A, one_1B).items()}


def bootstrap(statistic: Statistic, pair: Pair, resamples: int, seed: int) -> Values:
    """The statistic of samples whose units are drawn with replacement; empty where a sample is a single unit."""
    if min(pair.first.units, pair.second.units) < 2:
        return {}
    generator = np.random.default_rng([seed, _BOOTSTRAP])

    def batch(rows: int) -> Values:
        count_RU = draw_counts(generator, rows, pair.first.units)
        count_RV = draw_counts(generator, rows, pair.second.units)
        return statistic(count_RU[:, pair.first.unit_A], count_RV[:, pair.second.unit_A])

    return _in_batches(batch, resamples, len(pair.value_N))


def permutations(pair: Pair, resamples: int, seed: int) -> Values:
    """The distances where as many units as the first sample has are taken from all units at random."""
    generator = np.random.default_rng([seed, _PERMUTATION])
    unit_N = np.concatenate([pair.first.unit_A, pair.first.units + pair.second.unit_A])[pair.order_N]
    is_first_U = np.arange(pair.first.units + pair.second.units) < pair.first.units

    def batch(rows: int) -> Values:
        dealt_RU = generator.permuted(np.tile(is_first_U, (rows, 1)), axis=1)
        first_RN = dealt_RU[:, unit_N].astype(np.int64)
        return distances(first_RN, 1 - first_RN, pair)

    return _in_batches(batch, resamples, len(pair.value_N))


def interval(value_R: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of bootstrap values."""
    low, high = np.quantile(value_R, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def _in_batches(batch: Callable[[int], Values], resamples: int, documents: int) -> Values:
    rows = max(min(_MATRIX // documents, resamples), 1)
    parts = [batch(min(rows, resamples - start)) for start in range(0, resamples, rows)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
