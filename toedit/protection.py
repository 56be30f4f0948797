"""Tokens that no editor may change: the prompts of instruction data, and what `edit.protect` names.

Before an editor draws, and before an expectation is taken, the scores are restricted: a token that may not change loses
its candidates, and its log-probability becomes NaN, "not scored", which no editor touches. So edit, forecast and budget
speak of the same tokens, and an editor of another package is bound as well.

A token may change where it lies wholly inside a response (in plain text: anywhere) and neither overlaps nor borders on
a protected span. Bordering counts because a draw there could grow the span: "42." could become "420".

Shapes: D documents and T tokens of a shard, R editable ranges, S protected spans, N tokens with candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toedit.documents import Document
from toedit.errors import UnusableInput
from toedit.instructions import response_ranges
from toedit.protected_spans import protected_spans
from toedit.scores import ShardScores


def restrict(
    scores: ShardScores, documents: Sequence[Document], protect: Sequence[str], corpus_shard: Path
) -> tuple[ShardScores, int]:
    """(the scores with what may not change taken out, how many tokens with candidates that withheld).

    `documents` are those of `corpus_shard`; raises UnusableInput where they are not the ones that were scored.
    """
    _refuse_other_documents(scores, documents, corpus_shard)
    may_change_T = np.ones(len(scores.token_id_T), dtype=bool)
    for d, document in enumerate(documents):
        tokens = slice(scores.token_offset_D1[d], scores.token_offset_D1[d + 1])
        ranges = response_ranges(document)
        if ranges is not None or protect:
            may_change_T[tokens] = changeable(scores.span_T2[tokens], document["text"], ranges, protect)
    if may_change_T.all():
        return scores, 0
    kept_N = may_change_T[scores.token_N]
    kept_before_N1 = np.concatenate([[0], np.cumsum(kept_N)])
    restricted = replace(
        scores,
        logprob_T=np.where(may_change_T, scores.logprob_T, np.float32(np.nan)),
        candidate_offset_D1=kept_before_N1[scores.candidate_offset_D1],
        candidate_position_N=scores.candidate_position_N[kept_N],
        candidate_id_NK=scores.candidate_id_NK[kept_N],
        candidate_logprob_NK=scores.candidate_logprob_NK[kept_N],
    )
    return restricted, int((~kept_N).sum())


def _refuse_other_documents(scores: ShardScores, documents: Sequence[Document], corpus_shard: Path) -> None:
    for d, document in enumerate(documents[: len(scores.ids)]):
        if document["id"] != scores.ids[d]:
            raise UnusableInput(f"{corpus_shard}: document {d + 1} is not the one that was scored")
    if len(documents) != len(scores.ids):
        raise UnusableInput(f"{corpus_shard}: holds {len(documents)} documents, {len(scores.ids)} were scored")


def changeable(
    span_T2: NDArray[np.integer], text: str, ranges: Sequence[Sequence[int]] | None, protect: Sequence[str]
) -> NDArray[np.bool_]:
    """bool[T]: the tokens of one document that may change; `ranges` is None where the whole text is editable."""
    start_T, end_T = span_T2[:, 0], span_T2[:, 1]
    data = text.encode()
    range_R2 = np.array([[0, len(data)]] if ranges is None else ranges)
    range_T = np.searchsorted(range_R2[:, 0], start_T, side="right") - 1
    inside_T = (range_T >= 0) & (end_T <= range_R2[range_T, 1])
    if not protect:
        return inside_T
    # Each range is searched by itself: a quotation mark in a prompt opens nothing in the response.
    spans = [protected_spans(data[a:b].decode(), tuple(protect)) + a for a, b in range_R2.tolist()]
    span_S2 = np.concatenate(spans)
    if not len(span_S2):
        return inside_T
    first_T = np.searchsorted(span_S2[:, 1], start_T)  # the first span that does not end before the token
    touches_T = (first_T < len(span_S2)) & (span_S2[np.minimum(first_T, len(span_S2) - 1), 0] <= end_T)
    return inside_T & ~touches_T
