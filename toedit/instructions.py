"""Instruction data inside documents: where the responses stand, and what an edit does to them.

A document made of an instruction row has the whole conversation as its `text`, and under `metadata.toedit_instruction`

    layout     {formatting, columns, tags} as in LLaMA-Factory's dataset_info.json, columns that the row lacks left out
    fields     the path of each response in the row: ["output"] or ["conversations", 1, "value"]
    editable   the same responses as [start, end) in bytes of the text's UTF-8
    row        the row

It always describes the text beside it: an edit moves the ranges and writes the new responses into the row, revert does
the same backwards. `instruction_files.py` writes the rows out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from toedit.documents import Document
from toedit.errors import UnusableInput

KEY = "toedit_instruction"
JOINER = "\n"
"""What stands between the parts of a conversation."""


class Record(NamedTuple):
    """What `metadata.toedit_instruction` holds."""

    layout: dict[str, Any]
    fields: list[list[str | int]]
    editable: list[list[int]]
    row: Any


class Replaced(NamedTuple):
    """`old` bytes at the byte `start` of a text that became `new` bytes."""

    start: int
    old: int
    new: int


def record_of(document: Document) -> Record | None:
    """The document's record, checked against its text; None for plain text.

    Raises UnusableInput where it does not fit: then nobody knows which bytes are the prompt's.
    """
    stored = document.get("metadata", {}).get(KEY)
    if stored is None:
        return None
    try:
        record = Record(*(stored[key] for key in Record._fields))
        _check_shape(record)
        text, ends = document["text"].encode(), -1
        for (start, end), path in zip(record.editable, record.fields, strict=True):
            if not ends < start < end <= len(text) or _follow(record.row, path) != text[start:end].decode():
                raise ValueError
            ends = end
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        raise UnusableInput(f"document {document.get('id')!r}: metadata.{KEY} does not fit its text") from None
    return record


def response_ranges(document: Document) -> list[list[int]] | None:
    """Where the responses stand; None for plain text, which is editable everywhere."""
    record = record_of(document)
    return None if record is None else record.editable


def holds_instructions(documents: Iterable[Document]) -> int:
    """How many of the documents are instruction data."""
    return sum(document.get("metadata", {}).get(KEY) is not None for document in documents)


def replace_text(document: Document, text: str, replaced: Sequence[Replaced]) -> None:
    """Give the document another text that came of `replaced`, in order; its record and row follow.

    Raises UnusableInput where a replacement does not lie within one response.
    """
    record = record_of(document)
    document["text"] = text
    if record is None:
        return
    data = text.encode()
    record.editable[:] = moved(record.editable, replaced, f"document {document.get('id')!r}")
    for (start, end), path in zip(record.editable, record.fields, strict=True):
        *steps, last = path
        _follow(record.row, steps)[last] = data[start:end].decode()


def moved(ranges: Sequence[Sequence[int]], replaced: Sequence[Replaced], what: str) -> list[list[int]]:
    """Where `ranges` stand after the replacements; something empty at the edge of a range belongs to it."""
    result, shift, number = [], 0, 0
    for start, end in ranges:
        begins = start + shift
        while number < len(replaced) and start <= replaced[number].start <= end - replaced[number].old:
            shift += replaced[number].new - replaced[number].old
            number += 1
        result.append([begins, end + shift])
    if number < len(replaced):
        raise UnusableInput(f"{what}: a changed token at byte {replaced[number].start} is not part of a response")
    return result


def _check_shape(record: Record) -> None:
    """Raise ValueError where the record, which may come from anybody's file, is not of the form we write."""
    columns, tags = record.layout["columns"], record.layout.get("tags", {})
    names = [record.layout["formatting"], *columns.values(), *tags.values()]
    steps = [step for path in record.fields for step in path]
    sound = (
        all(isinstance(name, str) for name in names)
        and all(isinstance(step, str) or (type(step) is int and step >= 0) for step in steps)
        and all(type(place) is int for place in chain.from_iterable(record.editable))
        and all(isinstance(path, list) and path for path in record.fields)
        and len({tuple(path) for path in record.fields}) == len(record.fields) > 0
        and not any(isinstance(_follow(record.row, path[:-1]), str) for path in record.fields)
    )
    if not sound:
        raise ValueError


def _follow(row: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        row = row[step]
    return row
