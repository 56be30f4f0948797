"""Ids that are unique: a hash where a row has none, `--2`, `--3`, … where an id comes again.

What was seen is kept as 8-byte digests, about 20 bytes an id, so that a hundred million documents fit in memory.
"""

from __future__ import annotations

import base64
import hashlib
from array import array


def content_id(source: str, text: str) -> str:
    """The id of a document without one: a hash of its source and text, the same on every machine."""
    return hashlib.sha256(f"{source}\0{text}".encode()).hexdigest()[:16]


class DigestSet:
    """A set of non-zero 64-bit numbers in one flat array (open addressing, at most 60 % full)."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._used = 0

    def add(self, digest: int) -> bool:
        """Whether `digest` is new."""
        if self._used * 5 >= len(self._slots) * 3:
            self._grow()
        slot = self._slot(digest)
        if self._slots[slot]:
            return False
        self._slots[slot] = digest
        self._used += 1
        return True

    def _slot(self, digest: int) -> int:
        mask = len(self._slots) - 1
        slot = digest & mask
        while self._slots[slot] not in (0, digest):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        held = self._slots
        self._slots = array("Q", bytes(2 * 8 * len(held)))
        for digest in held:
            if digest:
                self._slots[self._slot(digest)] = digest


class UniqueIds:
    """Hands out ids, each once. `recent` holds what was added since the last `flush`, for the shard's record."""

    def __init__(self) -> None:
        self._seen = DigestSet()
        self._next: dict[int, int] = {}
        self._recent = array("Q")

    def claim(self, name: str) -> str:
        """`name` itself the first time, with `--n` the n-th time; a suffix that a literal id holds is passed over."""
        digest = _digest(name)
        if self._add(digest):
            return name
        number = self._next.get(digest, 2)
        while not self._add(_digest(f"{name}--{number}")):
            number += 1
        if number > 2:  # the third time and later: do not search from 2 again
            self._next[digest] = number + 1
        return f"{name}--{number}"

    def flush(self) -> str:
        """The digests added since the last call, as text for a JSON record."""
        text = base64.b85encode(self._recent.tobytes()).decode()
        self._recent = array("Q")
        return text

    def restore(self, flushed: str) -> None:
        """Add the digests of an earlier `flush`."""
        digests = array("Q")
        digests.frombytes(base64.b85decode(flushed))
        for digest in digests:
            self._seen.add(digest)

    def _add(self, digest: int) -> bool:
        if self._seen.add(digest):
            self._recent.append(digest)
            return True
        return False


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") or 1
