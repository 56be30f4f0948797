"""The picture of an experiment: a line a setting, a dot a measure, with its 95 % interval.

Writes the files it is given; the same numbers give the same bytes. Shares of the tokens stand together in one panel
with a logarithmic axis (they differ by factors of ten), published ones as crosses; any other measure has its own panel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from analysis.intervals import Summary

Rows = Mapping[str, Sequence[Summary | None]]
"""{measure: one summary a setting}."""

# Okabe and Ito's colours and different shapes: for colour-blind readers and grey printers.
_LOOKS = [("#0072b2", "o"), ("#009e73", "s"), ("#cc79a7", "^"), ("#e69f00", "v"), ("#56b4e9", "P")]
_CHARACTERS_PER_INCH = 13
"""Of the legend: what does not fit into one line takes two."""
_EXPECTED = "expected_"
"""Measures of this name are open and larger: what came lies on top of what was expected."""


def draw(
    title: str,
    names: Mapping[str, str],
    settings: Sequence[str],
    ours: Rows,
    published: Rows,
    paths: Mapping[str, Path],
) -> None:
    """Write the picture to `paths`, by format; `names` of the measures, `published` shares of the tokens."""
    panels = _panels(ours)
    with drawing(paths, 1.6 + 4.4 * len(panels) ** 0.7, 1.6 + 0.36 * len(settings)) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        looks = iter(_LOOKS * len(ours))
        handles = []
        for axis, measures in zip(axes, panels, strict=True):
            rows = {name: ours[name] for name in measures}
            crosses = published if _share_of(rows) == "tokens" else {}
            floor = _prepare(axis, [*rows.values(), *crosses.values()], _share_of(rows), names[measures[0]])
            for name, row in rows.items():
                is_open = name.startswith(_EXPECTED)
                look = ("#d55e00", "D") if is_open else next(looks)
                handles.append(_draw_row(axis, _safe(names[name]), row, look, is_open, floor))
            for name, row in crosses.items():
                handles.append(_draw_row(axis, _safe(f"published: {name}"), row, ("#1b1f24", "x"), False, floor))
        axes[0].set_yticks(range(len(settings)), [_safe(setting) for setting in settings])
        axes[0].set_ylim(len(settings) - 0.5, -0.5)
        characters = sum(len(handle.get_label()) + 6 for handle in handles)
        in_a_row = len(handles) if characters < _CHARACTERS_PER_INCH * figure.get_figwidth() else -(-len(handles) // 2)
        legend = figure.legend(
            handles=handles, title=_safe(title), loc="outside upper left", ncols=in_a_row, frameon=False, fontsize=8,
            title_fontsize=8.5, alignment="left", handletextpad=0.4, borderpad=0,
        )  # fmt: skip
        legend.get_title().set_color(QUIET)
        for text in (legend.get_title(), *legend.get_texts(), *axes[0].get_yticklabels()):
            text.set_parse_math(False)


def _panels(rows: Rows) -> list[list[str]]:
    """Measures by panel: shares of the same together, then each of the others alone."""
    panels: dict[str, list[str]] = {}
    for name, row in rows.items():
        panels.setdefault(_share_of({name: row}) or f"={name}", []).append(name)
    return list(panels.values())


def _share_of(rows: Rows) -> str:
    return next((entry.share_of for row in rows.values() for entry in row if entry is not None), "")


def _prepare(axis: Any, rows: Sequence[Sequence[Summary | None]], share_of: str, name: str) -> float:
    """Scale and name the axis of a panel; return the lowest place on it (zero has none on a logarithmic one)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.grid(axis="y", color=QUIET, alpha=0.2, linewidth=0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(_safe(name), parse_math=False)
    positive = [entry.mean for row in rows for entry in row if entry is not None and entry.mean > 0]
    if not share_of or not positive:
        return float("-inf")
    axis.set_xscale("log")
    axis.set_xlabel(f"share of the {share_of} (log scale)")
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    return min(positive) / 3


def _draw_row(
    axis: Any, name: str, row: Sequence[Summary | None], look: tuple[str, str], is_open: bool, floor: float
) -> Any:
    """The dots of one measure; their handle for the legend."""
    colour, marker = look
    shown = [(y, entry) for y, entry in enumerate(row) if entry is not None]
    x = [max(entry.mean, floor) for _, entry in shown]
    fill, size = ("none", 8) if is_open else (colour, 5)
    (handle,) = axis.plot(
        x, [y for y, _ in shown], marker, color=colour, markersize=size, markerfacecolor=fill, label=name
    )
    for place, (y, entry) in zip(x, shown, strict=True):
        if entry.low is not None and entry.high is not None:
            axis.plot([max(entry.low, floor), entry.high], [y, y], "|-", color=colour, markersize=6, linewidth=1.2)
        if entry.mean < place:
            axis.annotate("0", (place, y), xytext=(0, 5), textcoords="offset points", fontsize=7, ha="center")
    return handle


def _safe(text: str) -> str:
    """Names are the user's: characters that the font may lack are spelt out."""
    return text.encode("ascii", "backslashreplace").decode()
