"""What the tests of instruction data share: odd rows in every layout, and a reading of them that is the tests' own."""

import json
import random
from pathlib import Path

from conftest import PLACES, SUBJECTS, VERBS, run_command

from toedit.fingerprints import canonical_json

LIVELY = ["edit.p=0.9", "edit.temperature=3"]
REAL = ["score.min_p=0.3", "edit.p=0.3", "edit.temperature=2"]


def sentence(choose: random.Random) -> str:
    return f"{choose.choice(SUBJECTS)} {choose.choice(VERBS)} {choose.choice(PLACES)}, as the story goes."


def alpaca_rows(count: int = 30) -> list[dict]:
    """What the small prior is sure of, in prompts and responses; with odd rows among them."""
    choose = random.Random(1)
    rows = [
        {
            "instruction": f"Say it: {sentence(choose)}",
            "input": sentence(choose) if number % 3 else "",
            "output": " ".join(sentence(choose) for _ in range(choose.randint(1, 4))),
            "n": number,
            "nested": {"b": [1.5, None, True], "a": "é"},
        }
        for number in range(count)
    ]
    rows[3]["history"] = [[sentence(choose), sentence(choose)]]
    rows[4]["system"] = "You tell stories. 🙂"
    rows[5] |= {"instruction": "", "input": ""}
    rows[6]["output"] = "\n Zoë 🙂 sat quietly on the mat, as the story goes.\n\n"
    rows[7]["output"] = "x"
    return rows


def sharegpt_rows(
    names: tuple[str, ...] = ("conversations", "from", "value", "human", "gpt", "observation"),
) -> list[dict]:
    choose = random.Random(2)
    messages, role, content, user, assistant, tool = names
    rows = []
    for number in range(20):
        said = [(who, sentence(choose)) for _ in range(1 + number % 3) for who in (user, assistant)]
        if number % 4 == 0:
            said = [("system", "You tell stories."), *said]
        if number % 5 == 0:
            said += [
                (user, "Look."),
                ("function_call", '{"name": "look"}'),
                (tool, "[1]"),
                (assistant, sentence(choose)),
            ]
        rows.append({messages: [{role: who, content: text, "extra": 1} for who, text in said], "id": f"row {number}"})
    return rows


def write_array(path: Path, rows: list) -> Path:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def rows_of(folder: Path) -> list[dict]:
    files = sorted((folder / "instructions").iterdir())
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def responses_of(row: dict) -> dict[tuple, str]:
    """By path; the test's own reading of a row."""
    for field, role, content, assistant in (
        ("conversations", "from", "value", "gpt"),
        ("messages", "role", "content", "assistant"),
    ):
        if field in row:
            turns = enumerate(row[field])
            return {(field, n, content): turn[content] for n, turn in turns if turn[role] == assistant}
    return {("output",): row["output"]}


def without_responses(row: dict) -> str:
    copy = json.loads(json.dumps(row))
    for *steps, last in responses_of(row):
        place = copy
        for step in steps:
            place = place[step]
        place[last] = None
    return canonical_json(copy)


def prior_inputs(prior: Path) -> list[str]:
    return ["prior=local", f"prior.path={prior}"]


def edit(work: Path, rows: Path, layout: str, prior: Path, *more: str, out: str = "edited") -> Path:
    run_command(
        "stage=edit", "corpus=local", f"corpus.path={rows}", f"corpus.layout={layout}", *prior_inputs(prior), *more,
        f"out={out}", cwd=work,
    )  # fmt: skip
    return work / out
