"""Training curves of an experiment's settings: loss over tokens, a line a setting (Figures 7 and 8).

Reads metrics.csv of the checkpoints; writes the files it is given. Seeds are averaged; the band goes from the lowest to
the highest seed.

Shapes: S seeds, E entries of metrics.csv.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_files import drawing
from toedit.console import printable
from toedit.errors import BadConfiguration, UnusableInput

if TYPE_CHECKING:
    from analysis.reports.parts import Found

_COLOURS = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_SMOOTHING_SHARE = 0.02
"""Of the entries, averaged for each point that is drawn: the noise of single batches hides everything else."""


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    """Draw `part.curves`, a column of metrics.csv, over the tokens seen."""
    column = found.part.config.curves
    assert column is not None
    with drawing(paths, 5.2, 3.4) as figure:
        axis = figure.subplots()
        for number, setting in enumerate(found.settings):
            folders = [point.inputs[found.part.config.input].path if found.part.config.input else point.path
                       for point in found.points(setting)]  # fmt: skip
            seen_E, value_SE = read_curves(folders, column)
            place = number % len(_COLOURS)
            look: dict[str, Any] = {"color": _COLOURS[place], "linestyle": _DASHES[place]}
            axis.plot(seen_E, value_SE.mean(axis=0), linewidth=1.4, label=printable(setting), **look)
            axis.fill_between(
                seen_E, value_SE.min(axis=0), value_SE.max(axis=0), color=look["color"], alpha=0.15, linewidth=0
            )
        axis.set_xlabel("tokens seen")
        axis.set_ylabel(f"{column.replace('_', ' ')} (nats a token)")
        axis.legend(frameon=False, fontsize=8)


def read_curves(folders: list[Path], column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(tokens seen [E], smoothed values [S, E]) of the seeds; seeds of different length are cut to the shortest.

    Raises BadConfiguration where metrics.csv has no such column, UnusableInput where it has no value in it.
    """
    seen, values = [], []
    for folder in folders:
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            entries = list(csv.DictReader(file))
        if entries and column not in entries[0]:
            held = ", ".join(name for name in entries[0] if name != "tokens")
            raise BadConfiguration(
                f"report.parts.*.curves={column}: {folder / 'metrics.csv'} has no such column: {held}"
            )
        rows = [row for row in entries if row[column]]
        if not rows:
            raise UnusableInput(f"{folder / 'metrics.csv'}: no entry has a {column}, so there is no curve to draw")
        seen.append(np.array([float(row["tokens"]) for row in rows]))
        values.append(_smoothed(np.array([float(row[column]) for row in rows])))
    shortest = min(len(entry) for entry in seen)
    return seen[0][:shortest], np.stack([entry[:shortest] for entry in values])


def _smoothed(value_E: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last few entries, fewer at the start."""
    width = max(round(_SMOOTHING_SHARE * len(value_E)), 1)
    total_E = np.concatenate([[0.0], np.cumsum(value_E)])
    end_E = np.arange(1, len(value_E) + 1)
    start_E = np.maximum(end_E - width, 0)
    return (total_E[end_E] - total_E[start_E]) / (end_E - start_E)
