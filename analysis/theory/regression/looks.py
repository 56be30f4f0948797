"""What the regression figures share: colours and lines for colour-blind readers and grey printers."""

from __future__ import annotations

from typing import Any

from analysis.figure_style import QUIET

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
"""Okabe and Ito's."""
MARKERS = ("o", "s", "^", "D", "v")
DASHED, DOTTED, DASH_DOTTED = (0, (5, 2)), (0, (1, 1.6)), (0, (5, 2, 1, 2))


def finish_logarithmic(axis: Any) -> None:
    """A logarithmic y axis with plain numbers at 1, 2, 5, ..."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="y", color=QUIET, alpha=0.2, linewidth=0.6)


def key(line: Any, label: str, color: str = QUIET) -> Any:
    """An entry of a legend for a kind of line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, linestyle=line, linewidth=1.2, label=label)
