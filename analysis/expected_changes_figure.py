"""The picture of `expected_changes`: a heat map of p against k for each temperature, one colour scale for all.

Writes the files it is given; the same shares give the same bytes. The scale is logarithmic and its colours (cividis)
grow lighter evenly, for colour-blind readers and grey printers too; every cell also says its number. matplotlib is
imported when the picture is drawn, and no state of its pyplot is touched.

Shapes: a grid of P thresholds p, J numbers of candidates k, and S temperatures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from toedit.expectation import Grid

_COLUMNS = 4


def draw(share_PJS: NDArray[np.float64], grid: Grid, summary: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    columns = min(len(grid.temperature), _COLUMNS)
    rows = math.ceil(len(grid.temperature) / columns)
    width, height = 0.62 * len(grid.k), 0.36 * len(grid.p)
    positive = share_PJS[share_PJS > 0]
    # Cells where nothing can change (k = 1) take the lowest colour.
    lowest, highest = (positive.min(), positive.max()) if len(positive) else (1e-6, 1e-5)
    norm = LogNorm(lowest, max(highest, lowest * 1.01))
    size = (max(columns * (width + 0.35) + 1.9, 5.0), rows * (height + 0.75) + 0.9)
    with drawing(paths, *size) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel in panels.flat[len(grid.temperature) :]:
            panel.remove()
        for s, (temperature, panel) in enumerate(zip(grid.temperature, panels.flat, strict=False)):
            image = panel.imshow(np.maximum(share_PJS[:, :, s], lowest), norm=norm, cmap="cividis", aspect="auto")
            panel.set_title(f"temperature {temperature:g}", fontsize=9)
            panel.set_xticks(range(len(grid.k)), [str(k) for k in grid.k])
            panel.set_yticks(range(len(grid.p)), [f"{p:g}" for p in grid.p])
            panel.tick_params(length=0)
            panel.spines[:].set_visible(False)
            for (i, j), share in np.ndenumerate(share_PJS[:, :, s]):
                is_light = norm(max(share, lowest)) > 0.5
                colour = "black" if is_light else "white"
                panel.text(j, i, percent(share), ha="center", va="center", fontsize=7, color=colour)
        figure.supxlabel("candidates k", fontsize=9)
        figure.supylabel("threshold p", fontsize=9)
        bar = figure.colorbar(image, ax=panels, label="log scale", pad=0.02)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
        bar.ax.yaxis.set_minor_formatter(FuncFormatter(lambda share, _: ""))
        bar.outline.set_visible(False)
        caption = figure.suptitle(_caption(summary), fontsize=8.5, x=0.02, ha="left", color=QUIET)
        caption.set_parse_math(False)


def percent(share: float) -> str:
    """Two digits: 0.01234 -> '1.2%', and 1e-8 -> '1e-06%', which no cell could hold written out."""
    value = float(f"{100 * share:.1e}")
    if value < 1e-4:
        return f"{value:.0e}%" if value else "0%"
    return f"{value:.{max(1 - math.floor(math.log10(value)), 0)}f}%"


def _caption(summary: Mapping[str, Any]) -> str:
    """Names are the user's: characters that the font may lack are spelt out."""
    named = [f"{role}: {summary[role]}" for role in ("corpus", "prior") if role in summary]
    source = "   ".join([*named, f"tokens: {summary['tokens']:,}"]).encode("ascii", "backslashreplace").decode()
    return f"expected share of the tokens that change\n{source}"
