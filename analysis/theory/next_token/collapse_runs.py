"""Collapse times by simulation: runs until every trial is collapsed, without looking at what lies between.

A generation is kept as its n tokens, and a new token is a copy of a random earlier one: n random numbers a trial,
however large the vocabulary. With a window of K, n/K of them come from each of the K most recent generations.

Shapes: R trials, n tokens of a generation, K generations of a window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from analysis.theory.next_token.distributions import Floats
from toedit.config.checks import require

_TOKENS_OF_A_BATCH = 2**21
_STREAM = 2**32 - 1  # in the place of a generation of `simulate.py`: other draws than its own

Tokens = NDArray[np.int32]


def collapse_times(
    p_V: Floats, n: int, trials: int, seed: int, window: int = 1, advance: Callable[[float], None] | None = None
) -> NDArray[np.int64]:
    """T_R, the first generation from which on all K most recent models are the same Dirac. The mean grows as
    ((K+1)/2)^2 n. `advance` is told how many trials have ended. Raises BadConfiguration where K does not divide n."""
    require(n >= 1, "theory.next_token.n", n, "must be at least 1")
    require(n % window == 0, "theory.next_token.windows", window, f"must divide n={n}: every model gives n/K tokens")
    rows = max(1, _TOKENS_OF_A_BATCH // (n * window))
    parts = [
        _batch(p_V, n, min(rows, trials - start), np.random.default_rng([seed, batch, _STREAM]), window, advance)
        for batch, start in enumerate(range(0, trials, rows))
    ]
    return np.concatenate(parts)


def _batch(
    p_V: Floats, n: int, trials: int, random: np.random.Generator, K: int, advance: Callable[[float], None] | None
) -> NDArray[np.int64]:
    # Before the first generation stand K real ones, of which every token that is asked for is a new draw.
    token_KRn = np.empty((K, trials, n), np.int32)
    time_R, alive_R, generation = np.zeros(trials, np.int64), np.arange(trials), 0
    while len(alive_R):
        new_Rn = _generation(token_KRn, p_V, random, real=max(K - generation, 0))
        token_KRn[generation % K] = new_Rn
        generation += 1
        if generation < K:
            continue
        is_over_R = (token_KRn == token_KRn[:1, :, :1]).all(axis=(0, 2))
        if is_over_R.any():
            time_R[alive_R[is_over_R]] = generation
            alive_R, token_KRn = alive_R[~is_over_R], token_KRn[:, ~is_over_R]
            if advance:
                advance(int(is_over_R.sum()))
    return time_R


def _generation(token_KRn: Tokens, p_V: Floats, random: np.random.Generator, real: int) -> Tokens:
    """n/K tokens from each of the K generations; the `real` oldest of them are the real law."""
    K, trials, n = token_KRn.shape
    share = n // K
    parts = []
    if real:
        cumulative_V = np.cumsum(p_V)
        drawn = np.searchsorted(cumulative_V / cumulative_V[-1], random.random((trials, real * share)), side="right")
        parts.append(drawn.astype(np.int32))
    for k in range(K - real):  # while some are real, those of the model lie in the first places
        parent_Rn = random.integers(0, n, (trials, share))
        parts.append(np.take_along_axis(token_KRn[k], parent_Rn, axis=1))
    return np.concatenate(parts, axis=1)
