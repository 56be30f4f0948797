"""`report=all`: every table and figure of the paper, and one page of them.

Reads configs/report/ and whatever experiments are finished at this scale; what is not there is shown as not run, with
the command that makes it. `build_missing=true` builds it first; what fails is named, and the others go on. Writes

    index.html      the page (`analysis/page/`): the paper's claims one by one; one file, no network
    reports.csv     a row a cell of every report
    reports.json    the reports (`cells.Report`), in order

    python run.py stage=report report=all out=reports
    python run.py stage=report report=all build_missing=true 'report.only=[table15,fig5]'

Each report also has its own folder with tables and pictures in every format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from analysis.page.edits import edit_page
from analysis.page.page import write_page
from analysis.reports import one
from analysis.reports.cells import Cell, Report, report_from
from analysis.reports.parts import forget_plans
from analysis.table_files import write_csv
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import note, say, table
from toedit.documents import shard_name
from toedit.errors import BadConfiguration, ToEditError
from toedit.experiments import command_overrides, compose_point
from toedit.stages.revert import edited_corpus
from toedit.workspace import Result, Workspace, read_manifest, write_json

PAGE, CELLS, REPORTS = "index.html", "reports.csv", "reports.json"
_PLACE = re.compile(r"(table|fig)(\d+)$")


def report_names() -> list[str]:
    """The reports on the paper that Hydra knows: tables, then figures, by number."""
    from hydra.core.global_hydra import GlobalHydra

    choices = GlobalHydra.instance().config_loader().get_group_options("report")
    found = [match for match in map(_PLACE.match, choices) if match]
    return [match[0] for match in sorted(found, key=lambda match: (match[1] != "table", int(match[2])))]


def plan(config: Config) -> Artifact:
    given = one.for_parts(command_overrides())
    known = report_names()
    if unknown := [name for name in config.report.only if name not in known]:
        raise BadConfiguration(f"report.only={unknown[0]}: there are {', '.join(known)}")
    names = config.report.only or known
    flags = [f"{key}={str(getattr(config, key)).lower()}" for key in ("dry_run", "build_missing")]
    shared = ["stage=report", *given, *flags]
    configs = {name: compose_point([*shared, f"report={name}"]) for name in names}
    if config.build_missing and not config.dry_run:
        _build_experiments(configs, given)  # what fails is left out, and decides what the page is made of
        configs = {name: replace(each, build_missing=False) for name, each in configs.items()}
    inputs = {name: one.plan_from(each, given, allow_missing=not config.dry_run) for name, each in configs.items()}
    edited = _edited(config)
    return Artifact(
        kind="page",
        name=f"reports.{config.scale.name}",
        identity={"report": "all", "title": config.report.title, "scale": config.scale.name},
        inputs=inputs | ({"edited": edited} if edited else {}),
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build, names=names, title=config.report.title),
    )


def _build_experiments(configs: dict[str, Config], given: Sequence[str]) -> None:
    """Build every experiment that is not there; name those that fail."""
    seen: dict[str, None] = {}
    for number, (name, config) in enumerate(configs.items(), start=1):
        for part in one.plan_parts(config, given):
            if part.failure is not None:
                note(f"{name}: cannot be planned: {part.failure}")
            if part.artifact is None or part.is_there or part.artifact.fingerprint in seen:
                continue
            seen[part.artifact.fingerprint] = None
            note(f"report {number} of {len(configs)}, {name}: {part.command}")
            try:
                part.artifact.ensure()
            except ToEditError as error:
                if error.exit_code == 75:
                    raise
                note(f"{name}: not built: {error}")
    forget_plans()


def _edited(config: Config) -> Artifact | None:
    """The edited corpus whose edits the page shows: a named one, or the command's own where it is there."""
    try:
        edited = edited_corpus(config)
    except ToEditError:
        if config.edited.path is not None:
            raise
        return None
    return edited if config.edited.path is not None or edited.state() == "cached" else None


def build(workspace: Workspace, names: Sequence[str], title: str) -> Result:
    reports = {name: read_report(workspace.inputs[name]) for name in names}
    pictures = {name: _pictures(workspace.inputs[name], made) for name, made in reports.items()}
    edits = edit_page(workspace.inputs["edited"]) if "edited" in workspace.inputs else None
    cells = [{"report": name, **asdict(cell)} for name, made in reports.items() for cell in made.cells]
    with workspace.shard(shard_name(0), PAGE, CELLS, REPORTS) as ((page, tidy, structured), _):
        made = _date([workspace.inputs[name] for name in names])
        write_page(page, list(reports.values()), pictures, edits=edits, title=title, made=made, home=workspace.path)
        write_csv(tidy, cells or [{"report": "", **asdict(Cell("", "", "", ""))}])
        write_json(structured, [made.as_json() for made in reports.values()])
    return Result(counts={"reports": len(reports), "cells": len(cells)}, rows={CELLS: len(cells)})


def read_report(folder: Path) -> Report:
    return report_from(json.loads((folder / "report.json").read_text(encoding="utf-8")))


def _date(folders: Sequence[Path]) -> str:
    """The day of the newest report: the same reports give the same page."""
    newest = max(read_manifest(folder)["timings"]["started"] for folder in folders)
    return datetime.fromtimestamp(newest, UTC).date().isoformat()


def _pictures(folder: Path, made: Report) -> list[Path]:
    return [folder / f"{stem}.svg" for stem in made.pictures]


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    stored = json.loads((artifact.path / REPORTS).read_text(encoding="utf-8"))
    reports = [report_from(entry) for entry in stored]
    verdicts = list(dict.fromkeys(verdict for made in reports for verdict in made.counts()))
    table(
        ["report", *verdicts, "what"],
        [[made.name, *(str(made.counts().get(verdict, "")) for verdict in verdicts), made.title] for made in reports],
        title=f"{config.report.title}; {config.scale.name} scale",
    )
    missing = [made.name for made in reports if made.missing]
    if missing:
        say(f"not all of {', '.join(missing)} was run: the page has the commands; build_missing=true runs them")
    say(f"page: {artifact.path / PAGE} (open it in a browser)")
    return {"reports": str(len(reports)), "cells": str(artifact.manifest()["counts"]["cells"])}
