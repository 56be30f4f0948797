"""Token editing (Algorithm 1 of Zhu et al. 2025) inside the next-token model, over generations.

A context has n real tokens, counted. In each round its tokens with prior >= tau are drawn again from the prior's top_k
candidates at a temperature; the others stay. The prior is one of

    reestimated    the relative frequencies of the data that the round edits: each generation trains its own prior
    first          those of the real data, in all rounds
    real           the real law p^(0), in all rounds: a prior that has read far more than the data

The real data and the draws of round m come from the same generators as in `simulate.py`. The population limit, without
Monte Carlo, is `recursions.edited_laws`.

Shapes: R trials (contexts), V tokens, G generations; column 0 is the real data, nothing edited yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.theory.next_token.distributions import Floats
from analysis.theory.next_token.recursions import redraw_law
from analysis.theory.next_token.simulate import Generators, batches, generators
from analysis.theory.next_token.trajectories import Recorder, Trajectories
from toedit.config.checks import require, require_one_of

PRIORS = ("reestimated", "first", "real")


@dataclass(frozen=True)
class EditedTrajectories:
    """Measures of the data before any edit and after each round, and what each next round does."""

    data: Trajectories
    eligible_RG: Floats
    """Share of the tokens that the next round draws again: prior >= tau."""
    changed_RG: Floats
    """Share that it turns into other tokens, in expectation: sum over eligible tokens of 1 - q(token)."""


def simulate_editing(
    p: Floats,
    n: int,
    prior: str,
    threshold: float,
    top_k: int,
    temperature: float,
    generations: int,
    trials: int,
    seed: int,
    advance: Callable[[float], None] | None = None,
) -> EditedTrajectories:
    """Edit n real tokens of each context `generations - 1` times. `p` is p_V, or p_RV with a law for each context.

    Raises BadConfiguration where a setting is out of range.
    """
    require_one_of("prior", prior, PRIORS)
    require(generations >= 1, "theory.generations", generations, "must be at least 1")
    require(n >= 1, "theory.next_token.n", n, "must be at least 1")
    require(0 < threshold <= 1, "theory.next_token.editing.threshold", threshold, "must lie in (0, 1]")
    parts = [
        _batch(p_RV, n, prior, threshold, top_k, temperature, generations, generators(seed, batch), advance)
        for batch, p_RV in enumerate(batches(p, trials))
    ]
    return EditedTrajectories(
        Trajectories.stack([part.data for part in parts]),
        np.concatenate([part.eligible_RG for part in parts]),
        np.concatenate([part.changed_RG for part in parts]),
    )


def _batch(
    p_RV: Floats,
    n: int,
    prior: str,
    threshold: float,
    top_k: int,
    temperature: float,
    generations: int,
    random: Generators,
    advance: Callable[[float], None] | None,
) -> EditedTrajectories:
    recorder = Recorder(p_RV, len(p_RV), generations)
    eligible_RG, changed_RG = np.empty((2, len(p_RV), generations))
    count_RV = next(random).multinomial(n, p_RV)
    fixed_RV = {"reestimated": None, "first": count_RV / n, "real": p_RV}[prior]
    for g in range(generations):
        recorder.add(count_RV / n)
        prior_RV = count_RV / n if fixed_RV is None else fixed_RV
        drawn_RV = redraw_law(prior_RV, top_k, temperature)
        moved_RV = count_RV * (prior_RV >= threshold)
        eligible_RG[:, g] = moved_RV.sum(axis=1) / n
        changed_RG[:, g] = np.sum(moved_RV * (1 - drawn_RV), axis=1) / n
        count_RV = count_RV - moved_RV + next(random).multinomial(moved_RV.sum(axis=1), drawn_RV)
        if advance:
            advance(len(p_RV))
    return EditedTrajectories(recorder.measured, eligible_RG, changed_RG)
