"""Documents of a text set, in the order of its files: what a row is, which set and which origin it belongs to.

Reads the files of one set with the corpus readers, so that a bad row is rejected, listed and counted as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.sets import TextSet
from toedit.config import CorpusConfig, EvalConfig
from toedit.console import printable
from toedit.corpora.files import FileRows
from toedit.corpora.ids import content_id
from toedit.corpora.local import input_file
from toedit.corpora.rows import BadRow, document_of, parse
from toedit.errors import UnusableInput
from toedit.units import origin_of


@dataclass(frozen=True)
class SetDocument:
    """One document. `unit` names the origin it shares with others; None where it has none."""

    set_name: str
    id: str
    unit: str | None
    text: str
    file_number: int
    line: int


@dataclass(frozen=True)
class RejectedRow:
    """A row that is no document, and why."""

    file: str
    line: int
    reason: str


def read_set(
    text_set: TextSet, settings: EvalConfig, file_number: int = 0, line: int = 0
) -> Iterator[SetDocument | RejectedRow]:
    """Documents and bad rows behind line `line` of file number `file_number`.

    Raises UnusableInput at a damaged file, and at a bad row with `eval.on_bad_row=stop`.
    """
    root, text_fields = text_set.root, ["text"] if text_set.is_corpus else settings.text_fields
    set_fields = [] if text_set.is_corpus else settings.set_fields
    # Of Parquet files only the columns that are named are read; `source` is where a set's name may stand.
    source_field = set_fields[0] if set_fields else "source"
    reading = CorpusConfig(kind="local", path=str(root), text_fields=text_fields, source_field=source_field)
    files = [input_file(_name(file, root), file) for file in text_set.files]
    for row in FileRows(files, reading).rows(file_number, line):
        try:
            value: Any = row.value
            if isinstance(value, bytes):
                value = parse(value)
            document, _ = document_of(row._replace(value=value), reading, text_set.name)
        except BadRow as problem:
            reason = printable(str(problem))
            if settings.on_bad_row == "stop":
                raise UnusableInput(
                    f"{row.file} line {row.line}: {reason}; eval.on_bad_row=reject lists such rows and goes on"
                ) from None
            yield RejectedRow(row.file, row.line, reason)
            continue
        yield SetDocument(
            set_name=origin_of(value, set_fields) or text_set.name,
            id=document["id"] or content_id(document["source"], document["text"]),
            unit=origin_of(value, settings.unit_fields),
            text=document["text"],
            file_number=row.file_number,
            line=row.line,
        )


def has_documents(text_set: TextSet, settings: EvalConfig) -> bool:
    """Whether there is a single good row; reads no further than that."""
    return any(isinstance(item, SetDocument) for item in read_set(text_set, settings))


def _name(file: Path, root: Path) -> str:
    """The file as messages name it, below `root` where it lies there."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) and file != root else file.name
