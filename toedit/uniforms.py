"""Random numbers by address: one uniform for each (seed, document id, position), whatever the order of asking.

The edit is therefore the same for any batch size, shard count or number of workers, and two settings that share a
seed see the same uniform at the same token, which makes the points of a sweep comparable.

A counter-based generator (Salmon et al. 2011) from two rounds of the SplitMix64 finaliser (Steele et al. 2014) under
a 128-bit key; the key is the BLAKE2b hash of seed and id.

An editor that needs several numbers at one token takes them from further streams, named by a purpose and a number:

    DRAW 0           the draw itself; the same for every editor, so that their outcomes are comparable
    DRAW 1, 2, ...   further draws: proposals of rejection sampling, the words of random_replacement
    ACCEPT 0, 1, ... whether rejection sampling accepts the proposal of the same number
    PLACE 0          ranks the tokens where a control picks some of them at random

Shapes: D documents, N tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UInt64s = NDArray[np.uint64]

DRAW, ACCEPT, PLACE = range(3)

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def document_keys(seed: int, ids: Sequence[str]) -> UInt64s:
    """`key_D2`: the 128-bit key of each document, as two words."""
    salt = f"{seed}\0".encode()
    digests = b"".join(hashlib.blake2b(salt + id.encode(), digest_size=16).digest() for id in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64).reshape(-1, 2)


def uniforms(
    key_N2: UInt64s, position_N: NDArray[np.integer], purpose: int = DRAW, number: int = 0
) -> NDArray[np.float64]:
    """`uniform_N` in [0, 1) with 53 random bits, for tokens whose documents have the keys `key_N2`.

    `position_N` < 2**32, `number` < 2**16: together with `purpose` they make one 64-bit counter.
    """
    stream = np.uint64((purpose << 48) + (number << 32))
    word_N = (position_N.astype(np.uint64) + stream + np.uint64(1)) * _GAMMA
    for round in range(2):
        word_N ^= key_N2[:, round]
        word_N ^= word_N >> np.uint64(30)
        word_N *= _FIRST
        word_N ^= word_N >> np.uint64(27)
        word_N *= _SECOND
        word_N ^= word_N >> np.uint64(31)
    return (word_N >> np.uint64(11)).astype(np.float64) * 2.0**-53
