"""The counts of a corpus's shards, put together: totals, the most frequent bi-grams, responses by group of documents.

Reads an ngram_counts artifact (`analysis/ngrams/counts.py`). Counts are sums over batches, so how a corpus is cut into
shards changes nothing. Memory: the different words, one number a document, at most about `max_rows` bi-grams at a time
(where there may be more, the counts are read several times, each time for a part of the bi-grams), and one matrix
[groups, buckets].

Shapes: V different words, G different bi-grams, D documents, B buckets; F different document frequencies.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.ngrams import kernels
from analysis.ngrams.hashing import letters_of
from analysis.ngrams.tables import PairSums, WordTable, padded
from toedit.parquet_files import row_groups
from toedit.workspace import read_manifest

_NO_WORDS = pa.table({"word": pa.array([], pa.string()), "count": pa.array([], pa.int64()),
                      "documents": pa.array([], pa.int32())})  # fmt: skip
Frequencies = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(frequency_F, grams_F): so many n-grams are in so many documents."""


@dataclass
class Totals:
    """What a whole corpus has."""

    documents: int
    units: int
    bigrams: int
    """How many, not how many different ones."""
    names: list[str]
    count_V: NDArray[np.int64]
    words_by_frequency: Frequencies
    bigrams_by_frequency: Frequencies
    top: list[tuple[str, str, int]]
    """The most frequent bi-grams, in alphabetical order where equally frequent."""


def merge(counts: Path, top: int, max_rows: int) -> Totals:
    """Totals of the corpus that was counted into `counts`."""
    vocabulary = WordTable()
    count_V, documents_V = _Sums(), _Sums()
    for file in sorted((counts / "words").glob("*.parquet")):
        words = _words(file)
        word_V = numbers(words, vocabulary)
        count_V.add(word_V, _numpy(words, "count"))
        documents_V.add(word_V, _numpy(words, "documents"))
    names = vocabulary.names()
    manifest = read_manifest(counts)["counts"]
    passes = max(math.ceil(manifest["bigram_rows"] / max_rows), 1)
    best: list[tuple[str, str, int]] = []
    frequencies: list[Frequencies] = []
    total = 0
    for turn in range(passes):
        key_G, count_G, documents_G = _bigrams(counts, vocabulary, turn, passes)
        total += int(count_G.sum())
        frequencies.append(np.unique(documents_G, return_counts=True))
        best = _best([*best, *_top_of(key_G, count_G, names, top)], top)
    return Totals(
        documents=manifest["documents"],
        units=manifest["units"],
        bigrams=total,
        names=names.to_pylist(),
        count_V=count_V.values(len(names)),
        words_by_frequency=np.unique(documents_V.values(len(names)), return_counts=True),
        bigrams_by_frequency=_added(frequencies),
        top=best,
    )


def numbers(words: pa.Table, vocabulary: WordTable) -> NDArray[np.int32]:
    """The number in `vocabulary` of each word of a shard; new ones are added."""
    column = words["word"].combine_chunks()
    letter_C, offset_V1 = letters_of(column.chunk(0) if isinstance(column, pa.ChunkedArray) else column)
    byte_C = np.zeros(padded(len(letter_C)), np.uint8)
    byte_C[: len(letter_C)] = letter_C
    return vocabulary.number(byte_C, offset_V1[:-1], offset_V1[1:])


def parts(counts: Path, *tables: str) -> Iterator[dict[str, pa.Table]]:
    """The named tables, row group by row group, in the corpus's order; a shard's words come with each of its parts."""
    for first in sorted((counts / tables[0]).glob("*.parquet")):
        files = {table: row_groups(counts / table / first.name) for table in tables}
        words = {"words": _words(counts / "words" / first.name)} if files.pop("words", None) else {}
        for group in zip(*files.values(), strict=True):
            yield words | dict(zip(files, group, strict=True))


def _words(file: Path) -> pa.Table:
    """The words of a shard; all of them, whatever pieces they were written in."""
    return pa.concat_tables([_NO_WORDS, *row_groups(file)])


def unit_names(counts: Path) -> tuple[NDArray[np.uint64], str]:
    """`(name_D, what a unit is)`: a number for the origin of each document, or for its id where it has none.

    An origin that all documents share says nothing about which of them depend on each other.
    """
    origins: list[str | None] = []
    ids: list[str] = []
    for part in parts(counts, "documents"):
        origins += part["documents"]["origin"].to_pylist()
        ids += part["documents"]["id"].to_pylist()
    has_origins = len(set(origins)) > 1
    named = [
        f"origin {origin}" if has_origins and origin is not None else f"id {name}"
        for origin, name in zip(origins, ids, strict=True)
    ]
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in named)
    return np.frombuffer(digests, np.uint64), "origin" if has_origins else "document"


def grouped(name_D: NDArray[np.uint64], groups: int) -> tuple[NDArray[np.int64], int]:
    """`(group_D, how many)`: units in groups by hash where there are more than `groups`, else each by itself."""
    units = len(np.unique(name_D))
    different, group_D = np.unique(name_D % np.uint64(groups) if units > groups else name_D, return_inverse=True)
    return group_D, len(different)


def by_group(
    counts: Path,
    table: str,
    group_D: NDArray[np.int64],
    groups: int,
    columns: int,
    wanted: Mapping[str, int] | None = None,
) -> NDArray[np.int64]:
    """Counts [groups, columns] of buckets (`responses`), or of the words `wanted`, by column (`occurrences`)."""
    total = np.zeros(groups * columns, np.int64)
    before = 0
    for part in parts(counts, "documents", *([table] if wanted is None else [table, "words"])):
        rows, documents = part[table], len(part["documents"])
        gram_E = _numpy(rows, "bucket" if wanted is None else "word")
        group_E = group_D[before : before + documents][_numpy(rows, "document")]
        count_E = _numpy(rows, "count")
        if wanted is not None:
            column_V = np.array([wanted.get(word, -1) for word in part["words"]["word"].to_pylist()], np.int64)
            gram_E = column_V[gram_E]
            group_E, count_E, gram_E = (values[gram_E >= 0] for values in (group_E, count_E, gram_E))
        kernels.add_at(total, group_E * columns + gram_E, count_E)
        before += documents
    return total.reshape(groups, columns)


def _bigrams(
    counts: Path, vocabulary: WordTable, turn: int, passes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """`(key_G, count_G, documents_G)` of the bi-grams whose turn it is; a key is first << 32 | second."""
    sums = PairSums()
    for part in parts(counts, "bigrams", "words"):
        table, word_V = part["bigrams"], numbers(part["words"], vocabulary).astype(np.int64)
        key_G = (word_V[_numpy(table, "first")] << 32) | word_V[_numpy(table, "second")]
        row_G = (key_G, _numpy(table, "count"), _numpy(table, "documents"))
        if passes > 1:
            # A prime mixes both halves of the key into the remainder.
            is_mine_G = key_G % 4_294_967_291 % passes == turn
            row_G = tuple(values[is_mine_G] for values in row_G)
        sums.add(*row_G)
    return sums.values()


def _top_of(
    key_G: NDArray[np.int64], count_G: NDArray[np.int64], names: pa.StringArray, top: int
) -> list[tuple[str, str, int]]:
    """The most frequent, and whatever is as frequent as the last of them."""
    if not len(key_G):
        return []
    least = np.partition(count_G, -top)[-top] if len(count_G) > top else 0
    chosen_G = np.flatnonzero(count_G >= least)
    return [(names[key >> 32].as_py(), names[key & 0xFFFFFFFF].as_py(), count) for key, count in
            zip(key_G[chosen_G].tolist(), count_G[chosen_G].tolist(), strict=True)]  # fmt: skip


def _best(found: list[tuple[str, str, int]], top: int) -> list[tuple[str, str, int]]:
    return sorted(found, key=lambda entry: (-entry[2], entry[:2]))[:top]


def _added(frequencies: Sequence[Frequencies]) -> Frequencies:
    together: dict[int, int] = {}
    for frequency_F, grams_F in frequencies:
        for frequency, grams in zip(frequency_F.tolist(), grams_F.tolist(), strict=True):
            together[frequency] = together.get(frequency, 0) + grams
    ordered = sorted(together)
    return np.array(ordered, np.int64), np.array([together[frequency] for frequency in ordered], np.int64)


class _Sums:
    """Sums by index, for indices that grow."""

    def __init__(self) -> None:
        self._sum = np.zeros(1 << 12, np.int64)

    def add(self, index_E: NDArray[np.integer], value_E: NDArray[np.int64]) -> None:
        """Each index at most once."""
        needed = int(index_E.max(initial=-1)) + 1
        if needed > len(self._sum):
            self._sum = np.concatenate(
                [self._sum, np.zeros(max(needed, 2 * len(self._sum)) - len(self._sum), np.int64)]
            )
        self._sum[index_E] += value_E

    def values(self, size: int) -> NDArray[np.int64]:
        return self._sum[:size]


def _numpy(table: pa.Table, column: str) -> NDArray[np.int64]:
    return table[column].to_numpy().astype(np.int64)
