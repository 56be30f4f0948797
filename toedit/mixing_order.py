"""Which documents a mixture takes, and where they go: arithmetic on counts, no text.

The documents of a side are taken whole, in the order of a hash of (seed, id), until the next one does not fit; that one
is cut. A smaller budget therefore takes a beginning of what a larger one takes: mixtures of one seed are nested.

Both sides are then merged evenly, each in its own order, so that any stretch of the mixture has about its ratio.

Shapes: D documents of a corpus, S documents that are taken, O documents in the order they are taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


def budgets(tokens: int, synthetic_ratio: float) -> tuple[int, int]:
    """(human, synthetic) tokens; together exactly `tokens`."""
    synthetic = int(np.floor(tokens * synthetic_ratio + 0.5))
    return tokens - synthetic, synthetic


def order_of(key_D2: NDArray[np.uint64]) -> Int64s:
    """Documents in the order of their hashes."""
    return np.lexsort((key_D2[:, 1], key_D2[:, 0]))


@dataclass(frozen=True)
class Taken:
    """What a side gives: whole documents, then, if `rest` is not 0, tokens of those that follow."""

    whole: int
    """Documents taken whole, in order; counted on beyond the last one where the corpus is repeated."""
    rest: int
    """Tokens still to be had from the document at place `whole`."""


def take(tokens_O: Int64s, budget: int) -> Taken:
    """The documents that a budget takes from a corpus whose documents, in order, have `tokens_O` tokens.

    The corpus is repeated where it is smaller than the budget; it has at least one token.
    """
    total_O = np.cumsum(tokens_O)
    rounds, left = divmod(budget, int(total_O[-1]))
    whole = rounds * len(tokens_O)
    if not left:
        return Taken(whole, 0)
    last = int(np.searchsorted(total_O, left))
    if total_O[last] == left:
        return Taken(whole + last + 1, 0)
    before = int(total_O[last - 1]) if last else 0
    return Taken(whole + last, left - before)


def merge(lengths: list[int]) -> list[Int64s]:
    """For each side, of so many documents, the places of its documents in the merged order."""
    position_S = np.concatenate([(np.arange(length) + 0.5) / max(length, 1) for length in lengths])
    side_S = np.repeat(np.arange(len(lengths)), lengths)
    order_S = np.lexsort((side_S, position_S))
    place_S = np.empty(len(order_S), np.int64)
    place_S[order_S] = np.arange(len(order_S))
    return np.split(place_S, np.cumsum(lengths)[:-1])


def shards_of(bytes_S: Int64s, shard_bytes: int) -> Int64s:
    """The output shard of each document of the merged order: numbers 0, 1, … without holes, about as large as asked."""
    before_S = np.cumsum(bytes_S) - bytes_S
    return np.unique(before_S // shard_bytes, return_inverse=True)[1].astype(np.int64)
