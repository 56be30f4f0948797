"""Pools, windows, and token editing in the next-token model. Status: `formulas.FORMULAS`.

n tokens a generation, S_0 = sum of p^2 of the real law. Editing: a context whose most probable token has q(H) = h, the
mass of H = {tokens with prior >= tau}; rounds t counted from 0, where nothing is edited.
"""

from __future__ import annotations

import math

from analysis.theory.next_token.collapse_formulas import collapse_time_diffusion
from analysis.theory.next_token.distributions import Floats
from analysis.theory.next_token.registry import formula

_ZHU = "Algorithm 1 of Zhu et al. 2025 inside the next-token model"
_ENDLESS = "endless data; H at the prior; draws at temperature 1 from all tokens"


@formula(
    "Section 4.2, random past and accumulated data",
    "derived here",
    "each draw from a random earlier model or the real law, or from the pool of all data; m -> infinity",
)
def pooled_concentration_limit(S_0: float, n: int) -> float:
    """S = 1 - (1 - S_0) sin(x)/x, x = pi/sqrt(n): below 1, so that nothing collapses for good. At n = 1 it is 1."""
    x = math.pi / math.sqrt(n)
    return 1 - (1 - S_0) * math.sin(x) / x if n > 1 else 1.0


@formula(
    "Section 4.2, the K most recent models",
    "derived here",
    "n/K draws from each; within a few parts in a hundred in simulation, not proved",
)
def collapse_time_window(p_V: Floats, n: int, window: int) -> float:
    """E T ~ ((K+1)/2)^2 times the law of K = 1: how old a token's parent is, on average, squared."""
    return ((window + 1) / 2) ** 2 * collapse_time_diffusion(p_V, n)


@formula(_ZHU, "derived here", f"{_ENDLESS}; the prior is the first law, in all rounds")
def editing_eligible_fixed_prior(h: float, rounds: int) -> float:
    """q_t(H) = h^(t+1): what each round moves out of H never comes back."""
    return h ** (rounds + 1)


@formula(_ZHU, "derived here", f"{_ENDLESS}; the prior is the first law, in all rounds")
def editing_distance_fixed_prior(h: float, rounds: int) -> float:
    """Total variation to the first law: h (1 - h^t), which tends to h. A fixed prior does not stabilise by itself."""
    return h * (1 - h**rounds)


@formula(_ZHU, "derived here", f"{_ENDLESS}; the prior is the law that is edited; tau > (sqrt 5 - 1) / 2 = 0.618")
def editing_eligible_reestimated(h: float, rounds: int, threshold: float) -> float:
    """q_t(H): h becomes h^2 a round while it is at least tau, then stays.

    Where tau^2 + tau <= 1, another token may become confident in turn and give probability back.
    """
    for _ in range(rounds):
        if h < threshold:
            break
        h = h * h
    return h


@formula(_ZHU, "derived here", f"{_ENDLESS}; the prior is the law that is edited; tau > 1/2")
def editing_distance_reestimated_bound(threshold: float) -> float:
    """Total variation to the first law after any number of rounds: at most 1 - tau^2, 0.0199 at tau = 0.99."""
    return 1 - threshold**2


@formula(_ZHU, "derived here", "k - 1 other candidates of equal probability: the most that can change at T >= 1")
def changed_share_of_eligible(probability: float, candidates: int, temperature: float) -> float:
    """The probability that an eligible token really becomes another one, where the prior gives it `probability`.

    0.010 at 0.99 with 8 candidates and temperature 1, and 0.082 at 1.5: eligible tokens are not changed tokens.
    """
    own = probability ** (1 / temperature)
    others = (candidates - 1) * ((1 - probability) / max(candidates - 1, 1)) ** (1 / temperature)
    return others / (own + others)
