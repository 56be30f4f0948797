"""What the three estimators share: a threshold with its interval, resamples of trials, Holm's correction.

A threshold is the synthetic share beyond which something holds; infinite: nowhere on the grid, which is a result.

Shapes: S shares (increasing), R trials, G generations, B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toedit.units import draw_counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL = 0.05


@dataclass(frozen=True)
class Threshold:
    """A share with its 95 % interval; infinite ends lie beyond the largest share looked at."""

    value: float
    low: float
    high: float

    @property
    def is_found(self) -> bool:
        return bool(np.isfinite(self.value))


def resampled_trials(trials: int, resamples: int, seed: int) -> Floats:
    """weight_BR: how often each trial was drawn, with replacement, divided by R. A resample has the same trials at all
    shares, as these may have the same random numbers."""
    return draw_counts(np.random.default_rng(seed), resamples, trials) / trials


def percentile_interval(value_B: Floats) -> tuple[float, float]:
    """The middle 95 %, infinite values included: quantiles that are values themselves."""
    low, high = np.quantile(value_B, [LEVEL / 2, 1 - LEVEL / 2], method="inverted_cdf")
    return float(low), float(high)


def holm(p_BS: Floats) -> Floats:
    """p-values corrected for testing several shares, row by row (Holm 1979)."""
    order_BS = np.argsort(p_BS, axis=-1, kind="stable")
    sorted_BS = np.take_along_axis(p_BS, order_BS, axis=-1) * np.arange(p_BS.shape[-1], 0, -1)
    adjusted_BS = np.minimum(np.maximum.accumulate(sorted_BS, axis=-1), 1.0)
    corrected_BS = np.empty_like(adjusted_BS)
    np.put_along_axis(corrected_BS, order_BS, adjusted_BS, axis=-1)
    return corrected_BS


def first_share(share_S: Floats, is_so_BS: NDArray[np.bool_]) -> Floats:
    """[B]: the smallest share at which it is so; infinite where it is nowhere."""
    return np.where(is_so_BS.any(axis=-1), share_S[is_so_BS.argmax(axis=-1)], np.inf)
