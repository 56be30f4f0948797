"""From measured points to the rows of an experiment's tables: for people, per setting, and tidy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.intervals import Summary, student, summarize
from analysis.measures import Measure
from analysis.published import Published
from analysis.table_files import Table
from toedit.config import ExperimentConfig
from toedit.errors import BadConfiguration
from toedit.experiments import Point

NOT_RUN = "not run"
_INTERVALS = (
    "In brackets: 95 % intervals over the draws (counts pooled over seeds, Wilson) or, where nothing is counted, over "
    "seeds (Student). Text and prior are fixed."
)


@dataclass(frozen=True)
class Measured:
    """A point with what was measured at its artifact."""

    point: Point
    fingerprint: str
    measures: Mapping[str, Measure]


def with_columns_found(experiment: ExperimentConfig, measured: Sequence[Measured]) -> ExperimentConfig:
    """The experiment with a column for every measure that fits a pattern (`*.perplexity`), in order of appearance.

    Raises BadConfiguration for a column that nothing was measured for.
    """
    if not measured:  # every point failed: nothing says what a pattern stands for
        return experiment
    known = list(dict.fromkeys(name for entry in measured for name in entry.measures))
    found: dict[str, dict[str, str]] = {}
    for pattern, shown in experiment.columns.items():
        before, star, after = pattern.partition("*")
        if not star:
            found[pattern] = {pattern: shown} if pattern in known else {}
            continue
        names = [
            name
            for name in known
            if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)
        ]
        found[pattern] = {name: shown.replace("*", name[len(before) : len(name) - len(after)]) for name in names}
    # A pattern may find nothing (an experiment measures other sets at another scale), but not all of them.
    whole = [pattern for pattern in found if "*" not in pattern] or list(found)
    if missing := [pattern for pattern in whole if not found[pattern]] if not all(found.values()) else []:
        raise BadConfiguration(f"experiment.columns.{missing[0]}: no such measure; there are {', '.join(known)}")
    figure = [name for pattern in experiment.figure for name in found[pattern]]
    columns = {name: shown for names in found.values() for name, shown in names.items()}
    return replace(experiment, columns=columns, figure=figure)


def lines(
    x: str, names: Sequence[str], planned: Mapping[str, Point], summaries: Callable[[str, str], Summary | None]
) -> dict[str, list[tuple[float, Summary]]]:
    """Points of the lines of a figure, {line: [(x, its summary)]}: a line for each measure, and each arm where several.

    `planned`: a point of each setting; `summaries` of a setting and a name. A value that is no number is not drawn.
    """
    drawn: dict[str, list[tuple[float, Summary]]] = {}
    arms = len({point.arm for point in planned.values()})
    for name in names:
        for setting, point in planned.items():
            summary = summaries(setting, name)
            if summary is None or not math.isfinite(summary.mean):
                continue
            line = f"{name}, {point.arm}" if arms > 1 else name
            drawn.setdefault(line, []).append((float(dict(point.values)[x]), summary))
    return {line: sorted(places, key=lambda place: place[0]) for line, places in drawn.items()}


def summary_of(measured: Sequence[Measured], setting: str, name: str) -> Summary | None:
    """One measure of one setting over its seeds; None where nothing was measured there."""
    runs = {
        entry.fingerprint: entry.measures[name]  # a seed that changes nothing gives the same artifact again
        for entry in measured
        if entry.point.setting == setting and name in entry.measures
    }
    return summarize(list(runs.values())) if runs else None


def experiment_table(
    title: str,
    experiment: ExperimentConfig,
    settings: Sequence[str],
    measured: Sequence[Measured],
    published: Published | None,
    failed: Mapping[str, str] | None = None,
) -> Table:
    """The table for people. `failed` says which settings did not come to their end."""
    columns = ["setting", *experiment.columns.values(), *experiment.planned]
    columns += [f"published: {column}" for column in published.columns] if published else []
    columns += ["state"] if failed else []
    rows, has_interval = [], False
    for setting in settings:
        summaries = [summary_of(measured, setting, name) for name in experiment.columns]
        has_interval |= any(summary is not None and summary.low is not None for summary in summaries)
        row = [setting, *(readable(summary) for summary in summaries), *(NOT_RUN for _ in experiment.planned)]
        row += published.cells.get(setting, [""] * len(published.columns)) if published else []
        row += [failed.get(setting, "ok")] if failed else []
        rows.append(row)
    if experiment.baseline is not None:
        rows += _difference_rows(experiment, settings, measured, len(columns))
    seeds = len({entry.point.seed for entry in measured})
    notes = [f"{'Seeds' if seeds > 1 else 'Seed'} of a setting: {seeds}. {_INTERVALS}"] if has_interval else []
    notes += experiment.notes
    notes += [f"{column}: {NOT_RUN}; needs {how}." for column, how in experiment.planned.items()]
    return Table(title, columns, rows, notes + (published.notes if published else []))


def _difference_rows(
    experiment: ExperimentConfig, settings: Sequence[str], measured: Sequence[Measured], width: int
) -> list[list[str]]:
    """A row a setting but the baseline: what it has more or less than that, seed by seed, so that seeds cancel out."""
    assert experiment.baseline is not None
    rows = []
    for setting in settings:
        if setting == experiment.baseline:
            continue
        cells = []
        for name in experiment.columns:
            found = difference(measured, setting, experiment.baseline, name)
            mean, low, high = (found[f"{name}_minus_{end}"] for end in ("baseline", "low", "high"))
            shown = "" if mean is None else f"{mean:+.4g}"
            cells.append(shown if low is None or high is None else f"{shown} [{low:+.4g}, {high:+.4g}]")
        if any(cells):
            rows.append([f"{setting} minus {experiment.baseline}", *cells, *[""] * (width - 1 - len(cells))])
    return rows


def readable(summary: Summary | None) -> str:
    """`0.0089% [0.0083, 0.0096]`: shares in per cent, other numbers with four digits."""
    if summary is None:
        return ""
    value, low, high = summary.mean, summary.low, summary.high
    if summary.share_of:
        scale, sign = 100, "%"
        decimals = 4 if value >= 1e-5 or not value else -1 - math.floor(math.log10(value))
        digits = f".{decimals}f"  # two significant ones at least
    else:
        scale, sign, digits = 1, "", ",.0f" if value == int(value) and low is None else ".4g"
    number = f"{scale * value:{digits}}{sign}"
    return number if low is None or high is None else f"{number} [{scale * low:{digits}}, {scale * high:{digits}}]"


def summary_rows(
    experiment: ExperimentConfig,
    settings: Sequence[str],
    measured: Sequence[Measured],
    published: Published | None,
) -> list[dict[str, Any]]:
    """A row a setting, for table.csv: every measure with its deviation, interval and difference from the baseline."""
    rows = []
    for setting in settings:
        points = [entry for entry in measured if entry.point.setting == setting]
        row: dict[str, Any] = {"setting": setting, "arm": points[0].point.arm, **dict(points[0].point.values)}
        row["seeds"] = len(points)
        for name in experiment.columns:
            summary = summary_of(measured, setting, name)
            assert summary is not None
            row |= {name: summary.mean, f"{name}_runs": summary.runs, f"{name}_deviation": summary.deviation}
            row |= {f"{name}_low": summary.low, f"{name}_high": summary.high}
            if experiment.baseline is not None:
                row |= difference(measured, setting, experiment.baseline, name)
        if published:
            cells = published.cells.get(setting, [None] * len(published.columns))
            row |= {f"published: {key}": cell for key, cell in zip(published.columns, cells, strict=True)}
        rows.append(row)
    return rows


def difference(measured: Sequence[Measured], setting: str, baseline: str, name: str) -> dict[str, float | None]:
    """Mean difference from the baseline, seed by seed, with Student's interval."""
    values = {
        (entry.point.setting, entry.point.seed): entry.measures[name].value
        for entry in measured
        if name in entry.measures
    }
    seeds = dict.fromkeys(seed for _, seed in values)
    pairs = [(values.get((setting, seed)), values.get((baseline, seed))) for seed in seeds]
    differences = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    low, high = student(differences) or (None, None)
    mean = sum(differences) / len(differences) if differences else None
    return {f"{name}_minus_baseline": mean, f"{name}_minus_low": low, f"{name}_minus_high": high}


def published_shares(
    experiment: ExperimentConfig, published: Published | None, settings: Sequence[str]
) -> dict[str, list[Summary | None]]:
    """The published columns that belong into the figure: per cent of the tokens."""
    if published is None:
        return {}
    drawn = {}
    for column in experiment.published.drawn:
        place = published.columns.index(column)
        cells = [published.cells.get(setting) for setting in settings]
        drawn[column] = [Summary(float(row[place]) / 100, "tokens", 1) if row else None for row in cells]
    return drawn


def published_number(published: Published, setting: str, column: str) -> Summary | None:
    """A published number as a summary without interval; None where nothing is published."""
    cells = published.cells.get(setting)
    cell = cells[published.columns.index(column)] if cells else ""
    try:
        return Summary(float(cell), "", 1)
    except ValueError:
        return None


def tidy_rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """A row a point and measure, for points.csv; `artifact` is the start of the fingerprint, as in its address."""
    return [
        {
            "setting": entry.point.setting,
            "arm": entry.point.arm,
            **dict(entry.point.values),
            "seed": entry.point.seed,
            "measure": name,
            "value": value.value,
            "artifact": entry.fingerprint[:8],
        }
        for entry in measured
        for name, value in entry.measures.items()
    ]
