"""Collapse as a slope: the smallest synthetic share at which the metric still rises in the last half of the run.

Each trial's slope is least squares over the last half. The null hypothesis of every share, that the mean slope is at
most 0, is tested by the studentised bootstrap over trials (Hall 1992), one-sided; Holm's correction over the shares.
The threshold is the smallest significant share; its interval draws the trials anew and locates it again.

A run that is too short is still on its way to a plateau, and rises: `relaxation_generations` says how long that takes
where real data are kept.

Shapes: S shares, R trials, G generations, B resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.theory.threshold.estimate import (
    LEVEL,
    Floats,
    Threshold,
    first_share,
    holm,
    percentile_interval,
    resampled_trials,
)


@dataclass(frozen=True)
class SlopeResult:
    """Slopes by share, a generation each, and the threshold."""

    slope_S: Floats
    p_S: Floats
    """One-sided, corrected; 1 at a share of 0, which is not tested."""
    threshold: Threshold


def relaxation_generations(share: float) -> float:
    """Generations in which the distance to the plateau falls by e with real data kept: 1 / (-2 ln share).

    Status: derived here, for the partially synthetic next-token model (`analysis.theory.next_token.drift_formulas`);
    regression behaves alike.
    """
    if share <= 0:
        return 0.0
    return np.inf if share >= 1 else -1 / (2 * math.log(share))


def slopes(metric_SRG: Floats) -> Floats:
    """[S, R]: least-squares slopes over the last half of the generations (at least two)."""
    generations = metric_SRG.shape[-1]
    last_SRH = metric_SRG[..., min(generations // 2, generations - 2) :]
    centred_H = np.arange(last_SRH.shape[-1]) - (last_SRH.shape[-1] - 1) / 2
    return np.asarray(last_SRH @ centred_H / (centred_H @ centred_H))


def slope_threshold(share_S: Floats, metric_SRG: Floats, resamples: int, seed: int) -> SlopeResult:
    """The slopes, their p-values and the threshold; a share of 0 is the baseline and not tested."""
    slope_SR = slopes(metric_SRG)
    # A metric that does not move at all has slopes of rounding errors.
    scale = np.abs(metric_SRG).max(initial=0.0) or 1.0
    slope_SR = np.where(np.abs(slope_SR) < 1e-12 * scale, 0.0, slope_SR)
    weight_BR = resampled_trials(slope_SR.shape[1], resamples, seed)
    tested_S = np.flatnonzero(share_S > 0)
    statistic_S, statistic_BS, null_BS = _statistics(slope_SR[tested_S], weight_BR)
    p_S = holm(_p_values(statistic_S[None], null_BS))[0]
    p_BS = holm(_p_values(statistic_BS, null_BS))
    value = float(first_share(share_S[tested_S], p_S[None] <= LEVEL)[0])
    low, high = percentile_interval(first_share(share_S[tested_S], p_BS <= LEVEL))
    all_p_S = np.ones(len(share_S))
    all_p_S[tested_S] = p_S
    return SlopeResult(slope_SR.mean(axis=1), all_p_S, Threshold(value, min(low, value), max(high, value)))


def _statistics(slope_SR: Floats, weight_BR: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean by standard deviation: of the trials [S], of resamples [B, S], and of resamples around the trials' mean."""
    mean_S = slope_SR.mean(axis=1)
    rest_RS = (slope_SR - mean_S[:, None]).T
    shift_BS = weight_BR @ rest_RS
    deviation_BS = np.sqrt(np.maximum(weight_BR @ rest_RS**2 - shift_BS**2, 0))
    deviation_BS[deviation_BS < 1e-9 * np.abs(rest_RS).max(initial=0.0)] = 0.0
    return _ratio(mean_S, slope_SR.std(axis=1)), _ratio(mean_S + shift_BS, deviation_BS), _ratio(shift_BS, deviation_BS)


def _ratio(mean: Floats, deviation: Floats) -> Floats:
    """Infinite where there is no deviation and the mean is not 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(mean) > 0, mean / deviation, 0.0)


def _p_values(statistic_BS: Floats, null_BS: Floats) -> Floats:
    """Share of the null's values that are as large, the observed one counted among them."""
    resamples = len(null_BS)
    columns = zip(statistic_BS.T, np.sort(null_BS, axis=0).T, strict=True)
    return np.stack([(1 + resamples - np.searchsorted(null_B, at)) / (1 + resamples) for at, null_B in columns], axis=1)
