"""What can be iterated exactly, without Monte Carlo: concentration, drift, pools, editing of laws.

Each function returns its whole curve. Status of all: hold exactly in mean (population laws for editing); the recursion
of `concentration_partially_synthetic` is Seddik et al. 2024, proof of Theorem 2, the others are derived here.

Shapes: G generations from 1; C contexts, V tokens. S_m = E||p^(m)||_2^2; N real and n synthetic tokens in a context.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.theory.next_token.distributions import Floats


def concentration_fully_synthetic(S_0: float, n: int, generations: int) -> Floats:
    """S_G of training on n tokens of the model before: 1 - S shrinks by 1 - 1/n each time."""
    generation_G = np.arange(1, generations + 1, dtype=np.float64)
    S_G: Floats = 1 - (1 - 1 / n) ** generation_G * (1 - S_0)
    return S_G


def concentration_partially_synthetic(S_0: float, N: int, n: int, generations: int) -> Floats:
    """S_G with N fixed real tokens: S_(m+1) = (1-a)(1+2a)/N + (1-1/N)(1-a^2) S_0 + beta S_m, a = n/(N+n)."""
    a = n / (N + n)
    beta = a * ((1 + 1 / N) * a - 1 / N)
    S_G = np.empty(generations)
    S_G[0] = 1 / N + (1 - 1 / N) * S_0
    for g in range(1, generations):
        S_G[g] = (1 - a) * (1 + 2 * a) / N + (1 - 1 / N) * (1 - a**2) * S_0 + beta * S_G[g - 1]
    return S_G


def squared_drift_partially_synthetic(S_0: float, N: int, n: int, generations: int) -> Floats:
    """V_G, V_m = E||p^(m) - p^(1)||_2^2: V_(m+1) = a^2 ((1 - S_m)/n + V_m), V_1 = 0.

    From p^(m+1) - p^(1) = a (empirical law of n draws from p^(m) - p^(1)), whose noise has mean 0 given the past.
    """
    a = n / (N + n)
    S_G = concentration_partially_synthetic(S_0, N, n, generations)
    V_G = np.zeros(generations)
    for g in range(1, generations):
        V_G[g] = a**2 * ((1 - S_G[g - 1]) / n + V_G[g - 1])
    return V_G


def squared_drift_fully_synthetic(S_0: float, n: int, generations: int) -> Floats:
    """V_G without real tokens: the noise of each generation adds up, V_m = S_m - S_1."""
    S_G = concentration_fully_synthetic(S_0, n, generations)
    V_G: Floats = S_G - S_G[0]
    return V_G


def concentration_accumulate(S_0: float, n: int, generations: int) -> Floats:
    """S_G of a model of all draws so far: 1 - S_m = (1 - S_0) prod_(j<=m) (1 - 1/(n j^2))."""
    step_G = np.arange(1, generations + 1, dtype=np.float64)
    remaining_G: Floats = np.cumprod(1 - 1 / (n * step_G**2), dtype=np.float64)
    S_G: Floats = 1 - (1 - S_0) * remaining_G
    return S_G


def concentration_random_past(S_0: float, n: int, generations: int) -> Floats:
    """S_G where each draw comes from a random earlier model or the real law.

    u_m = 1 - E||mean of p^(0) … p^(m)||^2 obeys u_m = u_(m-1) (1 - 1/(n (m+1)^2)), u_0 = 1 - S_0, and
    S_m = 1 - (1 - 1/n) u_(m-1).
    """
    u_G = np.empty(generations)
    u_G[0] = 1 - S_0
    for g in range(1, generations):
        u_G[g] = u_G[g - 1] * (1 - 1 / (n * (g + 1) ** 2))
    S_G: Floats = 1 - (1 - 1 / n) * u_G
    return S_G


def redraw_law(prior_CV: Floats, top_k: int, temperature: float) -> Floats:
    """What Algorithm 1 draws from: the prior at a temperature, on its top_k most probable tokens, summing to 1.

    Of equally probable tokens the first ones are taken. Tokens that the prior excludes stay excluded.
    """
    if top_k < prior_CV.shape[1]:
        kept_Ck = np.argsort(-prior_CV, axis=1, kind="stable")[:, :top_k]
        allowed_CV = np.zeros(prior_CV.shape)
        np.put_along_axis(allowed_CV, kept_Ck, 1.0, axis=1)
        prior_CV = prior_CV * allowed_CV
    # By the largest first, so that no power of a small probability is lost.
    scaled_CV = (prior_CV / prior_CV.max(axis=1, keepdims=True)) ** (1 / temperature)
    law_CV: Floats = scaled_CV / scaled_CV.sum(axis=1, keepdims=True)
    return law_CV


def edit_law(law_CV: Floats, prior_CV: Floats, threshold: float, top_k: int, temperature: float = 1.0) -> Floats:
    """One round of token editing of endless data: q 1(not H) + q(H) pi, H = the tokens with prior >= threshold."""
    eligible_CV = prior_CV >= threshold
    moved_C1 = np.sum(law_CV * eligible_CV, axis=1, keepdims=True)
    edited_CV: Floats = law_CV * ~eligible_CV + moved_C1 * redraw_law(prior_CV, top_k, temperature)
    return edited_CV


def edited_laws(
    first_CV: Floats, prior_CV: Floats | None, threshold: float, top_k: int, temperature: float, generations: int
) -> tuple[list[Floats], list[float]]:
    """The laws q_1 … q_G of endless data (q_1 is `first_CV`), and the share of each that the next round redraws.

    `prior_CV` None: re-estimated, each round's prior is the law that it edits.
    """
    laws, shares = [first_CV], [_eligible(first_CV, prior_CV, threshold)]
    for _ in range(1, generations):
        prior = laws[-1] if prior_CV is None else prior_CV
        laws.append(edit_law(laws[-1], prior, threshold, top_k, temperature))
        shares.append(_eligible(laws[-1], prior_CV, threshold))
    return laws, shares


def _eligible(law_CV: Floats, prior_CV: Floats | None, threshold: float) -> float:
    is_eligible_CV: NDArray[np.bool_] = (law_CV if prior_CV is None else prior_CV) >= threshold
    return float(np.sum(law_CV * is_eligible_CV, axis=1).mean())
