"""Collapse of fully synthetic training without Monte Carlo: the chain of ancestors.

Read backwards, every token of generation m copies one of the n tokens of the generation before. Of a tokens, the number
of different parents is the number of bins that a balls occupy among n: a Markov chain A_0 = n, A_1, … The tokens of
generation m go back to A_(m-1) draws from the real law p, and all else follows:

    rho_m = P(p^(m) is a Dirac) = E sum_i p_i^A        E[different tokens] = E sum_i 1 - (1 - p_i)^A,  A = A_(m-1)
    E T = 1 + sum_(k>=0) E[1 - sum_i p_i^(A_k)]

Status: derived here (the duality of the Wright-Fisher model and its coalescent); exact for every p and n. The matrix of
the chain has n x n entries, so counts above `LARGEST` are refused; there the diffusion law
(`formulas.collapse_time_diffusion`) is within a few parts in a thousand.

Shapes: A = n + 1 numbers of ancestors, 0 to n; V tokens; G generations from 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.theory.next_token.distributions import Floats
from toedit.config.checks import require

LARGEST = 2000
"""Tokens of a generation: 32 MB and seconds."""


@dataclass(frozen=True)
class Chain:
    """The ancestors of n tokens."""

    n: int
    transition_AA: Floats
    """[a, b]: probability that a tokens have b different parents; lower triangular, rows sum to 1."""

    def ancestors(self, generations: int) -> Floats:
        """ancestors_GA: the law of A_(m-1) for m = 1 … G."""
        law_GA = np.zeros((generations, self.n + 1))
        law_GA[0, self.n] = 1
        largest = self.n
        for g in range(1, generations):
            before_A = law_GA[g - 1, : largest + 1]
            law_GA[g, : largest + 1] = before_A @ self.transition_AA[: largest + 1, : largest + 1]
            while law_GA[g, largest] < 1e-300:  # many ancestors are soon out of reach
                largest -= 1
        return law_GA


def check(n: int) -> None:
    """Raise BadConfiguration, with what to use instead, where n tokens are too many for the chain."""
    advice = f"the exact chain takes 1 to {LARGEST}; beyond, use the diffusion law, -2 n sum (1 - p) ln(1 - p)"
    require(1 <= n <= LARGEST, "theory.next_token.n", n, advice)


def chain(n: int) -> Chain:
    """The chain of n tokens, one row from the row above: ball a falls into an occupied bin, or into a new one.

    Raises BadConfiguration above `LARGEST`.
    """
    check(n)
    transition_AA = np.zeros((n + 1, n + 1))
    transition_AA[0, 0] = 1
    bins_A = np.arange(n + 1)
    for a in range(1, n + 1):
        above_A = transition_AA[a - 1]
        transition_AA[a] = above_A * bins_A / n
        transition_AA[a, 1:] += above_A[:-1] * (n - bins_A[:-1]) / n
    return Chain(n, transition_AA)


def dirac_probability(chain: Chain, p_V: Floats, generations: int) -> Floats:
    """rho_G: the probability that p^(m) is a Dirac, m = 1 … G."""
    rho_G: Floats = chain.ancestors(generations) @ _same_token(p_V, chain.n)
    return rho_G


def distinct_tokens(chain: Chain, p_V: Floats, generations: int) -> Floats:
    """E[different tokens of p^(m)], m = 1 … G."""
    found_A = _powers(1 - p_V, chain.n)
    distinct_G: Floats = chain.ancestors(generations) @ np.sum(1 - found_A, axis=0)
    return distinct_G


def lost_mass(chain: Chain, p_V: Floats, generations: int) -> Floats:
    """E of the real probability of all tokens that p^(m) has lost, m = 1 … G: sum_i p_i E(1 - p_i)^A."""
    lost_G: Floats = chain.ancestors(generations) @ (p_V @ _powers(1 - p_V, chain.n))
    return lost_G


def expected_collapse_time(chain: Chain, p_V: Floats) -> float:
    """E T in generations: one triangular solve over the expected time that is left with a ancestors."""
    different_A = 1 - _same_token(p_V, chain.n)
    left_A = np.zeros(chain.n + 1)
    for a in range(1, chain.n + 1):
        stays = chain.transition_AA[a, a]
        sooner = chain.transition_AA[a, 1:a] @ left_A[1:a]
        left_A[a] = (different_A[a] + sooner) / (1 - stays) if a > 1 else 0.0
    return 1 + float(left_A[chain.n])


def _same_token(p_V: Floats, n: int) -> Floats:
    """P(a draws from p are all the same token), a = 0 … n; of none, 1."""
    same_A: Floats = np.minimum(_powers(p_V, n).sum(axis=0), 1)
    same_A[:2] = 1
    return same_A


def _powers(base_V: Floats, n: int) -> Floats:
    """base_V ** a, V x A."""
    powers_VA: Floats = base_V[:, None] ** np.arange(n + 1)
    return powers_VA
