"""A sequence edited over and over, by a prior that counted the original (fixed) or what it edits (own).

Every round is `toedit.sequences.edit_sequence`: the draws of Algorithm 1, with uniforms by (seed, name and round,
position). Both priors get the same uniforms.

Shapes: T tokens, V tokens of the alphabet, C contexts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.theory.beyond_text.count_prior import CountPrior, context_keys
from analysis.theory.beyond_text.laws import Floats, distances
from analysis.theory.beyond_text.sources import Ints, Source
from toedit.editing import Floats as AnyFloats
from toedit.editing import Ints as AnyInts
from toedit.sequences import edit_sequence

PRIORS = ("fixed", "own")


@dataclass(frozen=True)
class Rule:
    """How every round edits."""

    p: float
    k: int
    temperature: float
    smoothing: float


@dataclass(frozen=True)
class Generation:
    """A sequence after some rounds; shares are of its tokens, those of round 0 are None."""

    token_id_T: AnyInts
    eligible: float | None
    expected_changed: float | None
    """Exact, before the draws."""
    changed: float | None
    """By this round."""
    changed_below_p: int
    """Tokens changed though the prior gave them less than p: zero."""
    different: float
    """From the original."""
    distance: float
    """Total variation of contexts with their tokens, to the original."""
    entropy: float
    """Of a token given its context, as counted; bits."""


def generations(source: Source, prior_is: str, rounds: int, rule: Rule, seed: int) -> list[Generation]:
    """The original and what each round makes of it."""
    token_id_T: AnyInts = source.token_id_T
    found = [_measured(source, token_id_T, None, None, None, 0)]
    prior = _prior(source, token_id_T, rule)
    for number in range(1, rounds + 1):
        if prior_is == "own" and number > 1:
            prior = _prior(source, token_id_T, rule)
        scored = prior.score(token_id_T, rule.p, rule.k)
        edited = edit_sequence(f"{source.name} {number}", token_id_T, scored, p=rule.p, k=rule.k,
                               temperature=rule.temperature, seed=seed)  # fmt: skip
        is_below_T = np.exp(scored.logprob_T) < rule.p * (1 - 1e-12)
        below = int((is_below_T & (edited.token_id_T != token_id_T)).sum())
        token_id_T = edited.token_id_T
        eligible, expected, changed = (
            count / len(token_id_T) for count in (edited.eligible, edited.draws.expected_changed, edited.changed)
        )
        found.append(_measured(source, token_id_T, eligible, expected, changed, below))
    return found


def expected_distances(source: Source, prior_is: str, rounds: int, rule: Rule) -> Floats:
    """[1 + rounds]: the distance if edited tokens were nobody's context (`laws`); exact for the die."""
    prior = _prior(source, source.token_id_T, rule)
    key_C, count_C = np.unique(prior.contexts(source.token_id_T), return_counts=True)
    total = np.zeros(rounds + 1)
    for start in range(0, len(key_C), 2048):
        rows = slice(start, start + 2048)
        total_C, lower_CV, count_CV = prior.parts(key_C[rows])
        # Contexts without a confident token stay as they are.
        sure_C = np.flatnonzero(prior.mixed(count_CV, lower_CV).max(axis=1) >= rule.p)
        total_C1 = total_C[sure_C, None]
        total += distances(
            count_CV[sure_C] / total_C1, count_C[rows][sure_C] / len(source.token_id_T),
            partial(_smoothed, total_C1=total_C1, lower_CV=lower_CV[sure_C], smoothing=rule.smoothing),
            prior_is == "fixed", rounds, rule.p, rule.k, rule.temperature,
        )  # fmt: skip
    return total


def _smoothed(law_CV: Floats, total_C1: AnyFloats, lower_CV: AnyFloats, smoothing: float) -> Floats:
    """The prior that counts `total_C1` tokens of the law would be."""
    return (total_C1 * law_CV + smoothing * lower_CV) / (total_C1 + smoothing)


def _prior(source: Source, token_id_T: AnyInts, rule: Rule) -> CountPrior:
    return CountPrior(token_id_T, source.alphabet, source.offsets, rule.smoothing)


def _measured(
    source: Source,
    token_id_T: AnyInts,
    eligible: float | None,
    expected: float | None,
    changed: float | None,
    below: int,
) -> Generation:
    return Generation(
        token_id_T,
        eligible,
        expected,
        changed,
        below,
        float((token_id_T != source.token_id_T).mean()),
        _distance(_grams(source, token_id_T), _grams(source, source.token_id_T)),
        _entropy(source, token_id_T),
    )


def _grams(source: Source, token_id_T: AnyInts) -> Ints:
    """[T]: each token with its context, as a number."""
    return context_keys(token_id_T, source.alphabet, source.offsets) * source.alphabet + token_id_T


def _distance(first_T: AnyInts, second_T: AnyInts) -> float:
    """Total variation of two empirical laws."""
    _, gram_T = np.unique(np.concatenate([first_T, second_T]), return_inverse=True)
    size = int(gram_T.max()) + 1
    first, second = (np.bincount(part, minlength=size) for part in np.split(gram_T, [len(first_T)]))
    return float(np.abs(first - second).sum() / (2 * len(first_T)))


def _entropy(source: Source, token_id_T: AnyInts) -> float:
    gram_T = _grams(source, token_id_T)
    _, count_G = np.unique(gram_T, return_counts=True)
    _, count_C = np.unique(gram_T // source.alphabet, return_counts=True)
    total = len(gram_T)
    bits = (count_C * np.log2(count_C)).sum() - (count_G * np.log2(count_G)).sum()
    return max(float(bits / total), 0.0)
