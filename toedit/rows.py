"""Texts in memory (a list, a pandas frame, a `datasets.Dataset`) as a corpus, and the edited texts back in place.

Rows become documents whose ids are the row numbers. A row that no corpus takes (no text, an empty one) stays as it is,
so that what comes back has the rows that went in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput

COLUMN = "toedit"
"""Of a frame or data set that comes back: {tokens, eligible, changed} of each row, None where it was not edited."""


def is_in_memory(data: Any) -> bool:
    """Whether `data` is rows, not a place where files are."""
    return _is_frame(data) or _is_dataset(data) or (isinstance(data, Sequence) and not isinstance(data, str))


def write_rows(data: Any, text: str, path: Path) -> None:
    """Rows as JSON lines that a corpus reads. Raises BadConfiguration where there is no column `text`."""
    with path.open("w", encoding="ascii") as file:
        for number, value in enumerate(_texts(data, text)):
            file.write(json.dumps({"id": str(number), "text": value, "source": "rows"}, default=str) + "\n")


def put_back(data: Any, text: str, edited: Path) -> Any:
    """`data`, of its own type, with the texts of the edited corpus; columns other than `text` are untouched."""
    documents = {int(document["id"]): document for path in shard_paths(edited) for document in read_documents(path)}
    texts = [documents[n]["text"] if n in documents else old for n, old in enumerate(_texts(data, text))]
    counts = [documents[n]["metadata"][COLUMN] if n in documents else None for n in range(len(texts))]
    if _is_frame(data):
        return data.assign(**{text: texts, COLUMN: counts})
    if _is_dataset(data):
        kept = data.remove_columns([name for name in (text, COLUMN) if name in data.column_names])
        return kept.add_column(text, texts).add_column(COLUMN, counts).select_columns([*data.column_names, COLUMN])
    return texts if isinstance(data, list) else type(data)(texts)


def _texts(data: Any, text: str) -> Iterable[Any]:
    if _is_frame(data):
        _require_column(text, list(data.columns))
        return [None if value is None or value != value else value for value in data[text].tolist()]
    if _is_dataset(data):
        _require_column(text, data.column_names)
        column: Iterable[Any] = data[text]
        return column
    for number, value in enumerate(data):
        if isinstance(value, Mapping):
            raise UnusableInput(f"row {number} is a mapping; a list holds texts: [row[{text!r}] for row in data]")
    return list(data)


def _require_column(text: str, columns: list[Any]) -> None:
    if text not in columns:
        raise BadConfiguration(f"text={text}: no such column; there are {', '.join(map(str, columns))}")


def _is_frame(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas"


def _is_dataset(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "datasets" and hasattr(data, "column_names")
