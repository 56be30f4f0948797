"""Editors that draw a token anew where the prior is confident: P >= p, or P > p where `edit.strict`.

They differ in the distribution they draw from. All use the same uniform at the same token, and need candidates for
P >= p (`score.min_p`).

Shapes: N tokens with candidates, K stored candidates, E eligible tokens, k candidates drawn from.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from toedit.config import EditConfig
from toedit.editing import Draws, Floats, Ints, is_eligible, resample
from toedit.errors import BadConfiguration
from toedit.scores import ShardScores
from toedit.tokenizing import PriorTokenizer
from toedit.uniforms import ACCEPT, DRAW, UInt64s, document_keys, uniforms


def top_k(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """Algorithm 1: from the k most probable tokens, the original among them (`toedit/editing.py`)."""
    draws = resample(
        scores.token_id_T[scores.token_N],
        scores.logprob_T[scores.token_N],
        scores.candidate_id_NK,
        scores.candidate_logprob_NK,
        uniforms(keys_of(scores, edit.seed), scores.candidate_position_N),
        p=edit.p,
        k=edit.k,
        temperature=edit.temperature,
        strict=edit.strict,
    )
    return replace(draws, index_E=scores.token_N[draws.index_E])


def top_p(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """From the nucleus (Holtzman et al. 2020): the fewest most probable tokens whose mass reaches `edit.top_p`.

    The mass is the prior's own, at temperature 1 and not renormalised, so that the nucleus is exact; `edit.temperature`
    acts within it. The paper's Table 7 names top-p at 0.99: the nucleus of a token with P >= 0.99 is that token.
    Raises BadConfiguration where the stored candidates do not reach the mass: nobody knows how large the nucleus is.
    """
    index_E = _eligible(scores, edit)
    candidate_logprob_EK = scores.candidate_logprob_NK[index_E].astype(np.float64)
    mass_EK = np.cumsum(np.exp(candidate_logprob_EK), axis=1)
    if (short_E := mass_EK[:, -1] < edit.top_p).any():
        first = index_E[np.flatnonzero(short_E)[0]]
        stored = candidate_logprob_EK.shape[1]
        raise BadConfiguration(
            f"edit.top_p={edit.top_p:g}: at token {scores.candidate_position_N[first]} of document "
            f"{scores.ids[scores.document_N[first]]!r} the {stored} stored candidates hold {mass_EK[:, -1].min():.6f} "
            f"of the probability; add score.top_k={2 * stored} or lower edit.top_p"
        )
    weight_EK = np.exp((candidate_logprob_EK - candidate_logprob_EK[:, :1]) / edit.temperature)
    weight_EK[:, 1:][mass_EK[:, :-1] >= edit.top_p] = 0.0
    return _draw(scores, edit, index_E, weight_EK)


def exclude_original(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """From the k most probable tokens without the original: every eligible token changes."""
    return draw_another(scores, edit, _eligible(scores, edit))


def rejection(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """Rejection sampling in the manner of RSO (Liu et al. 2023), with the prior's log-probability as the reward.

    RSO accepts a proposal y with probability exp((reward(y) - largest reward) / beta). The paper says no more than
    "rejection sampling"; its public code has it only for n-grams, proposing among equally likely candidates. So here: a
    proposal is one of the k most probable tokens, each equally likely; beta is `edit.temperature`; after `edit.tries`
    refusals the token stays. With tries enough this is the law of `top_k`, at the cost of about k tries a token.
    """
    index_E = _eligible(scores, edit)
    key_E2 = document_keys(edit.seed, scores.ids)[scores.document_N[index_E]]
    position_E = scores.candidate_position_N[index_E]
    candidate_id_Ek = scores.candidate_id_NK[index_E, : edit.k]
    candidate_logprob_Ek = scores.candidate_logprob_NK[index_E, : edit.k]
    accepted_Ek = _weights(candidate_logprob_Ek, edit.temperature)  # the probability to accept each

    token_id_E, logprob_E = _originals(scores, index_E)
    new_id_E, new_logprob_E = token_id_E.copy(), logprob_E.copy()
    pending = np.arange(len(index_E))
    for number in range(edit.tries):
        propose = uniforms(key_E2[pending], position_E[pending], DRAW, number)
        accept = uniforms(key_E2[pending], position_E[pending], ACCEPT, number)
        choice = (propose * candidate_id_Ek.shape[1]).astype(np.int64)
        won = accept < accepted_Ek[pending, choice]
        new_id_E[pending[won]] = candidate_id_Ek[pending[won], choice[won]]
        new_logprob_E[pending[won]] = candidate_logprob_Ek[pending[won], choice[won]]
        pending = pending[~won]

    is_other_Ek = candidate_id_Ek != token_id_E[:, None]
    share_of_others_E = (accepted_Ek * is_other_Ek).sum(axis=1) / accepted_Ek.sum(axis=1)
    ends_E = 1.0 - (1.0 - accepted_Ek.mean(axis=1)) ** edit.tries
    return Draws(
        index_E=scores.token_N[index_E],
        new_id_E=new_id_E,
        new_logprob_E=new_logprob_E,
        changed_E=new_id_E != token_id_E,
        expected_changed=float((share_of_others_E * ends_E).sum()),
    )


def draw_another(scores: ShardScores, edit: EditConfig, index_E: Ints) -> Draws:
    """At the tokens `index_E` of those with candidates: from the k most probable without the original. Needs k >= 2."""
    is_original_Ek = scores.candidate_id_NK[index_E, : edit.k] == _originals(scores, index_E)[0][:, None]
    logprob_Ek = np.where(is_original_Ek, -np.inf, scores.candidate_logprob_NK[index_E, : edit.k])
    return _draw(scores, edit, index_E, _weights(logprob_Ek, edit.temperature))


def keys_of(scores: ShardScores, seed: int) -> UInt64s:
    """`key_N2` for `uniforms`: the keys of the tokens with candidates."""
    return document_keys(seed, scores.ids)[scores.document_N]


def _eligible(scores: ShardScores, edit: EditConfig) -> NDArray[np.int64]:
    """`index_E`: which of the tokens with candidates are eligible."""
    return np.flatnonzero(is_eligible(scores.logprob_T[scores.token_N], edit.p, edit.strict))


def _originals(scores: ShardScores, index_E: Ints) -> tuple[Ints, Floats]:
    """(`token_id_E`, `logprob_E`) of the text itself."""
    token_E = scores.token_N[index_E]
    return scores.token_id_T[token_E], scores.logprob_T[token_E]


def _weights(logprob_Ek: Floats, temperature: float) -> Floats:
    """P ** (1 / temperature), the largest scaled to 1."""
    logprob_Ek = logprob_Ek.astype(np.float64)
    return np.exp((logprob_Ek - logprob_Ek.max(axis=1, keepdims=True)) / temperature)


def _draw(scores: ShardScores, edit: EditConfig, index_E: Ints, weight_Ek: Floats) -> Draws:
    """Draw from the first candidates in proportion to `weight_Ek`, by inverse CDF as `resample` does."""
    key_E2 = document_keys(edit.seed, scores.ids)[scores.document_N[index_E]]
    uniform_E1 = uniforms(key_E2, scores.candidate_position_N[index_E])[:, None]
    k = weight_Ek.shape[1]
    cumulative_Ek = np.cumsum(weight_Ek, axis=1)
    choice_E = (cumulative_Ek <= uniform_E1 * cumulative_Ek[:, -1:]).sum(axis=1)
    last_E = k - 1 - np.argmax(weight_Ek[:, ::-1] > 0, axis=1)
    choice_E1 = np.minimum(choice_E, last_E)[:, None]  # rounding may reach the total itself

    candidate_id_Ek = scores.candidate_id_NK[index_E, :k]
    new_id_E = np.take_along_axis(candidate_id_Ek, choice_E1, axis=1)[:, 0]
    token_id_E, _ = _originals(scores, index_E)
    kept_E = (weight_Ek * (candidate_id_Ek == token_id_E[:, None])).sum(axis=1) / cumulative_Ek[:, -1]
    return Draws(
        index_E=scores.token_N[index_E],
        new_id_E=new_id_E,
        new_logprob_E=np.take_along_axis(scores.candidate_logprob_NK[index_E, :k], choice_E1, axis=1)[:, 0],
        changed_E=new_id_E != token_id_E,
        expected_changed=float((1.0 - kept_E).sum()),
    )
