"""`report=table1`, `report=fig3`, …: one table or figure of the paper, from finished experiments, beside its numbers.

Reads the experiments that configs/report/<name>.yaml names, at the scale of this command. Writes

    table.md, table.tex, table.csv   a row a published number: ours, interval, difference, verdict and why
    cells.csv                        the same, tidy, with commands and manifests
    <picture>.png, .pdf, .svg        the pictures of its parts
    report.json                      all of it (`cells.Report`), what the page of all reports is made of

    python run.py stage=report report=table1
    python run.py stage=report report=table1 build_missing=true mix.human.path=H mix.synthetic.path=S

What is missing is named with the command that makes it (exit code 3); `build_missing=true` runs it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from analysis.figure_files import FORMATS
from analysis.reports import curves
from analysis.reports.cells import VERDICTS, Cell, Report
from analysis.reports.parts import (
    Found,
    Part,
    cells_of_part,
    folder_of_picture,
    plan_part,
    published_of,
    read_part,
    typed,
)
from analysis.table_files import Table, write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import say, table
from toedit.documents import shard_name
from toedit.errors import BadConfiguration, MissingInput
from toedit.experiments import command_overrides
from toedit.workspace import Result, Workspace, write_json

TABLES = ("table.md", "table.tex", "table.csv", "cells.csv", "report.json")
_NOT_FOR_PARTS = ("stage", "report", "out", "dry_run", "build_missing")
_MOST_ROWS_SHOWN = 40


def plan(config: Config) -> Artifact:
    return plan_from(config, for_parts(command_overrides()))


def for_parts(given: Sequence[str]) -> list[str]:
    """The overrides that a report hands on to its experiments. Raises BadConfiguration for one that it sets itself."""
    kept = []
    for override in given:
        key = override.partition("=")[0].lstrip("+~").partition("@")[0]
        if key == "experiment":
            raise BadConfiguration(f"{override}: a report names its experiments itself (configs/report/)")
        if key.partition(".")[0] not in _NOT_FOR_PARTS:
            kept.append(override)
    return kept


def plan_parts(config: Config, given: Sequence[str]) -> list[Part]:
    """The parts of the report that `config` names, planned; one that cannot be carries its failure.

    With `build_missing` those that are not there are planned to be built.
    """
    parts = []
    for name, part in config.report.parts.items():
        planned = plan_part(name, part, given, config.scale.name)
        published_of(planned)  # a table that is not there is refused before anything is built
        if config.build_missing and not config.dry_run and planned.artifact is not None and not planned.is_there:
            planned = plan_part(name, part, given, config.scale.name, to_build=True)
        parts.append(planned)
    return parts


def plan_from(config: Config, given: Sequence[str], allow_missing: bool = False) -> Artifact:
    """The report that `config` names. Raises MissingInput where an experiment is not there and may not be built.

    With `allow_missing` what is not there is left out: its cells are "not run".
    """
    parts = plan_parts(config, given)
    failures = [part.failure for part in parts if part.failure is not None]
    if failures and not allow_missing:
        raise failures[0]
    runnable = [part for part in parts if part.artifact is not None]
    missing = [part for part in runnable if not part.is_there]
    if missing and not (allow_missing or config.build_missing or config.dry_run):
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise MissingInput(
            f"report={config.report.name}: {missing[0].config.experiment} is not there{more}; `{missing[0].command}` "
            "makes it, build_missing=true makes all that is missing"
        )
    used = runnable if not allow_missing else [part for part in runnable if part.is_there]
    return Artifact(
        kind=config.report.kind,
        name=f"{config.report.name}.{config.scale.name}",
        identity={
            "report": asdict(config.report),
            "scale": config.scale.name,
            "published": {part.name: published_of(part)[0] for part in parts},
            "commands": [part.command for part in parts],
        },
        inputs={part.name: part.artifact for part in used if part.artifact is not None},
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build, config=config, parts=parts, allowed=[part.name for part in used], given=given),
    )


def build(
    workspace: Workspace, config: Config, parts: Sequence[Part], allowed: Sequence[str], given: Sequence[str]
) -> Result:
    made, found = make_report(config, parts, allowed, given)
    shown = readable_table(made)
    outputs = [*TABLES, *(f"{stem}.{extension}" for stem in made.pictures for extension in FORMATS)]
    with workspace.shard(shard_name(0), *outputs) as ((markdown, latex, wide, tidy, structured, *pictures), _):
        write_markdown(markdown, shown)
        write_latex(latex, shown)
        write_csv(
            wide, [dict(zip(shown.columns, row, strict=True)) for row in shown.rows] or [dict.fromkeys(shown.columns)]
        )
        write_csv(tidy, [asdict(cell) for cell in made.cells] or [asdict(Cell("", "", "", ""))])
        write_json(structured, made.as_json())
        paths = iter(pictures)
        for stem in made.pictures:
            entry = found[stem]
            if entry.part.config.curves is not None:
                curves.draw(entry, dict(zip(FORMATS, (next(paths) for _ in FORMATS), strict=True)))
                continue
            folder = folder_of_picture(entry)
            assert folder is not None
            for extension in FORMATS:
                shutil.copyfile(folder / f"{entry.part.config.picture}.{extension}", next(paths))
    counts = {
        "cells": len(made.cells),
        **{verdict.replace(" ", "_"): made.counts().get(verdict, 0) for verdict in VERDICTS},
    }
    return Result(counts=counts, rows={"cells.csv": len(made.cells)})


def make_report(
    config: Config, parts: Sequence[Part], allowed: Sequence[str], given: Sequence[str]
) -> tuple[Report, dict[str, Found]]:
    """(report, {picture: the finished part it is of}) of the parts in `allowed`; the others are not run."""
    cells: list[Cell] = []
    pictures: dict[str, Found] = {}
    sources: list[str] = []
    for part in parts:
        found = read_part(part) if part.name in allowed else None
        cells += cells_of_part(part, found, config.report.tolerance)
        published, _ = published_of(part)
        if published is not None:
            sources += [f"{published['title']}. {published['source']}", *published["notes"]]
        if found is not None and (part.config.picture is not None or part.config.curves is not None):
            pictures["figure" if len(parts) == 1 else f"figure_{part.name}".replace(" ", "_")] = found
    made = Report(
        name=config.report.name,
        place=config.report.place,
        title=config.report.title,
        kind=config.report.kind,
        scale=config.scale.name,
        command=typed(["stage=report", f"report={config.report.name}", *given]),
        cells=cells,
        published_sources=list(dict.fromkeys(sources)),
        notes=list(config.report.notes),
        pictures=list(pictures),
        missing=[part.command for part in parts if part.command and part.name not in allowed],
    )
    return made, pictures


def readable_table(made: Report) -> Table:
    """A row a cell, for people."""
    has_parts = any(cell.part for cell in made.cells)
    columns = [*(["part"] if has_parts else []), "row", "column", "published", "ours", "difference", "verdict", "why"]
    rows = []
    for cell in made.cells:
        ours = _number(cell.ours, cell.low, cell.high)
        delta = _number(cell.difference, cell.difference_low, cell.difference_high, "+.4g")
        shown = [cell.row, cell.column, cell.published, ours, delta, cell.verdict, cell.reason]
        rows.append([*([cell.part] if has_parts else []), *shown])
    told = ", ".join(f"{number} {verdict}" for verdict, number in made.counts().items()) or "no number to compare"
    notes = [f"Of {len(made.cells)} cells: {told}. Scale: {made.scale}."]
    if any(cell.low is not None or cell.difference_low is not None for cell in made.cells):
        notes.append("In brackets: 95 % intervals; differences are from the baseline, seed by seed.")
    return Table(f"{made.place}: {made.title}", columns, rows, [*notes, *made.notes, *made.published_sources])


def _number(value: float | None, low: float | None, high: float | None, digits: str = ".4g") -> str:
    if value is None:
        return ""
    return f"{value:{digits}}" if low is None or high is None else f"{value:{digits}} [{low:{digits}}, {high:{digits}}]"


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    from analysis.reports.cells import report_from

    made = report_from(json.loads((artifact.path / "report.json").read_text(encoding="utf-8")))
    shown = readable_table(made)
    rows = shown.rows[:_MOST_ROWS_SHOWN]
    table(shown.columns, rows, title=shown.title)
    if len(rows) < len(shown.rows):
        say(f"  … {len(shown.rows) - len(rows)} more in table.md")
    for line in shown.notes:
        say(f"  {line}")
    for command in made.missing:
        say(f"not run: {command}")
    say(f"table: {artifact.path / 'table.md'} (also .tex and .csv); every cell: cells.csv")
    for stem in made.pictures:
        say(f"picture: {artifact.path / stem}.png (also .pdf and .svg)")
    sys.stdout.flush()
    return {"report": made.name, **{verdict: str(number) for verdict, number in made.counts().items()}}
