"""Into which bucket a uni- or bi-gram falls.

`mixed` hashes every different word once (64 bits of SHA-256) and combines the two numbers of a bi-gram with the
finaliser of SplitMix64. `sha256` is what data-selection, the package behind DSIR, does: all of SHA-256 of the word, or
of the two words with a space between, modulo the buckets; every different bi-gram is hashed once.

Shapes: V words, V1 = V + 1, C bytes of their letters, E entries (an n-gram of a document), S slots.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.ngrams import sha256
from analysis.ngrams.tables import PairEntries


class Hasher:
    """Buckets of the words and bi-grams of one splitter."""

    def __init__(self, kind: str, buckets: int) -> None:
        self.is_mixed, self.buckets = kind == "mixed", np.uint64(buckets)
        self._hash_V = np.zeros(0, np.uint64)
        self._bucket_V = np.zeros(0, np.int32)
        self._letter_C, self._offset_V1 = np.zeros(0, np.uint8), np.zeros(1, np.int64)
        self._scratch = sha256.scratch_for(64)

    def learn(self, names: pa.StringArray) -> None:
        """Hash the words that are new: those behind the ones known before."""
        known = len(self._bucket_V)
        self._letter_C, self._offset_V1 = letters_of(names)
        longest = int(np.diff(self._offset_V1[known:]).max(initial=0))
        if len(sha256.scratch_for(longest)[2]) > len(self._scratch[2]):
            self._scratch = sha256.scratch_for(longest)
        letters = (known, self._letter_C, self._offset_V1)
        bucket_V = np.zeros(len(names), np.int32)
        if self.is_mixed:
            self._hash_V = np.concatenate([self._hash_V, np.zeros(len(names) - known, np.uint64)])
            sha256.hash_words(*letters, self._hash_V, self._scratch)
            sha256.mixed_words(self._hash_V, self.buckets, bucket_V)
        else:
            bucket_V[:known] = self._bucket_V
            sha256.word_buckets(*letters, bucket_V, self.buckets, self._scratch)
        self._bucket_V = bucket_V

    def of_words(self, word_E: NDArray[np.int32]) -> NDArray[np.int32]:
        """The buckets of words, by their numbers."""
        return self._bucket_V[word_E]

    def of_pairs(self, pairs: PairEntries, bucket_S: NDArray[np.int32]) -> NDArray[np.int32]:
        """The buckets of bi-grams; `bucket_S`, of the table that they are counted in, is where they are remembered."""
        bucket_E = np.empty(len(pairs.slot_E), np.int32)
        grams = (pairs.first_E, pairs.second_E)
        if self.is_mixed:
            sha256.mixed_pairs(*grams, self._hash_V, self.buckets, bucket_E)
        else:
            letters = (self._letter_C, self._offset_V1)
            sha256.pair_buckets(pairs.slot_E, *grams, bucket_S, bucket_E, *letters, self.buckets, self._scratch)
        return bucket_E


def letters_of(names: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all names, one behind the other, and where each begins."""
    _, offsets, letters = names.buffers()
    width = np.int64 if pa.types.is_large_string(names.type) else np.int32
    offset_V1 = np.frombuffer(offsets, width)[names.offset : names.offset + len(names) + 1].astype(np.int64)
    return np.frombuffer(letters or b"\0", np.uint8), offset_V1
