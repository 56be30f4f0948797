"""Edited documents in the terminal: `[-old-]{+new+}` in the original text, in colour where there is a terminal.

Reads the views of `document_views`; writes lines to stdout. All text of the corpus passes `printable`: an escape
sequence in a document is shown, not obeyed. Long documents are cut around their edits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from toedit.console import printable, say
from toedit.document_views import DocumentView

_LEAST_CONTEXT = 40  # characters kept on either side of an edit, however many edits there are
_RED, _GREEN, _DIM, _BOLD, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


class Piece(NamedTuple):
    """Part of a document: text that stays, an edit's old or new text, or a mark of what is left out."""

    kind: Literal["same", "old", "new", "mark"]
    text: str


def print_views(views: Iterable[DocumentView], max_characters: int) -> None:
    """Print each document: one line about it, then its text with the edits."""
    colour = _wants_colour()
    for view in views:
        title = describe(view)
        say(f"{_BOLD}{title}{_RESET}" if colour else title)
        say("".join(_show(piece, colour) for piece in excerpt(view, max_characters)))
        say()


def describe(view: DocumentView) -> str:
    """`id  source  tokens 512  eligible 201 (39.26 %)  changed 3 (0.59 %)`."""
    whole = max(view.tokens, 1)
    return (
        f"{printable(view.id)}  {printable(view.source)}  tokens {view.tokens:,}  "
        f"eligible {view.eligible:,} ({view.eligible / whole:.2%})  "
        f"changed {len(view.edits):,} ({len(view.edits) / whole:.2%})"
    )


def excerpt(view: DocumentView, max_characters: int) -> list[Piece]:
    """The document in pieces, cut so that at most `max_characters` of it are shown around the edits.

    The first edit is always shown. Everything cut leaves a mark with its length.
    """
    pieces = list(_pieces(view))
    shown = sum(len(piece.text) for piece in pieces)
    if shown <= max_characters:
        return pieces
    if not view.edits:
        text = pieces[0].text
        return [Piece("same", text[:max_characters]), _mark(len(text) - max_characters)]
    edited = sum(len(piece.text) for piece in pieces if piece.kind != "same")
    fair = (max_characters - edited) // (2 * len(view.edits))
    context = max(fair, min(_LEAST_CONTEXT, max_characters // 4))

    kept: list[Piece] = []
    room = max_characters
    number_of_edits = len(view.edits)
    for number in range(number_of_edits):
        before, old, new = pieces[3 * number : 3 * number + 3]
        head = 0 if number == 0 else min(context, len(before.text))  # of `before`: follows the previous edit
        tail = min(context, len(before.text) - head)
        if len(before.text) - head - tail <= _LEAST_CONTEXT:  # shorter than the mark would be
            head = len(before.text) - tail
        size = head + tail + len(old.text) + len(new.text)
        if number > 0 and size > room:
            return kept + _cut(before.text, max(min(context, room), 0), 0, edits_left=number_of_edits - number)
        kept += [*_cut(before.text, head, tail), old, new]
        room -= size
    return kept + _cut(pieces[-1].text, max(min(context, room), 0), 0)


def _pieces(view: DocumentView) -> Iterator[Piece]:
    """same, old, new, same, old, new, ..., same: the text between edits may be empty."""
    document = view.text.encode()
    copied = 0
    for edit in view.edits.values():
        yield Piece("same", document[copied : edit.start].decode())
        yield Piece("old", edit.old_text)
        yield Piece("new", edit.new_text)
        copied = edit.end
    yield Piece("same", document[copied:].decode())


def _cut(text: str, head: int, tail: int, edits_left: int = 0) -> list[Piece]:
    """`text` with what lies between its first `head` and last `tail` characters left out."""
    left_out = len(text) - head - tail
    if left_out <= 0 and not edits_left:
        return [Piece("same", text)]
    last = [Piece("same", text[-tail:])] if tail else []
    return [Piece("same", text[:head]), _mark(left_out, edits_left), *last]


def _mark(characters: int, edits: int = 0) -> Piece:
    if edits:
        return Piece("mark", f"\n   [... the rest is left out, with {edits:,} edits ...]\n")
    return Piece("mark", f"\n   [... {characters:,} characters left out ...]\n")


def _show(piece: Piece, colour: bool) -> str:
    text = printable(piece.text, keep_newlines=True)
    if piece.kind == "old":
        text = f"[-{text}-]"
    elif piece.kind == "new":
        text = f"{{+{text}+}}" if text else ""  # a deletion
    code = {"old": _RED, "new": _GREEN, "mark": _DIM, "same": ""}[piece.kind]
    return f"{code}{text}{_RESET}" if colour and code else text


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
