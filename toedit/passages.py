"""Which parts of a document the prior reads: all of it, or each response of instruction data by itself.

By default a document is one passage, so a response is conditioned on its prompt. `edit.condition_on_prompt=false`
makes each response a passage of its own, tokenised and scored alone, as the released script does; the prompt's tokens
are then in no list of tokens. Either way spans are places in the document's text.

Shapes: D documents, P passages of all of them in order, T tokens, N tokens with candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toedit.documents import Document
from toedit.instructions import response_ranges
from toedit.scores import ShardScores


@dataclass(frozen=True)
class Passages:
    """The passages of a shard's documents."""

    document_ids: list[str]
    first_D1: NDArray[np.int64]
    """Document d has the passages [first_D1[d], first_D1[d + 1])."""
    texts: list[str]
    start_P: NDArray[np.int64]
    """Where each begins, in bytes of its document."""

    @property
    def ids(self) -> list[str]:
        """The document's id, for each passage."""
        return [self.document_ids[d] for d in np.repeat(np.arange(len(self.document_ids)), np.diff(self.first_D1))]

    def add_up(self, count_P: NDArray[np.int64]) -> NDArray[np.int64]:
        """`count_D`: what the passages of each document have together."""
        return np.add.reduceat(count_P, self.first_D1[:-1])

    def join(self, scores: ShardScores) -> ShardScores:
        """The scores of the passages as those of the documents: positions and spans count from the document's start."""
        token_offset_D1 = scores.token_offset_D1[self.first_D1]
        candidate_offset_D1 = scores.candidate_offset_D1[self.first_D1]
        start_T = np.repeat(self.start_P, np.diff(scores.token_offset_D1)).astype(np.int32)
        first_token_N = np.repeat(token_offset_D1[:-1], np.diff(candidate_offset_D1))
        return replace(
            scores,
            ids=self.document_ids,
            token_offset_D1=token_offset_D1,
            span_T2=scores.span_T2 + start_T[:, None],
            candidate_offset_D1=candidate_offset_D1,
            candidate_position_N=(scores.token_N - first_token_N).astype(np.int32),
        )


def passages_of(documents: Sequence[Document], condition_on_prompt: bool) -> Passages:
    """The passages to score; documents of plain text are always read whole."""
    first, texts, starts = [0], [], []
    for document in documents:
        text = document["text"]
        ranges = None if condition_on_prompt else response_ranges(document)
        if ranges is None:
            texts.append(text)
            starts.append(0)
        else:
            data = text.encode()
            texts += [data[start:end].decode() for start, end in ranges]
            starts += [start for start, _ in ranges]
        first.append(len(texts))
    ids = [document["id"] for document in documents]
    return Passages(ids, np.array(first), texts, np.array(starts, np.int64))
