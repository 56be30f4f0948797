"""Token-level editing: Algorithm 1 of "How to Synthesize Text Data without Model Collapse?" (ICML 2025), Equation 2.

A token that the prior predicts with probability P(x_i | x_<i) >= p is replaced by a draw from the prior's k most
probable tokens at that place; every other token stays. The condition is the original prefix, so one pass of the prior
serves every p, k, temperature and seed: this module resamples what that pass stored, and needs no model.

The original token stays among its own candidates, with mass >= p at temperature 1. So *eligible* tokens (P >= p) are
many, *changed* tokens (the draw differs) few; `Draws` counts both and gives the exact expectation of the second.

Shapes: N confident tokens (those with stored candidates), K stored candidates, E eligible tokens, k candidates used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Draws:
    """The draw at each eligible token."""

    index_E: Ints
    """Which of the given tokens it is, in increasing order."""
    new_id_E: Ints
    new_logprob_E: Floats
    """The prior's own log-probability (natural log) of the new token."""
    changed_E: NDArray[np.bool_]
    """Whether the draw differs from the original token."""
    expected_changed: float
    """Sum over eligible tokens of 1 - q(original), q being the distribution drawn from: exact, before any draw."""


def is_eligible(logprob: Floats, p: float, strict: bool = False) -> NDArray[np.bool_]:
    """P >= p, or P > p where `strict`; compared in float64. A NaN (unscored token) is never eligible."""
    threshold = math.log(p)
    logprob = logprob.astype(np.float64)
    return logprob > threshold if strict else logprob >= threshold


def resample(
    token_id_N: Ints,
    logprob_N: Floats,
    candidate_id_NK: Ints,
    candidate_logprob_NK: Floats,
    uniform_N: Floats,
    *,
    p: float,
    k: int,
    temperature: float = 1.0,
    strict: bool = False,
) -> Draws:
    """Draw a token for every eligible one (Algorithm 1): inverse-CDF sampling with the uniform of that token.

    `candidate_*_NK` are sorted by descending log-probability. Needs k <= K.
    """
    index_E = np.flatnonzero(is_eligible(logprob_N, p, strict))
    candidate_id_Ek = candidate_id_NK[index_E, :k]
    candidate_logprob_Ek = candidate_logprob_NK[index_E, :k]

    weight_Ek = np.exp((candidate_logprob_Ek.astype(np.float64) - candidate_logprob_Ek[:, :1]) / temperature)
    cumulative_Ek = np.cumsum(weight_Ek, axis=1)
    total_E1 = cumulative_Ek[:, -1:]
    choice_E = (cumulative_Ek <= uniform_N[index_E, None] * total_E1).sum(axis=1)
    choice_E1 = np.minimum(choice_E, candidate_id_Ek.shape[1] - 1)[:, None]  # rounding may reach the total itself

    new_id_E = np.take_along_axis(candidate_id_Ek, choice_E1, axis=1)[:, 0]
    is_original_Ek = candidate_id_Ek == token_id_N[index_E, None]
    mass_of_original_E = (weight_Ek * is_original_Ek).sum(axis=1) / total_E1[:, 0]
    return Draws(
        index_E=index_E,
        new_id_E=new_id_E,
        new_logprob_E=np.take_along_axis(candidate_logprob_Ek, choice_E1, axis=1)[:, 0],
        changed_E=new_id_E != token_id_N[index_E],
        expected_changed=float((1.0 - mass_of_original_E).sum()),
    )
