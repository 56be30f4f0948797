"""Hashes of words and of bi-grams, compiled (`compiled.py`); `hashing.py` says which there are.

Shapes: V words, V1 = V + 1, C bytes of their letters, E entries (an n-gram of a document), S slots of a table.
`scratch` is (block_64, state_8, message_C), see `scratch_for`.
"""

from __future__ import annotations

import numpy as np
from numba import uint8, uint32, uint64
from numpy.typing import NDArray

from analysis.ngrams.compiled import compiled, inlined

LANES = 16
"""So many short messages are hashed side by side, in the processor's vector registers."""
_AWAITED = -1

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
    power_8 = _powers(buckets)
    for v in range(known, len(bucket_V)):
        size = _put(message_C, 0, letter_C, offset_V1[v], offset_V1[v + 1])
        sha256(size, scratch)
        bucket_V[v] = _remainder(state_8, power_8, buckets)


@compiled
def pair_buckets(slot_E, first_E, second_E, known_S, bucket_E, letter_C, offset_V1, buckets, scratch):
    """The same of the bi-grams of entries: two words with a space between; `known_S` remembers bucket + 1."""
    new_G, new = np.empty(len(slot_E), np.int32), 0
    for e in range(len(slot_E)):
        if known_S[slot_E[e]] == 0:
            known_S[slot_E[e]] = _AWAITED
            new_G[new] = e
            new += 1
    word_L, state_L, power_8 = np.empty(64 * LANES, np.uint32), np.empty(8 * LANES, np.uint32), _powers(buckets)
    _, state_8, message_C = scratch
    lane_G, lanes = np.empty(LANES, np.int32), 0
    for g in range(new):
        first, second = first_E[new_G[g]], second_E[new_G[g]]
        size = offset_V1[first + 1] - offset_V1[first] + 1 + offset_V1[second + 1] - offset_V1[second]
        if size <= 55:  # one block with its length: hashed beside others
            for i in range(16):
                word_L[i * LANES + lanes] = 0
            _put_lane(word_L, lanes, 0, letter_C, offset_V1[first], offset_V1[first + 1])
            space = offset_V1[first + 1] - offset_V1[first]
            word_L[(space >> 2) * LANES + lanes] |= uint32(0x20) << uint32(24 - 8 * (space & 3))
            _put_lane(word_L, lanes, space + 1, letter_C, offset_V1[second], offset_V1[second + 1])
            word_L[(size >> 2) * LANES + lanes] |= uint32(0x80) << uint32(24 - 8 * (size & 3))
            word_L[15 * LANES + lanes] = uint32(8 * size)
            lane_G[lanes] = slot_E[new_G[g]]
            lanes += 1
        else:
            place = _put(message_C, 0, letter_C, offset_V1[first], offset_V1[first + 1])
            message_C[place] = 32
            _put(message_C, place + 1, letter_C, offset_V1[second], offset_V1[second + 1])
            sha256(size, scratch)
            known_S[slot_E[new_G[g]]] = _remainder(state_8, power_8, buckets) + uint64(1)
        if lanes == LANES or (g == new - 1 and lanes > 0):
            for lane in range(lanes, LANES):  # of no use, but no rubbish either
                for i in range(16):
                    word_L[i * LANES + lane] = 0
            sha256_lanes(word_L, state_L)
            for lane in range(lanes):
                for i in range(8):
                    state_8[i] = state_L[i * LANES + lane]
                known_S[lane_G[lane]] = _remainder(state_8, power_8, buckets) + uint64(1)
            lanes = 0
    for e in range(len(slot_E)):
        bucket_E[e] = known_S[slot_E[e]] - 1


@compiled
def _put_lane(word_L, lane, size, letter_C, start, stop):
    for place in range(start, stop):
        at = size + place - start
        word_L[(at >> 2) * LANES + lane] |= uint32(letter_C[place]) << uint32(24 - 8 * (at & 3))


@compiled
def _put(message_C, size, letter_C, start, stop):
    for place in range(start, stop):
        message_C[size + place - start] = letter_C[place]
    return size + stop - start


@compiled
def _powers(buckets):
    """2^224, 2^192, ..., 1 modulo the buckets."""
    power_8 = np.ones(8, np.uint64)
    for i in range(6, -1, -1):
        power_8[i] = (power_8[i + 1] << uint64(32)) % buckets
    return power_8


@compiled
def _remainder(state_8, power_8, buckets):
    """The hash modulo the buckets: its words by their powers of two."""
    total = uint64(0)
    for i in range(8):
        if buckets < 1 << 28:  # eight such products are less than 2^64
            total += uint64(state_8[i]) * power_8[i]
        else:
            total = (total + uint64(state_8[i]) * power_8[i]) % buckets
    return total % buckets


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


@compiled
def sha256_lanes(word_L, state_L):
    """SHA-256 of LANES messages of one block each: words 0 to 15 of all in `word_L`, lane beside lane."""
    for i in range(16, 64):
        for lane in range(LANES):
            early, late = word_L[(i - 15) * LANES + lane], word_L[(i - 2) * LANES + lane]
            one = _turn(early, 7) ^ _turn(early, 18) ^ (early >> uint32(3))
            two = _turn(late, 17) ^ _turn(late, 19) ^ (late >> uint32(10))
            before = word_L[(i - 16) * LANES + lane] + word_L[(i - 7) * LANES + lane]
            word_L[i * LANES + lane] = uint32(before + one + two)
    for i in range(8):
        state_L[i * LANES : (i + 1) * LANES] = _BEGIN_8[i]
    for i in range(0, 64, 8):
        _round_lanes(state_L, word_L, i, 0, 1, 2, 3, 4, 5, 6, 7)
        _round_lanes(state_L, word_L, i + 1, 7, 0, 1, 2, 3, 4, 5, 6)
        _round_lanes(state_L, word_L, i + 2, 6, 7, 0, 1, 2, 3, 4, 5)
        _round_lanes(state_L, word_L, i + 3, 5, 6, 7, 0, 1, 2, 3, 4)
        _round_lanes(state_L, word_L, i + 4, 4, 5, 6, 7, 0, 1, 2, 3)
        _round_lanes(state_L, word_L, i + 5, 3, 4, 5, 6, 7, 0, 1, 2)
        _round_lanes(state_L, word_L, i + 6, 2, 3, 4, 5, 6, 7, 0, 1)
        _round_lanes(state_L, word_L, i + 7, 1, 2, 3, 4, 5, 6, 7, 0)
    for i in range(8):
        for lane in range(LANES):
            state_L[i * LANES + lane] = uint32(state_L[i * LANES + lane] + _BEGIN_8[i])


@inlined
def _round_lanes(state_L, word_L, i, a, b, c, d, e, f, g, h):
    """`_round` in every lane; a to h are rows of `state_L`."""
    constant = _ROUND_64[i]
    for lane in range(LANES):
        fourth, eighth = _round(
            state_L[a * LANES + lane],
            state_L[b * LANES + lane],
            state_L[c * LANES + lane],
            state_L[d * LANES + lane],
            state_L[e * LANES + lane],
            state_L[f * LANES + lane],
            state_L[g * LANES + lane],
            state_L[h * LANES + lane],
            word_L[i * LANES + lane],
            constant,
        )
        state_L[d * LANES + lane], state_L[h * LANES + lane] = fourth, eighth
