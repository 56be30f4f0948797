"""Bytes in bounded pieces: decompressed streams that notice a cut file, lines, and the elements of a JSON array.

Everything here holds one row at a time, and never a row longer than the given limit.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import zstandard

from toedit.documents import lacks_memory

BUFFER = 1 << 18
_PIECE = 2048  # compressed bytes at a time: a zstd bomb makes at most 64 MB out of them
BOM = b"\xef\xbb\xbf"


class Oversized(NamedTuple):
    """A row that was skipped because it is longer than the limit."""

    size: int


class Cut(NamedTuple):
    """The rest of a JSON array that ends before its closing bracket."""

    data: bytes


class Decompressed(io.RawIOBase):
    """The plain bytes of a .gz or .zst file, all its members or frames.

    A file that ends too early, or is damaged, ends here too: `damage` then says why. (gzip raises in the middle of a
    read and drops what it had; zstandard's own reader does not notice at all.)
    """

    def __init__(self, compressed: io.RawIOBase, compression: str) -> None:
        self._compressed = io.BufferedReader(compressed, BUFFER)
        self._gzip = compression == "gz"
        self._decompressor: Any = None
        self._input = b""
        self._output = memoryview(b"")
        self._ended = False
        self._members = 0
        self.damage: str | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._output and not self._ended:
            self._output = memoryview(self._next_piece())
        size = min(len(target), len(self._output))
        target[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _next_piece(self) -> bytes:
        data = self._input or self._compressed.read(_PIECE)
        self._input = b""
        if not data:
            self._ended = True
            if self._decompressor is not None:
                self.damage = "ends too early"
            return b""
        if self._decompressor is None:
            if self._gzip and self._members:
                data = data.lstrip(b"\0")  # gzip files may be padded with zeros, as tapes wanted it
                if not data:
                    return b""
            gzip_bits = 31  # zlib's way of saying gzip, its checksum included
            zstd = zstandard.ZstdDecompressor()
            self._decompressor = zlib.decompressobj(gzip_bits) if self._gzip else zstd.decompressobj()
        try:
            piece: bytes = self._decompressor.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            if lacks_memory(error):
                raise MemoryError(str(error)) from None
            self._ended = True
            self.damage = f"is damaged ({error})"
            return b""
        if self._decompressor.eof:
            self._input = self._decompressor.unused_data
            self._decompressor = None
            self._members += 1
        return piece


class _Filled(io.RawIOBase):
    """The bytes of `raw`, as many as are asked for: servers and members of a .gz hand them over in small pieces."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view, filled = memoryview(target), 0
        while filled < len(view) and (size := self._raw.readinto(view[filled:])):
            filled += size
        return filled


def plain_stream(raw: io.RawIOBase, compression: str | None) -> tuple[io.BufferedReader, Decompressed | None]:
    """A buffered reader of the plain bytes and, where the file is compressed, the stream that knows of damage."""
    stream = None if compression is None else Decompressed(raw, compression)
    return io.BufferedReader(_Filled(stream or raw), BUFFER), stream


def begins_with_bracket(stream: io.BufferedReader) -> bool:
    """Whether the next thing in `stream` is a JSON array."""
    return stream.peek(BUFFER).removeprefix(BOM).lstrip()[:1] == b"["


def lines(stream: BinaryIO, limit: int) -> Iterator[bytes | Oversized]:
    """The lines of a stream. One longer than `limit` is skipped and comes as `Oversized`."""
    first = True
    while line := stream.readline(limit + 1):
        if first:
            line, first = line.removeprefix(BOM), False
        if len(line) <= limit or line.endswith(b"\n"):
            yield line
            continue
        size = len(line)
        del line
        while rest := stream.readline(BUFFER):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        yield Oversized(size - rest.endswith(b"\n"))


# What matters outside a string, and a string from its first character up to (not including) its closing quote.
_STRUCTURE = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def array_elements(stream: BinaryIO, limit: int) -> Iterator[bytes | Oversized | Cut]:
    """The elements of the JSON array that begins at `[`, as raw bytes, none longer than `limit`.

    Strings and brackets are matched here and nothing else is looked at, so one bad element does not spoil the next.
    An array without its `]` ends with `Cut`, as does whatever follows the `]`.
    """
    element, size, depth, in_string, opened = bytearray(), 0, 0, False, False
    data = b""
    while piece := stream.read(BUFFER):
        data += piece
        start = position = 0
        if not opened:
            position = start = data.index(b"[") + 1
            opened = True
        while True:
            if in_string:
                match = _IN_STRING.match(data, position)
                assert match is not None  # it matches the empty string
                position = match.end()
                if position >= len(data) or data[position] == 0x5C:  # the string, or an escape in it, goes on
                    break
                in_string = False
                position += 1
                continue
            match = _STRUCTURE.search(data, position)
            if match is None:
                position = len(data)
                break
            position, mark = match.end(), match[0]
            if mark == b'"':
                in_string = True
            elif mark in b"{[":
                depth += 1
            elif depth and mark in b"}]":
                depth -= 1
            elif depth == 0 and mark in b",]":
                size += position - 1 - start
                if size > limit:
                    yield Oversized(size)
                else:
                    element += data[start : position - 1]
                    if element.strip():
                        yield bytes(element)
                element, size, start = bytearray(), 0, position
                if mark == b"]":
                    rest = data[position:] + stream.read(BUFFER)
                    if rest.strip():
                        yield Cut(rest.strip())
                    return
        size += position - start
        if size <= limit:
            element += data[start:position]
        else:
            element = bytearray()
        data = data[position:]
    if size > limit:
        yield Oversized(size)
    else:
        yield Cut(bytes(element + data))
