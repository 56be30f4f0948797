"""Controls: as many changed tokens as `top_k` with the same p, k, temperature, strictness and seed, but elsewhere or
with other replacements. What they share with the paper's edit cannot be what explains its effect.

The number is equal exactly, shard by shard of the corpus, so a control, unlike every other editor, depends on
`corpus.shard_bytes`. It counts draws: a few of them cannot be written into the text, here and there (`unspliceable`).

Shapes: N tokens with candidates, V' ids that can be written, C changed tokens of the reference.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toedit.config import EditConfig
from toedit.editing import Draws, Floats
from toedit.editors.resampling import draw_another, keys_of, top_k
from toedit.scores import ShardScores
from toedit.tokenizing import PriorTokenizer
from toedit.uniforms import DRAW, PLACE, document_keys, uniforms


def random_positions(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """At tokens picked at random among the scored ones: from the prior's k most probable without the original.

    Without it, as an edit at these places would otherwise leave some as they were, and the places would not be random.
    Needs candidates at every scored token.
    """
    rank_N = uniforms(keys_of(scores, edit.seed), scores.candidate_position_N, PLACE)
    return _at_lowest(rank_N, scores, tokenizer, edit)


def low_probability(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """At the shard's least probable tokens: from the prior's k most probable without the original.

    Needs candidates at every scored token.
    """
    return _at_lowest(scores.logprob_T[scores.token_N], scores, tokenizer, edit)


def random_replacement(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """At the tokens that the reference changes: any other token of the vocabulary, each equally likely.

    "Any" means those that text can carry: whole characters, and a continuation for a continuation (WordPiece).
    """
    reference = top_k(scores, tokenizer, edit)
    token_C = reference.index_E[reference.changed_E]
    old_id_C = scores.token_id_T[token_C]
    document_C = np.searchsorted(scores.token_offset_D1, token_C, side="right") - 1
    key_C2 = document_keys(edit.seed, scores.ids)[document_C]
    uniform_C = uniforms(key_C2, token_C - scores.token_offset_D1[document_C], DRAW, 1)

    new_id_C = old_id_C.copy()
    writable_V = np.array([_is_writable(piece) for piece in tokenizer.piece_bytes])
    continues_C = tokenizer.is_continuation[old_id_C]
    for continues in (False, True):
        ids = np.flatnonzero(writable_V & (tokenizer.is_continuation == continues))
        here = continues_C == continues
        # One fewer to choose from where the original is among them: what would be it or follow it moves up by one.
        rank = np.searchsorted(ids, old_id_C[here])
        among = np.isin(old_id_C[here], ids)
        choice = (uniform_C[here] * (len(ids) - among)).astype(np.int64)
        new_id_C[here] = ids[choice + (among & (choice >= rank))]

    new_id_E, new_logprob_E = scores.token_id_T[reference.index_E], np.full(len(reference.index_E), np.nan)
    new_id_E[reference.changed_E] = new_id_C
    return replace(reference, new_id_E=new_id_E, new_logprob_E=new_logprob_E)


def _at_lowest(rank_N: Floats, scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """Draw another token at as many tokens as the reference changes, those of the lowest rank; all scored ones are
    eligible."""
    reference = top_k(scores, tokenizer, edit)
    chosen_C = np.sort(np.argsort(rank_N, kind="stable")[: reference.changed_E.sum()])
    drawn = draw_another(scores, edit, chosen_C)
    new_id_N, new_logprob_N = scores.token_id_T[scores.token_N], scores.logprob_T[scores.token_N]
    changed_N = np.zeros(len(scores.token_N), dtype=bool)
    new_id_N[chosen_C], new_logprob_N[chosen_C], changed_N[chosen_C] = drawn.new_id_E, drawn.new_logprob_E, True
    return Draws(scores.token_N, new_id_N, new_logprob_N, changed_N, reference.expected_changed)


def _is_writable(piece: bytes | None) -> bool:
    if not piece:
        return False
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True
