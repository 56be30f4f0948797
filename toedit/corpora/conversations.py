"""From an instruction row to a document: one text for the whole conversation, and where its responses stand.

Reads a row in the layout that `corpus.layout` names, with `corpus.columns` and `corpus.tags`. The text is everything
that is said, one part below the other: system prompt, tools, earlier turns, prompt, response. No template: the prior
may be any language model, and a template would be text that the data do not hold.

Turns are accepted in the order that LLaMA-Factory accepts: after a system prompt, the user (or what a tool returned)
and the assistant (or a call to a tool) alternate, and the assistant ends. Other rows would be skipped there; here they
are rejected, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from toedit.config import CorpusConfig
from toedit.config.instruction import ALPACA, TAGS, columns_of, tags_of
from toedit.corpora.bad_rows import BadRow
from toedit.instructions import JOINER, Record

Path = tuple[str | int, ...]


class Part(NamedTuple):
    """Something that is said; `path` leads to it in the row where it is a response."""

    text: str
    path: Path | None = None


def read_conversation(row: Mapping[str, Any], config: CorpusConfig) -> tuple[str, Record]:
    """(the text, the record of where its responses stand) of a row. Raises BadRow."""
    columns, tags = columns_of(config.layout, config.columns), tags_of(config.layout, config.tags)
    parts = list(_common(row, columns))
    parts += _alpaca(row, columns) if config.layout == ALPACA else _turns(row, columns, tags, config.layout)
    said = [part for part in parts if part.text]
    fields, editable, end = [], [], 0
    for part in said:
        start = end
        end += _size(part.text)
        if part.path is not None:
            fields.append(list(part.path))
            editable.append([start, end])
        end += len(JOINER)
    layout: dict[str, Any] = {
        "formatting": "sharegpt" if config.layout in TAGS else "alpaca",
        "columns": {key: name for key, name in columns.items() if name in row},
        **({"tags": tags} if tags else {}),
    }
    return JOINER.join(part.text for part in said), Record(layout, fields, editable, dict(row))


def _common(row: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[Part]:
    yield Part(_optional(row, columns, "system"))
    yield Part(_tools(row.get(columns.get("tools", ""))))


def _tools(tools: Any) -> str:
    """The description of tools; none where a list or mapping of them is empty."""
    if not isinstance(tools, (list, dict)):
        return _text(tools, "tools")
    try:
        return json.dumps(tools, ensure_ascii=False) if tools else ""
    except RecursionError:
        raise BadRow("not JSON", "tools are nested too deeply") from None


def _alpaca(row: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[Part]:
    history = row.get(columns.get("history", "")) or []
    if not isinstance(history, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in history):
        raise BadRow("history is not a list of pairs", f"field {columns['history']!r}")
    for number, pair in enumerate(history):
        for text in pair:
            yield Part(_text(text, f"history {number + 1}"))
    yield Part(_optional(row, columns, "prompt"))
    yield Part(_optional(row, columns, "query"))
    field = columns["response"]
    if field not in row:
        raise BadRow("no response", f"no field {field!r}")
    yield Part(_response(row[field], f"field {field!r}"), (field,))


def _turns(row: Mapping[str, Any], columns: Mapping[str, str], tags: Mapping[str, str], layout: str) -> Iterator[Part]:
    field = columns["messages"]
    turns = row.get(field)
    if field not in row:
        other = next((name for name in ("messages", "conversations") if name in row), None)
        also = f", but one {other!r}: see corpus.layout and corpus.columns.messages" if other else ""
        raise BadRow("no messages", f"no field {field!r}{also}")
    if not isinstance(turns, list):
        raise BadRow("messages are not a list", f"field {field!r} is a {type(turns).__name__}")
    speaks = {tags[key]: key for key in tags if key not in ("role_tag", "content_tag")}
    whose_turn, responses = ("user_tag", "observation_tag"), 0
    for number, turn in enumerate(turns):
        where = f"turn {number + 1}"
        if not isinstance(turn, Mapping) or not {tags["role_tag"], tags["content_tag"]} <= turn.keys():
            raise BadRow("not a turn", f"{where} has no {tags['role_tag']!r} or no {tags['content_tag']!r}")
        name, content = turn[tags["role_tag"]], turn[tags["content_tag"]]
        role = speaks.get(name) if isinstance(name, str) else None
        if role is None:
            who = repr(name[:80]) if isinstance(name, str) else f"a {type(name).__name__}"
            raise BadRow("unknown role", f"{where} is by {who}; see corpus.tags")
        if role == "system_tag" and number == 0:
            yield Part(_text(content, where))
            continue
        if role not in whose_turn:
            raise BadRow("roles out of order", f"{where} is by {name!r}")
        is_prompt = whose_turn[0] == "user_tag"
        whose_turn = ("assistant_tag", "function_tag") if is_prompt else ("user_tag", "observation_tag")
        if role == "assistant_tag":
            responses += 1
            yield Part(_response(content, where), (field, number, tags["content_tag"]))
        else:  # a call to a tool has a syntax that an edit would break
            yield Part(_text(content, where))
    if not responses:
        raise BadRow("no assistant turn", f"field {field!r}")
    if whose_turn[0] != "user_tag":
        raise BadRow("roles out of order", "the last turn has no response")


def _optional(row: Mapping[str, Any], columns: Mapping[str, str], key: str) -> str:
    return _text(row.get(columns.get(key, "")), key)


def _response(value: Any, where: str) -> str:
    if value is None:
        raise BadRow("response is null", where)
    text = _text(value, where)
    if not text:
        raise BadRow("response is empty", where)
    return text


def _text(value: Any, where: str) -> str:
    """The string `value`; an empty one for null."""
    if value is None:
        return ""
    if isinstance(value, bytes):  # Parquet without the string type
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadRow("invalid UTF-8", f"at byte {error.start + 1} of {where}") from None
    if not isinstance(value, str):
        raise BadRow("text is not a string", f"{where} is a {type(value).__name__}")
    return value


def _size(text: str) -> int:
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise BadRow("lone surrogate", f"at character {error.start + 1}") from None
