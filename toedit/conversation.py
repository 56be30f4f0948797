"""An instruction row as turns: who says what, whatever the layout of the row.

Reads the record that `toedit/corpora/conversations.py` left in the document (`toedit/instructions.py`), so an edited
response is the edited one here. The system prompt and the description of tools are one turn; what a tool returned is
said to the model, and a call to a tool is said by it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from toedit.instructions import JOINER, Record

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
_SPEAKERS = {
    "user_tag": USER,
    "observation_tag": USER,
    "assistant_tag": ASSISTANT,
    "function_tag": ASSISTANT,
    "system_tag": SYSTEM,
}


class Turn(NamedTuple):
    """Something that is said."""

    role: str
    content: str


def turns_of(record: Record) -> list[Turn]:
    """The turns of a row: a system prompt where there is one, then user and assistant in turn."""
    row, columns, tags = record.row, record.layout["columns"], record.layout.get("tags", {})
    system = [_text(row.get(columns.get(key, ""))) for key in ("system", "tools")]
    said: list[Turn] = []
    if not tags:
        for prompt, response in row.get(columns.get("history", "")) or []:
            said += [Turn(USER, _text(prompt)), Turn(ASSISTANT, _text(response))]
        asked = [_text(row.get(columns.get(key, ""))) for key in ("prompt", "query")]
        said += [Turn(USER, JOINER.join(part for part in asked if part)), Turn(ASSISTANT, row[columns["response"]])]
    else:
        roles = {tags[key]: role for key, role in _SPEAKERS.items() if key in tags}
        for turn in row[columns["messages"]]:
            role, content = roles[turn[tags["role_tag"]]], _text(turn[tags["content_tag"]])
            if role == SYSTEM:
                system.insert(0, content)
            else:
                said.append(Turn(role, content))
    prompt = JOINER.join(part for part in system if part)
    return [*([Turn(SYSTEM, prompt)] if prompt else []), *said]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value.decode() if isinstance(value, bytes) else str(value)
