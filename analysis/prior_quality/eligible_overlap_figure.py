"""The picture of `analysis=eligible_overlap`: what two priors' eligible bytes share at each threshold.

Filled: as seen, with 95 % intervals; hollow, in the same colour: what independent sets of these sizes would share. The
same numbers give the same bytes (see `figure_style`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing, plain
from analysis.figure_style import QUIET

_SERIES = {"jaccard": ("#1b1f24", "s"), "of_first": ("#2f6da8", "o"), "of_second": ("#b45309", "^")}


def draw(summary: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with drawing(paths, 6.4, 4.6, layout=None) as figure:
        figure.subplots_adjust(left=0.12, right=0.97, top=0.74, bottom=0.12)
        axis = figure.subplots()
        for place, p in enumerate(summary["thresholds"]):
            _draw_threshold(axis, place, summary["measures"]["bytes"][f"{p:g}"])
        axis.set_xticks(range(len(summary["thresholds"])), [f"{p:g}" for p in summary["thresholds"]])
        axis.set_xlim(-0.5, len(summary["thresholds"]) - 0.5)
        axis.set_xlabel("threshold p: bytes in tokens with P >= p")
        axis.set_ylabel("share of bytes")
        top = min(max(1.1 * axis.get_ylim()[1], 0.05), 1.03)
        axis.set_ylim(-0.025 * top, top)  # markers at 0 stay whole
        axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
        first, second = (plain(name) for name in summary["priors"])
        labels = {
            "jaccard": "eligible under both, of what is eligible under either (Jaccard)",
            "of_first": f"of what is eligible under {first}, also under {second}",
            "of_second": f"of what is eligible under {second}, also under {first}",
        }
        handles = [
            Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=5, label=labels[key])
            for key, (colour, marker) in _SERIES.items()
        ]
        handles.append(
            Line2D([], [], linestyle="none", marker="o", color=QUIET, markerfacecolor="white", markersize=5,
                   label="hollow: if the two sets had nothing to do with each other")
        )  # fmt: skip
        legend = figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.008, 0.955), frameon=False, fontsize=8.5,
            handletextpad=0.2, labelspacing=0.35,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
        caption = f"corpus: {summary['corpus']}   {summary['scored']['bytes']:,} bytes   bars: 95 % intervals"
        written = figure.text(0.02, 0.985, plain(caption), fontsize=8, color=QUIET, va="top")
        written.set_parse_math(False)


def _draw_threshold(axis: Any, place: int, found: Mapping[str, Any]) -> None:
    if found["jaccard"] is None:
        axis.annotate("none eligible", (place, 0), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=8,
                      color=QUIET)  # fmt: skip
    for number, (key, (colour, marker)) in enumerate(_SERIES.items()):
        x = place + 0.18 * (number - 1)
        seen, expected = found[key], found[f"expected.{key}"]
        if expected is not None:
            axis.plot(x, expected["value"], marker, color=colour, markerfacecolor="white", markersize=5, zorder=2)
        if seen is None:
            continue
        if seen["low"] is not None:
            axis.plot([x, x], [seen["low"], seen["high"]], color=colour, linewidth=1, zorder=1.5)
        axis.plot(x, seen["value"], marker, color=colour, markersize=5, zorder=3)
