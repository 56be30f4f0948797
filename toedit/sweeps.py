"""Sweeps (`python run.py -m ...`): what becomes of each point, and the table with which they end.

Whichever process or machine a launcher of Hydra's gives a point to, the point leaves `points/<number>.json` in the
sweep's folder, and what it said in `report.txt` in its own. The command that began the sweep reads the points back.

    python run.py -m stage=edit edit.p=0.9,0.99 edit.k=4,8
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from toedit.command import as_user_error
from toedit.console import note, say, table
from toedit.errors import MissingInput
from toedit.workspace import write_json

_POINTS = "points"


@dataclass(frozen=True)
class Sweep:
    folder: Path
    """In full, as points may run elsewhere."""
    points: int | None
    """Null where the sweeper decides as it goes."""


_begun: list[Sweep] = []
"""The sweep that this process began."""


def begin_sweep(folder: Path, points: int | None) -> None:
    """Forget the points of an earlier sweep in the same folder."""
    for file in folder.glob(f"{_POINTS}/*.json"):
        file.unlink()
    _begun.append(Sweep(folder, points))


def quoted(value: str) -> str:
    """A value as Hydra's grammar wants it, whatever characters it holds."""
    return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


@contextmanager
def report_into(path: Path) -> Iterator[None]:
    """Keep what a point of a sweep has to say in a file: on the screen the closing table speaks for all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file, redirect_stdout(file):
        yield


def write_point(
    sweep: Path, number: int, overrides: Sequence[str], row: Mapping[str, str], failure: BaseException | None
) -> None:
    """Leave what became of one point of a sweep where the parent finds it."""
    code, message = 0, None
    if failure is not None:
        known = as_user_error(failure)
        if known is None:
            traceback.print_exception(failure)
        code, message = (known.exit_code, str(known)) if known else (1, repr(failure))
    point = {"overrides": list(overrides), "code": code, "row": dict(row), "error": message}
    (sweep / _POINTS).mkdir(parents=True, exist_ok=True)
    write_json(sweep / _POINTS / f"{number}.json", point)


def close_sweep() -> int:
    """Print the closing table of the sweep that this process began, if it did; the code of the first failed point."""
    if not _begun:
        return 0
    sweep = _begun.pop()
    files = {int(file.stem): file for file in sweep.folder.glob(f"{_POINTS}/*.json")}
    expected = sweep.points if sweep.points is not None else max(files, default=0) + 1
    if absent := sorted(set(range(expected)) - set(files)):
        note(f"error: {sweep.folder}: no report of points {absent}; do all machines of the sweep see this folder?")
        return MissingInput.exit_code
    points = [json.loads(files[number].read_text()) for number in sorted(files)]
    failed = [point for point in points if point["code"]]
    rows = [point["row"] for point in points if point["row"]]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    varied = _varied([point["overrides"] for point in points], columns)
    say()
    table(
        [*varied, *columns, "state"],
        [
            [
                *(_value(point["overrides"], key) for key in varied),
                *(point["row"].get(column) or _value_of_last(point["overrides"], column) for column in columns),
                f"failed ({point['code']})" if point["code"] else "ok",
            ]
            for point in points
        ],
    )
    note(f"reports of the points: {sweep.folder}")
    for point in failed:
        note(f"failed: {' '.join(point['overrides'])}: {point['error']}")
    return int(failed[0]["code"]) if failed else 0


def _varied(overrides: Sequence[Sequence[str]], columns: Sequence[str]) -> list[str]:
    """Keys whose values differ between points and that the rows do not show already."""
    keys = list(dict.fromkeys(override.partition("=")[0] for point in overrides for override in point))
    return [
        key
        for key in keys
        if key.rpartition(".")[2] not in columns and len({_value(point, key) for point in overrides}) > 1
    ]


def _value(overrides: Sequence[str], key: str) -> str:
    return next((override.partition("=")[2] for override in overrides if override.partition("=")[0] == key), "")


def _value_of_last(overrides: Sequence[str], name: str) -> str:
    """The value of the override whose key ends in `name`: a failed point has no row to say it."""
    ends = (override.partition("=") for override in overrides)
    return next((value for key, _, value in ends if key.rpartition(".")[2] == name), "")
