"""Fully synthetic training: concentration, the probability of a Dirac, the time until it is reached.

Each context on its own: p = p^(0) over V tokens with s~ = `support` of positive probability, n tokens a generation,
S_0 = sum of p^2, m = `generation` counted from 1, T = the first generation that is a Dirac. For the status of each:
`formulas.FORMULAS`.
"""

from __future__ import annotations

import numpy as np

from analysis.theory.next_token.distributions import Floats
from analysis.theory.next_token.registry import formula

_MODEL = "each model is trained on n tokens of the model before, the first on n real ones"


@formula("Theorem 1, equation (6)", "holds", _MODEL)
def concentration_fully_synthetic(S_0: float, n: int, generation: int) -> float:
    """S_m = E||p^(m)||^2 = 1 - (1 - 1/n)^m (1 - S_0), exactly."""
    return 1 - (1 - 1 / n) ** generation * (1 - S_0)


@formula("Theorem 1, equation (7), left", "loose", f"{_MODEL}; negative, and so empty, until late")
def dirac_probability_lower(S_0: float, n: int, generation: int) -> float:
    """rho_m >= 1 - n (1 - S_0) (1 - 1/n)^m."""
    return 1 - n * (1 - S_0) * (1 - 1 / n) ** generation


@formula("Theorem 1, equation (7), right", "loose", f"{_MODEL}; at least 2 tokens")
def dirac_probability_upper(S_0: float, n: int, generation: int, support: int) -> float:
    """rho_m <= 1 - (1 - S_0)/(1 - 1/s~) (1 - 1/n)^m."""
    return 1 - (1 - S_0) / (1 - 1 / support) * (1 - 1 / n) ** generation


@formula("Theorem 1, equation (8), left", "loose", f"{_MODEL}; at least 2 tokens; about half of the value")
def collapse_time_lower(S_0: float, n: int, support: int) -> float:
    """E T >= 1 + (1 - S_0) (n - 1)/(1 - 1/s~)."""
    return 1 + (1 - S_0) * (n - 1) / (1 - 1 / support)


@formula("Theorem 1, equation (8), right", "loose", f"{_MODEL}; too large by a factor of about n/2")
def collapse_time_upper(S_0: float, n: int) -> float:
    """E T <= 1 + (1 - S_0) n (n - 1). See `collapse_time_diffusion` for the value, which grows with n, not n^2."""
    return 1 + (1 - S_0) * n * (n - 1)


@formula("Proposition 1", "holds", _MODEL)
def limit_probability(p_V: Floats) -> Floats:
    """P(the model ends as the Dirac at token i) = p_i: the mean of a martingale with values 0 and 1 in the end."""
    return p_V


@formula(
    "the diffusion limit of the Wright-Fisher model",
    "derived here",
    f"{_MODEL}; n -> infinity: within 0.5 to 4 % of the exact value for n >= 30, 8 % at n = 10",
)
def collapse_time_diffusion(p_V: Floats, n: int) -> float:
    """E T ~ -2 n sum_i (1 - p_i) ln(1 - p_i), which never exceeds 2 n: the paper's remark that E T should be close to
    O(n), with its constant."""
    rest_V = 1 - p_V[p_V < 1]
    return float(-2 * n * np.sum(rest_V * np.log(rest_V)))


@formula(
    "the slowest decay of the chain of ancestors",
    "derived here",
    f"{_MODEL}; m much larger than n, and n -> infinity: at n = 50 the constant is 2.90, not 3",
)
def dirac_probability_late(S_0: float, n: int, generation: int) -> float:
    """rho_m ~ 1 - 3 (1 - S_0) (1 - 1/n)^m."""
    return 1 - 3 * (1 - S_0) * (1 - 1 / n) ** generation
