"""The picture of `analysis=calibration`: what the prior states against what is seen.

Left: all candidates, equal bins of stated probability. Right: the most probable token where it has at least 1/2, as
errors on logarithmic axes, so that 0.9, 0.99 and 0.999 are as far apart as they matter for the edit. On the diagonal
the prior is right about itself; below it on the left, above it on the right, it is too sure. A hollow marker: no error
was seen, the interval's end is drawn. The same numbers give the same bytes (see `figure_style`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing, plain
from analysis.figure_style import INK, QUIET

COLOURS = ("#2f6da8", "#b45309")
MARKERS = ("o", "^")
_LEAST_STATEMENTS = 20
"""Bins with fewer statements are not drawn; they are in the data."""


def draw(summary: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    with drawing(paths, 7.6, 4.4, layout=None) as figure:
        figure.subplots_adjust(left=0.085, right=0.985, top=0.82, bottom=0.125, wspace=0.3)
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        for number, entry in enumerate(summary["corpora"]):
            _draw_bins(left, entry, summary["bins"], number)
            _draw_tail(right, entry, len(summary["tail_edges"]) - 1, number)
        left.set_title("all candidates", loc="left", fontsize=9)
        left.set_xlabel("stated probability q")
        left.set_ylabel("share that stands in the text")
        left.set_xlim(-0.02, 1.02)
        left.set_ylim(-0.02, 1.02)
        _finish_tail(right, summary["thresholds"])
        _draw_legend(figure, summary)
        caption = f"prior: {summary['prior']}   bars: 95 % intervals   dashed: the prior is right about itself"
        written = figure.text(0.015, 0.98, plain(caption), fontsize=8, color=QUIET, va="top")
        written.set_parse_math(False)


def _draw_bins(axis: Any, entry: Mapping[str, Any], bins: int, number: int) -> None:
    for place in range(bins):
        stated, seen = (entry["measures"][f"bins.{name}.{place}"] for name in ("stated", "seen"))
        if entry["statements"]["bins"][place] < _LEAST_STATEMENTS or seen is None:
            continue
        if seen["low"] is not None:
            axis.plot([stated["value"]] * 2, [seen["low"], seen["high"]], color=COLOURS[number], linewidth=0.9)
        axis.plot(stated["value"], seen["value"], MARKERS[number], color=COLOURS[number], markersize=4)


def _draw_tail(axis: Any, entry: Mapping[str, Any], bins: int, number: int) -> None:
    for place in range(bins):
        stated, seen = (entry["measures"][f"tail.{name}.{place}"] for name in ("stated", "seen"))
        if entry["statements"]["tail"][place] < _LEAST_STATEMENTS or seen is None or stated["value"] >= 1:
            continue
        error, error_seen = 1 - stated["value"], 1 - seen["value"]
        low, high = (None, None) if seen["low"] is None else (1 - seen["high"], 1 - seen["low"])
        if error_seen <= 0:
            if high is not None and high > 0:
                axis.plot(error, high, MARKERS[number], color=COLOURS[number], markersize=4, markerfacecolor="white")
            continue
        if high is not None:
            axis.plot([error] * 2, [max(low, error_seen / 30), high], color=COLOURS[number], linewidth=0.9)
        axis.plot(error, error_seen, MARKERS[number], color=COLOURS[number], markersize=4)


def _finish_tail(axis: Any, thresholds: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_xscale("log")
    axis.set_yscale("log")
    lowest = min([*axis.get_xlim(), *axis.get_ylim(), 0.01])
    limits = (max(lowest, 3e-7), 0.9)
    axis.plot(limits, limits, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axis.set_xlim(limits[1], limits[0])  # surer to the right, as on the left
    axis.set_ylim(*limits)
    for p in thresholds:
        if 1 - p > limits[0]:
            axis.axvline(1 - p, color="#c9ced6", linewidth=0.8, zorder=0)
            axis.annotate(f"q = {p:g}", (1 - p, 0.02), xycoords=("data", "axes fraction"), xytext=(2, 0),
                          textcoords="offset points", fontsize=7.5, color=INK, rotation=90, va="bottom",
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6}, zorder=5)  # fmt: skip
    axis.set_title("the most probable token, near certainty", loc="left", fontsize=9)
    axis.set_xlabel("stated error 1 - q (logarithmic axis)")
    axis.set_ylabel("seen share of errors (logarithmic axis)")
    for part in (axis.xaxis, axis.yaxis):
        part.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        part.set_minor_formatter(NullFormatter())


def _draw_legend(figure: Any, summary: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=5,
               label=plain(f"{entry['name']}: {entry['tokens']:,} tokens"))
        for entry, marker, colour in zip(summary["corpora"], MARKERS, COLOURS, strict=False)
    ]  # fmt: skip
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.008, 0.945), ncols=2, frameon=False, handletextpad=0.2
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
