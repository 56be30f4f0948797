"""Collapse as a tolerance: the synthetic share at which the metric exceeds kappa times its baseline.

More synthetic data are taken to be no better: the metric by share is made to increase (isotonic regression, by pooling
adjacent violators), and the threshold is where the straight lines between its values cross the limit. The interval is
a percentile bootstrap over trials; limit and baseline are drawn with them.

Shapes: S shares, R trials, B resamples.
"""

from __future__ import annotations

import numpy as np

from analysis.theory.threshold.estimate import Floats, Threshold, percentile_interval, resampled_trials


def increasing(value_BS: Floats) -> Floats:
    """The closest increasing values, row by row (least squares, equal weights).

    What pooling adjacent violators gives, as a formula: max over j <= i of min over k >= i of the mean of j .. k.
    """
    sums_BS1 = np.concatenate([np.zeros((len(value_BS), 1)), np.cumsum(value_BS, axis=1)], axis=1)
    shares = value_BS.shape[1]
    fitted_BS = np.full_like(value_BS, -np.inf)
    for first in range(shares):
        length = np.arange(1, shares - first + 1)
        mean_BK = (sums_BS1[:, first + 1 :] - sums_BS1[:, first : first + 1]) / length
        least_BK = np.minimum.accumulate(mean_BK[:, ::-1], axis=1)[:, ::-1]
        fitted_BS[:, first:] = np.maximum(fitted_BS[:, first:], least_BK)
    return fitted_BS


def crossing(share_S: Floats, value_BS: Floats, limit_B: Floats) -> Floats:
    """[B]: where the lines between increasing values first exceed the limit; infinite where they do not."""
    above_BS = value_BS > limit_B[:, None]
    place_B = above_BS.argmax(axis=1)
    row_B, before_B = np.arange(len(value_BS)), np.maximum(place_B - 1, 0)
    low_B, high_B = value_BS[row_B, before_B], value_BS[row_B, place_B]
    with np.errstate(divide="ignore", invalid="ignore"):
        part_B = np.where(high_B > low_B, (limit_B - low_B) / (high_B - low_B), 0.0)
    found_B = share_S[before_B] + np.clip(part_B, 0, 1) * (share_S[place_B] - share_S[before_B])
    return np.where(above_BS.any(axis=1), found_B, np.inf)


def tolerance_threshold(
    share_S: Floats, level_SR: Floats, baseline_R: Floats, kappa: float, resamples: int, seed: int
) -> Threshold:
    """The share where the mean level exceeds `kappa` times the mean baseline.

    A metric of which less is worse comes negated, and its limit is the baseline divided by kappa.
    """
    trials = level_SR.shape[1]
    weight_BR = np.concatenate([np.full((1, trials), 1 / trials), resampled_trials(trials, resamples, seed)])
    level_BS, baseline_B = weight_BR @ level_SR.T, weight_BR @ baseline_R
    limit_B = np.where(baseline_B > 0, kappa * baseline_B, baseline_B / kappa)
    found_B = crossing(share_S, increasing(level_BS), limit_B)
    low, high = percentile_interval(found_B[1:])
    value = float(found_B[0])
    return Threshold(value, min(low, value), max(high, value))
