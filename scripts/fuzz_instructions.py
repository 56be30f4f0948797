"""Adversarial instruction rows (alpaca and sharegpt) for `scripts/fuzz_documents.py`, with what has to become of each.

A sound row has to come back whole, with every field it had, after edit and revert; `Case.text` is the row. Bad ones
lack a response, break the order of turns, hold wrong types, nest too deeply.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from fuzz_inputs import BAD_UTF8, REJECTED, WRONG_TYPES, Case, Expected, any_text, dumps, finite, write_lines

EXTRA: list[dict[str, Any]] = [
    {}, {}, {}, {"metadata": {"toedit": "x"}}, {"toedit": 1}, {"score": float("nan")}, {"big": 10**4000},
    {"id": "same"},
    {"id": "../x\n"}, {"source": 5}, {"": ""}, {"lone": "\ud800"}, {"metadata": [1]},
    {"deep": json.loads("[" * 50 + "]" * 50)},
    {"metadata": {"toedit_instruction": "x"}}, {"metadata": {"toedit_instruction": None}},
    {"metadata": {"toedit_history": 7}},
]  # fmt: skip
DEPTHS = [200, *range(900, 1000, 3), 2000, 100_000]
"""Around the depth at which Python's own stack ends, and far beyond."""


def any_extra(draw: random.Random) -> dict[str, Any]:
    return draw.choice(EXTRA)


def whole(kind: str, line: bytes) -> Case:
    return Case(kind, line, finite(json.loads(line)))


def nested(draw: random.Random) -> bytes:
    depth = draw.choice(DEPTHS)
    return draw.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth])


def alpaca(draw: random.Random) -> Case:
    row: dict[str, Any] = {"instruction": any_text(draw), "output": any_text(draw), **any_extra(draw)}
    row["input"] = draw.choice(["", None, any_text(draw)])
    if draw.random() < 0.3:
        row["history"] = draw.choice([None, [], [[any_text(draw), any_text(draw)], ["", None]]])
    if draw.random() < 0.1:
        del row["instruction"]
    if draw.random() < 0.75:
        return whole("sound row", dumps(draw, row))
    bad = draw.randrange(8)
    if bad == 0:
        row["output"] = draw.choice([None, "", *WRONG_TYPES])
    elif bad == 1:
        del row["output"]
    elif bad == 2:
        row["instruction"] = draw.choice(WRONG_TYPES)
    elif bad == 3:
        row["history"] = draw.choice(["x", [["a"]], [["a", 5]], {"a": 1}, [None], 7, [["a", "b", "c"]]])
    elif bad == 4:
        row[draw.choice(["instruction", "output"])] = "a\ud800"
    elif bad == 5:
        line = json.dumps(row).encode()
        return Case("cut row", line[: draw.randrange(1, len(line))], REJECTED)
    elif bad == 6:
        return Case("broken UTF-8", b'{"instruction": "a", "output": "b%s"}' % draw.choice(BAD_UTF8), REJECTED)
    else:
        key = draw.choice([b"tools", b"history", b"input", b"extra", b"system"])
        return Case("deep row", b'{"instruction": "a", "output": "b", "%s": %s}' % (key, nested(draw)), REJECTED)
    return Case("bad row", dumps(draw, row), REJECTED)


def sharegpt(draw: random.Random) -> Case:
    turns = [
        {"from": speaker, "value": any_text(draw)} for _ in range(draw.randint(1, 3)) for speaker in ("human", "gpt")
    ]
    if draw.random() < 0.3:
        turns = [{"from": "system", "value": any_text(draw)}, *turns]
    if draw.random() < 0.2:
        turns = [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{}"},
        {"from": "observation", "value": "b"},
                 {"from": "gpt", "value": any_text(draw)}]  # fmt: skip
    row: dict[str, Any] = {"conversations": turns, **any_extra(draw)}
    if draw.random() < 0.3:
        row["tools"] = draw.choice(["", "[]", [], {}, [{"name": any_text(draw)}], None])
    if draw.random() < 0.75:
        return whole("sound row", dumps(draw, row))
    bad, place = draw.randrange(8), draw.randrange(len(turns))
    if bad == 0:
        row["conversations"] = draw.choice([None, [], "x", {}, 5, [[]], [None], turns[:-1], [*turns, turns[-1]]])
    elif bad == 1:
        turns[place]["from"] = draw.choice(["nobody", "\x1b[31m", "\u202e" * 9, "x" * 100_000, None, 5, [], {"a": 1}])
    elif bad == 2:
        turns[-1]["value"] = draw.choice([None, "", *WRONG_TYPES])
    elif bad == 3:
        del turns[place][draw.choice(["from", "value"])]
    elif bad == 4:
        turns[place]["value"] = "\udfff"
    elif bad == 5:
        line = json.dumps(row).encode()
        return Case("cut row", line[: draw.randrange(1, len(line))], REJECTED)
    elif bad == 6:
        del row["conversations"]
    else:
        turns_too_deep = b'[{"from": %s, "value": "a"}, {"from": "gpt", "value": %s}]' % (
            draw.choice([(b'"human"', nested(draw)), (nested(draw), b'"b"')])
        )
        good_turns = b'[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]'
        line = draw.choice([
            b'{"conversations": %s}' % turns_too_deep, b'{"conversations": %s}' % nested(draw),
            b'{"tools": %s, "conversations": %s}' % (nested(draw), good_turns),
        ])  # fmt: skip
        return Case("deep row", line, REJECTED)
    return Case("bad row", dumps(draw, row), REJECTED)


LAYOUTS = {"alpaca": alpaca, "sharegpt": sharegpt}


def write_instructions(folder: Path, draw: random.Random, documents: int, layout: str) -> Expected:
    """`documents` rows of `layout` in one file below `folder`."""
    folder.mkdir(parents=True)
    maker = LAYOUTS[layout]
    cases = [maker(draw) for _ in range(documents)]
    return {"rows.jsonl": write_lines(folder / "rows.jsonl", draw, cases, b"\n")}
