"""A new X in every generation: replace, accumulate and fresh real rows (editing keeps its rows by definition).

Accumulate carries the normal equations of all generations along; its error is then a little lower than with one X.

Shapes: R trials, S strategies, T rows of X, G generations, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.theory.regression.strategies import Accumulate, Floats, FreshRealRows, Replace, State, Strategy
from toedit.errors import BadConfiguration

if TYPE_CHECKING:
    from analysis.theory.regression.simulate import Draws


def fresh_rows_errors(
    strategies: Sequence[Strategy], draws: Draws, d: int, generations: int, scale_d: Floats | None
) -> Floats:
    """error_RSG for unit noise. BadConfiguration for a strategy that needs the rows it had."""
    R, G, T = draws.noise_RGT.shape
    X_RGTd = draws.X_RTd.reshape(R, G, T, d)
    error_RSG = np.empty((R, len(strategies), G))
    gram_Rdd: Floats
    right_Rd1: Floats
    delta_Rd1: Floats
    for s, strategy in enumerate(strategies):
        if not isinstance(strategy, Replace | Accumulate | FreshRealRows):
            raise BadConfiguration(f"{type(strategy).__name__}: with a new X in every generation no row is kept")
        gram_Rdd, right_Rd1 = np.zeros((R, d, d)), np.zeros((R, d, 1))
        delta_Rd1 = np.zeros((R, d, 1))
        for generation in range(G):
            X_RTd = X_RGTd[:, generation]
            prediction_RT = (X_RTd @ delta_Rd1)[..., 0]
            predict = _predict(strategy, draws, generation, prediction_RT)
            residual_RT1 = (predict * prediction_RT + draws.noise_RGT[:, generation])[..., None]
            if not isinstance(strategy, Accumulate):
                gram_Rdd, right_Rd1 = np.zeros_like(gram_Rdd), np.zeros_like(right_Rd1)
            X_RdT = X_RTd.swapaxes(1, 2)
            gram_Rdd, right_Rd1 = gram_Rdd + X_RdT @ X_RTd, right_Rd1 + X_RdT @ residual_RT1
            delta_Rd1 = np.asarray(np.linalg.solve(gram_Rdd, right_Rd1), np.float64)
            scaled_Rd = delta_Rd1[..., 0] if scale_d is None else delta_Rd1[..., 0] * scale_d
            error_RSG[:, s, generation] = (scaled_Rd**2).sum(axis=1)
    return error_RSG


def _predict(strategy: Strategy, draws: Draws, generation: int, prediction_RT: Floats) -> float | Floats:
    """1 where a label is the last model's; the real labels of the first generation have a prediction of 0 anyway."""
    if generation == 0 or not isinstance(strategy, FreshRealRows):
        return 1.0
    state = State(generation, draws.uniform_RNT[:, generation - 1], prediction_RT, prediction_RT)
    _, predict, _ = strategy.coefficients(state)
    return predict
