"""Texts in memory (a list, a pandas frame or series, a `datasets.Dataset`) as a corpus, and the edited texts back in
place.

Rows become documents whose ids are the row numbers. A row that no corpus takes (no text, an empty one) stays as it is,
so that what comes back has the rows that went in.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toedit.console import note
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput

COLUMN = "toedit"
"""Of a frame or data set that comes back: {tokens, eligible, changed} of each row, None where it was not edited."""
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes, in the file systems of today


def is_in_memory(data: Any) -> bool:
    """Whether `data` is rows, not a place where files are. Raises BadConfiguration where it is neither."""
    if isinstance(data, str | os.PathLike):
        return False
    is_list = isinstance(data, Sequence) and not isinstance(data, bytes | bytearray | memoryview | range)
    if not (is_list or _is_a(data, "pandas", "DataFrame", "Series") or _is_dataset(data)):
        raise BadConfiguration(
            f"data: {_kind(data)} is neither a path nor rows; pass a file, folder or glob, a list of texts, a pandas "
            "frame or series, or a datasets.Dataset"
        )
    return True


def require_a_place(path: str) -> None:
    """A text in place of a path is refused before any of it is looked for, and is not repeated."""
    longest = max(len(part.encode("utf-8", "replace")) for part in path.split("/"))
    is_long = longest > _LONGEST_NAME or len(path) > _LONGEST_PATH
    if is_long or "\0" in path or ("\n" in path and not os.path.lexists(path)):
        raise BadConfiguration(f"data: {len(path):,} characters of text are no path; pass a list of texts")


def own_copy(data: Any, text: str) -> Any:
    """The rows as they are now: what a caller does with theirs later must not bring a text into another row.

    Raises BadConfiguration where there is no one column `text`, and UnusableInput where a list holds no texts.
    """
    if _is_a(data, "pandas", "DataFrame", "Series"):
        data = data.copy()
    elif not _is_dataset(data):  # a data set never changes
        data = copy.copy(data)
    _values(data, text)
    return data


def have_text(data: Any, text: str) -> bool:
    """Whether there is anything to edit."""
    return any(isinstance(value, str) and value for value in _values(data, text))


def write_rows(data: Any, text: str, path: Path) -> None:
    """Rows as JSON lines that a corpus reads; what is no text is null, which a corpus rejects."""
    with path.open("w", encoding="ascii") as file:
        for number, value in enumerate(_values(data, text)):
            row = {"id": str(number), "text": value if isinstance(value, str) else None, "source": "rows"}
            file.write(json.dumps(row) + "\n")


def put_back(data: Any, text: str, edited: Path | None) -> Any:
    """`data`, of its own type, with the texts of the edited corpus; columns other than `text` are untouched.

    Without an edited corpus, all rows are as they were.
    """
    paths = shard_paths(edited) if edited else []
    documents = {int(document["id"]): document for path in paths for document in read_documents(path)}
    old = _values(data, text)
    texts = [documents[n]["text"] if n in documents else value for n, value in enumerate(old)]
    counts = [documents[n]["metadata"][COLUMN] if n in documents else None for n in range(len(texts))]
    if kept := counts.count(None):
        note(f"{kept:,} of {len(counts):,} rows stay as they were: they hold no text, or none that the corpus took")
    if _is_dataset(data):
        return _dataset_with(data, text, texts if documents else None, counts)
    if _is_a(data, "pandas", "Series"):
        return _series_with(data, texts) if documents else data.copy()
    if _is_a(data, "pandas", "DataFrame"):
        import pandas

        back = data.copy()
        if documents:
            back[text] = _series_with(data[text], texts)
        levels = data.columns.nlevels
        name = COLUMN if levels == 1 else (COLUMN, *[""] * (levels - 1))
        back[name] = pandas.Series(counts, index=data.index, dtype=object)
        return back
    return _sequence_with(data, texts)


def _series_with(column: Any, texts: list[Any]) -> Any:
    """A series of the same type; one of categories, which cannot hold other texts, becomes one of objects."""
    import pandas

    kept = column.dtype if pandas.api.types.is_string_dtype(column.dtype) else object
    return pandas.Series(texts, index=column.index, name=column.name, dtype=kept)


def _dataset_with(data: Any, text: str, texts: list[Any] | None, counts: list[Any]) -> Any:
    names = list(dict.fromkeys([*data.column_names, COLUMN]))
    data = data.remove_columns([COLUMN] if COLUMN in data.column_names else []).add_column(COLUMN, counts)
    if texts is not None:  # the counts are there already: a data set without any column has no rows
        data = data.remove_columns([text]).add_column(text, texts)
    return data.select_columns(names)


def _sequence_with(data: Any, texts: list[Any]) -> Any:
    if hasattr(data, "_make"):  # a named tuple
        return data._make(texts)
    if isinstance(data, list):
        return texts
    try:
        return type(data)(texts)
    except TypeError:  # a type of the caller's that is not made of a list: the pass was paid for, so a list it is
        return texts


def _values(data: Any, text: str) -> list[Any]:
    """What stands where texts are wanted, row by row."""
    if _is_a(data, "pandas", "Series"):
        values: list[Any] = data.tolist()
        return values
    if _is_a(data, "pandas", "DataFrame"):
        _require_column(text, list(data.columns))
        return list(data[text].tolist())
    if _is_dataset(data):
        _require_column(text, data.column_names or [])
        return list(data.with_format(None)[text])
    for number, value in enumerate(data):
        if isinstance(value, Mapping):
            raise UnusableInput(f"row {number} is a mapping; a list holds texts: [row[{text!r}] for row in data]")
        if isinstance(value, os.PathLike):
            raise UnusableInput(f"row {number} is a path; a list holds texts: pass files one at a time, or a glob")
    return list(data)


def _require_column(text: str, columns: list[Any]) -> None:
    if text not in columns:
        raise BadConfiguration(f"text={text}: no such column; there are {', '.join(map(str, columns))}")
    if text == COLUMN:
        raise BadConfiguration(f"text={text}: the counts go to the column of this name; rename it")
    for name in (text, COLUMN):
        if columns.count(name) > 1:
            raise BadConfiguration(f"text={text}: {columns.count(name)} columns are named {name}; rename them")


def _is_a(data: Any, library: str, *names: str) -> bool:
    """Whether `data` is an instance of such a class; a library that was never imported has none."""
    module = sys.modules.get(library)
    return module is not None and isinstance(data, tuple(getattr(module, name) for name in names))


def _is_dataset(data: Any) -> bool:
    return _is_a(data, "datasets", "Dataset", "IterableDataset")


def _kind(data: Any) -> str:
    if data is None:
        return "None"
    kind = type(data)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
