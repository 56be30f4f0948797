"""`report=downstream`: one table of evaluations on tasks, a row a checkpoint, a column a task, then their mean.

Reads eval artifacts (`report.evals`); those of one checkpoint share a row. Writes

    table.md, table.tex    value ± standard error; below, what was measured differently from row to row
    table.csv              a row a checkpoint: values and standard errors in columns of their own
    rows.csv               every row of every results.json, with the folder it is from
    table.json             what the terminal shows

    python run.py stage=report report=downstream 'report.evals=[eval-a,eval-b]' out=results
    python run.py stage=report report=downstream 'report.evals=["artifacts/eval/general*"]'
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from analysis.table_files import Table, write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import say, table
from toedit.documents import shard_name
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.workspace import Result, Workspace, read_manifest, write_json

OUTPUTS = ("table.md", "table.tex", "table.csv", "rows.csv", "table.json")
MEAN = "mean of tasks"
_HOW = ("harness", "task_version", "shots", "split", "n", "backend", "dtype", "samples", "temperature", "chat_template",
        "system_instruction", "fewshot_as_multiturn")  # fmt: skip
"""What makes two numbers of one task comparable."""


@dataclass
class Line:
    """One checkpoint: its rows by (task, metric)."""

    model: str
    checkpoint: str
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    where: dict[tuple[str, str], Path] = field(default_factory=dict)


def plan(config: Config) -> Artifact:
    folders = _folders(config.report.evals)
    inputs = {f"eval_{number:03d}": _eval(folder) for number, folder in enumerate(folders)}
    gather(folders)  # what cannot stand in one table shows before anything is written
    return Artifact(
        kind="table",
        name="downstream",
        identity={"report": "downstream"},
        inputs=inputs,
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build, folders=folders),
    )


def _folders(asked: Sequence[str]) -> list[Path]:
    """The folders that are named, patterns filled in, each once."""
    found: dict[Path, None] = {}
    for entry in asked:
        path = Path(entry).expanduser()
        is_pattern = not path.exists() and any(sign in entry for sign in "*?[")
        matching = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))) if is_pattern else [path]
        if not matching:
            raise MissingInput(
                f"report.evals: nothing fits {entry}; `python run.py stage=eval eval=general …` makes one"
            )
        found |= dict.fromkeys(matching)
    if not found:
        raise BadConfiguration("report.evals: names the eval artifacts of the table: 'report.evals=[eval-a,eval-b]'")
    return list(found)


def _eval(folder: Path) -> Artifact:
    """The finished evaluation in `folder`. Its checkpoint need not be there any more."""
    if not folder.exists():
        raise MissingInput(
            f"report.evals: {folder} does not exist; `python run.py stage=eval eval=general … out={folder}` makes it"
        )
    manifest = read_manifest(folder)
    if manifest["kind"] != "eval" or manifest["identity"].get("eval") != "downstream":
        raise UnusableInput(f"report.evals: {folder} is no evaluation on tasks")
    return Artifact(
        kind="eval",
        name=manifest["name"],
        identity=manifest["identity"],
        root=folder.parent,
        out=folder,
        stored_fingerprint=manifest["fingerprint"],
    )


def gather(folders: Sequence[Path]) -> list[Line]:
    """A line a checkpoint, in order of appearance. Raises BadConfiguration where a number is there twice."""
    lines: dict[tuple[str, str], Line] = {}
    for folder in folders:
        checkpoint = read_manifest(folder)["inputs"]["checkpoint"]["fingerprint"]
        for row in _results(folder):
            if row.get("aggregate") and row["set"] == MEAN:
                continue
            line = lines.setdefault((row["model"], checkpoint), Line(row["model"], checkpoint))
            key = (row["set"], row["metric"])
            if key in line.rows:
                raise BadConfiguration(
                    f"report.evals: {line.where[key]} and {folder} both have {row['set']} of {row['model']}; leave "
                    "one out, or give one checkpoint another name (checkpoint.name)"
                )
            line.rows[key], line.where[key] = row, folder
    same_name: dict[str, int] = {}
    for line in lines.values():
        same_name[line.model] = same_name.get(line.model, 0) + 1
    for line in lines.values():
        if same_name[line.model] > 1:
            line.model = f"{line.model} ({line.checkpoint[:8]})"
    return list(lines.values())


def _results(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return rows


def build(workspace: Workspace, folders: Sequence[Path]) -> Result:
    """Write the table and its data."""
    lines = gather(folders)
    columns = headings_of(lines)
    shown = readable_table(lines, columns)
    rows = [{"eval": str(folder), **row} for folder in folders for row in _results(folder)]
    keys = dict.fromkeys(key for row in rows for key in row)  # groups and older evaluations have other keys
    with workspace.shard(shard_name(0), *OUTPUTS) as ((markdown, latex, wide, tidy, structured), _):
        write_markdown(markdown, shown)
        write_latex(latex, shown)
        write_csv(wide, wide_rows(lines, columns))
        write_csv(tidy, [{key: row.get(key) for key in keys} for row in rows])
        write_json(structured, asdict(shown))
    counts = {"checkpoints": len(lines), "columns": len(columns)}
    return Result(counts=counts, rows={"table.csv": len(lines), "rows.csv": len(rows)})


def headings_of(lines: Sequence[Line]) -> dict[tuple[str, str], str]:
    """{(task, metric): heading} of tasks and groups, not of the tasks inside a group, in order of appearance."""
    keys = [key for line in lines for key, row in line.rows.items() if row.get("group") is None]
    metrics = {metric for _, metric in keys}
    return {key: key[0] if len(metrics) == 1 else f"{key[0]} ({key[1]})" for key in dict.fromkeys(keys)}


def _mean(line: Line, columns: Mapping[tuple[str, str], str]) -> tuple[float | None, float | None]:
    """The plain mean over tasks, of each the first metric, and its standard error; None where one is not there."""
    firsts: dict[str, tuple[str, str]] = {}
    for key in columns:
        firsts.setdefault(key[0], key)
    rows = [line.rows.get(key, {}) for key in firsts.values()]
    values = [row["value"] for row in rows if row.get("value") is not None]
    errors = [row["stderr"] for row in rows if row.get("stderr") is not None]
    value = math.fsum(values) / len(rows) if len(values) == len(rows) else None
    return value, math.hypot(*errors) / len(rows) if len(errors) == len(values) == len(rows) else None


def readable_table(lines: Sequence[Line], columns: Mapping[tuple[str, str], str]) -> Table:
    """The table for people."""
    metrics = {metric for _, metric in columns}
    title = "Downstream tasks" + (f", {metrics.pop()}" if len(metrics) == 1 else "")
    has_mean = len({name for name, _ in columns}) > 1
    rows = []
    for line in lines:
        cells = [line.rows.get(key, {}) for key in columns]
        row = [line.model, *(_cell(cell.get("value"), cell.get("stderr")) for cell in cells)]
        rows.append([*row, _cell(*_mean(line, columns))] if has_mean else row)
    notes = ["Value ± standard error over examples.", *_differences(lines, columns)]
    return Table(title, ["checkpoint", *columns.values(), *([MEAN] if has_mean else [])], rows, notes)


def _cell(value: float | None, stderr: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" + ("" if stderr is None else f" ± {stderr:.4f}")


def _differences(lines: Sequence[Line], columns: Mapping[tuple[str, str], str]) -> list[str]:
    """What was not measured alike, or not at all: a sentence each."""
    notes: dict[str, list[str]] = {}
    for key, heading in columns.items():
        there = {line.model: line.rows[key] for line in lines if key in line.rows}
        if len(there) < len(lines):
            missing = [line.model for line in lines if key not in line.rows]
            notes.setdefault(f"not measured of {', '.join(missing)}", []).append(heading)
        for how in _HOW:
            found: dict[str, list[str]] = {}
            for model, row in there.items():
                found.setdefault(str(row.get(how)), []).append(model)
            if len(found) > 1:
                parts = "; ".join(f"{value}: {', '.join(models)}" for value, models in found.items())
                notes.setdefault(f"{how.replace('_', ' ')} differs ({parts})", []).append(heading)
    return [f"{', '.join(headings)}: {what}." for what, headings in notes.items()]


def wide_rows(lines: Sequence[Line], columns: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    """A row a checkpoint, for table.csv."""
    rows = []
    for line in lines:
        row: dict[str, Any] = {"checkpoint": line.model, "fingerprint": line.checkpoint}
        for key, heading in columns.items():
            cell = line.rows.get(key, {})
            row |= {heading: cell.get("value"), f"{heading} stderr": cell.get("stderr")}
        row[MEAN], row[f"{MEAN} stderr"] = _mean(line, columns)
        rows.append(row)
    return rows


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    shown = Table(**json.loads((artifact.path / "table.json").read_text(encoding="utf-8")))
    table(shown.columns, shown.rows, title=shown.title)
    for line in shown.notes:
        say(f"  {line}")
    say(f"table: {artifact.path / 'table.md'} (also .tex and .csv); every row: rows.csv")
    counts = artifact.manifest()["counts"]
    return {key: str(value) for key, value in counts.items()}
