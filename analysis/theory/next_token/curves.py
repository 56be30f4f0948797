"""What the studies of the next-token model share: laws and counts from the configuration, tidy curves, panels.

A curve's rows hold `panel` and `measure` (where it is drawn), `series` (what it is), the x axis by its own name,
`value`, and for a simulation `low`, `high` (95 % interval of the mean) and `trials_low`, `trials_high` (where 95 % of
the single trials lie). All rows of a study have the same keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import INK, QUIET
from analysis.theory.next_token.distributions import Floats, concentration, law, support_size
from analysis.theory.next_token.trajectories import mean
from analysis.theory.study import Rows
from toedit.config import Config
from toedit.config.checks import require
from toedit.config.theory_next_token import LawConfig
from toedit.errors import naming

# The colours of Okabe and Ito, told apart by colour-blind readers too.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"


# --- settings ---------------------------------------------------------------------------------------------------------


def law_settings(config: Config) -> dict[str, dict[str, Any]]:
    """The laws of a study by name, JSON alone. Raises BadConfiguration where there is none."""
    settings = config.theory.next_token
    require(bool(settings.laws), "theory.next_token.laws", {}, "must name at least one law")
    if not settings.squared_norms:
        return {name: asdict(each) for name, each in settings.laws.items()}
    first = next(iter(settings.laws.values()))
    with naming("law.squared_norm", "theory.next_token.squared_norms"):
        return {f"S_0={S_0:g}": asdict(replace(first, squared_norm=S_0)) for S_0 in settings.squared_norms}


def only_law(config: Config) -> dict[str, Any]:
    """The law of a study that has a single one."""
    laws = config.theory.next_token.laws
    require(len(laws) == 1, "theory.next_token.laws", list(laws), f"theory={config.theory.name} studies one law")
    return asdict(next(iter(laws.values())))


def only(config: Config, key: str) -> int:
    """The count `n` or `N` of a study that has a single one."""
    counts: list[int] = getattr(config.theory.next_token, key)
    require(len(counts) == 1, f"theory.next_token.{key}", counts, f"theory={config.theory.name} takes one number")
    return counts[0]


def law_of(settings: Mapping[str, Any], seed: int) -> Floats:
    """p_V from what `law_settings` wrote."""
    return law(LawConfig(**settings), seed)


def title(name: str, p_V: Floats) -> str:
    """`zipf: 52 tokens, S_0 = 0.1`."""
    return f"{name}: {support_size(p_V)} tokens, $S_0$ = {concentration(p_V):.2g}"


# --- rows -------------------------------------------------------------------------------------------------------------


def curve(where: Mapping[str, Any], series: str, axis: str, x: Iterable[float], value: Iterable[float]) -> Rows:
    """A curve without noise: a formula, or an exact engine."""
    nothing = {"low": None, "high": None, "trials_low": None, "trials_high": None}
    return [
        {**where, "series": series, axis: _plain(a), "value": float(b), **nothing}
        for a, b in zip(x, value, strict=True)
    ]


def simulated(
    where: Mapping[str, Any], series: str, axis: str, x: Iterable[float], value_RG: np.ndarray[Any, Any]
) -> Rows:
    """The mean over trials, with its interval and the range of the trials."""
    found = mean(value_RG)
    low_G, high_G = np.quantile(value_RG, [0.025, 0.975], axis=0)
    columns = zip(x, found.mean_G, found.low_G, found.high_G, low_G, high_G, strict=True)
    names = ("value", "low", "high", "trials_low", "trials_high")
    return [
        {**where, "series": series, axis: _plain(a), **dict(zip(names, map(float, rest), strict=True))}
        for a, *rest in columns
    ]


def _plain(number: Any) -> float | int:
    return int(number) if float(number).is_integer() else float(number)


# --- panels -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """How a series looks. Formulas and exact curves are dashed, published bounds dotted, simulations solid."""

    label: str
    colour: str = INK
    style: str = "-"
    marker: str = ""
    width: float = 1.4


@dataclass(frozen=True)
class Axis:
    """The y axis of a row of panels."""

    label: str
    scale: str = "linear"
    low: float | None = None
    high: float | None = None
    """Bounds of the picture; curves beyond them are in data.csv."""
    shared: bool = True
    """One range for all panels of the measure."""
    trials: bool = True
    """Show where the single trials lie, not the interval of their mean alone."""


def draw_grid(
    rows: Rows,
    paths: Mapping[str, Path],
    *,
    axis: str,
    lines: Mapping[str, Line],
    measures: Mapping[str, Axis],
    x_label: str,
    x_scale: str = "linear",
    note: str = "",
    columns: int | None = None,
    width: float = 2.6,
    height: float = 2.25,
) -> None:
    """Panels side by side, a row for each measure; or, with `columns`, one measure broken into rows of that many."""
    names = list(dict.fromkeys(row["panel"] for row in rows))
    cells = [(measure, name) for measure in measures for name in names]
    across = columns or len(names)
    down = -(-len(cells) // across)
    with drawing(paths, width=max(width * across + 0.4, 5.2), height=height * down + 0.9) as figure:
        panels = list(figure.subplots(down, across, squeeze=False).flat)
        for spare in panels[len(cells) :]:
            spare.remove()
        for (measure, name), panel in zip(cells, panels, strict=False):
            own = [row for row in rows if row["panel"] == name and row["measure"] == measure]
            draw_lines(panel, own, axis, lines, measures[measure].trials)
            _frame(panel, measures[measure], x_scale)
            if measure == next(iter(measures)):
                panel.set_title(name, fontsize=8.5)
            if measure == list(measures)[-1]:
                panel.set_xlabel(x_label)
        _share(panels, cells, measures, across)
        legend(figure, panels, note)


def draw_lines(panel: Any, rows: Rows, axis: str, lines: Mapping[str, Line], trials: bool = True) -> None:
    """The series of one panel; `trials`: with the range of the single trials."""
    for series, line in lines.items():
        own = [row for row in rows if row["series"] == series]
        if not own:
            continue
        x = [row[axis] for row in own]
        if own[0]["low"] is not None and not line.style:  # points of their own, each with its interval
            low, value, high = _columns(own, "low", "value", "high")
            error = [
                [b - a for a, b in zip(low, value, strict=True)],
                [b - a for a, b in zip(value, high, strict=True)],
            ]
            panel.errorbar(x, value, error, fmt="none", ecolor=line.colour, elinewidth=1, capsize=2)
        elif own[0]["low"] is not None:
            if trials and own[0]["trials_low"] is not None:
                panel.fill_between(x, *_columns(own, "trials_low", "trials_high"), color=line.colour, alpha=0.10, lw=0)
            panel.fill_between(x, *_columns(own, "low", "high"), color=line.colour, alpha=0.25, lw=0)
        look = {"ls": line.style, "marker": line.marker, "lw": line.width, "ms": 4, "color": line.colour}
        panel.plot(x, *_columns(own, "value"), label=line.label, **look)


def legend(figure: Any, panels: Any, note: str) -> None:
    """One for all panels, below them; then a sentence."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    longest = 0.065 * max(map(len, found)) + 0.7  # inches, about
    columns = min(len(found), max(1, int(figure.get_figwidth() / longest)))
    look = {"ncols": columns, "frameon": False, "fontsize": 8, "handlelength": 2.6}
    figure.legend(found.values(), found.keys(), loc="outside lower center", **look)
    if note:
        figure.suptitle(note, fontsize=8, x=0.01, ha="left", color=QUIET)


def _columns(rows: Rows, *keys: str) -> list[list[float]]:
    return [[row[key] for row in rows] for key in keys]


def _frame(panel: Any, axis: Axis, x_scale: str) -> None:
    panel.set_xscale(x_scale)
    panel.set_yscale(axis.scale)
    panel.set_ylim(axis.low, axis.high)


def _share(panels: Any, cells: Sequence[tuple[str, str]], measures: Mapping[str, Axis], across: int) -> None:
    """The label of a row at its left end, and one range for all of a measure that shares it."""
    for measure, look in measures.items():
        own = [panel for (name, _), panel in zip(cells, panels, strict=False) if name == measure]
        for place, panel in enumerate(own):
            if place % across == 0:
                panel.set_ylabel(look.label)
        if look.shared:
            lows, highs = zip(*(panel.get_ylim() for panel in own), strict=True)
            for panel in own:
                panel.set_ylim(min(lows), max(highs))
