"""How far apart are two samples, and could that be chance? Distances, bootstrap intervals, permutation p-values.

Three distances between the distribution functions F and G of the samples, of the values as they are given:

    kolmogorov_smirnov    max |F - G|
    wasserstein           integral of |F - G|, in the unit of the values
    energy                square root of twice the integral of (F - G)^2 (Szekely and Rizzo), in the root of that unit

Each is a function of how often every document counts: once for the distance itself, as often as it was drawn for a
bootstrap resample, and 0 or 1 for a permutation, which deals the documents out anew. What is drawn and dealt out are
units: works that several documents may come from; documents dealt out one by one would reject far too often.

Two p-values. The permutation test is exact where works are alike in both samples; where many large works meet few small
ones it rejects too often (4 times in 5 was seen), in the opposite case too seldom. The bootstrap's is the share of
resamples whose F* - G* - (F - G) is as large as F - G: it asks for no likeness, and rejects up to 1 time in 10 where a
sample has 10 works, 1 time in 20 where it has many. Believe a difference that both see.

Intervals: two resamples are further apart than the samples are, by a mean excess, as these are further apart than
what they were drawn from. So the excess is taken off the upper end of the percentile interval once, off the lower end
twice. Kolmogorov-Smirnov, a maximum, is not served well by that: its interval is the distance plus and minus the 95 %
quantile of max |F* - G* - (F - G)|, which is safe, as no distance differs from another by more. The lower end is 0
where the permutation test does not reject at 5 %, as that is the test of a distance of 0.

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
Advance = Callable[[float], None]
"""Told how many resamples more are done."""

_MATRIX = 1_000_000
"""Elements of a batch of resamples: small enough to stay near the processor."""
_BOOTSTRAP, _PERMUTATION = 0, 1
_CENTRED = "centred."


def quietly(done: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval and p-values of its being 0; None where a sample is a single unit."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    """By permutation."""
    p_bootstrap: float | None = None


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


def differences(first_RN: Counts, second_RN: Counts, pair: Pair) -> NDArray[np.float64]:
    """F - G behind every distinct value but the largest, where each pooled document counts so many times.

    A fraction of integers: samples with equal distributions are exactly 0 apart.
    """
    total_R1, other_R1 = first_RN.sum(axis=1, keepdims=True), second_RN.sum(axis=1, keepdims=True)
    difference_RN = np.cumsum(first_RN * other_R1 - second_RN * total_R1, axis=1)
    return difference_RN[:, pair.last_N] / (total_R1 * other_R1)


def distances(difference_RN: NDArray[np.float64], pair: Pair) -> Values:
    """The distances, from F - G."""
    gap_RN, width_N = np.abs(difference_RN), np.diff(pair.value_N)[pair.last_N]
    return {
        "kolmogorov_smirnov": gap_RN.max(axis=1, initial=0.0),
        "wasserstein": gap_RN @ width_N,
        "energy": np.sqrt(2 * (gap_RN**2 @ width_N)),
    }


def compare(pair: Pair, resamples: int, seed: int, advance: Advance = quietly) -> dict[str, Estimate]:
    """The distances with intervals and p-values."""
    one_1A, one_1B = _ones(pair)
    difference_1N = differences(*pair.pooled(one_1A, one_1B), pair)

    def statistic(count_RA: Counts, count_RB: Counts) -> Values:
        difference_RN = differences(*pair.pooled(count_RA, count_RB), pair)
        centred = distances(difference_RN - difference_1N, pair)
        return distances(difference_RN, pair) | {_CENTRED + name: value_R for name, value_R in centred.items()}

    drawn = bootstrap(statistic, pair, resamples, seed, advance)
    dealt = permutations(pair, resamples, seed, advance)
    estimates = {}
    for name, value_1 in distances(difference_1N, pair).items():
        value = float(value_1[0])
        p_value = share_as_far(dealt[name], value)
        if not drawn:
            estimates[name] = Estimate(value, p_value=p_value)
            continue
        p_bootstrap = share_as_far(drawn[_CENTRED + name], value)
        if name == "kolmogorov_smirnov":
            half = float(np.quantile(drawn[_CENTRED + name], 1 - LEVEL))
            low, high = value - half, min(value + half, 1.0)
        else:
            excess = max(float(drawn[name].mean()) - value, 0.0)
            low, high = interval(drawn[name])
            low, high = min(low - 2 * excess, value), max(high - excess, value)
        is_chance = max(p_value, p_bootstrap) > LEVEL
        estimates[name] = Estimate(value, 0.0 if is_chance else max(low, 0.0), high, p_value, p_bootstrap)
    return estimates


def share_as_far(value_R: NDArray[np.float64], value: float) -> float:
    """The p-value: the share of resamples that are as far apart, the samples themselves counted in."""
    # One part in 10^12 is what the order of a sum can do to equal values.
    return (1 + int((value_R >= value * (1 - 1e-12)).sum())) / (1 + len(value_R))


def once(statistic: Statistic, pair: Pair) -> dict[str, float]:
    """The statistic of the samples as they are."""
    return {name: float(value_R[0]) for name, value_R in statistic(*_ones(pair)).items()}


def bootstrap(statistic: Statistic, pair: Pair, resamples: int, seed: int, advance: Advance = quietly) -> Values:
    """The statistic of samples whose units are drawn with replacement; empty where a sample is a single unit."""
    if min(pair.first.units, pair.second.units) < 2:
        return {}
    generator = np.random.default_rng([seed, _BOOTSTRAP])

    def batch(rows: int) -> Values:
        count_RU = draw_counts(generator, rows, pair.first.units)
        count_RV = draw_counts(generator, rows, pair.second.units)
        return statistic(count_RU[:, pair.first.unit_A], count_RV[:, pair.second.unit_A])

    return _in_batches(batch, resamples, len(pair.value_N), advance)


def permutations(pair: Pair, resamples: int, seed: int, advance: Advance = quietly) -> Values:
    """The distances where as many units as the first sample has are taken from all units at random."""
    generator = np.random.default_rng([seed, _PERMUTATION])
    unit_N = np.concatenate([pair.first.unit_A, pair.first.units + pair.second.unit_A])[pair.order_N]
    is_first_U = np.arange(pair.first.units + pair.second.units) < pair.first.units

    def batch(rows: int) -> Values:
        dealt_RU = generator.permuted(np.tile(is_first_U, (rows, 1)), axis=1)
        first_RN = dealt_RU[:, unit_N].astype(np.int64)
        return distances(differences(first_RN, 1 - first_RN, pair), pair)

    return _in_batches(batch, resamples, len(pair.value_N), advance)


def interval(value_R: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of bootstrap values."""
    low, high = np.quantile(value_R, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def _ones(pair: Pair) -> tuple[Counts, Counts]:
    """Every document once."""
    return np.ones((1, len(pair.first.value_A)), np.int64), np.ones((1, len(pair.second.value_A)), np.int64)


def _in_batches(batch: Callable[[int], Values], resamples: int, documents: int, advance: Advance) -> Values:
    rows, parts = max(min(_MATRIX // documents, resamples), 1), []
    for start in range(0, resamples, rows):
        parts.append(batch(min(rows, resamples - start)))
        advance(min(rows, resamples - start))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
