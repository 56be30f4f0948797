"""A corpus as LLaMA-Factory reads it.

Reads a corpus artifact (plain, edited or mixed). Writes into `<checkpoint>/llamafactory/`

    data.jsonl           the texts (stage pt), or the instruction rows in their layout (stage sft)
    dataset_info.json    how they are read
    rejected.jsonl       rows that would stop the framework, with the reason

One file, whatever the corpus has: the framework reads several in the order in which the file system lists them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.llamafactory_files import DATA, DATASET, FOLDER
from toedit.console import Progress, note
from toedit.documents import Document, read_documents, shard_paths
from toedit.errors import UnusableInput
from toedit.instruction_files import common_layout, row_line
from toedit.instructions import Record, record_of
from toedit.workspace import Workspace, write_json

DATASET_INFO, REJECTED = "dataset_info.json", "rejected.jsonl"
_WRAPPED = ("<think>", "<tool_call>")
"""Around a call to a tool they mean something to the framework, and a row with them is left to it."""


@dataclass(frozen=True)
class Written:
    """What became of the documents."""

    rows: int
    left_out: int
    """Plain documents among instruction rows, and rejected rows."""


def write_data(workspace: Workspace, method: str, on_bad_row: str) -> Written:
    """Write data.jsonl and dataset_info.json unless an earlier run did; `method`: pt or sft.

    Raises UnusableInput where stage sft finds no instruction rows, or with on_bad_row=stop one that does not serve.
    """
    if (done := workspace.finished("data")) is not None:
        return Written(done["rows"], done["left_out"])
    corpus = workspace.inputs["corpus"]
    files = [f"{FOLDER}/{name}" for name in (DATA, DATASET_INFO, REJECTED)]
    with workspace.shard("data", *files[: 2 if method == "pt" else 3]) as (paths, record):
        if method == "pt":
            layout: dict[str, Any] = {"columns": {"prompt": "text"}}
            written = Written(_write(paths[0], _texts(corpus)), 0)
        else:
            layout, first = _layout_of(corpus)
            written = _write_rows(corpus, layout, first, paths[0], paths[2], on_bad_row)
        write_json(paths[1], {DATASET: {"file_name": DATA, **layout}})
        record |= {"rows": written.rows, "left_out": written.left_out}
    return written


def _texts(corpus: Path) -> Iterator[dict[str, Any]]:
    for document in _documents(corpus):
        yield {"text": document["text"]}


def _documents(corpus: Path) -> Iterator[Document]:
    for shard in shard_paths(corpus):
        yield from read_documents(shard)


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("wb") as file, Progress("data for LLaMA-Factory", None, "rows") as progress:
        for row in rows:
            file.write(row_line(row))
            count += 1
            progress.advance(1)
    return count


# --- instruction rows -------------------------------------------------------------------------------------------------


def _layout_of(corpus: Path) -> tuple[dict[str, Any], Record | None]:
    """(the layout that all rows have in common, the first row with earlier turns)."""
    layout: dict[str, Any] = {}
    first = None
    for document in _documents(corpus):
        if (record := record_of(document)) is not None:
            layout = common_layout(layout, record.layout)
            history = record.layout["columns"].get("history")
            if first is None and history and record.row.get(history):
                first = record
    if not layout:
        raise UnusableInput(
            f"{corpus}: holds no instruction rows; stage=sft wants corpus.layout=alpaca, sharegpt or messages"
        )
    return layout, first


def _write_rows(
    corpus: Path, layout: dict[str, Any], first: Record | None, path: Path, rejected: Path, on_bad_row: str
) -> Written:
    """Write the rows, `first` before the others: the framework takes a column's type from the first ones it sees."""
    left_out = bad = 0
    last = ""

    def rows(listed: Any) -> Iterator[dict[str, Any]]:
        nonlocal left_out, bad, last
        waiting = first
        if first is not None:
            yield read_columns(first.row, layout)
        for document in _documents(corpus):
            record = record_of(document)
            if record is None:
                left_out += 1
            elif waiting is not None and record == waiting:
                waiting = None
            elif reason := unreadable(record.row, layout):
                last = f"document {document.get('id')!r}: {reason}"
                if on_bad_row == "stop":
                    raise UnusableInput(f"{corpus}: {last}")
                bad += 1
                listed.write(row_line({"id": document.get("id"), "reason": reason}))
            else:
                yield read_columns(record.row, layout)

    with rejected.open("wb") as listed:
        count = _write(path, rows(listed))
    if left_out:
        note(f"{left_out:,} documents are no instruction rows and are left out")
    if bad:
        note(f"{bad:,} rows are left out; the last: {last}; all of them: {FOLDER}/{REJECTED}")
    if not count:
        raise UnusableInput(f"{corpus}: no instruction row serves LLaMA-Factory; the last: {last}")
    return Written(count, left_out + bad)


def read_columns(row: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, Any]:
    """Of a row, the columns that LLaMA-Factory reads, each with one type in all rows: it stops at anything else."""
    tags = layout.get("tags", {})
    kept: dict[str, Any] = {}
    for column, name in layout["columns"].items():
        value = row.get(name)
        if column == "messages":
            role, content = tags["role_tag"], tags["content_tag"]
            kept[name] = [{role: turn[role], content: turn[content] or ""} for turn in value or []]
        elif column == "history":
            kept[name] = [[text or "" for text in pair] for pair in value or []]
        elif isinstance(value, (list, dict)):  # tools: it wants them as JSON
            kept[name] = json.dumps(value, ensure_ascii=False) if value else ""
        else:
            kept[name] = value or ""
    return kept


def unreadable(row: Mapping[str, Any], layout: Mapping[str, Any]) -> str | None:
    """Why LLaMA-Factory would stop at a row: tools or a call to one that it cannot parse. None where it would not."""
    columns, tags = layout["columns"], layout.get("tags", {})
    tools = row.get(columns.get("tools", ""))
    if isinstance(tools, str) and tools and _json(tools) is None:
        return "tools are not JSON"
    for number, turn in enumerate(row.get(columns.get("messages", "")) or []):
        if turn[tags["role_tag"]] != tags.get("function_tag"):
            continue
        content = turn[tags["content_tag"]] or ""
        if any(mark in content for mark in _WRAPPED):
            continue
        calls = _json(content)
        for call in calls if isinstance(calls, list) else [calls]:
            if not isinstance(call, dict) or not {"name", "arguments"} <= call.keys():
                return f"turn {number + 1} calls a tool without name and arguments in JSON"
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
