"""Editors that take tokens out by their probability. They need log-probabilities alone, no candidates.

These are the runs behind the paper's Table 5 and two strategies of the released script (docs/official_script.md). A
token that nothing scored is never deleted; the released script gives a first token without context probability 1, so
that "delete P > t" takes it out.

Shapes: T tokens of a shard, E tokens to delete or draw anew.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toedit.config import EditConfig
from toedit.editing import Draws, Floats, Ints
from toedit.editors.resampling import top_k
from toedit.scores import ShardScores
from toedit.splicing import DELETED
from toedit.tokenizing import PriorTokenizer


def is_deleted(logprob: Floats, below: float, above: float = 1.0) -> NDArray[np.bool_]:
    """P < below or P > above; compared in float64. A NaN (unscored token) is never deleted."""
    logprob = logprob.astype(np.float64)
    return (logprob < _log(below)) | (logprob > _log(above))


def delete(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """Take out P < delete_below and P > delete_above; with 0.001 and 1 the script's `filtering`: keep P >= 0.001."""
    return _deletions(np.flatnonzero(is_deleted(scores.logprob_T, edit.delete_below, edit.delete_above)))


def delete_then_resample(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """Take out P < delete_below and draw P >= p anew, as `low_drop_up_revise` of the released script.

    Every probability and draw is conditioned on the original prefix, deleted tokens included, as there.
    """
    gone = _deletions(np.flatnonzero(is_deleted(scores.logprob_T, edit.delete_below)))
    drawn = top_k(scores, tokenizer, edit)
    order = np.argsort(np.concatenate([gone.index_E, drawn.index_E]))
    return Draws(
        index_E=np.concatenate([gone.index_E, drawn.index_E])[order],
        new_id_E=np.concatenate([gone.new_id_E, drawn.new_id_E])[order],
        new_logprob_E=np.concatenate([gone.new_logprob_E, drawn.new_logprob_E])[order],
        changed_E=np.concatenate([gone.changed_E, drawn.changed_E])[order],
        expected_changed=gone.expected_changed + drawn.expected_changed,
    )


def _deletions(index_E: Ints) -> Draws:
    count = len(index_E)
    return Draws(
        index_E=index_E,
        new_id_E=np.full(count, DELETED),
        new_logprob_E=np.full(count, np.nan),
        changed_E=np.ones(count, dtype=bool),
        expected_changed=float(count),
    )


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -math.inf
