"""What the studies of `stage=theory` share: from settings to an artifact with a table, its data and a figure.

A study is settings -> `Found` -> files. Written for each:

    table.md, .tex            what the terminal shows
    data.csv                  the numbers behind it and behind the figure, tidy: one row a point
    summary.json              the settings, seeds and trials with them
    <name>.png, .pdf, .svg    the figure, where the study has one
    runs/                     what a long study finished bit by bit

    python run.py stage=theory theory=bound
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from analysis.figure_files import FORMATS
from analysis.table_files import Table, write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import say
from toedit.console import table as show
from toedit.documents import shard_name
from toedit.workspace import Result, Workspace, write_json

Rows = list[dict[str, Any]]
RUNS = "runs"


@dataclass
class Found:
    """What a study computed."""

    table: Table
    rows: Rows
    """Tidy, at least one; all with the same keys."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Whatever else a reader of summary.json wants, JSON alone."""
    row: dict[str, str] = field(default_factory=dict)
    """What a sweep shows of this point."""


@dataclass(frozen=True)
class Study:
    """One study of `stage=theory`."""

    name: str
    settings: Callable[[Config], dict[str, Any]]
    """Everything its numbers depend on, JSON alone: its identity. Raises BadConfiguration where there are none."""
    compute: Callable[[dict[str, Any], Mapping[str, Path]], Found]
    """From the settings and the folders of the inputs; shows its progress."""
    draw: Callable[[Found, Mapping[str, Path]], None] | None = None
    """The figure, by format (analysis.figure_files.drawing)."""
    inputs: Callable[[Config], dict[str, Artifact]] | None = None
    """The artifacts that it reads; None: none."""
    prepare: Callable[[dict[str, Any], Workspace], None] | None = None
    """What takes long: commits shards of its own below `runs/`, so that a killed run goes on where it was. `compute`
    finds that folder among the inputs, as `runs`."""


def plan_study(study: Study, config: Config) -> Artifact:
    settings = study.settings(config)
    return Artifact(
        kind="figure",
        name=f"theory.{study.name}",
        identity={"theory": study.name, **settings},
        inputs=study.inputs(config) if study.inputs else {},
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(_build, study=study, settings=settings),
    )


def _build(workspace: Workspace, study: Study, settings: dict[str, Any]) -> Result:
    inputs = dict(workspace.inputs)
    if study.prepare:
        study.prepare(settings, workspace)
        inputs[RUNS] = workspace.path / RUNS
    found = study.compute(settings, inputs)
    pictures = [f"{study.name}.{extension}" for extension in FORMATS] if study.draw else []
    outputs = ("table.md", "table.tex", "data.csv", "summary.json", *pictures)
    with workspace.shard(shard_name(0), *outputs) as ((markdown, latex, data, summary, *drawn), _):
        write_markdown(markdown, found.table)
        write_latex(latex, found.table)
        write_csv(data, found.rows)
        shown = {"table": asdict(found.table), "row": found.row}
        write_json(summary, {"theory": study.name, "settings": settings, **found.summary, **shown})
        if study.draw:
            study.draw(found, dict(zip(FORMATS, drawn, strict=True)))
    seeds = {"theory": settings["seed"]} if "seed" in settings else {}
    return Result(counts={"rows": len(found.rows)}, rows={"data.csv": len(found.rows)}, seeds=seeds)


def report_study(study: Study, artifact: Artifact) -> dict[str, str]:
    summary = json.loads((artifact.path / "summary.json").read_text(encoding="utf-8"))
    shown = Table(**summary["table"])
    show(shown.columns, shown.rows, title=shown.title)
    for line in shown.notes:
        say(f"  {line}")
    picture = f"picture: {artifact.path / study.name}.png (also .pdf and .svg); " if study.draw else ""
    say(f"{picture}table: {artifact.path}/table.md (also .tex), its numbers: data.csv")
    row: dict[str, str] = summary["row"]
    return row
