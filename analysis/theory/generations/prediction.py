"""What the discrete theory of token editing predicts for these chains, from generation 0 alone.

In one context, let h be the prior's probability of the one token that it is sure of (h >= p > 1/2). Derived here, for
laws that are those of the text (maximum likelihood), contexts that no edit changes, and one sure token a context:

    fixed prior   the sure token has mass h^(t+1) after t rounds; total variation h (1 - h^t), which tends to h
    own prior     h becomes h^2 each round, until it is less than p; total variation in all at most 1 - p^2

An n-gram model breaks the second assumption: a changed token is the context of the next ones.

Shapes: E eligible tokens, P places; t = 1 to G rounds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.theory.generations.regimes import Chain
from toedit.editing import Floats

Predicted = list[dict[str, float]]
"""Of generations 1, 2, ...: eligible_predicted, tv_where_sure_predicted."""


def predicted(chain: Chain, sure_probability_P: Floats) -> Predicted:
    """For edit_fixed_prior and edit_own_prior, of a chain at generation 0; empty for other arms.

    `sure_probability_P`: of the sure token at the places that total variation is measured at.
    """
    rounds = {"edit_fixed_prior": _fixed_prior, "edit_own_prior": _own_prior}.get(chain.arm.regime)
    if rounds is None:
        return []
    assert chain.arm.number is not None
    kept_E = np.concatenate(list(_kept(chain)))
    tokens = int((chain.first.token_T != chain.text.end).sum())
    generations, p = chain.settings["generations"], chain.arm.number
    of_eligible = rounds(kept_E, p, generations)
    of_sure = rounds(sure_probability_P, p, generations)
    found = []
    for (eligible, _), (_, variation_P) in zip(of_eligible, of_sure, strict=True):
        found.append({"eligible_predicted": float(eligible) / tokens})
        if len(variation_P):
            found[-1]["tv_where_sure_predicted"] = float(variation_P.mean())
    return found


def _fixed_prior(h: Floats, p: float, generations: int) -> list[tuple[float, Floats]]:
    """By round: how many tokens are eligible in it, and each context's total variation after it."""
    return [(float((h ** (t - 1)).sum()), h * (1 - h**t)) for t in range(1, generations + 1)]


def _own_prior(h: Floats, p: float, generations: int) -> list[tuple[float, Floats]]:
    found, mass = [], h.copy()
    for _ in range(generations):
        is_sure = mass >= p
        # Of the tokens that were sure at first, mass / h are still there.
        found.append((float((mass / h)[is_sure].sum()), np.where(is_sure, h - mass**2, h - mass)))
        mass = np.where(is_sure, mass**2, mass)
    return found


def _kept(chain: Chain) -> Iterator[Floats]:
    """Of each passage, how probably an eligible token is drawn again: its share of the k candidates."""
    p, settings, end = chain.arm.number, chain.settings, chain.text.end
    for document in range(len(chain.first)):
        token_T = chain.first[document]
        body_T = token_T[:-1] if token_T[-1] == end else token_T
        scored = chain.first_model.score(body_T, p or 1.0, settings["k"])
        weight_Nk = np.exp(scored.candidate_logprob_Nk / settings["temperature"])
        own_Nk = scored.candidate_id_Nk == body_T[scored.position_N, None]
        yield (weight_Nk * own_Nk).sum(axis=1) / weight_Nk.sum(axis=1)
