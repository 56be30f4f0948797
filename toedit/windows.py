"""Windows: how documents of any length pass through a model of fixed context, and how windows share batches.

A document longer than a window is cut into windows that overlap, so that every token is scored once and with at least
`min_context` tokens before it (or the whole prefix, where that is shorter). Nothing is truncated. When scoring, each
window starts with the context token (BOS or EOS) where the prior has one; when measuring perplexity, the first alone.

Shapes: L tokens of a window, the context token included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """One pass over part of a text: tokens [start, stop) are read, tokens [first_scored, stop) are scored."""

    start: int
    stop: int
    first_scored: int
    prefixed: bool = True
    """Whether the context token stands before it, where there is one."""


def windows(tokens: int, capacity: int, min_context: int, scores_first: bool) -> list[Window]:
    """The windows of a text of `tokens` tokens when `capacity` of them fit beside the context token.

    `scores_first`: whether a context token lets the very first token be scored. Needs 1 <= min_context < capacity.
    """
    laid = []
    start, first_scored = 0, 0 if scores_first else 1
    while first_scored < tokens:
        stop = min(start + capacity, tokens)
        laid.append(Window(start, stop, first_scored))
        start, first_scored = stop - min_context, stop
    return laid


def rolling_windows(tokens: int, length: int, min_context: int, has_prefix: bool) -> list[Window]:
    """Windows as language-model harnesses lay them for perplexity: the model reads `length` tokens, the context token
    stands before the text's first one alone, and a later window predicts `length - min_context + 1` tokens.

    The last window is as long as the others: what it does not predict is context. The last token of a window is
    predicted and not read, so a window may hold one token more than the model takes. Needs 1 <= min_context <= length.
    """
    stop = min(tokens, length if has_prefix else length + 1)
    first_scored = 0 if has_prefix else 1
    laid = [Window(0, stop, first_scored)] if first_scored < stop else []
    while stop < tokens:
        first_scored, stop = stop, min(stop + length - min_context + 1, tokens)
        laid.append(Window(max(stop - length - 1, 0), stop, first_scored, prefixed=False))
    return laid


@dataclass(frozen=True)
class ModelInput:
    """What the model reads for one window, and which of its tokens are to be scored."""

    token_ids_L: NDArray[np.int32]
    first_scored: int
    """Index into `token_ids_L` of the first token to score; at least 1."""

    @property
    def scored(self) -> int:
        return len(self.token_ids_L) - self.first_scored


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of sequences that go together: similar lengths, at most `batch_tokens` with padding (or one sequence).

    Longest first, so that a batch that does not fit in memory fails at the start and not after an hour.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
