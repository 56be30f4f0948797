"""A part of a report: one experiment, planned, and the cells that its finished points give.

    plan_part      composes the experiment's own command at the scale of this one
    cells_of_part  published numbers and statements, ours beside them, with verdicts

Nothing is built here; `one.py` asks for what is missing or builds it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase as fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from analysis.experiment import Experiment, plan_from
from analysis.experiment_rows import Measured, difference, summary_of, with_columns_found
from analysis.measures import measure
from analysis.published import tables
from analysis.reports.cells import (
    AGREES,
    CONTRADICTS,
    NOT_COMPARABLE,
    NOT_RUN,
    SAME_DIRECTION,
    Cell,
    Ours,
    verdict_on_difference,
    verdict_on_number,
    verdict_on_statement,
)
from toedit.artifacts import Artifact
from toedit.command import as_user_error
from toedit.config import ExperimentConfig, PartConfig
from toedit.config.reporting import StatementConfig
from toedit.errors import BadConfiguration, ToEditError
from toedit.experiments import compose_point

COLUMNS = Path(__file__).with_name("columns.yaml")
_MEANS = {"avg", "average", "mean"}


@dataclass
class Part:
    """A part with what is known of its experiment before anything is built."""

    name: str
    config: PartConfig
    scale: str
    command: str
    """What a user types for the experiment; empty where there is none."""
    experiment: ExperimentConfig | None = None
    artifact: Experiment | None = None
    """None: there is no experiment, or it cannot be run at this scale, or not be planned."""
    failure: ToEditError | None = None
    """Why it cannot be planned."""

    @property
    def is_there(self) -> bool:
        return self.artifact is not None and self.artifact.state() == "cached"

    @property
    def title(self) -> str:
        """The part's name before what it shows; empty where the report has one part alone."""
        return "" if self.name == "main" else self.name


def plan_part(name: str, part: PartConfig, given: Sequence[str], scale: str, to_build: bool = False) -> Part:
    """Plan the experiment of a part. `given` is the command line without what concerns the report itself.

    Planned as a dry run, which builds nothing and finds what is finished, unless it is there `to_build` it.
    """
    if part.experiment is None:
        return Part(name, part, scale, "")
    own = [f"experiment={part.experiment}", *part.overrides]
    if part.scales and scale not in part.scales:
        others = [override for override in given if not override.startswith("scale=")]
        return Part(name, part, scale, typed([*own, f"scale={part.scales[0]}", *others]))
    overrides = [*own, *given]
    planned = _planned(tuple(overrides), not to_build, str(Path.cwd()))
    if isinstance(planned, ToEditError):
        return Part(name, part, scale, typed(overrides), failure=planned)
    experiment, artifact = planned
    return Part(name, part, scale, typed(overrides), experiment, artifact)


def forget_plans() -> None:
    """Something was built: what was planned before it may be known by another name now."""
    _planned.cache_clear()


@cache
def _planned(
    overrides: tuple[str, ...], dry_run: bool, folder: str
) -> tuple[ExperimentConfig, Experiment] | ToEditError:
    """An experiment, composed and planned once for all reports on it: it may have dozens of points."""
    try:
        config = compose_point([*overrides, f"dry_run={str(dry_run).lower()}"])
        return config.experiment, plan_from(config, list(overrides))
    except Exception as error:
        known = as_user_error(error)
        if known is None:
            raise
        return known


def typed(overrides: Sequence[str]) -> str:
    """The command as a user types it in a shell."""
    import shlex

    return shlex.join(["python", "run.py", *overrides])


# --- what was measured ------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """A finished part: its points, measured."""

    part: Part
    experiment: ExperimentConfig
    measured: list[Measured]

    def points(self, setting: str) -> list[Artifact]:
        """The artifacts of a setting, a seed each."""
        assert self.part.artifact is not None
        return [
            entry.artifact
            for entry in self.part.artifact.points
            if entry.artifact is not None and entry.point.setting == setting
        ]

    @property
    def settings(self) -> list[str]:
        return list(dict.fromkeys(entry.point.setting for entry in self.measured))


def read_part(part: Part) -> Found | None:
    """Measure the points of a finished experiment, or at each the input that the part names; None where it is not."""
    if part.artifact is None or part.experiment is None or not part.is_there:
        return None
    measured = []
    for entry in part.artifact.points:
        assert entry.artifact is not None
        artifact = entry.artifact
        if part.config.input is not None:
            if part.config.input not in artifact.inputs:
                raise BadConfiguration(
                    f"report.parts.{part.name}.input={part.config.input}: a point has {', '.join(artifact.inputs)}"
                )
            artifact = artifact.inputs[part.config.input]
        measured.append(Measured(entry.point, artifact.fingerprint, measure(artifact.path)))
    experiment = part.experiment
    if part.config.input is None:
        experiment = with_columns_found(experiment, measured)
    return Found(part, experiment, measured)


# --- cells ------------------------------------------------------------------------------------------------------------


def cells_of_part(part: Part, found: Found | None, tolerance: float) -> list[Cell]:
    """Every published number and statement of the part, with ours where there are any."""
    table, rows = published_of(part)
    cells: list[Cell] = []
    if table is not None:
        settings = {row: setting for setting, row in rows.items()}
        names = list(table["columns"])
        for row, numbers in table["rows"].items():
            for column, printed in zip(names, numbers, strict=True):
                if not any(fnmatch(column, pattern) for pattern in part.config.left_out):
                    cells.append(_cell(part, found, table, settings.get(row), row, column, str(printed), tolerance))
    return cells + [_statement(part, found, *named) for named in part.config.statements.items()]


def published_of(part: Part) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """(table of published numbers or None, {our setting: its row}). Raises BadConfiguration where there is no such."""
    config, own = part.config, part.experiment.published if part.experiment else None
    name = config.published or (own.table if own else None)
    if name is None:
        return None, {}
    if name not in tables():
        raise BadConfiguration(f"report.parts.{part.name}.published={name}: there are {', '.join(tables())}")
    rows = config.rows or (own.rows if own and own.table == name else {})
    table = dict(tables()[name])
    if unknown := [row for row in rows.values() if row not in table["rows"]]:
        raise BadConfiguration(f"report.parts.{part.name}.rows={unknown[0]}: {name} has {', '.join(table['rows'])}")
    return table, dict(rows)


def _cell(
    part: Part,
    found: Found | None,
    table: Mapping[str, Any],
    setting: str | None,
    row: str,
    column: str,
    printed: str,
    tolerance: float,
) -> Cell:
    cell = _empty(part, row if setting is None else setting, column, printed)
    number = _number(printed)
    if found is None:
        return cell
    if setting is None or setting not in found.settings:
        return replace(cell, reason="no setting of this experiment stands for it")
    name = measure_for(column, part.config.columns, _known(found))
    summary = summary_of(found.measured, setting, name) if name else None
    if name is None or summary is None or math.isnan(summary.mean):
        return replace(cell, reason="not measured at this scale")
    factor = 100 if summary.share_of else 1  # shares are printed in per cent
    low, high = (None if end is None else end * factor for end in (summary.low, summary.high))
    ours = Ours(summary.mean * factor, low, high)
    cell = replace(
        cell, ours=ours.value, low=low, high=high, seeds=summary.runs, measure=name, manifest=_manifest(part)
    )
    baseline = part.config.baseline or found.experiment.baseline
    delta = _difference(found, setting, baseline, name, factor) if baseline and setting != baseline else None
    if delta is not None:
        cell = replace(cell, difference=delta.value, difference_low=delta.low, difference_high=delta.high)
    base_row = published_of(part)[1].get(baseline or "")
    base = _number(str(table["rows"][base_row][list(table["columns"]).index(column)])) if base_row else None
    verdict, reason = _verdict(
        part, number, ours, delta, None if base is None or number is None else number - base, tolerance
    )
    return replace(cell, verdict=verdict, reason=reason)


def _verdict(
    part: Part, published: float | None, ours: Ours, delta: Ours | None, published_delta: float | None, tolerance: float
) -> tuple[str, str]:
    """At the published size the numbers themselves first; then the sign of the differences."""
    if published is None:
        return NOT_COMPARABLE, "no number is published"
    verdict, reason = verdict_on_number(published, ours, part.scale == "paper", tolerance)
    if verdict == AGREES or delta is None or published_delta is None:
        return verdict, reason
    by_sign = verdict_on_difference(published_delta, delta, part.config.noise)
    if verdict == CONTRADICTS and by_sign[0] != SAME_DIRECTION:
        return verdict, reason
    return by_sign


def _statement(part: Part, found: Found | None, name: str, statement: StatementConfig) -> Cell:
    setting = statement.setting or (found.settings[0] if found and found.settings else "")
    cell = _empty(part, setting, name, statement.says)
    if found is None:
        return cell
    if setting not in found.settings:
        raise BadConfiguration(
            f"report.parts.{part.name}.statements: no setting {setting}; there are {', '.join(found.settings)}"
        )
    summary = summary_of(found.measured, setting, statement.measure)
    if summary is None:
        return replace(cell, reason=f"{statement.measure} is not measured here")
    ours = Ours(summary.mean, summary.low, summary.high)
    if statement.minus is not None:
        delta = _difference(found, setting, statement.minus, statement.measure, 1)
        if delta is None:
            return replace(cell, reason=f"{statement.minus} has no such measure")
        ours = delta
    verdict, reason = verdict_on_statement(ours, statement.side, statement.bound)
    if statement.scales and part.scale not in statement.scales:
        verdict, reason = NOT_COMPARABLE, f"means something at scale={' or '.join(statement.scales)}; here it {reason}"
    return replace(
        cell, ours=ours.value, low=ours.low, high=ours.high, seeds=summary.runs, verdict=verdict, reason=reason,
        measure=statement.measure, manifest=_manifest(part),
    )  # fmt: skip


@cache
def usual_columns() -> dict[str, list[str]]:
    """{published column: measures} of columns.yaml."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(COLUMNS))
    return dict(content)


def measure_for(column: str, named: Mapping[str, Sequence[str]], known: Sequence[str]) -> str | None:
    """The measure that stands beside a published column: one that is named for it, else the one of that name.

    Names are compared by their letters and digits alone: `c4-en` is `c4_en.perplexity`.
    """
    chosen = named.get(column, usual_columns().get(column))
    if chosen is not None:
        return next((candidate for candidate in chosen if candidate in known), None)
    plain = _plain(column)
    for name in known:
        subject = name.rpartition(".")[0] or name
        if _plain(subject) == plain or (plain in _MEANS and subject.startswith("mean of")):
            return name
    return None


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _known(found: Found) -> list[str]:
    """Measures in the order of the experiment's columns, then whatever else was measured."""
    everything = dict.fromkeys(name for entry in found.measured for name in entry.measures)
    return list(dict.fromkeys([*(name for name in found.experiment.columns if name in everything), *everything]))


def _difference(found: Found, setting: str, baseline: str, name: str, factor: float) -> Ours | None:
    delta = difference(found.measured, setting, baseline, name)
    mean, low, high = (delta[f"{name}_minus_{end}"] for end in ("baseline", "low", "high"))
    if mean is None:
        return None
    return Ours(mean * factor, *(None if end is None else end * factor for end in (low, high)))


def _empty(part: Part, row: str, column: str, printed: str) -> Cell:
    scales = part.config.scales
    reason = f"runs at scale={' or '.join(scales)}" if part.artifact is None and scales else ""
    if part.failure is not None:
        reason = f"cannot be planned: {part.failure}"
    if part.config.experiment is None:
        reason = "published numbers alone"
    return Cell(
        part.title, row, column, printed, scale=part.scale, verdict=NOT_RUN, reason=reason, command=part.command
    )


def _manifest(part: Part) -> str:
    assert part.artifact is not None
    return str(part.artifact.path / "manifest.json")


def _number(printed: str) -> float | None:
    try:
        return float(printed)
    except ValueError:
        return None


def folder_of_picture(found: Found) -> Path | None:
    """Where the part's picture lies: at the experiment, or at a point of the setting that it names."""
    part = found.part
    if part.config.picture is None or part.artifact is None:
        return None
    if part.config.picture_of is None:
        return part.artifact.path
    points = found.points(part.config.picture_of)
    if not points:
        raise BadConfiguration(
            f"report.parts.{part.name}.picture_of={part.config.picture_of}: there are {', '.join(found.settings)}"
        )
    return points[0].path
