"""Does one sample cover another? Quantiles of both, and the share of each within the other's range and in its tails.

    q0.025 ... q0.975   the smallest value with at least that share of the documents up to it
    within_95          share within the other sample's central 95 %, ends included; 95 % where the samples are alike
    within_99          likewise 99 %
    up_to_q0.25        share up to the other's lower quartile; 25 % where they are alike
    above_q0.95        share above the other's 95th percentile; 5 % where they are alike

Intervals are percentile intervals of a bootstrap over units (`two_sample`). Where no document, or every one, is in a
range, resamples say nothing about the next document: Wilson's interval, with units for trials.

Shapes: A, B documents of the samples in the order of their values, R resamples, Q quantiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.intervals import wilson
from analysis.two_sample import (
    Advance,
    Counts,
    Estimate,
    Pair,
    Sample,
    Statistic,
    Values,
    bootstrap,
    interval,
    once,
    quietly,
)

SIDES = ("first", "second")
CENTRAL_95 = ("q0.025", "q0.975")
QUANTILES = (0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975)
SHARES = {"within_95": 0.95, "within_99": 0.99, "up_to_q0.25": 0.25, "above_q0.95": 0.05}
"""Each with what it is where the samples are alike."""

_ENDS = {"within_95": (0.025, 0.975), "within_99": (0.005, 0.995)}
_ALL = tuple(sorted({*QUANTILES, *_ENDS["within_95"], *_ENDS["within_99"]}))


def measure(pair: Pair, resamples: int, seed: int, advance: Advance = quietly) -> dict[str, dict[str, Estimate]]:
    """`{first or second: {q0.25: ..., within_95: share of this one in the other, ...}}`."""
    statistic = overlap_statistic(pair)
    value, drawn = once(statistic, pair), bootstrap(statistic, pair, resamples, seed, advance)
    measured: dict[str, dict[str, Estimate]] = {side: {} for side in SIDES}
    for key, number in value.items():
        side, _, name = key.partition(".")
        units = (pair.first if side == SIDES[0] else pair.second).units
        if not drawn:
            measured[side][name] = Estimate(number)
        elif name in SHARES and number in (0.0, 1.0):
            measured[side][name] = Estimate(number, *wilson(units if number else 0, units))
        else:
            low, high = interval(drawn[key])
            measured[side][name] = Estimate(number, min(low, number), max(high, number))
    return measured


def overlap_statistic(pair: Pair) -> Statistic:
    """All of the measures, by `first.<name>` and `second.<name>`."""
    between = {
        side: (
            np.searchsorted(own.value_A, other.value_A, "left"),
            np.searchsorted(own.value_A, other.value_A, "right"),
        )
        for side, own, other in zip(SIDES, (pair.first, pair.second), (pair.second, pair.first), strict=True)
    }

    def statistic(count_RA: Counts, count_RB: Counts) -> Values:
        cumulative = [np.cumsum(np.pad(count, ((0, 0), (1, 0))), axis=1) for count in (count_RA, count_RB)]
        index = [quantile_index(cumulative_RA1) for cumulative_RA1 in cumulative]
        values: Values = {}
        for number, (side, sample) in enumerate(zip(SIDES, (pair.first, pair.second), strict=True)):
            values |= {f"{side}.q{share:g}": value_R for share, value_R in _quantiles(sample, index[number]).items()}
            shares = _shares(cumulative[number], index[1 - number], *between[side])
            values |= {f"{side}.{name}": share_R for name, share_R in shares.items()}
        return values

    return statistic


def quantile_index(cumulative_RA1: NDArray[np.int64]) -> NDArray[np.int64]:
    """[R, Q]: the document that reaches each share of `_ALL`; `cumulative_RA1` counts documents before each."""
    share_Q = np.array(_ALL)
    # Shares such as 0.95 are no binary fractions: a hair below, else 95 of 100 documents would not be 95 %.
    return np.stack([np.searchsorted(row[1:], share_Q * row[-1] - 1e-9 * row[-1]) for row in cumulative_RA1])


def _quantiles(sample: Sample, index_RQ: NDArray[np.int64]) -> dict[float, NDArray[np.float64]]:
    return {share: sample.value_A[index_RQ[:, _ALL.index(share)]] for share in QUANTILES}


def _shares(
    cumulative_RA1: NDArray[np.int64],
    other_index_RQ: NDArray[np.int64],
    below_B: NDArray[np.int64],
    up_to_B: NDArray[np.int64],
) -> Values:
    """`below_B` and `up_to_B`: how many of the own documents lie below, or up to, each of the other sample's."""
    row_R, total_R = np.arange(len(cumulative_RA1)), cumulative_RA1[:, -1]

    def share(place_B: NDArray[np.int64], quantile: float) -> NDArray[np.float64]:
        reached_R = place_B[other_index_RQ[:, _ALL.index(quantile)]]
        return cumulative_RA1[row_R, reached_R] / total_R

    shares = {name: share(up_to_B, high) - share(below_B, low) for name, (low, high) in _ENDS.items()}
    return shares | {"up_to_q0.25": share(up_to_B, 0.25), "above_q0.95": 1 - share(up_to_B, 0.95)}
