"""Into which bucket a uni- or bi-gram falls.

`mixed` hashes every different word once (64 bits of SHA-256) and combines the two numbers of a bi-gram with the
finaliser of SplitMix64. `sha256` is what data-selection, the package behind DSIR, does: all of SHA-256 of the word, or
of the two words with a space between, modulo the buckets; slower, as every different bi-gram is hashed.

Shapes: V words, G bi-grams given by the numbers of their words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hasher = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int32]]
"""(first_G, second_G) -> bucket_G."""


def buckets(kind: str, names: Sequence[str], count: int) -> tuple[NDArray[np.int32], Hasher]:
    """`(bucket_V, hasher)` of the words `names`, into `count` buckets."""
    if kind == "sha256":
        return _exact_buckets(names, count)
    hash_V = np.array([_word_hash(name) for name in names], np.uint64)

    def hasher(first_G: NDArray[np.int64], second_G: NDArray[np.int64]) -> NDArray[np.int32]:
        return _bucket(_mix(hash_V[first_G] * np.uint64(0x9E3779B97F4A7C15) + hash_V[second_G]), count)

    return _bucket(_mix(hash_V), count), hasher


def _exact_buckets(names: Sequence[str], count: int) -> tuple[NDArray[np.int32], Hasher]:
    encoded = [name.encode() for name in names]

    def one(gram: bytes) -> int:
        return int.from_bytes(hashlib.sha256(gram).digest()) % count

    def hasher(first_G: NDArray[np.int64], second_G: NDArray[np.int64]) -> NDArray[np.int32]:
        pairs = zip(first_G.tolist(), second_G.tolist(), strict=True)
        return np.array([one(b"%b %b" % (encoded[first], encoded[second])) for first, second in pairs], np.int32)

    return np.array([one(name) for name in encoded], np.int32), hasher


@lru_cache(maxsize=1 << 18)
def _word_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def _mix(number_G: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the number (the finaliser of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number_G = (number_G ^ (number_G >> np.uint64(shift))) * np.uint64(factor)
    return number_G ^ (number_G >> np.uint64(31))


def _bucket(number_G: NDArray[np.uint64], count: int) -> NDArray[np.int32]:
    return (number_G % np.uint64(count)).astype(np.int32)
