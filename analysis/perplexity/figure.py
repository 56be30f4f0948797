"""The picture of `perplexity_distribution`: a histogram above the other, on one logarithmic axis of perplexity.

Dashed lines are quartiles; grey is where the central 95 % of the *other* corpus lie, so that what one lacks shows.
The same counts give the same bytes (see `figure_style`). matplotlib is imported when the picture is drawn.

Shapes: B bins, B1 = B + 1 edges, 2 corpora.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_files import drawing, plain
from analysis.figure_style import QUIET

COLOURS = ("#2f6da8", "#b45309")
"""Blue and orange: they differ in every kind of colour blindness, and in print by the panel they are in."""
_GREY = "#e4e7eb"


def draw(
    edge_B1: NDArray[np.float64],
    count_2B: NDArray[np.int64],
    summary: Mapping[str, Any],
    paths: Mapping[str, Path],
) -> None:
    """Write the picture to `paths`, by format."""
    share_2B = count_2B / count_2B.sum(axis=1, keepdims=True)
    with drawing(paths, 6.4, 4.8, layout=None) as figure:
        figure.subplots_adjust(left=0.11, right=0.97, top=0.91, bottom=0.1, hspace=0.22)
        axes = figure.subplots(2, 1, sharex=True)
        for number, axis in enumerate(axes):
            _draw_panel(axis, edge_B1, share_2B[number], summary, number)
        axes[1].set_xscale("log")
        axes[1].set_xlabel("perplexity of a document (logarithmic axis)")
        axes[1].set_xlim(edge_B1[0], edge_B1[-1])
        _label_axis(axes[1].xaxis, edge_B1)
        found = summary["distances"]["kolmogorov_smirnov"]
        p_value = max(found["p_value"], found["p_bootstrap"] or 0.0)
        caption = (
            f"prior: {summary['prior']}   Kolmogorov-Smirnov distance {found['value']:.3f} (p = {p_value:.2g})"
            "   grey: central 95 % of the other corpus"
        )
        written = figure.suptitle(plain(caption), fontsize=8, x=0.02, y=0.985, ha="left", color=QUIET)
        written.set_parse_math(False)


def _draw_panel(
    axis: Any, edge_B1: NDArray[np.float64], share_B: NDArray[np.float64], summary: Mapping[str, Any], number: int
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    own, other = summary["corpora"][number], summary["corpora"][1 - number]
    axis.axvspan(*other["central_95"], color=_GREY, linewidth=0, zorder=0)
    axis.stairs(share_B, edge_B1, fill=True, color=COLOURS[number], alpha=0.85, linewidth=0)
    axis.set_ylabel("share of documents")
    axis.set_ylim(0, 1.4 * share_B.max())  # room for the names of the quartiles
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    measured = own["documents"] - own["without_perplexity"]
    title = axis.set_title(plain(f"{summary['names'][number]}: {measured:,} documents"), loc="left", fontsize=9)
    title.set_parse_math(False)
    for height, (key, name) in enumerate((("q0.25", "25 %"), ("q0.5", "50 %"), ("q0.75", "75 %"))):
        value = own["quantiles"][key]["value"]
        axis.axvline(value, color="black", linewidth=0.8, linestyle=(0, (4, 3)))
        place = np.log(value / edge_B1[0]) / np.log(edge_B1[-1] / edge_B1[0])
        to_the_left = place > 0.85 or (height == 0 and place > 0.15)
        axis.annotate(
            f"{name}: {value:.3g}",
            xy=(value, 0.97 - 0.1 * height),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if to_the_left else 4, 0),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            va="top",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            zorder=5,
        )


def _label_axis(axis: Any, edge_B1: NDArray[np.float64]) -> None:
    """Plain numbers: 1, 2, 5, 10, ... where the axis is short, powers of ten where it is long."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    decades = float(np.log10(edge_B1[-1] / edge_B1[0]))
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 4 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())
