"""How far apart are two samples of embeddings, and could that be chance? MMD and energy distance, resampled by works.

Both are one formula: with k a kernel, and pairs of documents taken from different works only,

    mean k within the first + mean k within the second - 2 mean k between them

    mmd2      k(x, y) = exp(-|x - y|^2 / 2 s^2), s the median distance of the pooled documents: the unbiased estimate
              of the squared maximum mean discrepancy (Gretton et al. 2012)
    energy    k(x, y) = -|x - y|: the energy distance (Szekely and Rizzo 2013; Sejdinovic et al. 2013 on the two)

Both are 0 on average where the samples are from one population, so a single value may be negative. Pairs within a work
are left out, as documents of one work resemble each other whatever the corpora do.

All that resampling needs is the sum of k over every pair of works, so a thousand resamples are one matrix product.
The p-values and what they are worth are those of `analysis.two_sample`: by permutation works are dealt out anew; by
bootstrap the squared distance between the means of k (of all pairs) is compared with how far resamples move from it.

Shapes: N documents of both samples, H dimensions, U works of both samples, A works of the first, B documents of a
block, R resamples. Deterministic: one generator a kind of resample, keyed by the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.two_sample import LEVEL, Advance, Estimate, interval, quietly, share_as_far
from toedit.units import draw_counts

Floats = NDArray[np.float64]
Kernel = Callable[[Floats], Floats]
"""From distances to values."""

LEAST_UNITS = 5
"""Works that either sample needs for an interval and a bootstrap p-value."""

_BOOTSTRAP, _PERMUTATION = 2, 3
_BLOCK_ROWS = 256
_MEDIAN_DOCUMENTS = 1000
_BATCH = 200
"""Resamples at a time."""


@dataclass(frozen=True)
class Sample:
    """Embedded documents. `unit_N` says which work each is from."""

    vector_NH: Floats
    unit_N: NDArray[np.integer]


@dataclass(frozen=True)
class Works:
    """Sums of a kernel over pairs of works: the first sample's A works, then the second's."""

    sum_UU: Floats
    size_U: Floats
    """Documents of each work."""
    first: int
    """A."""

    @property
    def second(self) -> int:
        return len(self.size_U) - self.first


def compare(first: Sample, second: Sample, resamples: int, seed: int, advance: Advance = quietly
            ) -> dict[str, Estimate | None]:  # fmt: skip
    """Both distances with intervals and p-values; None where a sample has a single work."""
    scale = median_distance(np.concatenate([first.vector_NH, second.vector_NH]))
    kernels: dict[str, Kernel] = {
        "mmd2": lambda distance_BN: np.exp(-(distance_BN**2) / (2 * scale**2)),
        "energy": lambda distance_BN: -distance_BN,
    }
    return {name: estimate(works_of(first, second, kernel), resamples, seed, advance)
            for name, kernel in kernels.items()}  # fmt: skip


def median_distance(vector_NH: Floats) -> float:
    """The median distance of two documents; 1 where that is 0. Of many documents a thousand, evenly spaced, serve."""
    place = np.unique(np.linspace(0, len(vector_NH) - 1, _MEDIAN_DOCUMENTS).astype(int))
    distance_NN = distances(vector_NH[place], vector_NH[place])
    pairs = distance_NN[np.triu_indices(len(place), 1)]
    median = float(np.median(pairs)) if len(pairs) else 0.0
    return median if median > 1e-6 else 1.0


def distances(left_BH: Floats, right_NH: Floats) -> Floats:
    """Euclidean, [B, N]."""
    square_BN = (left_BH**2).sum(1)[:, None] + (right_NH**2).sum(1) - 2 * left_BH @ right_NH.T
    return np.sqrt(np.maximum(square_BN, 0))


def works_of(first: Sample, second: Sample, kernel: Kernel) -> Works:
    """The kernel over all pairs of documents, added up by works; never more than a block of it in memory."""
    units = [np.unique(sample.unit_N, return_inverse=True)[1] for sample in (first, second)]
    count = int(units[0].max()) + 1
    unit_N = np.concatenate([units[0], count + units[1]])
    order_N = np.argsort(unit_N, kind="stable")
    vector_NH = np.concatenate([first.vector_NH, second.vector_NH])[order_N].astype(np.float64)
    unit_N = unit_N[order_N]
    start_U = np.flatnonzero(np.diff(unit_N, prepend=-1))
    sum_UU = np.zeros((len(start_U), len(start_U)))
    for begin in range(0, len(vector_NH), _BLOCK_ROWS):
        block = slice(begin, begin + _BLOCK_ROWS)
        value_BU = np.add.reduceat(kernel(distances(vector_NH[block], vector_NH)), start_U, axis=1)
        np.add.at(sum_UU, unit_N[block], value_BU)
    return Works(sum_UU, np.diff(start_U, append=len(unit_N)).astype(np.float64), count)


def estimate(works: Works, resamples: int, seed: int, advance: Advance = quietly) -> Estimate | None:
    """The distance with its interval and p-values; None where a sample has a single work."""
    if min(works.first, works.second) < 2:
        return None
    is_first_U = np.arange(len(works.size_U)) < works.first
    value = float(unbiased(works, is_first_U[None].astype(float), ~is_first_U[None])[0])
    p_value = share_as_far(_permutations(works, is_first_U, resamples, seed, advance), value)
    if min(works.first, works.second) < LEAST_UNITS:
        return Estimate(value, p_value=p_value)
    value_R, centred_R = _bootstrap(works, resamples, seed, advance)
    p_bootstrap = share_as_far(
        centred_R, float(between_means(works, _means(works, is_first_U[None], ~is_first_U[None]))[0])
    )
    low, high = interval(value_R[np.isfinite(value_R)])
    is_chance = max(p_value, p_bootstrap) > LEVEL
    return Estimate(
        value, min(low, value, 0.0) if is_chance else min(low, value), max(high, value), p_value, p_bootstrap
    )


def unbiased(works: Works, first_RU: NDArray[Any], second_RU: NDArray[Any]) -> Floats:
    """The distance where every work counts so many times in each sample; NaN where a sample is left a single work."""
    apart_UU = works.sum_UU - np.diag(np.diag(works.sum_UU))

    def mean(left_RU: NDArray[Any], right_RU: NDArray[Any]) -> Floats:
        left_RU, right_RU = left_RU.astype(np.float64), right_RU.astype(np.float64)
        total_R = ((left_RU @ apart_UU) * right_RU).sum(1)
        pairs_R = (left_RU @ works.size_U) * (right_RU @ works.size_U) - (left_RU * right_RU) @ works.size_U**2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs_R > 0, total_R / pairs_R, np.nan)

    return mean(first_RU, first_RU) + mean(second_RU, second_RU) - 2 * mean(first_RU, second_RU)


def between_means(works: Works, weight_RU: Floats) -> Floats:
    """The squared distance of two means in the kernel's space: weights are a document's, and add up to 0."""
    return np.maximum(((weight_RU @ works.sum_UU) * weight_RU).sum(1), 0.0)


def _means(works: Works, first_RU: NDArray[Any], second_RU: NDArray[Any]) -> Floats:
    """Weights whose sum over documents is the first sample's mean minus the second's."""
    return first_RU / (first_RU @ works.size_U)[:, None] - second_RU / (second_RU @ works.size_U)[:, None]


def _permutations(works: Works, is_first_U: NDArray[np.bool_], resamples: int, seed: int, advance: Advance) -> Floats:
    generator = np.random.default_rng([seed, _PERMUTATION])

    def batch(rows: int) -> Floats:
        dealt_RU = generator.permuted(np.tile(is_first_U, (rows, 1)), axis=1)
        return unbiased(works, dealt_RU, ~dealt_RU)

    return np.concatenate([batch(rows) for rows in _batches(resamples, advance)])


def _bootstrap(works: Works, resamples: int, seed: int, advance: Advance) -> tuple[Floats, Floats]:
    """`(distance_R, centred_R)`: of works drawn with replacement; and how far their means moved from the samples'."""
    generator = np.random.default_rng([seed, _BOOTSTRAP])
    first_1U = (np.arange(len(works.size_U)) < works.first)[None]
    value, centred = [], []
    for rows in _batches(resamples, advance):
        count_RU = np.concatenate(
            [draw_counts(generator, rows, works.first), draw_counts(generator, rows, works.second)], axis=1
        )
        first_RU, second_RU = count_RU * first_1U, count_RU * ~first_1U
        value.append(unbiased(works, first_RU, second_RU))
        centred.append(between_means(works, _means(works, first_RU, second_RU) - _means(works, first_1U, ~first_1U)))
    return np.concatenate(value), np.concatenate(centred)


def _batches(resamples: int, advance: Advance) -> Iterator[int]:
    for start in range(0, resamples, _BATCH):
        rows = min(_BATCH, resamples - start)
        yield rows
        advance(rows)
