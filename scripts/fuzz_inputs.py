"""Adversarial input files for `scripts/fuzz_documents.py`, and what a reader has to make of each of their rows.

Texts: every plane of Unicode, control, bidirectional and zero-width characters, stacks of combining marks,
normalisation variants, every line end, byte-order marks, joined emoji, spellings of special tokens and of tokenizers'
own marks, enormous tokens, long runs. Rows: broken UTF-8, lone surrogates, cut and doubled values, deep nesting, huge
numbers, duplicate and colliding keys, hostile ids, wrong types everywhere.

A `Case` knows its outcome by the way it was made, not by asking the code that is tested. Writes the files; the same
seed gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

REJECTED = None
LONGEST = 4_000_000
"""`corpus.max_document_bytes` of the runs."""
PIECES = [
    "The quick brown fox ", "jumps over the lazy dog. ", "naïve café ", "12,345.67 ", "def f(x):\n    return x\n",
    "e\u0301", "é", "Å", "Å", "ﬁ", "ﬀ", "ẛ̣", "한", "각", "Ｆｕｌｌ", "²", "ǆ", "ß", "İ", "ſ", "K",
    "\r", "\n", "\r\n", "\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\t", "\0", "\x1b[31m", "\x1b]0;t\x07", "\x7f",
    "\u200b", "\u200d", "\u200e", "\u202e", "\u2066", "\u2069", "\u061c", "\ufeff", "\u00ad", "\u034f",
    "\u180e", "\u3000",
    "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "1️⃣", "👍🏿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "𝕳𝖊𝖑𝖑𝖔", "𠜎", "܀ܐ", "हिन्दी", "ไทย", "עִבְרִית",
    "العربية", "\ufffd", "\uffff",
    "<|endoftext|>", "</s>", "<s>", "<unk>", "<pad>", "[MASK]", "[CLS]", "[UNK]", "<|im_start|>", "<0xE2>", "<0x0A>",
    "▁", "▁▁the", "Ġthe", "Ċ", "##ing", "ing##", "Ã©", " ", "  ", "    ", "<script>alert(1)</script>",
    "&amp;", '"', "\\",
    "\\u0041", "\\ud800", "{}", "[]", "'; DROP TABLE x; --", "%s%n", "${x}", "../..",
]  # fmt: skip
IDS: list[Any] = [
    "../../etc/passwd", "/", ".", "..", "a/b\\c", "new\nline", "\x1b[2J", "\0", "\u202eid", "dup", "dup",
    "dup--2", "--2", " ",
    "i" * 100_000, 7, -0.0, 1e400, 10**400, True, None, [], {}, ["x"], "", "é", "e\u0301", "\ufeff", "😀",
]  # fmt: skip
COLLISIONS: list[Any] = [
    {"toedit": value} for value in ("x", [1], 5, None, {}, {"tokens": "many"}, True,
    {"not_an_edit": {"toedit": 1}}, [[]])
] + [
    {"toedit_history": value} for value in ("abc", 5, None, {}, [], [1, 2], {"a": 1}, [{"not_an_edit": {}}], [[]])
] + [
    {"toedit": first, "toedit_history": second}
    for first in ({"tokens": 1, "eligible": 1, "changed": 0}, "x", None, {"not_an_edit": {}})
    for second in ("abc", 5, None, {}, [], [1], [{"not_an_edit": {"toedit": 3}}], [[1], [2]])
] + [{"mix": 1, "synthesis": [], "selection": None}]  # fmt: skip
FORGED: list[Any] = [
    None, 5, "x", [], {}, {"row": {}}, {"layout": {}, "fields": [], "editable": [], "row": {}},
    {"layout": "x", "fields": [["a"]], "editable": [[0, 1]], "row": {"a": "T"}},
    {"layout": {"formatting": "alpaca", "columns": {}}, "fields": [[0]], "editable": [[0, 1]], "row": "T"},
    {"layout": {"formatting": "alpaca", "columns": {}}, "fields": [[]], "editable": [[0, 1]], "row": "T"},
    {"layout": {"formatting": "alpaca", "columns": {}}, "fields": [["a"], ["a"]], "editable": [[0, 1], [2, 3]],
     "row": {"a": "T"}},
    {"layout": {"formatting": "alpaca", "columns": 3}, "fields": [["a"]], "editable": [[0, 1]], "row": {"a": "T"}},
    {"layout": {"formatting": "alpaca", "columns": {}}, "fields": [["a"]], "editable": [[0.0, 1]], "row": {"a": "T"}},
    {"layout": {"formatting": "alpaca", "columns": {}}, "fields": "a", "editable": [[0, 1]], "row": {"a": "T"}},
]  # fmt: skip
"""What somebody may have under `metadata.toedit_instruction` beside the text "T T": nothing there fits it."""
BAD_UTF8 = [b"\xff", b"\xc0\x80", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xfe"]
WRONG_TYPES: list[Any] = [5, -0.5, True, False, [], ["text"], {}, {"text": "x"}, [[]]]
DEEPEST = 100
"""Metadata may be nested this deep, itself included."""


class Case(NamedTuple):
    """A row as it stands in a file, and its outcome: REJECTED, or what has to come out of it."""

    kind: str
    line: bytes
    text: Any
    """The document's text; of instruction data the whole row."""
    id: str | None = None
    """None: the row has none, so a hash is made."""
    metadata: Any = None


def any_text(draw: random.Random) -> str:
    """A valid text, never empty."""
    kind = draw.random()
    if kind < 0.15:  # one plane, uniformly
        plane = draw.randrange(17) << 16
        text = "".join(chr(plane + draw.randrange(1 << 16)) for _ in range(draw.randint(1, 40)))
        return re.sub("[\ud800-\udfff]", "x", text)
    if kind < 0.2:
        return "".join(chr(draw.randrange(0xA0)) for _ in range(draw.randint(1, 40)))
    if kind < 0.25:
        return "a" + "".join(chr(draw.randrange(0x300, 0x370)) for _ in range(draw.randint(1, 200)))
    if kind < 0.28:
        return draw.choice(PIECES) * draw.randint(1, 200)
    if kind < 0.3:
        return draw.choice(" \n\t\r\0aé▁") * draw.randint(1, 3)
    if kind < 0.34:
        return "".join(chr(draw.randrange(0x21, 0x7F)) for _ in range(draw.randint(200, 1500)))
    return "".join(draw.choice(PIECES) for _ in range(draw.randint(1, 24)))


def dumps(draw: random.Random, row: Any) -> bytes:
    """The row as JSON, with escapes or without, with spaces or without."""
    ascii_only, tight = draw.random() < 0.4, draw.random() < 0.5
    text = json.dumps(row, ensure_ascii=ascii_only, separators=(",", ":") if tight else (" , ", " :\t"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(row).encode()


def finite(value: Any) -> Any:
    """What JSON lacks as the string that stands for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


def good(kind: str, line: bytes) -> Case:
    """The case of a row that is sound: whatever Python's own JSON reads in it."""
    row = json.loads(line)
    name, metadata = row.get("id"), finite(row.get("metadata"))
    if isinstance(name, (int, float)) and not isinstance(name, bool):
        name = str(name)
    if metadata is not None and not isinstance(metadata, dict):
        metadata = {"value": metadata}
    return Case(kind, line, row["text"], name if isinstance(name, str) and name else None, metadata or None)


def text_row(draw: random.Random) -> Case:
    row: dict[str, Any] = {"id": f"doc/{draw.randrange(10**9)}", "text": any_text(draw)}
    if draw.random() < 0.3:
        row["metadata"] = {any_text(draw): any_text(draw), "n": draw.choice([0, -0.0, 1e-320, 2**64, 0.1])}
    if draw.random() < 0.2:
        row["source"] = any_text(draw)
    items = list(row.items())
    draw.shuffle(items)
    return good("text", dumps(draw, dict(items)))


def hostile_id(draw: random.Random) -> Case:
    return good("id", dumps(draw, {"id": draw.choice(IDS), "text": any_text(draw)}))


def odd_metadata(draw: random.Random) -> Case:
    text = json.dumps(any_text(draw)).encode()
    metadata = draw.choice([
        b"[]", b"{}", b"null", b"7", b'"x"', b"[1, [2, {}]]", b"NaN",
        b'{"a": [-Infinity, Infinity, NaN, 1e400, -1e400]}',
        b'{"n": 1%s}' % (b"0" * 4000), b'{"a": 1, "a": 2, "a": {"a": 3, "a": 4}}', b'{"": {"": ""}}',
        b'{"__proto__": 1}',
        b'{"\\ud800": "\\udfff", "x": NaN}', b'{"a": "\\u0000\\u001b[31m"}', b'{"k": "%s"}' % (b"v" * 50_000),
        b"-0.0", b"5e-324",
        b'{"value": {"value": []}}', b"[" * (DEEPEST - 1) + b"]" * (DEEPEST - 1),
        b'{"a":' * (DEEPEST - 1) + b"{}" + b"}" * (DEEPEST - 1),
    ])  # fmt: skip
    return good("metadata", b'{"text": %s, "metadata": %s, "added": 5, "created": []}' % (text, metadata))


def too_much_metadata(draw: random.Random) -> Case:
    depth = draw.choice([DEEPEST, 500, *range(900, 1000, 7), 1000, 5000, 100_000])
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    metadata = draw.choice([b"[" * depth + b"]" * depth, b"1" + b"0" * 5000, b'{"a": {"b": %s}}' % nested])
    return Case("deep or huge", b'{"text": "a", "metadata": %s}' % metadata, REJECTED)


def colliding_metadata(draw: random.Random) -> Case:
    row = {
        "id": f"ours/{draw.randrange(10**9)}",
        "text": any_text(draw) + " the end",
        "metadata": draw.choice(COLLISIONS),
    }
    return good("colliding keys", dumps(draw, row))


def forged_instruction(draw: random.Random) -> Case:
    line = dumps(draw, {"text": "T T", "metadata": {"toedit_instruction": draw.choice(FORGED[1:])}})
    return Case("forged record", line, REJECTED)


def absent_instruction(draw: random.Random) -> Case:
    return good("null record", dumps(draw, {"text": any_text(draw), "metadata": {"toedit_instruction": None}}))


def duplicate_keys(draw: random.Random) -> Case:
    texts = [json.dumps(any_text(draw)).encode() for _ in range(2)]
    return good("duplicate keys", b'{"text": %s, "id": "a", "text": %s, "id": "dup"}' % (*texts,))


def wrong_type(draw: random.Random) -> Case:
    row = draw.choice(
        [{"text": draw.choice(WRONG_TYPES)}, {"text": None}, {"text": ""}, {"id": "a"}, {}, {"TEXT": "a"}]
    )
    return Case("wrong type", dumps(draw, row), REJECTED)


def wrong_names(draw: random.Random) -> Case:
    row = {"text": any_text(draw)} | {key: draw.choice(WRONG_TYPES[2:]) for key in ("id", "source", "added", "created")}
    return good("wrong type of source", dumps(draw, row))


def no_object(draw: random.Random) -> Case:
    return Case(
        "not an object", dumps(draw, draw.choice([[], ["a"], 5, "a", None, True, 1.5, [{"text": "a"}], ""])), REJECTED
    )


def broken_utf8(draw: random.Random) -> Case:
    line = json.dumps({"id": "u", "text": "é" + any_text(draw) + "🙂"}, ensure_ascii=False).encode()
    place = draw.choice([index for index in range(len(line)) if line[index] & 0xC0 != 0x80])
    return Case("broken UTF-8", line[:place] + draw.choice(BAD_UTF8) + line[place:], REJECTED)


def lone_surrogate(draw: random.Random) -> Case:
    escape = draw.choice([b"\\ud800", b"\\udfff", b"\\ud83dx", b"\\udc00\\ud800"])
    field = draw.choice([b"text", b"text", b"id", b"source"])
    return Case("lone surrogate", b'{"text": "a", "%s": "b%s c"}' % (field, escape), REJECTED)


def broken_json(draw: random.Random) -> Case:
    line = json.dumps({"text": any_text(draw), "id": "b"}).encode()
    cut = line[: draw.randrange(1, len(line))]
    line = draw.choice([
        cut, cut, line + line, line + b" {}", line + b"]", b"\xef\xbb\xbf" + line, b"\xc2\x85" + line,
        line + b"\xe2\x80\xa8",
        b"'" + line, b"{'text': 'a'}", b'{"text": "a",}', b'{"text": "a\tb"}', b'{"text": "a" /* b */}',
        b'{"text": "\\x41"}',
        b'{"text": "a\\', b'{"text": "a", "n": 01}', b'{"text": "a", "n": .5}', b'{"text": "\x1b[31m"}',
        b"\0", b"NaN", b"{",
        b'{"text": "a" "id": "b"}', b'{"text": "a\\u12"}', b'{text: "a"}', b'{"text": "a\0b"}', b"undefined",
        b"[" * 5000,
    ])  # fmt: skip
    return Case("broken JSON", line, REJECTED)


TEXT_ROWS: list[tuple[Callable[[random.Random], Case], int]] = [
    (text_row, 46), (hostile_id, 6), (odd_metadata, 8), (too_much_metadata, 3), (colliding_metadata, 7),
    (duplicate_keys, 2),
    (forged_instruction, 3), (absent_instruction, 1), (wrong_type, 4), (wrong_names, 3), (no_object, 3),
    (broken_utf8, 5),
    (lone_surrogate, 3), (broken_json, 6),
]  # fmt: skip
BROKEN_STRUCTURE = {"broken UTF-8", "broken JSON", "deep or huge"}
"""What cannot stand in a JSON array without spoiling its neighbours."""


def giants(size: int) -> list[Case]:
    """Texts of enormous tokens, about `size` bytes each; the last ones are longer than a document may be."""
    texts = ["a" * size, "\u0301" * (size // 2), "x" + "🙂" * (size // 4), " " * size, "\0" * (size // 4), "\n" * size]
    cases = [good("enormous", json.dumps({"id": f"big/{n}", "text": text}).encode()) for n, text in enumerate(texts)]
    too_long = [b'{"text": "%s"}' % (b"a" * (LONGEST + 1)), b'{"id": "%s", "text": 1}' % (b"i" * LONGEST)]
    return cases + [Case("too long", line, REJECTED) for line in too_long]


def text_cases(draw: random.Random, documents: int) -> list[Case]:
    makers, weights = zip(*TEXT_ROWS, strict=True)
    return [maker(draw) for maker in draw.choices(makers, weights, k=documents)]


Expected = dict[str, list[tuple[int, Case]]]
"""By the name of a file: the cases in it, each with its line."""


def write_texts(folder: Path, draw: random.Random, documents: int) -> Expected:
    """`documents` rows and a few more below `folder`, in files of every kind."""
    folder.mkdir(parents=True)
    texts = documents // 50
    cases = [good("text", b'{"text": "An ordinary first row."}'), *text_cases(draw, documents - 2 * texts)]
    fifth, last = len(cases) // 5, cases[len(cases) // 5 * 4 :]
    calm = [case for case in last if case.kind not in BROKEN_STRUCTURE]
    first = cases[:fifth] + [case for case in last if case.kind in BROKEN_STRUCTURE]
    expected = {
        "a.jsonl": write_lines(folder / "a.jsonl", draw, first + giants(min(1_000_000, 100 * documents)), b"\n"),
        "b.ndjson": write_lines(folder / "b.ndjson", draw, cases[fifth : 2 * fifth], b"\r\n"),
        "c.JSONL.gz": write_lines(folder / "c.JSONL.gz", draw, cases[2 * fifth : 3 * fifth], b"\n"),
        "d.jsonl.zst": write_lines(folder / "d.jsonl.zst", draw, cases[3 * fifth : 4 * fifth], b"\n"),
        "e.json.gz": write_array(folder / "e.json.gz", calm),
        "f.parquet": write_parquet(folder / "f.parquet", draw, texts),
    }
    return expected | write_text_files(folder, draw, texts)


def write_lines(path: Path, draw: random.Random, cases: list[Case], end: bytes) -> list[tuple[int, Case]]:
    """One row a line, blank lines between them, a byte-order mark before, sometimes no end of the last line."""
    lines, placed = [], []
    for case in cases:
        while draw.random() < 0.05:
            lines.append(draw.choice([b"", b"  ", b"\t", b"\x0c", b"\r"]))
        lines.append(case.line)
        placed.append((len(lines), case))
    data = b"\xef\xbb\xbf" + end.join(lines) + (end if draw.random() < 0.5 else b"")
    if path.suffix == ".gz":
        data = gzip.compress(data[:1000], mtime=0) + gzip.compress(data[1000:], mtime=0) + b"\0" * 5000
    elif path.suffix == ".zst":
        data = zstandard.compress(data[:1000]) + zstandard.compress(b"") + zstandard.compress(data[1000:])
    path.write_bytes(data)
    return placed


def write_array(path: Path, cases: list[Case]) -> list[tuple[int, Case]]:
    """A JSON array whose members of a .gz are cut before the bracket and at its first comma."""
    parts = [b" \n", b"[" + cases[0].line, b"".join(b" ,\r\n" + case.line for case in cases[1:]) + b"\n]\n"]
    path.write_bytes(b"".join(gzip.compress(part, mtime=0) for part in parts))
    return list(enumerate(cases, start=1))


def write_parquet(path: Path, draw: random.Random, rows: int) -> list[tuple[int, Case]]:
    """Texts as plain bytes, as Parquet has them without the string type."""
    cases = []
    for number in range(rows):
        data = any_text(draw).encode()
        if draw.random() < 0.2:
            cases.append(Case("broken UTF-8", data + draw.choice(BAD_UTF8), REJECTED))
        else:
            cases.append(Case("text", data, data.decode(), f"row {number}"))
    columns = {"id": [f"row {n}" for n in range(rows)], "text": pa.array([case.line for case in cases], pa.binary())}
    pq.write_table(pa.table(columns), path, row_group_size=50)
    return list(enumerate(cases, start=1))


def write_text_files(folder: Path, draw: random.Random, files: int) -> Expected:
    """One document a file. Two names differ only in bytes that are no UTF-8, others hold control characters."""
    names = [b"z\xff.txt", b"z\xfe.txt", b"z\\xff.txt", b"z\x1b[31m.txt", b"z\nline.txt", "z\u202etxt.txt".encode()]
    names += [b"y%d.txt" % number for number in range(files)]
    expected: Expected = {}
    for name in names:
        text, mark = any_text(draw).lstrip("\ufeff") or "x", draw.choice([b"", b"\xef\xbb\xbf"])
        case = Case("text file", text.encode(), text)
        if draw.random() < 0.1:
            case = draw.choice([Case("text file", b"", REJECTED), Case("text file", b"a\xff", REJECTED)])
        (folder / name.decode("utf-8", "surrogateescape")).write_bytes(mark + case.line)
        expected[name.decode("utf-8", "surrogateescape")] = [(1, case)]
    return expected
