"""Dolma documents in zstd-compressed JSON lines: the one format in which text lies on disk.

Reads and writes `documents/*.jsonl.zst`. A document is a mapping with `id`, `text`, `source` and, where there are
any, `metadata`; its line is canonical, so equal documents make equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import zstandard

from toedit.errors import UnusableInput

Document = dict[str, Any]

DOCUMENTS = "documents"
_FIELDS = ("id", "text", "source", "added", "created", "metadata")
_SUFFIX = ".jsonl.zst"
_LEVEL = 3
_PIECE = 1 << 17
"""Compressed bytes that are read at a time."""


def shard_paths(corpus: Path) -> list[Path]:
    """The shards of a corpus artifact, in order."""
    return sorted((corpus / DOCUMENTS).glob(f"*{_SUFFIX}"))


def shard_name(number: int) -> str:
    """`00042`."""
    return f"{number:05d}"


def shard_of(documents_path: Path) -> str:
    """The shard's name: `00042` for `documents/00042.jsonl.zst`."""
    return documents_path.name.removesuffix(_SUFFIX)


def documents_file(shard: str) -> str:
    """Where the documents of a shard lie in a corpus artifact: `documents/00042.jsonl.zst`."""
    return f"{DOCUMENTS}/{shard}{_SUFFIX}"


def document_line(document: Document) -> bytes:
    """The document's line: known fields in a fixed order, UTF-8, escapes only where UTF-8 cannot say it."""
    ordered = {key: document[key] for key in _FIELDS if document.get(key) not in (None, {})}
    ordered.setdefault("text", document["text"])
    try:
        line = json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # NaN or an infinity somewhere in the metadata
        ordered["metadata"] = _finite(ordered["metadata"])
        line = json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
    try:
        return line.encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # a lone surrogate there
        return json.dumps(ordered, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _finite(value: Any) -> Any:
    """NaN and infinities, which JSON lacks, as strings: visible, not lost."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


class ShardWriter:
    """Writes documents to one file as they come; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)  # readers find a flipped bit
        self._stream = compressor.stream_writer(self._file, closefd=True)
        self.documents = 0

    def write(self, document: Document) -> None:
        self._stream.write(document_line(document))
        self.documents += 1

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self._stream.close()
        else:
            self._file.close()


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of one shard, one at a time.

    Raises UnusableInput naming file and line where the shard is damaged.
    """
    with path.open("rb") as file:
        number = 0
        try:
            for line in _lines(file):
                yield json.loads(line)
                number += 1
        except (zstandard.ZstdError, ValueError) as error:
            if lacks_memory(error):
                raise MemoryError(str(error)) from None
            raise UnusableInput(f"{path}: damaged after line {number} ({error})") from None


def lacks_memory(error: Exception) -> bool:
    """Whether the decompressor failed for that; its errors have one class for everything."""
    return isinstance(error, zstandard.ZstdError) and "not enough memory" in str(error)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a zstd file, all its frames. Raises ZstdError where it ends too early.

    (zstandard's own reader takes the end of the file for the end of the text.)
    """
    decompressor = zstandard.ZstdDecompressor()
    frame, ended, rest = decompressor.decompressobj(), False, b""
    while data := file.read(_PIECE):
        while data:
            if ended:
                frame, ended = decompressor.decompressobj(), False
            *whole, rest = (rest + frame.decompress(data)).split(b"\n")
            yield from whole
            ended, data = frame.eof, frame.unused_data
    if not ended:
        raise zstandard.ZstdError("the file ends too early")
    if rest:
        yield rest
