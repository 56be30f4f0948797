"""Settings of instruction data: which columns of a row are the prompt and the response, and how turns are tagged.

The names are those that LLaMA-Factory uses under `columns` and `tags` of its dataset_info.json, and so are the
defaults. What a key that is null stands for depends on `corpus.layout`: see `COLUMNS` and `TAGS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

TEXT, ALPACA, SHAREGPT, MESSAGES = LAYOUTS = ("text", "alpaca", "sharegpt", "messages")

_EVERYWHERE = {"system": "system", "tools": "tools"}
_TURNS = {"observation_tag": "observation", "function_tag": "function_call", "system_tag": "system"}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    ALPACA: {"prompt": "instruction", "query": "input", "response": "output", "history": "history", **_EVERYWHERE},
    SHAREGPT: {"messages": "conversations", **_EVERYWHERE},
    MESSAGES: {"messages": "messages", **_EVERYWHERE},
}
TAGS: Mapping[str, Mapping[str, str]] = {
    SHAREGPT: {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt", **_TURNS},
    MESSAGES: {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        **_TURNS,
        "observation_tag": "tool",
    },
}


@dataclass
class ColumnsConfig:
    """Columns of an instruction row. Null is the layout's usual name; an empty name is no column."""

    prompt: str | None = None
    """layout=alpaca: the instruction; usually `instruction`."""
    query: str | None = None
    """layout=alpaca: what follows the instruction; usually `input`."""
    response: str | None = None
    """layout=alpaca: the response, which is edited; usually `output`."""
    history: str | None = None
    """layout=alpaca: earlier turns as [prompt, response] pairs, which stay as they are; usually `history`."""
    messages: str | None = None
    """layout=sharegpt, messages: the list of turns; usually `conversations`, `messages`."""
    system: str | None = None
    """The system prompt; usually `system`."""
    tools: str | None = None
    """The description of tools; usually `tools`."""


@dataclass
class TagsConfig:
    """How the turns of layout=sharegpt and messages are tagged. Null is the layout's usual tag."""

    role_tag: str | None = None
    """The key of who speaks; usually `from`, `role`."""
    content_tag: str | None = None
    """The key of what is said; usually `value`, `content`."""
    user_tag: str | None = None
    """The user's role; usually `human`, `user`."""
    assistant_tag: str | None = None
    """The role whose turns are the responses, which are edited; usually `gpt`, `assistant`."""
    observation_tag: str | None = None
    """The role of what a tool returned; usually `observation`, `tool`."""
    function_tag: str | None = None
    """The role of a call to a tool, which stays as it is; usually `function_call`."""
    system_tag: str | None = None
    """The role of a system prompt, the first turn; usually `system`."""


def columns_of(layout: str, columns: ColumnsConfig) -> dict[str, str]:
    """{what a column is: its name} of `layout`, the unnamed ones left out."""
    return _named(COLUMNS[layout], asdict(columns))


def tags_of(layout: str, tags: TagsConfig) -> dict[str, str]:
    """The tags of `layout`; none for layout=alpaca, which has no turns."""
    return _named(TAGS.get(layout, {}), asdict(tags))


def unread(layout: str, columns: ColumnsConfig, tags: TagsConfig) -> str | None:
    """The first key that was set and that `layout` does not read."""
    asked = {f"columns.{key}": key in COLUMNS.get(layout, {}) for key, value in asdict(columns).items() if value}
    asked |= {f"tags.{key}": key in TAGS.get(layout, {}) for key, value in asdict(tags).items() if value}
    return next((key for key, is_read in asked.items() if not is_read), None)


def _named(usual: Mapping[str, str], asked: Mapping[str, str | None]) -> dict[str, str]:
    """The names asked for, else the usual ones, unless something else has taken them."""
    given = {key: name for key in usual if (name := asked[key]) is not None}
    left = {key: name for key, name in usual.items() if key not in given and name not in given.values()}
    return {key: name for key in usual if (name := given.get(key) or left.get(key))}
