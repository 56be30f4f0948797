"""`experiment=NAME`: a whole experiment: its points, then one table beside the published numbers, and one figure.

Reads what its points need (`configs/experiment/`; `scale=` says how big), builds every point as its own command would,
and writes, once all of them are there,

    table.md, table.tex, table.csv     a row a setting: means over seeds, 95 % intervals, published numbers
    points.csv                         tidy: setting, arm, grid, seed, measure, value, and the point's artifact
    figure.png, .pdf, .svg             drawn by `experiment_figure`
    table.json                         what the terminal shows

    python run.py experiment=paper/ablation_p scale=tiny
    python run.py experiment=paper/ablation_p scale=paper dry_run=true
    python run.py stage=edit experiment=paper/ablation_p edit.p=0.99 edit.seed=0        one point of it, alone

A point that fails is shown and the others go on; the exit code is its code. The same command then builds what is
missing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from analysis.experiment_rows import (
    Measured,
    experiment_table,
    lines,
    published_number,
    published_shares,
    summary_of,
    summary_rows,
    tidy_rows,
    with_columns_found,
)
from analysis.figure_files import FORMATS
from analysis.measures import measure
from analysis.published import Published, published_for
from analysis.table_files import Table, write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import Config, ExperimentConfig
from toedit.console import note, say, table
from toedit.documents import shard_name
from toedit.errors import BadConfiguration, PointsFailed
from toedit.experiments import (
    PlannedPoint,
    at_scale,
    command_overrides,
    config_folders,
    expand,
    own_overrides,
    plan_points,
    run_folder,
)
from toedit.point_runs import build_points
from toedit.sweeps import quoted
from toedit.workspace import Result, Workspace, write_json

TABLES = ("table.md", "table.tex", "table.csv", "table.json", "points.csv")


@dataclass
class Experiment(Artifact):
    """The table of an experiment, made from its points; building it builds them first."""

    build_all: Callable[[], None] | None = None
    """Builds the points; raises PointsFailed where some could not be built."""
    points: list[PlannedPoint] = field(default_factory=list)
    """The points it is made from."""

    def ensure(self) -> Path:
        if self.state() != "cached" and self.build_all is not None:
            self.build_all()
        return super().ensure()


def plan(config: Config) -> Artifact:
    return plan_from(config, command_overrides())


def plan_from(config: Config, given: list[str]) -> Experiment:
    """The experiment that `config` names; `given` is the command line behind it, `experiment=` included."""
    config = replace(config, experiment=at_scale(config.experiment, config.scale))
    experiment = config.experiment
    points = expand(experiment, config.scale.seeds)
    published = published_for(experiment.published)
    if experiment.baseline is not None and experiment.baseline not in {point.setting for point in points}:
        settings = dict.fromkeys(point.setting for point in points)
        raise BadConfiguration(f"experiment.baseline={experiment.baseline}: the settings are {', '.join(settings)}")
    note(f"experiment {experiment.name}, scale {config.scale.name}: {len(points)} points")
    planned = plan_points(experiment, points, given, config.dry_run)
    for entry in planned:
        if entry.failure is not None:
            note(f"{entry.point.setting}, seed {entry.point.seed}: {entry.failure}")
            if config.dry_run:
                raise entry.failure
    return Experiment(
        kind="experiment",
        name=f"{experiment.name}.{config.scale.name}",
        identity={
            "experiment": experiment.name,
            "scale": config.scale.name,
            **{
                key: getattr(experiment, key)
                for key in ("title", "stage", "columns", "figure", "baseline", "planned", "notes")
            },
            "published": _published_identity(experiment, published) if published else None,
            "points": {point.role: [point.setting, point.seed, *point.overrides] for point in points},
        },
        root=Path(config.artifacts),
        inputs={entry.point.role: entry.artifact for entry in planned if entry.artifact is not None},
        out=Path(config.out) if config.out else None,
        build=partial(build_table, config=config, planned=planned, published=published),
        build_all=partial(build_all, config=config, planned=planned, published=published, given=given),
        estimate=lambda: {"points": str(len(points))},
        points=planned,
    )


def _published_identity(experiment: ExperimentConfig, published: Published) -> dict[str, Any]:
    """What of the published numbers decides the table and the figure."""
    panels = {"panels": experiment.published.panels} if experiment.published.panels else {}
    return asdict(published) | {"drawn": experiment.published.drawn} | panels


def build_all(config: Config, planned: list[PlannedPoint], published: Published | None, given: list[str]) -> None:
    """Build every point. Where one failed: show the table of the others, and raise PointsFailed."""
    experiment = config.experiment
    shared = [f"stage={experiment.stage}", *own_overrides(given, [entry.point for entry in planned])]
    logs = Path(os.path.relpath(run_folder())) / "points"

    def point_command(entry: PlannedPoint) -> list[str]:
        own_folder = f"hydra.run.dir={quoted(str(logs / entry.point.role))}"
        return [sys.argv[0], *shared, *entry.point.overrides, own_folder, *config_folders()]

    build_points(planned, experiment.jobs, point_command, logs)
    failed = [entry for entry in planned if entry.failure is not None]
    if not failed:
        return
    states = {entry.point.setting: f"failed ({entry.failure.exit_code})" for entry in failed if entry.failure}
    measured = _measured([entry for entry in planned if entry not in failed])
    experiment = with_columns_found(experiment, measured)
    show(experiment_table(_title(config), experiment, list(_settings(planned)), measured, published, states))
    for entry in failed:
        note(f"failed: {entry.point.setting}, seed {entry.point.seed}: {entry.failure}")
    first = failed[0].failure
    assert first is not None
    raise PointsFailed(
        f"experiment={experiment.name}: {len(failed)} of {len(planned)} points failed; the others are kept, and the "
        "same command builds what is missing, then writes table and figure",
        first.exit_code,
    )


def build_table(
    workspace: Workspace, config: Config, planned: list[PlannedPoint], published: Published | None
) -> Result:
    """Measure the points, then write tables and figure."""
    measured = _measured(planned)
    experiment = with_columns_found(config.experiment, measured)
    settings = list(_settings(planned))
    shown = experiment_table(_title(config), experiment, settings, measured, published)
    outputs = [*TABLES, *(f"figure.{extension}" for extension in FORMATS)]
    with workspace.shard(shard_name(0), *outputs) as ((markdown, latex, wide, structured, tidy, *pictures), _):
        write_markdown(markdown, shown)
        write_latex(latex, shown)
        write_csv(wide, summary_rows(experiment, settings, measured, published))
        write_json(structured, asdict(shown))
        write_csv(tidy, tidy_rows(measured))
        paths = dict(zip(FORMATS, pictures, strict=True))
        draw_figure(_title(config), experiment, planned, measured, published, paths)
    counts = {"points": len(planned), "settings": len(settings)}
    return Result(counts=counts, rows={"table.csv": len(settings), "points.csv": len(tidy_rows(measured))})


def draw_figure(
    title: str,
    experiment: ExperimentConfig,
    planned: list[PlannedPoint],
    measured: list[Measured],
    published: Published | None,
    paths: dict[str, Path],
) -> None:
    """Lines against `experiment.x` where there is one, else dots by setting."""
    from analysis import experiment_figure, experiment_lines

    settings = {entry.point.setting: entry.point for entry in planned}
    names = experiment.figure or list(experiment.columns)
    if experiment.x is None:
        ours = {name: [summary_of(measured, setting, name) for setting in settings] for name in names}
        panel_names = dict(experiment.columns)
        for column in experiment.published.panels:
            assert published is not None  # PublishedConfig: columns of no table are refused
            panel_names[f"published.{column}"] = f"published: {column}"
            ours[f"published.{column}"] = [published_number(published, setting, column) for setting in settings]
        drawn = published_shares(experiment, published, list(settings))
        experiment_figure.draw(title, panel_names, list(settings), ours, drawn, paths)
        return
    shown = {experiment.columns[name]: name for name in names}
    panels = {"measured": lines(experiment.x, list(shown), settings, lambda s, n: summary_of(measured, s, shown[n]))}
    if published is not None:
        columns = experiment.published.drawn or published.columns
        panels["published"] = lines(experiment.x, columns, settings, partial(published_number, published))
    axes = experiment.x.rpartition(".")[2].replace("_", " "), experiment.y
    experiment_lines.draw(title, axes, panels, paths)


def show(shown: Table) -> None:
    """The table on the terminal."""
    table(shown.columns, shown.rows, title=shown.title)
    for line in shown.notes:
        say(f"  {line}")


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    stored: dict[str, Any] = json.loads((artifact.path / "table.json").read_text(encoding="utf-8"))
    show(Table(**stored))
    say(f"table: {artifact.path / 'table.md'} (also .tex and .csv); a row a point: points.csv")
    say(f"picture: {artifact.path / 'figure'}.png (also .pdf and .svg)")
    counts = artifact.manifest()["counts"]
    return {"experiment": str(config.experiment.name), "points": str(counts["points"])}


def _title(config: Config) -> str:
    return f"{config.experiment.title}; {config.scale.name} scale"


def _settings(planned: list[PlannedPoint]) -> dict[str, None]:
    return dict.fromkeys(entry.point.setting for entry in planned)


def _measured(planned: list[PlannedPoint]) -> list[Measured]:
    artifacts = [(entry.point, entry.artifact) for entry in planned if entry.artifact is not None]
    return [Measured(point, artifact.fingerprint, measure(artifact.path)) for point, artifact in artifacts]
