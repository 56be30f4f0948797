"""What has to hold for any bytes in a file, and for any draws in any text: the targets of `scripts/fuzz_coverage.py`.

`check_reader(data)`: the first bytes choose kind, packing and layout, the rest is the file. Whatever it holds becomes
documents and named rejections, one for each row; or the file is refused by an error of ours. Rows do not depend on how
the bytes arrive, nor on where an earlier run stopped; what was accepted is written and read back unchanged.

`check_splicer(data, tokenizers)`: the first bytes choose tokenizer, draws and protected ranges, the rest is the text.
Spans lie in order within it; after the splice every byte outside the ledger's rows is untouched, every draw is written
or counted, the text is UTF-8 and no response empty; the ledger takes it back.

A property that does not hold raises AssertionError. Needs no fuzzer: `tests/test_fuzz.py` replays seeds through it.
"""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from fuzz_inputs import text_cases
from fuzz_instructions import LAYOUTS

from toedit.config import CorpusConfig
from toedit.corpora import rows as rows_module
from toedit.corpora.bad_rows import BadRow
from toedit.corpora.files import FileRows, InputFile
from toedit.corpora.rows import Row, document_of
from toedit.documents import Document, document_line
from toedit.edit_corpus import forget_edit, record_edit
from toedit.errors import ToEditError
from toedit.instruction_files import row_line
from toedit.instructions import Replaced, record_of, replace_text
from toedit.splicing import DELETED, LedgerRow, Spliced, is_exact, splice, unsplice
from toedit.tokenizing import PriorTokenizer

KINDS = ("jsonl", "json", "txt", "jsonl.gz", "jsonl.zst", "json.gz", "json.zst", "txt.gz", "parquet")
LAYOUT_NAMES = ("text", "alpaca", "sharegpt", "messages")
FIELDS = (["text"], ["text", "a.0.b"], ["metadata.text"], ["text"])
LONGEST, SLACK = 250, 100
"""`corpus.max_document_bytes`, and what a row may have beside it: small, so that a fuzzer reaches what is too long."""


class Trickle(io.RawIOBase):
    """A file that hands over at most so many bytes at a time, as a server does."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._most = io.BytesIO(data), most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._data.seek(offset, whence)

    def tell(self) -> int:
        return self._data.tell()

    def readinto(self, target: Any) -> int:
        data = self._data.read(min(len(target), self._most))
        target[: len(data)] = data
        return len(data)


# --- the reader -------------------------------------------------------------------------------------------------------


def check_reader(data: bytes) -> None:
    with mock.patch.object(rows_module, "LINE_SLACK", SLACK):
        if len(data) > 3:
            check_rows(data[0], data[1], data[2], data[3:])


def check_rows(kind: int, flags: int, number: int, content: bytes) -> None:
    name, layout = f"x.{KINDS[kind % len(KINDS)]}", LAYOUT_NAMES[flags % len(LAYOUT_NAMES)]
    if flags & 0x80:  # sound packing around any content, perhaps cut
        content = pack(content, name, cut=number if flags & 0x40 else 0)
    config = CorpusConfig(
        kind="local",
        layout=layout,
        text_fields=FIELDS[flags >> 2 & 3] if layout == "text" else ["text"],
        max_document_bytes=LONGEST,
        on_truncated_file="refuse" if flags & 0x20 else "keep",
    )
    rows, refused = rows_of(content, name, config, 1 << 18)
    again, refused_again = rows_of(content, name, config, 1 + number)
    assert [row.line for row in rows] == sorted({row.line for row in rows}), "lines do not increase"
    assert same_rows(rows, again) and (refused is None) == (refused_again is None), "rows depend on how bytes arrive"
    if name == "x.jsonl":
        lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        assert len(rows) == sum(bool(line.strip()) for line in lines), "a line was lost"
    if name.startswith("x.txt") and refused is None:
        assert len(rows) == 1, "a text file is one document"
    if rows and refused is None:
        behind, _ = rows_of(content, name, config, 1 << 18, after=rows[len(rows) // 2].line)
        assert same_rows(rows[len(rows) // 2 + 1 :], behind), "rows depend on where an earlier run stopped"
    for row in rows:
        check_row(row, config)


def pack(data: bytes, name: str, cut: int) -> bytes:
    if name.endswith(".gz"):
        data = gzip.compress(data[:10], mtime=0) + b"\0" * (cut % 3) + gzip.compress(data[10:], mtime=0)
    elif name.endswith(".zst"):
        data = zstandard.compress(data[:10]) + zstandard.compress(data[10:])
    elif name.endswith(".parquet"):
        texts = pa.array(data.split(b"\n"), pa.binary())
        columns = {"text": texts, "output": texts, "metadata": [{"n": n, "text": b"\xff"} for n in range(len(texts))]}
        pq.write_table(pa.table(columns), buffer := io.BytesIO(), row_group_size=2)
        data = buffer.getvalue()
    return data[: len(data) - cut] if cut else data


def rows_of(data: bytes, name: str, config: CorpusConfig, most: int, after: int = 0) -> tuple[list[Row], str | None]:
    """The rows, and why the file was refused behind them."""
    source, rows = FileRows([InputFile(name, lambda: Trickle(data, most), len(data))], config), []
    try:
        for row in source.rows(0, after):
            rows.append(row)
    except ToEditError as error:
        assert str(error).startswith(name), f"an error that names no file: {error}"
        return rows, str(error)
    assert not (source.truncated and config.on_truncated_file == "refuse")
    return rows, None


def same_rows(one: Sequence[Row], other: Sequence[Row]) -> bool:
    return [(row.line, content_of(row)) for row in one] == [(row.line, content_of(row)) for row in other]


def content_of(row: Row) -> str:
    return repr(str(row.value) if isinstance(row.value, BadRow) else row.value)


def check_row(row: Row, config: CorpusConfig) -> None:
    """It is rejected with a reason; or it is accepted, and what every later stage does with it works."""
    try:
        document, size = document_of(row, config)
    except BadRow as problem:
        assert problem.kind and len(str(problem)) < 4000, "a rejection that says nothing, or everything"
        return
    assert document["text"] and size == len(document["text"].encode()) <= LONGEST
    document["id"] = document["id"] or "hash"
    line = document_line(document)
    assert line.endswith(b"\n") and line.count(b"\n") == 1, "a document is one line"
    stored: Document = json.loads(line)
    assert document_line(stored) == line, "a document changes when it is read and written again"
    record_edit(stored, 1, 1, 1)
    forget_edit(stored)
    assert json.dumps(stored, sort_keys=True) == json.dumps(json.loads(line), sort_keys=True) or (
        stored.pop("metadata") == {} and document_line(stored) == line
    ), "an edit's note does not come off again"
    check_record(json.loads(line))


def check_record(document: Document) -> None:
    """Of instruction data: an edit of every response moves into the row, and out of it again."""
    before = json.dumps(document)
    if (record := record_of(document)) is None:
        return
    json.loads(row_line(record.row))
    text = document["text"].encode()
    edited, back, copied, shift = b"", [], 0, 0
    for start, end in record.editable:
        edited += text[copied:start] + b"new"
        back.append(Replaced(start + shift, 3, end - start))
        copied, shift = end, shift + 3 - (end - start)
    forth = [Replaced(start, end - start, 3) for start, end in record.editable]
    replace_text(document, (edited + text[copied:]).decode(), forth)
    assert record_of(document) is not None
    replace_text(document, text.decode(), back)
    assert json.dumps(document) == before, "responses do not come back"


# --- the splicer ------------------------------------------------------------------------------------------------------


def check_splicer(data: bytes, tokenizers: Sequence[PriorTokenizer]) -> None:
    if len(data) < 6:
        return
    tokenizer, draw = tokenizers[data[0] % len(tokenizers)], random.Random(data[1:5])
    text = data[6:].decode("utf-8", "ignore")
    document = text.encode()
    (encoded,) = tokenizer.encode([text])
    ids_T, span_T2 = encoded
    assert len(ids_T) == len(span_T2) and (span_T2[:, 0] <= span_T2[:, 1]).all()
    assert (np.diff(span_T2, axis=0) >= 0).all(), "spans run backwards"
    assert not len(span_T2) or (span_T2[0, 0] >= 0 and span_T2[-1, 1] <= len(document)), "spans leave the text"

    rate = data[5] / 255
    position_C = np.array([t for t in range(len(ids_T)) if draw.random() < rate], np.int64)
    outside = [DELETED, DELETED, tokenizer.vocabulary_size, tokenizer.vocabulary_size + 7]
    new_id_C = np.array(
        [
            draw.choice(outside) if draw.random() < 0.2 else draw.randrange(tokenizer.vocabulary_size)
            for _ in position_C
        ],
        np.int64,
    )
    ranges = ranges_in(text, draw) if data[5] & 1 else None
    spliced = splice(document, span_T2, ids_T, position_C, new_id_C, tokenizer, ranges)
    check_spliced(document, spliced, position_C, new_id_C, tokenizer, ids_T, span_T2)
    assert unsplice(spliced.text, spliced.rows) == document, "the ledger does not take the edit back"
    for start, end in [(0, len(document))] if ranges is None else ranges:
        kept = end - start + sum(grown(row) for row in spliced.rows if start <= row.start and row.end <= end)
        assert kept > 0 or start == end, "nothing is left of a text or of a response"
    tampered = bytearray(spliced.text)
    for place in range(0, len(tampered), max(len(tampered) // 3, 1)):
        tampered[place] ^= 1 + draw.randrange(255)
    moved = [row._replace(start=row.start + draw.randrange(-3, 4)) for row in spliced.rows]
    for text_of, rows in [(bytes(tampered), spliced.rows), (spliced.text, moved), (spliced.text, spliced.rows[::-1])]:
        try:
            unsplice(text_of, rows)
        except ToEditError:
            pass


def check_spliced(
    document: bytes,
    spliced: Spliced,
    position_C: np.ndarray,
    new_id_C: np.ndarray,
    tokenizer: PriorTokenizer,
    ids_T: np.ndarray,
    span_T2: np.ndarray,
) -> None:
    rows = spliced.rows
    spliced.text.decode()
    assert len(rows) + spliced.unspliceable == len(position_C) and spliced.written_C.sum() == len(rows)
    assert [row.position for row in rows] == position_C[spliced.written_C].tolist()
    assert [row.new_id for row in rows] == new_id_C[spliced.written_C].tolist()
    parts, copied = [], 0
    for row in rows:
        assert copied <= row.start <= row.end <= len(document), "two rows share bytes"
        assert document[row.start : row.end] == row.old_text.encode(), "the old text is not what stood there"
        assert is_exact(document, span_T2, ids_T, row.position, tokenizer)
        piece = b"" if row.new_id == DELETED else tokenizer.piece_bytes[row.new_id]
        assert piece is not None and row.new_text.encode() in (piece, piece.removeprefix(b" "))
        parts += [document[copied : row.start], row.new_text.encode()]
        copied = row.end
    assert b"".join([*parts, document[copied:]]) == spliced.text, "bytes outside the edited spans changed"


def grown(row: LedgerRow) -> int:
    return len(row.new_text.encode()) - (row.end - row.start)


def ranges_in(text: str, draw: random.Random) -> list[list[int]]:
    """A few byte ranges of whole characters, in order, apart from each other: responses."""
    places = sorted(draw.sample(range(len(text) + 1), min(4, len(text) + 1)))
    byte = [len(text[:place].encode()) for place in places]
    return [[byte[n], byte[n + 1]] for n in range(0, len(byte) - 1, 2)]


def seeds(texts: Sequence[str]) -> dict[str, list[bytes]]:
    """Inputs for a fuzzer to begin with: a few rows of `scripts/fuzz_documents.py` in every kind of file."""
    draw = random.Random(0)
    cases = {
        "text": text_cases(draw, 240),
        **{name: [maker(draw) for _ in range(120)] for name, maker in LAYOUTS.items()},
    }
    lines = {name: [case.line for case in found if len(case.line) < 500] for name, found in cases.items()}
    lines["text"] += [document_line(document).strip() for document in instruction_documents(lines["sharegpt"])]
    reader = []
    for layout, found in lines.items():
        for start in range(0, len(found), 3):
            kind, flags = (
                draw.randrange(len(KINDS)),
                LAYOUT_NAMES.index(layout) | draw.choice([0x80, 0xA0, 0xC0, 0x84, 0x88]),
            )
            content = b"\n".join(found[start : start + 3])
            content = b"[" + content.replace(b"\n", b",") + b"]" if "json." in KINDS[kind] + "." else content
            reader.append(bytes([kind, flags, draw.randrange(256)]) + content)
    for kind, (first, end) in enumerate([(b"", b"\n"), (b"[", b",")]):  # rows too long, in the middle and at the end
        row = b'{"text": "a"%s}' % (b" " * 6 * LONGEST + b" " * SLACK) + end
        reader.append(bytes([kind, 0, 255]) + first + row + b'{"text": "b"}' + end + row)
    deep = b"[" * 110 + b"]" * 110
    text = [b'{"text": "a", "metadata": %s}' % deep, b'{"text": "\xc3\xa9", "created": "\xc3\xa9"}', b'{"text": null}']
    rows = [(0, row) for row in text] + [
        (4, b'{"a": [{"b": "c"}], "text": "d"}'),
        (1, b'{"output": "a", "history": [["b"]]}'),
    ]
    reader += [bytes([0, flags, 255]) + row for flags, row in rows]
    splicer = [bytes([n, 0, 0, 0, n, 200]) + text.encode() for n, text in enumerate(texts)]
    return {"reader": reader, "splicer": splicer}


def instruction_documents(lines: Sequence[bytes]) -> list[Document]:
    """Rows as the documents that a corpus makes of them: a user may give these again."""
    config, found = CorpusConfig(kind="local", layout="sharegpt"), []
    for line in lines:
        try:
            found.append(document_of(Row(0, "x", 1, line), config)[0])
        except BadRow:
            continue
    return [document for document in found if len(document_line(document)) < 500]
