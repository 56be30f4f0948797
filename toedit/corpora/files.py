"""Rows of files: JSON lines, JSON arrays, Parquet and plain text, compressed or not, one after another.

Where the bytes come from (this machine, a server) is the business of whoever made the `InputFile`s; each file is read
once, from its beginning, in constant memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from toedit.config import CorpusConfig
from toedit.config.instruction import TEXT
from toedit.corpora import streams
from toedit.corpora.rows import BadRow, Row, line_limit, parse, too_long
from toedit.errors import UnusableInput

COMPRESSIONS = (".gz", ".zst")
FORMATS = ("jsonl", "ndjson", "json", "txt", "parquet")
SUFFIXES = ".jsonl, .ndjson, .json or .txt (each also .gz or .zst) or .parquet"
_BATCH_ROWS = 128
_CUT = "cut off"


@dataclass
class InputFile:
    """A file by the name that users see, and how to open it (unbuffered)."""

    name: str
    open: Callable[[], io.RawIOBase]
    size: int | None = None


def format_of(name: str) -> tuple[str, str | None] | None:
    """(format, compression) by the file's suffixes, or None where it is not one that can be read."""
    path = PurePosixPath(name.lower())
    compression = path.suffix[1:] if path.suffix in COMPRESSIONS else None
    kind = PurePosixPath(path.stem).suffix[1:] if compression else path.suffix[1:]
    if kind not in FORMATS or (kind == "parquet" and compression):
        return None
    return kind, compression


@dataclass
class FileRows:
    """The rows of `files` in order; `position` (in bytes of the files) and `truncated` grow while they are read."""

    files: Sequence[InputFile]
    config: CorpusConfig
    position: int = 0
    truncated: list[str] = field(default_factory=list)

    unit = "B"

    @property
    def total(self) -> int | None:
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None

    def rows(self, file_number: int = 0, line: int = 0) -> Iterator[Row]:
        """The rows behind line `line` of file number `file_number`.

        Raises UnusableInput for a file that is cut or damaged, unless `corpus.on_truncated_file=keep`.
        """
        self.position = sum(file.size or 0 for file in self.files[:file_number])
        for number in range(file_number, len(self.files)):
            file = self.files[number]
            base = self.position
            yield from self._rows_of(number, file, line if number == file_number else 0)
            self.position = base + (file.size or 0)

    def _rows_of(self, number: int, file: InputFile, after: int) -> Iterator[Row]:
        found = format_of(file.name)
        if found is None:
            raise UnusableInput(f"{file.name}: unknown kind of file; readable are {SUFFIXES}")
        kind, compression = found
        try:
            with file.open() as raw:
                if kind == "parquet":
                    yield from self._parquet_rows(number, file, raw, after)
                    return
                stream, checked = streams.plain_stream(raw, compression)
                values = self._text_rows(stream, checked) if kind == "txt" else self._json_rows(stream, kind, checked)
                base = self.position
                for line, value in values:
                    if line % 64 == 0:
                        self.position = base + raw.tell()
                    if line > after:
                        yield Row(number, file.name, line, value)
                if checked and checked.damage:
                    self._damaged(file, checked.damage)
        except OSError as error:
            raise UnusableInput(f"{file.name}: cannot be read ({error.strerror or error})") from None

    def _json_rows(
        self, stream: io.BufferedReader, kind: str, checked: streams.Decompressed | None
    ) -> Iterator[tuple[int, bytes | BadRow]]:
        limit = line_limit(self.config)
        is_array = kind == "json" and streams.begins_with_bracket(stream)
        values: Iterator[Any] = streams.array_elements(stream, limit) if is_array else streams.lines(stream, limit)
        for line, value in enumerate(values, start=1):
            if isinstance(value, streams.Oversized):
                yield line, too_long(value.size, self.config, "the row has")
            elif isinstance(value, streams.Cut):
                data = value.data.strip()
                whole = _is_whole(data)
                yield line, data if whole else BadRow(_CUT, "the array does not end with ']', or goes on after it")
            elif value.strip():
                # Of lines only the last one can be cut, and elements of an array are read up to their comma.
                is_last = bool(checked and checked.damage) and not is_array and not value.endswith(b"\n")
                yield line, BadRow(_CUT, "the file ends too early") if is_last and not _is_whole(value) else value

    def _text_rows(self, stream: io.BufferedReader, checked: streams.Decompressed | None) -> Iterator[tuple[int, Any]]:
        """The one document of a text file."""
        limit = self.config.max_document_bytes
        data = stream.read(limit + len(streams.BOM) + 1).removeprefix(streams.BOM)
        if len(data) > limit:
            size = len(data)
            while rest := stream.read(streams.BUFFER):
                size += len(rest)
            yield 1, too_long(size, self.config, "the file has")
            return
        try:
            yield 1, data.decode("utf-8")
        except UnicodeDecodeError as error:
            if checked and checked.damage and error.reason == "unexpected end of data":
                yield 1, data[: error.start].decode("utf-8")  # the file was cut inside a character
            else:
                yield 1, BadRow("invalid UTF-8", f"at byte {error.start + 1}")

    def _parquet_rows(self, number: int, file: InputFile, raw: io.RawIOBase, after: int) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        base, line = self.position, 0
        try:
            parquet = pq.ParquetFile(io.BufferedReader(raw, streams.BUFFER), buffer_size=streams.BUFFER)
            columns = wanted_columns(self.config, parquet.schema_arrow.names)
            for group in range(parquet.num_row_groups):
                rows_in_group = parquet.metadata.row_group(group).num_rows
                if line + rows_in_group <= after:  # read by an earlier run: not fetched again
                    line += rows_in_group
                    continue
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                    cells = list(zip(batch.schema.names, batch.columns, strict=True))
                    for row in range(batch.num_rows):
                        line += 1
                        if line > after:
                            yield Row(number, file.name, line, {name: _cell(column[row]) for name, column in cells})
                    self.position = base + (file.size or 0) * line // max(parquet.metadata.num_rows, 1)
        except (pa.ArrowException, OSError) as error:
            self._damaged(file, f"is damaged or cut ({' '.join(str(error).split())[:200]})")

    def _damaged(self, file: InputFile, damage: str) -> None:
        if self.config.on_truncated_file == "refuse":
            raise UnusableInput(f"{file.name}: {damage}; to use what can be read, set corpus.on_truncated_file=keep")
        if file.name not in self.truncated:
            self.truncated.append(file.name)


def wanted_columns(config: CorpusConfig, names: Sequence[str]) -> list[str]:
    """Those columns of `names` that the configured fields, dotted or not, need; instruction rows are kept whole."""
    if config.layout != TEXT:
        return list(names)
    fields = [*config.text_fields, config.id_field, config.source_field, config.metadata_field, "added", "created"]
    wanted = [field if field in names else field.split(".")[0] for field in fields]
    return list(dict.fromkeys(name for name in wanted if name in names))


def _cell(cell: Any) -> Any:
    """The value of a Parquet cell; bytes where its text is not UTF-8, a string where Python has no such value."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return cell.as_buffer().to_pybytes()
    except (ValueError, OverflowError):
        return str(cell)


def _is_whole(line: bytes) -> bool:
    """Whether a line that may have been cut off is a JSON object all the same."""
    try:
        return bool(parse(line))
    except BadRow:
        return False
