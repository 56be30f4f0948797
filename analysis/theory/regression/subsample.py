"""Accumulate-subsample: T rows drawn without replacement from the rows of all generations so far.

Every generation adds T rows to the pool, labelled by the last model: the rows of X again, or new ones. Of the same rows
a sample from a large pool holds about 63 %, many of them more than once; so T has to be well above d (`LEAST_ROWS`).

Shapes: R trials, T rows of X, G generations, d dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.theory.regression.strategies import Floats

if TYPE_CHECKING:
    from analysis.theory.regression.simulate import Draws

LEAST_ROWS = 3
"""T >= LEAST_ROWS (d + 1), with one X: below, a sample may hold fewer than d of its rows, and then has no fit."""


def subsample_errors(draws: Draws, scale_d: Floats | None) -> Floats:
    """error_RG for unit noise."""
    R, G, T = draws.noise_RGT.shape
    has_new_rows = draws.X_RTd.shape[1] > T  # X of all generations, one after the other
    pool_RP = np.empty((R, G * T))  # residuals of the labels of all rows, generation by generation
    order_RP = np.tile(np.arange(G * T), (R, 1))
    pool_RP[:, :T] = draws.noise_RGT[:, 0]
    error_RG = np.empty((R, G))
    trial_R1 = np.arange(R)[:, None]
    for generation in range(G):
        if generation:
            _draw_rows(order_RP, (generation + 1) * T, draws.uniform_RNT[:, generation - 1])
        row_RT = order_RP[:, :T]
        X_RTd = draws.X_RTd[trial_R1, row_RT if has_new_rows else row_RT % T]
        X_RdT = X_RTd.swapaxes(1, 2)
        right_Rd1 = X_RdT @ pool_RP[trial_R1, row_RT][..., None]
        delta_Rd = np.linalg.solve(X_RdT @ X_RTd, right_Rd1)[..., 0]
        scaled_Rd = delta_Rd if scale_d is None else delta_Rd * scale_d
        error_RG[:, generation] = (scaled_Rd**2).sum(axis=1)
        if generation + 1 < G:
            new = slice((generation + 1) * T, (generation + 2) * T)
            added_RTd = draws.X_RTd[:, new] if has_new_rows else draws.X_RTd
            prediction_RT = (added_RTd @ delta_Rd[..., None])[..., 0]
            pool_RP[:, new] = prediction_RT + draws.noise_RGT[:, generation + 1]
    return error_RG


def _draw_rows(order_RP: NDArray[np.int64], pool: int, uniform_RT: Floats) -> None:
    """The first T places of every order become a sample of the first `pool` ones (Fisher and Yates), in place.

    Whatever the order was before: any permutation of the pool is as good a start as another.
    """
    T = uniform_RT.shape[1]
    trial_R = np.arange(len(order_RP))
    other_RT = (np.arange(T) + uniform_RT * (pool - np.arange(T))).astype(np.int64)
    for t in range(T):
        other_R = other_RT[:, t]
        chosen_R = order_RP[trial_R, other_R]
        order_RP[trial_R, other_R] = order_RP[:, t]
        order_RP[:, t] = chosen_R
