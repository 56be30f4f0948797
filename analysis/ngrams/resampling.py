"""Bootstrap intervals and the permutation test of n-gram statistics. Drawn are units: documents, or their works.

Counts come as matrices [units, buckets], or [groups, buckets] where there are many units. Groups are random, and of as
many units on average in both corpora, so drawing or dealing them out is as valid as units, only a little coarser.

A bootstrap resample repeats units, and so is more concentrated, and further from another one, than the corpus is: its
mean excess is taken off the interval.

Shapes: U units (or groups) of the first corpus, V of the second, B buckets, R resamples, L columns of whatever counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.ngrams.statistics import Counts, jensen_shannon, jensen_shannon_bias
from toedit.units import draw_counts

LEVEL = 0.05
Statistic = Callable[[Counts], NDArray[np.float64]]
"""count_RL -> value_R."""
_MATRIX = 2_000_000
"""Elements of a batch of resamples."""
_BOOTSTRAP, _OTHER, _PERMUTATION = 0, 1, 2


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where it cannot be said."""

    value: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    """Of a divergence: of its being 0."""


@dataclass(frozen=True)
class Drawn:
    """A statistic of a corpus, and of its bootstrap resamples (none where it is a single unit)."""

    value: float
    value_R: NDArray[np.float64]

    def estimate(self, lowest: float, highest: float) -> Estimate:
        """With the interval, cut off at what the statistic can be."""
        return _estimate(self.value, self.value_R, lowest, highest)


def bootstrap(statistic: Statistic, count_UL: Counts, resamples: int, seed: int, is_other: bool = False) -> Drawn:
    """The statistic of all units, and of resamples of them. Another stream of draws for the `is_other` corpus."""
    value = float(statistic(count_UL.sum(axis=0, keepdims=True))[0])
    generator = np.random.default_rng([seed, _OTHER if is_other else _BOOTSTRAP])
    found = [statistic(drawn_RL) for drawn_RL in _resampled(generator, count_UL, resamples)]
    return Drawn(value, np.concatenate(found) if found else np.zeros(0))


def difference(first: Drawn, second: Drawn) -> Estimate:
    """Second minus first."""
    drawn_R = second.value_R - first.value_R if len(first.value_R) == len(second.value_R) else np.zeros(0)
    return _estimate(second.value - first.value, drawn_R, -np.inf, np.inf)


def divergence(first_UB: Counts, second_VB: Counts, is_paired: bool, resamples: int, seed: int) -> dict[str, Estimate]:
    """Jensen-Shannon divergence in bits: `plug_in`, `corrected` with interval and p-value, `by_chance`.

    `by_chance` is the mean over permutations: what two halves of the pooled units give. `is_paired`: row u of both
    corpora is the same unit, so permutations swap the two, and a resample draws the same units of both.
    """
    whole_1B, other_1B = first_UB.sum(axis=0, keepdims=True), second_VB.sum(axis=0, keepdims=True)
    plug_in = float(jensen_shannon(whole_1B, other_1B)[0])
    corrected = plug_in - float(jensen_shannon_bias(whole_1B, other_1B)[0])
    dealt_R = np.zeros(0)
    if min(len(first_UB), len(second_VB)) > 1:
        dealt = _dealt(first_UB, second_VB, is_paired, resamples, seed)
        dealt_R = np.concatenate([jensen_shannon(*pair) for pair in dealt])
    if not len(dealt_R):
        return {"plug_in": Estimate(plug_in), "corrected": Estimate(max(corrected, 0.0)), "by_chance": Estimate(None)}
    # One part in 10^12 is what the order of a sum can do to equal values.
    p_value = (1 + int((dealt_R >= plug_in * (1 - 1e-12)).sum())) / (1 + len(dealt_R))
    drawn_R = np.concatenate([
        jensen_shannon(*pair) - jensen_shannon_bias(*pair)
        for pair in _drawn_pairs(first_UB, second_VB, is_paired, resamples, seed)
    ])  # fmt: skip
    estimate = _estimate(corrected, drawn_R, 0.0, 1.0)
    value, low, high = estimate.value or 0.0, estimate.low, estimate.high
    return {
        "plug_in": Estimate(plug_in),
        # The test of no divergence and the interval agree.
        "corrected": Estimate(value, 0.0 if p_value > LEVEL else low, high, p_value),
        "by_chance": Estimate(float(dealt_R.mean())),
    }


def _estimate(value: float, drawn_R: NDArray[np.float64], lowest: float, highest: float) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None)
    value = min(max(value, lowest), highest)
    drawn_R = drawn_R[np.isfinite(drawn_R)]
    if len(drawn_R) < 2:
        return Estimate(value)
    low, high = np.quantile(drawn_R - drawn_R.mean(), [LEVEL / 2, 1 - LEVEL / 2]) + value
    return Estimate(value, float(max(min(low, value), lowest)), float(min(max(high, value), highest)))


def _resampled(generator: np.random.Generator, count_UL: Counts, resamples: int) -> Iterator[Counts]:
    """Sums over units drawn with replacement, in batches of resamples; nothing of a single unit."""
    if len(count_UL) < 2:
        return
    for rows in _batches(resamples, count_UL.shape):
        weight_RU = draw_counts(generator, rows, len(count_UL)).astype(np.float64)
        total_RL = weight_RU @ count_UL
        yield total_RL[total_RL.sum(axis=1) > 0]  # units without a single n-gram give no distribution


def _drawn_pairs(
    first_UB: Counts, second_VB: Counts, is_paired: bool, resamples: int, seed: int
) -> Iterator[tuple[Counts, Counts]]:
    generator = np.random.default_rng([seed, _BOOTSTRAP])
    other = np.random.default_rng([seed, _OTHER])
    for rows in _batches(resamples, (len(first_UB) + len(second_VB), first_UB.shape[1])):
        weight_RU = draw_counts(generator, rows, len(first_UB)).astype(np.float64)
        weight_RV = weight_RU if is_paired else draw_counts(other, rows, len(second_VB)).astype(np.float64)
        yield _whole(weight_RU @ first_UB, weight_RV @ second_VB)


def _dealt(
    first_UB: Counts, second_VB: Counts, is_paired: bool, resamples: int, seed: int
) -> Iterator[tuple[Counts, Counts]]:
    """Both corpora's sums with their units dealt out anew."""
    generator = np.random.default_rng([seed, _PERMUTATION])
    pooled_NB = np.concatenate([first_UB, second_VB])
    total_1B = pooled_NB.sum(axis=0, keepdims=True)
    is_first_N = np.arange(len(pooled_NB)) < len(first_UB)
    for rows in _batches(resamples, pooled_NB.shape):
        if is_paired:
            stays_RU = generator.random((rows, len(first_UB))) < 0.5
            dealt_RN = np.concatenate([stays_RU, ~stays_RU], axis=1)
        else:
            dealt_RN = generator.permuted(np.tile(is_first_N, (rows, 1)), axis=1)
        taken_RB = dealt_RN.astype(np.float64) @ pooled_NB
        yield _whole(taken_RB, total_1B - taken_RB)


def _whole(first_RB: Counts, second_RB: Counts) -> tuple[Counts, Counts]:
    """Only resamples in which both sides have a distribution (units may be without a single n-gram)."""
    both_R = (first_RB.sum(axis=1) > 0) & (second_RB.sum(axis=1) > 0)
    return first_RB[both_R], second_RB[both_R]


def _batches(resamples: int, shape: tuple[int, ...]) -> Iterator[int]:
    rows = max(min(_MATRIX // max(*shape, 1), resamples), 1)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)
