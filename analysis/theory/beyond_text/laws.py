"""What iterated editing does to the law q of the next token in one context that itself stays as it is.

With a prior pi and the confident tokens H = {x : pi(x) >= p}, one round of editing is

    q_(t+1) = q_t outside H + q_t(H) pi~        pi~: pi on its k most probable tokens, at the temperature

Status: derived here (the update is Equation 2 of Zhu et al. 2025 as a statement about laws). Nothing outside H is ever
lost, so no context collapses. With p > 1/2 there is one confident token at a time; with pi~ = pi and h = pi(H):

    fixed prior pi = q_0    q_t(H) = h^(t+1)       total variation to q_0: h (1 - h^t), which goes to h
    own prior pi = q_t      h -> h^2 until h < p   total variation to q_0: at most 1 - p^2, for ever

As functions: `editing_*` of `analysis.theory.next_token.formulas`. The law of the own prior needs p > 0.618, that is
p^2 + p > 1: below, the rest of the law, at most 1 - p^2, may hold another token that has become confident in turn, and
gives some of its probability back.

Shapes: C contexts, V tokens, t rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def changed_share(law_V: Floats, p: float) -> float:
    """Share of tokens that one round changes, E[(1 - pi~(x)) 1{pi(x) >= p}], for pi~ = pi = q. Status: derived here."""
    law_V = np.asarray(law_V, np.float64)
    return float((law_V * (1 - law_V))[law_V >= p].sum())


def drawn_law(law_CV: Floats, k: int, temperature: float) -> Floats:
    """pi~: the k most probable tokens of each law, at the temperature."""
    order_CV = np.argsort(-law_CV, axis=1, kind="stable")
    weight_CV = law_CV ** (1 / temperature)
    np.put_along_axis(weight_CV, order_CV[:, k:], 0.0, axis=1)
    return weight_CV / weight_CV.sum(axis=1, keepdims=True)


def edited_law(law_CV: Floats, prior_CV: Floats, p: float, k: int, temperature: float = 1.0) -> Floats:
    """One round."""
    is_confident_CV = prior_CV >= p
    drawn_C1 = np.where(is_confident_CV, law_CV, 0).sum(axis=1, keepdims=True)
    return np.where(is_confident_CV, 0, law_CV) + drawn_C1 * drawn_law(prior_CV, k, temperature)


def distances(
    law_CV: Floats,
    weight_C: Floats,
    prior: Callable[[Floats], Floats],
    is_fixed: bool,
    rounds: int,
    p: float,
    k: int,
    temperature: float,
) -> Floats:
    """[1 + rounds]: total variation to the first law, averaged over contexts. `prior` makes the prior of a law."""
    first_CV, prior_CV = law_CV, prior(law_CV)
    found = [0.0]
    for _ in range(rounds):
        law_CV = edited_law(law_CV, prior_CV if is_fixed else prior(law_CV), p, k, temperature)
        found.append(float((weight_C * np.abs(law_CV - first_CV).sum(axis=1)).sum() / 2))
    return np.array(found)
