"""The picture of `theory=collapse_threshold`: by share the slope, the level and the trials that do not recover."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from analysis.theory.study import Rows

_BLUE, _ORANGE = "#0072b2", "#d55e00"
_PANELS = (
    ("slope", "slope", "slope of the last half"),
    ("level", "tolerance", "level of the last quarter"),
    ("not_recovered", "irreversibility", "trials not recovered"),
)
_TITLES = {"kept": "real data kept", "replaced": "real data replaced"}


def draw(rows: Rows, paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    panels = [panel for panel in _PANELS if any(row["measure"] == panel[0] for row in rows)]
    with drawing(paths, width=2.9 * len(cases) + 0.6, height=2.3 * len(panels)) as figure:
        axes = figure.subplots(len(panels), len(cases), squeeze=False, sharex="col")
        for column, case in enumerate(cases):
            own = [row for row in rows if row["case"] == case]
            for line, (measure, threshold, label) in enumerate(panels):
                axis = axes[line, column]
                _draw_panel(axis, own, measure, threshold)
                if column == 0:
                    axis.set_ylabel(label)
            axes[0, column].set_title(_title(case), fontsize=9.5, loc="left")
            axes[-1, column].set_xlabel("synthetic share")
        axes[0, 0].plot([], [], color=_ORANGE, label="threshold, 95 % interval")
        axes[0, 0].legend(frameon=False, fontsize=7.5, loc="upper left")


def _title(case: str) -> str:
    model, _, fate = case.rpartition("_")
    return f"{model.replace('_', ' ')}, {_TITLES[fate]}" if fate in _TITLES else case


def _draw_panel(axis: Any, rows: Rows, measure: str, threshold: str) -> None:
    points = sorted((row for row in rows if row["measure"] == measure), key=lambda row: row["share"])
    if not points:
        axis.set_axis_off()
        return
    shares, values = [row["share"] for row in points], [row["value"] for row in points]
    low, high = ([row["value"] if row[key] is None else row[key] for row in points] for key in ("low", "high"))
    axis.plot(shares, values, color=_BLUE, linewidth=1.3, marker="o", markersize=3)
    axis.fill_between(shares, low, high, color=_BLUE, alpha=0.2, linewidth=0)
    if measure == "slope":
        axis.axhline(0, color=QUIET, linewidth=0.6)
    if measure == "level":
        if min(low) > 0 and max(high) > 5 * min(low):
            axis.set_yscale("log")
        (limit,) = [row["value"] for row in rows if row["measure"] == "limit"]
        axis.axhline(limit, color=QUIET, linewidth=0.9, linestyle=(0, (4, 2)))
    # Shares are looked at closely near 0, where replaced data begin to matter.
    axis.set_xscale("function", functions=(_root, np.square))
    axis.set_xlim(0, max(shares))
    ticks = [tick for tick in (0, 0.02, 0.1, 0.25, 0.5, 0.75, 1) if tick <= max(shares)]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.tick_params(axis="x", labelsize=7.5)
    (found,) = [row for row in rows if row["measure"] == f"threshold_{threshold}"]
    _draw_threshold(axis, found, max(shares))


def _root(share: Any) -> Any:
    return np.sqrt(np.maximum(share, 0))


def _draw_threshold(axis: Any, found: dict[str, Any], most: float) -> None:
    if found["value"] == "none":
        axis.text(0.97, 0.06, "no threshold", transform=axis.transAxes, ha="right", fontsize=7.5, color=_ORANGE)
        return
    low, high = (most if found[key] == "none" else found[key] for key in ("low", "high"))
    axis.axvspan(low, high, color=_ORANGE, alpha=0.2, linewidth=0)
    axis.axvline(found["value"], color=_ORANGE, linewidth=1.2)
