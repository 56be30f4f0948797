"""Collapse as irreversibility: the synthetic share beyond which retraining on the remaining real data does not help.

After a run, a model is trained on the real data that are still there. Lost is what the run cost, recovered what
retraining brings back; the irreversible fraction is 1 - recovered / lost. A trial has not recovered if it stays more
than delta times the baseline above where it began. The threshold is where half of the trials have not:

    P(not recovered) = 1 / (1 + exp(-b (share - threshold))),  b > 0

fitted by maximum likelihood, with the profile-likelihood interval. Both parameters run over a grid, so trials that
separate perfectly, for which there is no finite b, need nothing special. As a check, the change point of a constant
that becomes a line, fitted to the irreversible fraction by least squares.

Shapes: S shares, R trials, H candidate thresholds, K slopes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.theory.threshold.estimate import Floats, Ints, Threshold

_CHI_SQUARE = 3.841459
"""95 % quantile with one degree of freedom."""
_PLACES, _SLOPES = 41, 61
"""Candidate places between two shares, and slopes."""


@dataclass(frozen=True)
class Irreversibility:
    """By share, and the threshold."""

    fraction_S: Floats
    """1 - recovered / lost, of the means; infinite where nothing was lost."""
    failed_S: Ints
    """Trials that have not recovered."""
    trials: int
    threshold: Threshold
    change_point: float
    """Of the irreversible fraction; infinite where no line fits better than the constant."""


def irreversibility(
    share_S: Floats, start_SR: Floats, end_SR: Floats, recovered_SR: Floats, baseline: float, delta: float
) -> Irreversibility:
    """From the metric at the first generation, at the last one, and after retraining (more is worse)."""
    failed_S = (recovered_SR - start_SR > delta * baseline).sum(axis=1)
    trials = start_SR.shape[1]
    lost_S, kept_S = (end_SR - start_SR).mean(axis=1), (recovered_SR - start_SR).mean(axis=1)
    is_lost_S = lost_S > 1e-9 * baseline
    fraction_S = np.where(is_lost_S, kept_S / np.where(is_lost_S, lost_S, 1.0), np.inf)
    known_S = np.isfinite(fraction_S)
    # Retraining can cost more than the run, or bring more back: noise and other data.
    point = change_point(share_S[known_S], np.clip(fraction_S[known_S], 0, 1))
    return Irreversibility(fraction_S, failed_S, trials, half_point(share_S, failed_S, trials), point)


def half_point(share_S: Floats, failed_S: Ints, trials: int) -> Threshold:
    """Where the logistic curve passes 1/2; infinite where fewer than half of the trials fail at every share."""
    if (failed_S <= trials / 2).all():
        return Threshold(np.inf, _low_end(share_S, failed_S, trials), np.inf)
    likelihood_H, place_H = _profile(share_S, failed_S, trials)
    best = int(likelihood_H.argmax())
    inside_H = place_H[2 * (likelihood_H[best] - likelihood_H) <= _CHI_SQUARE]
    # At the edge of the grid the curve may pass 1/2 anywhere beyond it.
    high = np.inf if inside_H[-1] == place_H[-1] and failed_S[-1] < trials else float(inside_H[-1])
    return Threshold(float(_middle(place_H, likelihood_H)), float(inside_H[0]), high)


def change_point(share_S: Floats, fraction_S: Floats) -> float:
    """Where a constant that becomes a rising line breaks; infinite where it does not."""
    if len(share_S) < 3:
        return np.inf
    constant = float(((fraction_S - fraction_S.mean()) ** 2).sum())
    best, found = constant * (1 - 1e-9) - 1e-15, np.inf
    for point in np.linspace(share_S[0], share_S[-1], 10 * _PLACES)[:-1]:
        beyond_S = np.maximum(share_S - point, 0)
        spread_S, rest_S = beyond_S - beyond_S.mean(), fraction_S - fraction_S.mean()
        slope = float(spread_S @ rest_S / (spread_S @ spread_S))
        error = float(((rest_S - slope * spread_S) ** 2).sum())
        if slope > 0 and error < best:
            best, found = error, float(point)
    return found


def _profile(share_S: Floats, failed_S: Ints, trials: int) -> tuple[Floats, Floats]:
    """(log-likelihood_H maximised over slopes, place_H)."""
    width = share_S[-1] - share_S[0]
    # As many places between any two shares: grids may be fine where little is enough.
    place_H = np.unique(np.concatenate([np.linspace(*ends, _PLACES) for ends in pairwise(share_S)]))
    slope_K = np.geomspace(0.5, 5000, _SLOPES) / width
    logit_HKS = slope_K[None, :, None] * (share_S - place_H[:, None, None])
    lost_HKS, won_HKS = failed_S * np.logaddexp(0, -logit_HKS), (trials - failed_S) * np.logaddexp(0, logit_HKS)
    likelihood_HK = -(lost_HKS + won_HKS).sum(axis=2)
    return likelihood_HK.max(axis=1), place_H


def _middle(place_H: Floats, likelihood_H: Floats) -> float:
    """The middle of the most likely places: separated trials leave a whole gap equally likely."""
    best_H = place_H[likelihood_H >= likelihood_H.max() - 1e-3]
    return (best_H[0] + best_H[-1]) / 2


def _low_end(share_S: Floats, failed_S: Ints, trials: int) -> float:
    """Where the interval of a threshold that was not found begins: infinite unless the likelihood allows a place."""
    if not failed_S.any():
        return np.inf
    likelihood_H, place_H = _profile(share_S, failed_S, trials)
    constant = failed_S.sum() / (trials * len(failed_S))
    flat = failed_S.sum() * np.log(constant) + (trials * len(failed_S) - failed_S.sum()) * np.log1p(-constant)
    inside_H = place_H[2 * (max(likelihood_H.max(), flat) - likelihood_H) <= _CHI_SQUARE]
    return float(inside_H[0]) if len(inside_H) else np.inf
