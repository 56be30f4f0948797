"""The inner loops of n-gram counting, compiled (`compiled.py`). `tables.py` says what the tables hold, and grows them.

Shapes: C bytes, W = C / 8 words of eight bytes, N units of a batch, D documents, D1 = D + 1, V different units,
S slots of a table (a power of two), E entries (an n-gram of a document), G rows of bi-grams, T code points, L numbers.
"""

from __future__ import annotations

import numpy as np
from numba import int32, int64, uint8, uint64

from analysis.ngrams.compiled import compiled, inlined

SPACE, WORD, SIGN, CAPITAL = 0, 1, 2, 4
"""Classes of characters. CAPITAL is added beyond ASCII where lower case differs: that is left to Python."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 by the golden ratio: multiplied by it, near keys come to lie far apart (Fibonacci hashing)."""
_AHEAD = 64
"""Slots fetched into the processor's cache before they are used: memory answers many requests at once."""


# --- text -> units ----------------------------------------------------------------------------------------------------


@compiled
def classify(byte_C, size, class_T, class_C, lower_C, wide_W):
    """The class of each byte's character, and ASCII in lower case; whether there is a CAPITAL beyond ASCII.

    `wide_W` is `lower_C` eight bytes at a time.
    """
    high = uint8(0)
    for i in range(size):  # without a branch: eight or more bytes at a time
        byte = byte_C[i]
        is_word = (
            (uint8((byte | uint8(32)) - uint8(97)) < uint8(26))
            | (uint8(byte - uint8(48)) < uint8(10))
            | (byte == uint8(95))
        )
        is_space = (byte == uint8(32)) | (uint8(byte - uint8(9)) < uint8(5)) | (uint8(byte - uint8(28)) < uint8(4))
        class_C[i] = uint8(SIGN) - uint8(is_word) - uint8(2) * uint8(is_space)
        lower_C[i] = byte | (uint8(uint8(byte - uint8(65)) < uint8(26)) << uint8(5))
        high |= byte
    has_capital = False
    i = 0
    while high >= 0x80 and i < size:
        if i & 7 == 0 and wide_W[i >> 3] & uint64(0x8080808080808080) == 0:
            i += 8
            continue
        lead = int64(byte_C[i])
        if lead < 0x80:
            i += 1
            continue
        length = 2 + (lead >= 0xE0) + (lead >= 0xF0)
        point = lead & (0x7F >> length)
        for j in range(i + 1, i + length):
            point = (point << 6) | (int64(byte_C[j]) & 0x3F)
        for j in range(i, i + length):
            class_C[j] = class_T[point]
        has_capital |= class_T[point] >= CAPITAL
        i += length
    return has_capital


@compiled
def bounds(class_C, size, begins_C, ends_C, start_N, stop_N):
    """Where the runs of one class begin and end, white space left out; how many there are."""
    begins_C[0], ends_C[0] = class_C[0] != SPACE, False
    for i in range(1, size):
        changes = class_C[i] != class_C[i - 1]
        begins_C[i] = changes & (class_C[i] != uint8(SPACE))
        ends_C[i] = changes & (class_C[i - 1] != uint8(SPACE))
    begun = ended = 0
    for i in range(size):  # written always, kept where it is one: nothing for the processor to guess
        start_N[begun] = i
        begun += begins_C[i]
        stop_N[ended] = i
        ended += ends_C[i]
    stop_N[ended] = size
    return begun


@inlined
def _eight(wide_W, start, length):
    """The first eight bytes from `start`, zero behind `length`."""
    offset, place = uint64((start & 7) * 8), start >> 3
    eight = (wide_W[place] >> offset) | ((wide_W[place + 1] << uint64(1)) << (uint64(63) - offset))
    if length < 8:
        eight &= (uint64(1) << uint64(8 * length)) - uint64(1)
    return eight


@compiled
def _shift(slots):
    """By how much a hash is shifted to be the number of a slot."""
    bits = 0
    while (1 << bits) < slots:
        bits += 1
    return uint64(64 - bits)


@compiled
def number_words(byte_C, wide_W, start_N, stop_N, begin, slot_S2, letter_C, offset_V1, known, id_N):
    """Number the words from the `begin`-th on, until the table is full: `(first one without a number, known words)`.

    A slot holds a word's first eight bytes, then length << 32 | number + 1. `wide_W` is `byte_C` eight bytes at a time.
    """
    shift, last = _shift(len(slot_S2)), len(slot_S2) - 1
    for n in range(begin, len(start_N)):
        if 2 * known > last:
            return n, known
        start = start_N[n]
        length = stop_N[n] - start
        key = _eight(wide_W, start, min(length, 8))
        mixed = (key + uint64(length)) * _SPREAD
        if length > 8:
            for place in range(8, length, 8):
                more = _eight(wide_W, start + place, min(length - place, 8))
                mixed = (mixed ^ (mixed >> uint64(29)) ^ more) * _SPREAD
        at = int64(mixed >> shift)
        while True:
            held = slot_S2[at, 1]
            if held == 0:
                number = known
                known += 1
                for place in range(length):
                    letter_C[offset_V1[number] + place] = byte_C[start + place]
                offset_V1[known] = offset_V1[number] + length
                slot_S2[at, 0] = key
                slot_S2[at, 1] = (uint64(length) << uint64(32)) | uint64(known)
                break
            if slot_S2[at, 0] == key and int64(held >> uint64(32)) == length:
                number = int64(held & uint64(0xFFFFFFFF)) - 1
                if length <= 8:
                    break
                is_same = True
                for place in range(8, length):
                    if letter_C[offset_V1[number] + place] != byte_C[start + place]:
                        is_same = False
                        break
                if is_same:
                    break
            at = (at + 1) & last
        id_N[n] = number
    return len(start_N), known


# --- units -> counts --------------------------------------------------------------------------------------------------


@compiled
def count_units(id_N, first_D1, before, total_V4, document_E, unit_E, count_E):
    """How often each document has each unit; `total_V4` is count, documents, stamp, entry. The number of entries."""
    entries = 0
    for d in range(len(first_D1) - 1):
        stamp = int32(before + d + 1)
        for n in range(first_D1[d], first_D1[d + 1]):
            unit = id_N[n]
            total_V4[unit, 0] += 1
            if total_V4[unit, 2] == stamp:
                count_E[total_V4[unit, 3]] += 1
                continue
            total_V4[unit, 1] += 1
            total_V4[unit, 2], total_V4[unit, 3] = stamp, entries
            document_E[entries], unit_E[entries], count_E[entries] = d, unit, 1
            entries += 1
    return entries


@compiled
def neighbours(id_N, first_D1, before, seen_S2, document_E, first_E, second_E, count_E):
    """How often each document has each pair of neighbours; the number of entries, `before` of which there were before.

    `seen_S2` is a table for one document after the other, twice as long as the longest: key, then entry + 1 counted
    from the very first on, so that what earlier documents left is known by its being too small.
    """
    entries = 0
    for d in range(len(first_D1) - 1):
        begun = before + entries
        slots = 16
        while slots < 2 * (first_D1[d + 1] - first_D1[d]):
            slots *= 2
        shift, last = _shift(slots), slots - 1
        for n in range(first_D1[d] + 1, first_D1[d + 1]):
            key = (int64(id_N[n - 1]) << 32) | int64(id_N[n])
            at = int64((uint64(key) * _SPREAD) >> shift)
            while seen_S2[at, 1] > begun and seen_S2[at, 0] != key:
                at = (at + 1) & last
            if seen_S2[at, 1] > begun:
                count_E[seen_S2[at, 1] - 1 - before] += 1
                continue
            document_E[entries], first_E[entries], second_E[entries] = d, id_N[n - 1], id_N[n]
            count_E[entries] = 1
            entries += 1
            seen_S2[at, 0], seen_S2[at, 1] = key, before + entries
    return entries


@compiled
def count_pairs(first_E, second_E, count_E, slot_S2, slot_E):
    """Add entries to the totals: a slot holds first << 32 | second, then count << 32 | documents.

    `(new bi-grams, a number that means nothing)`; `slot_E` is where each entry's bi-gram is.
    """
    shift, last = _shift(len(slot_S2)), len(slot_S2) - 1
    new, fetched = 0, uint64(0)
    for low in range(0, len(first_E), _AHEAD):
        high = min(low + _AHEAD, len(first_E))
        for e in range(low, high):
            key = (uint64(first_E[e]) << uint64(32)) | uint64(second_E[e])
            fetched += slot_S2[int64((key * _SPREAD) >> shift), 1]
        for e in range(low, high):
            key = (uint64(first_E[e]) << uint64(32)) | uint64(second_E[e])
            at = int64((key * _SPREAD) >> shift)
            while slot_S2[at, 0] != key or slot_S2[at, 1] == 0:
                if slot_S2[at, 1] == 0:
                    slot_S2[at, 0] = key
                    new += 1
                    break
                at = (at + 1) & last
            slot_S2[at, 1] += (uint64(count_E[e]) << uint64(32)) | uint64(1)
            slot_E[e] = at
    return new, fetched


@compiled
def move_pairs(slot_S2, bucket_S, larger_S2, larger_bucket_S):
    """Every bi-gram and its bucket into a larger table."""
    shift, last = _shift(len(larger_S2)), len(larger_S2) - 1
    for s in range(len(slot_S2)):
        if slot_S2[s, 1] > 0:
            at = int64((slot_S2[s, 0] * _SPREAD) >> shift)
            while larger_S2[at, 1] > 0:
                at = (at + 1) & last
            larger_S2[at, 0], larger_S2[at, 1] = slot_S2[s, 0], slot_S2[s, 1]
            larger_bucket_S[at] = bucket_S[s]


@compiled
def rows_of_pairs(slot_S2, row_4G):
    """Every bi-gram: first, second, count, documents."""
    low, row = uint64(0xFFFFFFFF), 0
    for s in range(len(slot_S2)):
        if slot_S2[s, 1] > 0:
            for column in range(2):
                row_4G[2 * column, row] = slot_S2[s, column] >> uint64(32)
                row_4G[2 * column + 1, row] = slot_S2[s, column] & low
            row += 1


@compiled
def add_pairs(key_G, count_G, documents_G, slot_S3):
    """Add rows of bi-grams to a table of key, count, documents; `(new bi-grams, a number that means nothing)`."""
    shift, last = _shift(len(slot_S3)), len(slot_S3) - 1
    new, fetched = 0, int64(0)
    for low in range(0, len(key_G), _AHEAD):
        high = min(low + _AHEAD, len(key_G))
        for g in range(low, high):
            fetched += slot_S3[int64((uint64(key_G[g]) * _SPREAD) >> shift), 1]
        for g in range(low, high):
            at = int64((uint64(key_G[g]) * _SPREAD) >> shift)
            while slot_S3[at, 1] != 0 and slot_S3[at, 0] != key_G[g]:
                at = (at + 1) & last
            new += slot_S3[at, 1] == 0
            slot_S3[at, 0] = key_G[g]
            slot_S3[at, 1] += count_G[g]
            slot_S3[at, 2] += documents_G[g]
    return new, fetched


@compiled
def add_at(total_L, index_E, count_E):
    """Add each count at its index."""
    for e in range(len(index_E)):
        total_L[index_E[e]] += count_E[e]
