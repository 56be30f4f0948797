"""Hashes of words and of bi-grams, compiled (`compiled.py`); `hashing.py` says which there are.

Shapes: V words, V1 = V + 1, C bytes of their letters, E entries (an n-gram of a document), S slots of a table.
`scratch` is (block_64, state_8, message_C), see `scratch_for`.
"""

from __future__ import annotations

import numpy as np
from numba import uint8, uint32, uint64
from numpy.typing import NDArray

from analysis.ngrams.compiled import compiled, inlined

Scratch = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint8]]


def scratch_for(longest: int) -> Scratch:
    """Room to hash two words of so many bytes and a space between."""
    return np.empty(64, np.uint32), np.empty(8, np.uint32), np.empty(2 * longest + 1 + 72, np.uint8)


@compiled
def mixed_words(hash_V, buckets, bucket_V):
    for v in range(len(hash_V)):
        bucket_V[v] = _mix(hash_V[v]) % buckets


@compiled
def mixed_pairs(first_E, second_E, hash_V, buckets, bucket_E):
    for e in range(len(first_E)):
        number = hash_V[first_E[e]] * uint64(0x9E3779B97F4A7C15) + hash_V[second_E[e]]
        bucket_E[e] = _mix(number) % buckets


@compiled
def _mix(number):
    """Every bit of the result depends on every bit of the number (the finaliser of SplitMix64)."""
    number = (number ^ (number >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> uint64(27))) * uint64(0x94D049BB133111EB)
    return number ^ (number >> uint64(31))


@compiled
def hash_words(known, letter_C, offset_V1, hash_V, scratch):
    """The first 64 bits of SHA-256 of the words that are not hashed yet, from the `known`-th on."""
    _, state_8, message_C = scratch
    for v in range(known, len(hash_V)):
        size = _put(message_C, 0, letter_C, offset_V1[v], offset_V1[v + 1])
        sha256(size, scratch)
        hash_V[v] = (uint64(state_8[0]) << uint64(32)) | uint64(state_8[1])


@compiled
def word_buckets(known, letter_C, offset_V1, bucket_V, buckets, scratch):
    """All of SHA-256 modulo the buckets, of the words from the `known`-th on."""
    _, state_8, message_C = scratch
    for v in range(known, len(bucket_V)):
        size = _put(message_C, 0, letter_C, offset_V1[v], offset_V1[v + 1])
        sha256(size, scratch)
        bucket_V[v] = _remainder(state_8, buckets)


@compiled
def pair_buckets(slot_E, first_E, second_E, known_S, bucket_E, letter_C, offset_V1, buckets, scratch):
    """The same of the bi-grams of entries: two words with a space between; `known_S` remembers bucket + 1."""
    _, state_8, message_C = scratch
    for e in range(len(slot_E)):
        bucket_E[e] = known_S[slot_E[e]]
    for e in range(len(slot_E)):
        if bucket_E[e] == 0:
            if known_S[slot_E[e]] == 0:
                first, second = first_E[e], second_E[e]
                size = _put(message_C, 0, letter_C, offset_V1[first], offset_V1[first + 1])
                message_C[size] = 32
                size = _put(message_C, size + 1, letter_C, offset_V1[second], offset_V1[second + 1])
                sha256(size, scratch)
                known_S[slot_E[e]] = _remainder(state_8, buckets) + uint64(1)
            bucket_E[e] = known_S[slot_E[e]]
        bucket_E[e] -= 1


@compiled
def _put(message_C, size, letter_C, start, stop):
    for place in range(start, stop):
        message_C[size + place - start] = letter_C[place]
    return size + stop - start


@compiled
def _remainder(state_8, buckets):
    remainder = uint64(0)
    for word in state_8:
        remainder = ((remainder << uint64(32)) | uint64(word)) % buckets
    return remainder


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _fraction(prime: int, root: int) -> int:
    """The first 32 bits of the fraction of a prime's square or cube root, in whole numbers."""
    target, low, high = prime << (32 * root), 0, prime << 32
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**root <= target else (low, middle - 1)
    return low & 0xFFFFFFFF


_ROUND_64 = np.array([_fraction(prime, 3) for prime in _primes(64)], np.uint32)
_BEGIN_8 = np.array([_fraction(prime, 2) for prime in _primes(8)], np.uint32)


@inlined
def _turn(number, by):
    return uint32((number >> uint32(by)) | (number << uint32(32 - by)))


@inlined
def _round(a, b, c, d, e, f, g, h, word, constant):
    """What `d` and `h` become; then h, a, b, c, d, e, f, g go by the names a to h."""
    choice = g ^ (e & (f ^ g))
    one = uint32(h + (_turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)) + choice + constant + word)
    majority = (a & b) | (c & (a | b))
    return uint32(d + one), uint32(one + (_turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)) + majority)


@compiled
def sha256(size, scratch):
    """SHA-256 (FIPS 180-4) of the first `size` bytes of `message_C`, into `state_8`."""
    block_64, state_8, message_C = scratch
    padded = (size + 72) // 64 * 64
    message_C[size] = 0x80
    for place in range(size + 1, padded - 8):
        message_C[place] = 0
    for place in range(8):
        message_C[padded - 1 - place] = uint8((uint64(size) * uint64(8)) >> uint64(8 * place))
    for i in range(8):
        state_8[i] = _BEGIN_8[i]
    for start in range(0, padded, 64):
        for i in range(16):
            place = start + 4 * i
            block_64[i] = (
                (uint32(message_C[place]) << uint32(24))
                | (uint32(message_C[place + 1]) << uint32(16))
                | (uint32(message_C[place + 2]) << uint32(8))
                | uint32(message_C[place + 3])
            )
        for i in range(16, 64):
            early, late = block_64[i - 15], block_64[i - 2]
            one = _turn(early, 7) ^ _turn(early, 18) ^ (early >> uint32(3))
            two = _turn(late, 17) ^ _turn(late, 19) ^ (late >> uint32(10))
            block_64[i] = uint32(block_64[i - 16] + one + block_64[i - 7] + two)
        a, b, c, d = state_8[0], state_8[1], state_8[2], state_8[3]
        e, f, g, h = state_8[4], state_8[5], state_8[6], state_8[7]
        for i in range(0, 64, 8):  # the eight rounds after which each variable is itself again
            d, h = _round(a, b, c, d, e, f, g, h, block_64[i], _ROUND_64[i])
            c, g = _round(h, a, b, c, d, e, f, g, block_64[i + 1], _ROUND_64[i + 1])
            b, f = _round(g, h, a, b, c, d, e, f, block_64[i + 2], _ROUND_64[i + 2])
            a, e = _round(f, g, h, a, b, c, d, e, block_64[i + 3], _ROUND_64[i + 3])
            h, d = _round(e, f, g, h, a, b, c, d, block_64[i + 4], _ROUND_64[i + 4])
            g, c = _round(d, e, f, g, h, a, b, c, block_64[i + 5], _ROUND_64[i + 5])
            f, b = _round(c, d, e, f, g, h, a, b, block_64[i + 6], _ROUND_64[i + 6])
            e, a = _round(b, c, d, e, f, g, h, a, block_64[i + 7], _ROUND_64[i + 7])
        state_8[0] += a
        state_8[1] += b
        state_8[2] += c
        state_8[3] += d
        state_8[4] += e
        state_8[5] += f
        state_8[6] += g
        state_8[7] += h
