"""From a row to a document: what is a bad row, where text, id, source and metadata come from.

Reads rows as the readers hand them over (raw JSON, a mapping, a plain text) and makes Dolma documents of them, without
an id where the row has none: `ids.py` sees to that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from toedit.config import CorpusConfig
from toedit.config.instruction import TEXT
from toedit.corpora.bad_rows import BadRow
from toedit.corpora.conversations import read_conversation
from toedit.documents import Document
from toedit.errors import UnusableInput
from toedit.instructions import KEY, Record, record_of

MAX_DEPTH = 100
"""Metadata nested deeper than this is refused, so that no later reader runs out of stack."""

LINE_SLACK = 1 << 20


class Row(NamedTuple):
    """A row and where it stands: in which file of the list, and at which line, or as which row, of that file."""

    file_number: int
    file: str
    line: int
    value: bytes | str | Mapping[str, Any] | BadRow
    """Raw JSON, the whole text of a document, a decoded row, or what is wrong with it."""


def line_limit(config: CorpusConfig) -> int:
    """Longest line worth holding: JSON may spend six bytes on one, and there are other fields."""
    return 6 * config.max_document_bytes + LINE_SLACK


def too_long(size: int, config: CorpusConfig, what: str = "the text has") -> BadRow:
    return BadRow("too long", f"{what} {size} bytes, more than corpus.max_document_bytes={config.max_document_bytes}")


def parse(line: bytes) -> Mapping[str, Any]:
    """The JSON object in `line`; raises BadRow."""
    try:
        text = line.decode("utf-8")  # json.loads would let encoded surrogates pass
    except UnicodeDecodeError as error:
        raise BadRow("invalid UTF-8", f"at byte {error.start + 1}") from None
    try:
        value = json.loads(text)
    except RecursionError:
        raise BadRow("not JSON", "nested too deeply") from None
    except ValueError as error:
        raise BadRow("not JSON", str(error)) from None
    if not isinstance(value, dict):
        raise BadRow("not an object", f"a JSON {type(value).__name__}")
    return value


def document_of(row: Row, config: CorpusConfig, default_source: str | None = None) -> tuple[Document, int]:
    """The document in `row`, its `id` empty where the row has none, and the size of its text in UTF-8.

    A row without a source gets `default_source`, or the name of its file. Raises BadRow.
    """
    value = row.value
    if isinstance(value, BadRow):
        raise value
    if isinstance(value, bytes):
        value = parse(value)
    record: Record | None = None
    if isinstance(value, str):
        text: str = value
        value = {}
        if config.layout != TEXT:
            raise BadRow("not an object", f"a text file; corpus.layout={config.layout} needs rows")
        if not text:
            raise BadRow("text is empty")
    elif config.layout != TEXT:
        text, record = read_conversation(value, config)
    else:
        text = _text(value, config)
    size = _utf8_size(text, "text")
    if size > config.max_document_bytes:
        raise too_long(size, config)
    document: Document = {
        "id": _name(pick(value, config.id_field), "id"),
        "text": text,
        "source": _name(pick(value, config.source_field), "source") or default_source or row.file,
    }
    for key in ("added", "created"):  # optional fields of the Dolma format
        stamp = value.get(key)
        if isinstance(stamp, str) and stamp and _is_utf8(stamp):
            document[key] = stamp
    metadata = pick(value, config.metadata_field)
    if metadata is not None:
        document["metadata"] = plain(metadata if isinstance(metadata, Mapping) else {"value": metadata})
    if record is not None:
        document.setdefault("metadata", {})[KEY] = plain(record._asdict(), depth=1)
    elif KEY in document.get("metadata", {}):  # an edited corpus read again, or a name taken by chance
        try:
            record_of(document)
        except UnusableInput:
            raise BadRow("instruction record does not fit", f"metadata.{KEY} does not describe the text") from None
    return document, size


def pick(value: Any, field: str) -> Any:
    """`value[field]`, or what the dotted path `field` leads to (`messages.0.content`); None where there is nothing."""
    if isinstance(value, Mapping) and field in value:
        return value[field]
    if "." not in field:
        return None
    for step in field.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def plain(value: Any, depth: int = 0) -> Any:
    """`value` as JSON can say it: dates, decimals and bytes (Parquet has them) become strings."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth >= MAX_DEPTH:
        raise BadRow("not JSON", "metadata is nested too deeply")
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _text(value: Mapping[str, Any], config: CorpusConfig) -> str:
    """The text fields joined; fields that are empty add nothing, unless all are."""
    parts = []
    for field in config.text_fields:
        part = pick(value, field)
        if isinstance(part, bytes):  # Parquet without the string type
            try:
                part = part.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadRow("invalid UTF-8", f"at byte {error.start + 1}") from None
        if part is None:
            if field in value:
                raise BadRow("text is null", f"field {field!r}")
            raise BadRow("no text", f"no field {field!r}")
        if not isinstance(part, str):
            raise BadRow("text is not a string", f"field {field!r} is a {type(part).__name__}")
        if part:
            parts.append(part)
    if not parts:
        raise BadRow("text is empty")
    return config.text_joiner.join(parts)


def _name(value: Any, field: str) -> str:
    """An id or source as a string: numbers are written out, anything else counts as missing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return ""
    _utf8_size(value, field)
    return value


def _utf8_size(text: str, field: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise BadRow("lone surrogate", f"in {field} at character {error.start + 1}") from None


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
