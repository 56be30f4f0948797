"""Tables that n-grams are counted in: open addressing, compiled, growing. `kernels.py` has the loops.

Shapes: C bytes, N units, D documents, D1 = D + 1, V different units, S slots, E entries, G different
bi-grams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.ngrams import kernels

SLACK = 16
"""Zero bytes behind a text, so that eight may be read wherever it has one."""
_FULL = 0.75

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Entries:
    """How often each document has a unit."""

    document_E: NDArray[np.int32]
    unit_E: NDArray[np.int32]
    count_E: NDArray[np.int32]


def padded(size: int) -> int:
    """Room for `size` bytes and what may be read behind them, in whole eights."""
    return (size + SLACK + 7) // 8 * 8


def enlarged(values: NDArray[Number], needed: int) -> NDArray[Number]:
    """The same array, or a copy with room for `needed` rows and for as many again."""
    if needed <= len(values):
        return values
    larger = np.zeros((padded(2 * needed), *values.shape[1:]), values.dtype)
    larger[: len(values)] = values
    return larger


def _empty(slots: int, columns: int, kind: type[np.generic]) -> NDArray[Any]:
    """Nothing but zeros. Written at once, for then the system gives large pages, and they are found faster."""
    slot_S = np.empty((slots, columns), kind)
    slot_S[:] = 0
    return slot_S


class WordTable:
    """Numbers different words in the order in which they come up."""

    def __init__(self) -> None:
        self.known = 0
        self._slot_S2 = _empty(1 << 15, 2, np.uint64)
        self._letter_C = np.zeros(padded(1 << 16), np.uint8)
        self._offset_V1 = np.zeros(1 << 12, np.int64)

    def number(
        self, byte_C: NDArray[np.uint8], start_N: NDArray[np.integer], stop_N: NDArray[np.integer]
    ) -> NDArray[np.int32]:
        """The number of each word, given by its place in `byte_C`, which is `padded`."""
        id_N = np.empty(len(start_N), np.int32)
        used = int(self._offset_V1[self.known])
        self._letter_C = enlarged(self._letter_C, padded(used + len(byte_C)))
        self._offset_V1 = enlarged(self._offset_V1, self.known + len(start_N) + 1)
        done = 0
        while done < len(start_N):
            done, self.known = kernels.number_words(
                byte_C, byte_C.view(np.uint64), start_N, stop_N, done,
                self._slot_S2, self._letter_C, self._offset_V1, self.known, id_N,
            )  # fmt: skip
            if done < len(start_N):
                self._grow()
        return id_N

    def _grow(self) -> None:
        """Number the known words once more, in a table twice as large: each gets the number that it has."""
        self._slot_S2 = _empty(2 * len(self._slot_S2), 2, np.uint64)
        offset_V1 = self._offset_V1[: self.known + 1].copy()
        kernels.number_words(
            self._letter_C, self._letter_C.view(np.uint64), offset_V1[:-1], offset_V1[1:], 0,
            self._slot_S2, self._letter_C, self._offset_V1, 0, np.empty(self.known, np.int32),
        )  # fmt: skip

    def names(self) -> pa.StringArray:
        """All known words by number."""
        offset_V1 = self._offset_V1[: self.known + 1]
        letters = pa.py_buffer(self._letter_C[: offset_V1[-1]])
        if offset_V1[-1] < 1 << 31:
            return pa.StringArray.from_buffers(self.known, pa.py_buffer(offset_V1.astype(np.int32)), letters)
        return pa.LargeStringArray.from_buffers(self.known, pa.py_buffer(offset_V1.copy()), letters)


class UnitCounts:
    """Counts of units by number."""

    def __init__(self) -> None:
        self._total_V4 = np.zeros((1 << 12, 4), np.int32)

    def add(self, id_N: NDArray[np.int32], first_D1: NDArray[np.int64], known: int, before: int) -> Entries:
        """Count a batch, whose first document is the `before`-th."""
        self._total_V4 = enlarged(self._total_V4, known)
        document_E, unit_E, count_E = (np.empty(len(id_N), np.int32) for _ in range(3))
        entries = kernels.count_units(id_N, first_D1, before, self._total_V4, document_E, unit_E, count_E)
        return Entries(document_E[:entries], unit_E[:entries], count_E[:entries])

    def totals(self, known: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """`(count_V, documents_V)`."""
        self._total_V4 = enlarged(self._total_V4, known)
        return self._total_V4[:known, 0].copy(), self._total_V4[:known, 1].copy()


@dataclass(frozen=True)
class PairEntries:
    """The same of bi-grams, given by their units; `slot_E` is each one's place in the table."""

    document_E: NDArray[np.int32]
    first_E: NDArray[np.int32]
    second_E: NDArray[np.int32]
    count_E: NDArray[np.int32]
    slot_E: NDArray[np.int32]


class PairCounts:
    """Counts of bi-grams: of each document in a small table first, then of all in a large one."""

    def __init__(self) -> None:
        self.known = 0
        self._slot_S2 = _empty(1 << 15, 2, np.uint64)
        self.bucket_S = np.zeros(1 << 15, np.int32)
        """For whoever hashes bi-grams: what is noted at a slot stays with its bi-gram. 0: nothing yet."""
        self._seen_S2 = _empty(1 << 12, 2, np.int64)
        self._entries = 0

    def add(self, id_N: NDArray[np.int32], first_D1: NDArray[np.int64]) -> PairEntries:
        """Count a batch."""
        found = [np.empty(len(id_N), np.int32) for _ in range(4)]
        longest = int(np.diff(first_D1).max(initial=0))
        while len(self._seen_S2) < 4 * longest:
            self._seen_S2 = _empty(2 * len(self._seen_S2), 2, np.int64)
        entries = kernels.neighbours(id_N, first_D1, self._entries, self._seen_S2, *found)
        self._entries += entries
        document_E, first_E, second_E, count_E = (column[:entries] for column in found)
        while self.known + entries > _FULL * len(self._slot_S2):
            larger_S2 = _empty(2 * len(self._slot_S2), 2, np.uint64)
            larger_bucket_S = np.zeros(len(larger_S2), np.int32)
            kernels.move_pairs(self._slot_S2, self.bucket_S, larger_S2, larger_bucket_S)
            self._slot_S2, self.bucket_S = larger_S2, larger_bucket_S
        slot_E = np.empty(entries, np.int32)
        new, _ = kernels.count_pairs(first_E, second_E, count_E, self._slot_S2, slot_E)
        self.known += new
        return PairEntries(document_E, first_E, second_E, count_E, slot_E)

    def rows(self) -> NDArray[np.int32]:
        """first, second, count, documents; a column a different bi-gram."""
        row_4G = np.empty((4, self.known), np.int32)
        kernels.rows_of_pairs(self._slot_S2, row_4G)
        return row_4G

    def clear(self) -> None:
        """Forget everything."""
        self.known = 0
        self._slot_S2[:] = 0
        self.bucket_S[:] = 0


class PairSums:
    """Sums over rows of bi-grams, whose key is first << 32 | second; counts of a whole corpus."""

    def __init__(self) -> None:
        self.known = 0
        self._slot_S3 = _empty(1 << 15, 3, np.int64)

    def add(self, key_G: NDArray[np.int64], count_G: NDArray[np.int64], documents_G: NDArray[np.int64]) -> None:
        while self.known + len(key_G) > _FULL * len(self._slot_S3):
            held = self.values()
            self._slot_S3 = _empty(2 * len(self._slot_S3), 3, np.int64)
            kernels.add_pairs(*held, self._slot_S3)
        new, _ = kernels.add_pairs(key_G, count_G, documents_G, self._slot_S3)
        self.known += new

    def values(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """`(key_G, count_G, documents_G)`, each different bi-gram once."""
        held_S = np.flatnonzero(self._slot_S3[:, 1])
        key_G, count_G, documents_G = (self._slot_S3[held_S, column] for column in range(3))
        return key_G, count_G, documents_G
