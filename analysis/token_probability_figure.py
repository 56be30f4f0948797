"""The picture of `token_probability`: share of tokens by probability, linear above, logarithmic below.

Writes the files it is given; the same counts give the same bytes (no dates, fixed hash salt). matplotlib is imported
when the picture is drawn, and no state of its pyplot is touched.

Shapes: B bins of the histogram on [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_files import drawing
from analysis.figure_style import QUIET

_BLUE, _ORANGE = "#2f6da8", "#b45309"


def draw(count_B: NDArray[np.int64], summary: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    share_B = count_B / max(int(count_B.sum()), 1)
    edge_B1 = np.linspace(0, 1, len(count_B) + 1)
    with drawing(paths, 6.4, 4.6, layout=None) as figure:
        figure.subplots_adjust(left=0.12, right=0.97, top=0.93, bottom=0.1, hspace=0.1)
        linear, logarithmic = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        linear.stairs(share_B, edge_B1, fill=True, color=_BLUE, linewidth=0)
        linear.set_ylabel("share of tokens")
        linear.set_ylim(0, None)
        linear.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        linear.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
        lowest = max(count_B[count_B > 0].min() / 10, 0.5)
        logarithmic.stairs(np.maximum(count_B, lowest), edge_B1, fill=True, baseline=lowest, color=_BLUE, linewidth=0)
        logarithmic.set_yscale("log")
        logarithmic.set_ylim(lowest, None)
        logarithmic.set_ylabel("tokens (log scale)")
        logarithmic.set_xlabel("P(token | its prefix)")
        logarithmic.set_xlim(-0.005, 1.005)  # the outermost bars are the point: keep them off the frame
        logarithmic.set_xticks(np.linspace(0, 1, 11))
        figure.align_ylabels()
        _draw_quartiles([linear, logarithmic], summary["quartiles"])
        caption = figure.suptitle(
            _caption(summary, len(count_B)), fontsize=8.5, x=0.02, y=0.985, ha="left", color=QUIET
        )
        caption.set_parse_math(False)


def _draw_quartiles(axes: list[Any], quartiles: list[float]) -> None:
    """Dashed lines, named in the upper panel; names at different heights, as quartiles may lie close together."""
    for number, (name, value) in enumerate(zip(("lower quartile", "median", "upper quartile"), quartiles, strict=True)):
        for axis in axes:
            axis.axvline(value, color=_ORANGE, linewidth=0.8, linestyle=(0, (4, 3)))
        is_right = value > 0.75
        axes[0].annotate(
            f"{name} {value:.4f}",
            xy=(value, 0.95 - 0.11 * number),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if is_right else 4, 0),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="top",
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            zorder=5,
        )


def _caption(summary: Mapping[str, Any], bins: int) -> str:
    """Names are the user's: characters that the font may lack are spelt out."""
    named = [f"{role}: {summary[role]}" for role in ("corpus", "prior") if role in summary]
    caption = "   ".join([*named, f"scored tokens: {summary['scored']:,}", f"bins: {bins}"])
    return caption.encode("ascii", "backslashreplace").decode()
