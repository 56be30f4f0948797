"""Writing new tokens into a document, and taking them out again.

The new token's bytes replace the old token's bytes; every byte outside stays. A draw that the text
alone cannot carry leaves the token as it was and is counted as unspliceable:

* the old or the new token is not whole characters (a byte of an emoji),
* the old token's span does not hold its bytes (lower-cased, composed, unknown, ...) or is shared,
* the new token is special, has no piece, or would write nothing,
* one of the two continues a WordPiece word and the other begins one,
* it would delete a token that stands for no byte, or the last thing left of a document or of a response.

A deletion is the draw `DELETED`; its ledger row has that as `new_id` and an empty `new_text`.

Reads and writes no file; the ledger made here goes to `edits/*.parquet` of an edited corpus. Spans
in it are byte spans of the original document.

Shapes: T tokens of one document, C draws to write, 2 = (start, end) in bytes.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from toedit.errors import UnusableInput
from toedit.tokenizing import PriorTokenizer

DELETED = -1
"""The new id of a token that is taken out."""


class LedgerRow(NamedTuple):
    """One changed token: its index in the document, byte span in the original, ids and texts."""

    position: int
    start: int
    end: int
    old_id: int
    new_id: int
    old_text: str
    new_text: str


class Spliced(NamedTuple):
    """An edited document.

    `text`: its UTF-8. `rows`: the ledger, in order of position. `written_C`: bool[C], which of the
    asked draws the rows are. `unspliceable`: the others, so `len(rows) + unspliceable == C`.
    """

    text: bytes
    rows: list[LedgerRow]
    written_C: np.ndarray
    unspliceable: int


def is_exact(
    document: bytes,
    span_T2: np.ndarray,
    token_ids_T: np.ndarray,
    position: int,
    tokenizer: PriorTokenizer,
) -> bool:
    """Does the span of token `position` hold the token's own bytes, and those of no other token?

    A SentencePiece token may stand without its leading space (the dummy prefix of a text).
    """
    if position > 0 and span_T2[position - 1, 1] > span_T2[position, 0]:
        return False
    if position + 1 < len(span_T2) and span_T2[position, 1] > span_T2[position + 1, 0]:
        return False
    piece = _piece(int(token_ids_T[position]), tokenizer)
    start, end = span_T2[position].tolist()
    written = document[start:end]
    return piece is not None and (written == piece or _stands_without_space(written, piece))


def splice(
    document: bytes,
    span_T2: np.ndarray,
    token_ids_T: np.ndarray,
    changed_positions_C: np.ndarray,
    new_ids_C: np.ndarray,
    tokenizer: PriorTokenizer,
    ranges: Sequence[Sequence[int]] | None = None,
) -> Spliced:
    """Put `new_ids_C` in the place of the tokens at `changed_positions_C` (strictly increasing).

    `document` is valid UTF-8, and so is the result. None of its byte `ranges` (by default the one of all of it) becomes
    empty. `span_T2` and `token_ids_T` are the document's as `PriorTokenizer.encode` gives them.
    """
    row_of_draw: dict[int, LedgerRow] = {}
    draws = zip(changed_positions_C.tolist(), new_ids_C.tolist(), strict=True)
    for index, (position, new_id) in enumerate(draws):
        if not is_exact(document, span_T2, token_ids_T, position, tokenizer):
            continue
        start, end = span_T2[position].tolist()
        old_id = int(token_ids_T[position])
        old = document[start:end]
        new = _bytes_to_write(old, old_id, new_id, tokenizer)
        if new is None:
            continue
        try:
            row_of_draw[index] = LedgerRow(position, start, end, old_id, new_id, old.decode(), new.decode())
        except UnicodeDecodeError:
            continue  # a piece of a character: alone it would break the text around it
    deleted = {index: row for index, row in row_of_draw.items() if not row.new_text}
    for start, end in ranges or [(0, len(document))] if deleted else ():
        inside = [index for index, row in deleted.items() if start <= row.start and row.end <= end]
        if inside and sum(deleted[index].end - deleted[index].start for index in inside) == end - start:
            del row_of_draw[inside[-1]]  # everything was deleted: the last token stays
    written_C = np.zeros(len(changed_positions_C), dtype=bool)
    written_C[list(row_of_draw)] = True
    rows = list(row_of_draw.values())
    return Spliced(_apply(document, rows), rows, written_C, len(written_C) - len(rows))


def unsplice(edited: bytes, ledger_rows: Iterable[LedgerRow]) -> bytes:
    """The original document: the ledger applied backwards.

    `ledger_rows` are all rows of this document, in order of position. Raises `UnusableInput` where
    the text is not the one the ledger was written for.
    """
    parts: list[bytes] = []
    restored = 0  # length of `parts`, i.e. a place in the original
    cursor = 0  # the same place in the edited text
    for row in ledger_rows:
        old, new = row.old_text.encode(), row.new_text.encode()
        start = cursor + row.start - restored
        if row.start < restored or row.end - row.start != len(old):
            raise UnusableInput(
                f"the ledger contradicts itself at token {row.position}: {old[:40]!r} cannot stand "
                f"at bytes {row.start} to {row.end} after {restored} bytes"
            )
        if not edited.startswith(new, start):
            found = edited[start : start + len(new)]
            raise UnusableInput(
                f"the ledger does not fit the text at token {row.position}: expected {new[:40]!r} "
                f"at byte {start}, found {found[:40]!r}"
            )
        parts += [edited[cursor:start], old]
        restored, cursor = row.end, start + len(new)
    parts.append(edited[cursor:])
    return b"".join(parts)


def _apply(document: bytes, rows: Sequence[LedgerRow]) -> bytes:
    parts, copied = [], 0  # bytes of the document already in `parts`
    for row in rows:
        parts += [document[copied : row.start], row.new_text.encode()]
        copied = row.end
    return b"".join([*parts, document[copied:]])


def _piece(token_id: int, tokenizer: PriorTokenizer) -> bytes | None:
    """The token's bytes; None also for the outputs a model has beyond its tokenizer's ids."""
    return tokenizer.piece_bytes[token_id] if 0 <= token_id < tokenizer.vocabulary_size else None


def _stands_without_space(written: bytes, piece: bytes) -> bool:
    return piece[:1] == b" " and written == piece[1:]


def _bytes_to_write(old: bytes, old_id: int, new_id: int, tokenizer: PriorTokenizer) -> bytes | None:
    """What `new_id` writes in the place of `old`, the bytes of `old_id`; None if it cannot."""
    if new_id == DELETED:
        return b"" if old else None
    new, old_piece = _piece(new_id, tokenizer), _piece(old_id, tokenizer)
    if new is None or old_piece is None:
        return None
    if tokenizer.is_continuation[new_id] != tokenizer.is_continuation[old_id]:
        return None
    if _stands_without_space(old, old_piece):
        new = new.removeprefix(b" ")  # the tokenizer adds this space again by itself
    # Nothing to write would leave no trace of the token, and perhaps an empty document.
    return new or None
