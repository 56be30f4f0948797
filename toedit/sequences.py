"""Editing any discrete sequence: all that Algorithm 1 needs is a predictive law over a finite alphabet.

Text is one such sequence; bytes, quantised images, music and DNA are others. A prior says how probable each token was
given those before it, and what else was probable where it was sure; `edit_sequence` resamples, as `stage=edit` does,
with the same uniforms by (seed, id, position).

    scored = score_densely(log_probabilities, token_id_T, min_p=0.99, k=8)
    edited = edit_sequence("my sequence", token_id_T, scored, p=0.99, k=8, seed=0)

Shapes: T tokens of a sequence, V tokens of the alphabet, N confident tokens (P >= min_p), k candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from toedit.editing import Draws, Floats, Ints, resample
from toedit.uniforms import document_keys, uniforms


@dataclass(frozen=True)
class ScoredSequence:
    """What one pass of a prior over a sequence leaves: enough for every p >= min_p, temperature and seed."""

    logprob_T: Floats
    """Natural log of P(token | tokens before it); NaN where a token was not scored."""
    position_N: Ints
    """Positions with P >= min_p, increasing."""
    candidate_id_Nk: Ints
    """The most probable tokens there, sorted by descending probability."""
    candidate_logprob_Nk: Floats


class SequencePrior(Protocol):
    """A predictive law. An n-gram model (`analysis.theory.generations`) is one."""

    def score(self, token_id_T: Ints, min_p: float, k: int) -> ScoredSequence: ...


@dataclass(frozen=True)
class EditedSequence:
    """A sequence after one round of editing."""

    token_id_T: Ints
    """Each draw in its place; all other tokens as they were."""
    draws: Draws
    position_E: Ints
    """Positions of the eligible tokens."""

    @property
    def eligible(self) -> int:
        return len(self.position_E)

    @property
    def changed(self) -> int:
        return int(self.draws.changed_E.sum())


def score_densely(
    log_probabilities: Callable[[Ints], Floats], token_id_T: Ints, min_p: float, k: int
) -> ScoredSequence:
    """Scores from a function that gives the whole law at every position, `logprob_TV` of `token_id_T`; T x V floats."""
    logprob_TV = np.asarray(log_probabilities(token_id_T), np.float64)
    logprob_T = np.take_along_axis(logprob_TV, token_id_T[:, None].astype(np.intp), axis=1)[:, 0]
    position_N = np.flatnonzero(logprob_T >= math.log(min_p))
    candidate_id_Nk = np.argsort(-logprob_TV[position_N], axis=1, kind="stable")[:, :k]
    candidate_logprob_Nk = np.take_along_axis(logprob_TV[position_N], candidate_id_Nk, axis=1)
    return ScoredSequence(logprob_T, position_N, candidate_id_Nk, candidate_logprob_Nk)


def edit_sequence(
    id: str, token_id_T: Ints, scored: ScoredSequence, *, p: float, k: int, temperature: float = 1.0, seed: int = 0
) -> EditedSequence:
    """Resample the tokens with P >= p from their k most probable candidates (Algorithm 1).

    `scored` must hold candidates of every such token: its min_p <= p. A k beyond the candidates takes all of them.
    """
    position_N = scored.position_N
    key_N2 = np.repeat(document_keys(seed, [id]), len(position_N), axis=0)
    draws = resample(
        token_id_T[position_N],
        scored.logprob_T[position_N],
        scored.candidate_id_Nk,
        scored.candidate_logprob_Nk,
        uniforms(key_N2, position_N),
        p=p,
        k=k,
        temperature=temperature,
    )
    position_E = position_N[draws.index_E]
    edited_T = np.array(token_id_T)
    edited_T[position_E] = draws.new_id_E
    return EditedSequence(edited_T, draws, position_E)
