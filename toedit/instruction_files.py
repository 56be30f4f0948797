"""The rows of instruction data, as files that training reads.

Writes into an edited or reverted corpus

    instructions/*.jsonl    the rows in the layout of the input, one file a shard; only responses ever differ from it
    dataset_info.json       what LLaMA-Factory needs to read them: `dataset_dir: <folder>`, `dataset: instructions`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toedit.documents import Document
from toedit.errors import UnusableInput
from toedit.instructions import holds_instructions, record_of
from toedit.workspace import Result, Workspace, write_json

INSTRUCTIONS, DATASET_INFO = "instructions", "dataset_info.json"


def instruction_outputs(shard: str, documents: Iterable[Document]) -> list[str]:
    """The file for the rows of a shard; none where it holds plain text only."""
    return [_rows_file(shard)] if holds_instructions(documents) else []


def write_rows(path: Path, documents: Iterable[Document]) -> dict[str, Any]:
    """Write the rows of the instruction documents; return their number and common layout for the shard's record."""
    layout: dict[str, Any] = {}
    count = 0
    with path.open("wb") as file:
        for document in documents:
            if (record := record_of(document)) is not None:
                layout = common_layout(layout, record.layout)
                file.write(row_line(record.row))
                count += 1
    return {"instructions": count, "layout": layout}


@dataclass
class InstructionFiles:
    """What the shards of a corpus wrote, and what they have in common."""

    rows: dict[str, int] = field(default_factory=dict)
    layout: dict[str, Any] = field(default_factory=dict)

    def add(self, shard: str, record: Mapping[str, Any]) -> None:
        """Count a shard by its record, which holds what `write_rows` returned if it was called."""
        if "layout" in record:
            self.rows[_rows_file(shard)] = record["instructions"]
            self.layout = common_layout(self.layout, record["layout"])

    def finish(self, workspace: Workspace, result: Result) -> None:
        """Write dataset_info.json; columns that it names must exist, and those that it does not name are not read."""
        if self.rows:
            result.rows |= self.rows
            result.counts["instructions"] = sum(self.rows.values())
            described = {**self.layout, "columns": dict(sorted(self.layout["columns"].items()))}
            write_json(workspace.path / DATASET_INFO, {INSTRUCTIONS: {"file_name": INSTRUCTIONS, **described}})


def row_line(row: Any) -> bytes:
    """The row's line: keys in the row's own order, UTF-8, escapes only where UTF-8 cannot say it."""
    try:
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # a lone surrogate in a field that is no part of the conversation
        return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def common_layout(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The layout of two sets of rows together: the columns of both. An empty one is that of no rows."""
    if not first or not second:
        return dict(first or second)
    columns = {**first["columns"], **second["columns"]}
    same = all(first.get(key) == second.get(key) for key in ("formatting", "tags"))
    if not same or any(columns[key] != name for key, name in first["columns"].items()):
        raise UnusableInput("the corpus holds instruction rows of different layouts; edit them one layout at a time")
    return {**first, "columns": columns}


def _rows_file(shard: str) -> str:
    return f"{INSTRUCTIONS}/{shard}.jsonl"
