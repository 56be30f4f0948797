"""Sweeps (`python run.py -m ...`): what becomes of each point, and the table with which they end.

Whichever process or machine a launcher of Hydra's gives a point to, the point leaves `points/<number>.json` in the
sweep's folder, and what it said in `report.txt` in its own. The command that began the sweep reads the points back.

    python run.py -m stage=edit edit.p=0.9,0.99 edit.k=4,8
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from toedit.command import as_user_error
from toedit.console import note, say, table
from toedit.errors import MissingInput
from toedit.workspace import write_json

_DIRECTORY = "hydra.sweep.dir"
_POINTS = "points"


def begin_sweep(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """The sweep's folder, in full as points may run elsewhere, and the arguments that name it.

    Points of an earlier sweep in the same folder are forgotten. Raises what Hydra raises of a value it cannot parse.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    asked = [argument for argument in arguments if argument.startswith(f"{_DIRECTORY}=")]
    if asked:
        folder = Path(str(OverridesParser.create().parse_override(asked[-1]).value()))
    else:
        folder = Path("outputs") / "sweeps" / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.getpid()}"
    folder = folder.absolute()
    for file in folder.glob(f"{_POINTS}/*.json"):
        file.unlink()
    return folder, [*arguments, f"{_DIRECTORY}={quoted(str(folder))}"]


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


def close_sweep(folder: Path) -> int:
    """Print the closing table of a sweep; return the code of the first failed point, or 0."""
    files = {int(file.stem): file for file in folder.glob(f"{_POINTS}/*.json")}
    absent = sorted(set(range(max(files, default=0) + 1)) - set(files))
    if absent:
        note(f"error: {folder}: no report of points {absent} of the sweep; do all of its machines see this folder?")
        return MissingInput.exit_code
    points = [json.loads(files[number].read_text()) for number in sorted(files)]
    failed = [point for point in points if point["code"]]
    rows = [point["row"] for point in points if point["row"]]
    columns = list(rows[0]) if rows else []
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
