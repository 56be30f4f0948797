"""The picture of an experiment: a line a setting, a dot a measure, with its 95 % interval.

Writes the files it is given; the same numbers give the same bytes. Shares of the tokens stand together in one
panel with a logarithmic axis (they differ by factors of ten), any other measure in a panel of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.experiment_rows import Measured, summary_of
from analysis.figure_style import METADATA, QUIET, STYLE
from analysis.intervals import Summary

# Okabe and Ito's colours and different shapes: for colour-blind readers and grey printers. The open one is larger, as
# what is expected and what came lie on top of each other.
_LOOKS = [("#0072b2", "o", 5), ("#d55e00", "D", 8), ("#009e73", "s", 4.5), ("#cc79a7", "^", 5), ("#e69f00", "v", 5)]
_OPEN = "D"
_MAX_PANELS = 5


def draw(
    title: str,
    columns: Mapping[str, str],
    settings: Sequence[str],
    measured: Sequence[Measured],
    paths: Mapping[str, Path],
) -> None:
    """Write the picture to `paths`, by format. `columns` is {measure: its name}."""
    import matplotlib
    from matplotlib.figure import Figure

    summaries = {name: [summary_of(measured, setting, name) for setting in settings] for name in columns}
    panels = _panels(summaries)
    with matplotlib.rc_context():  # whatever the user's own matplotlibrc says
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        width = 1.6 + 4.4 * max(len(panels) ** 0.7, 1)
        figure = Figure(figsize=(width, 1.5 + 0.38 * len(settings)), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, names in zip(axes, panels, strict=True):
            _draw_panel(axis, {columns[name]: summaries[name] for name in names})
        axes[0].set_yticks(range(len(settings)), [_safe(setting) for setting in settings])
        for label in axes[0].get_yticklabels():
            label.set_parse_math(False)
        axes[0].set_ylim(len(settings) - 0.5, -0.5)
        caption = figure.suptitle(_safe(title), fontsize=8.5, x=0.02, ha="left", color=QUIET)
        caption.set_parse_math(False)
        for extension, path in paths.items():
            figure.savefig(path, format=extension, dpi=200, metadata=METADATA[extension])


def _panels(summaries: Mapping[str, Sequence[Summary | None]]) -> list[list[str]]:
    """Measures by panel: shares of the same together, then each of the others alone."""
    panels: dict[str, list[str]] = {}
    for name, row in summaries.items():
        panels.setdefault(_share_of(row) or f"={name}", []).append(name)
    return sorted(panels.values(), key=lambda names: not _share_of(summaries[names[0]]))[:_MAX_PANELS]


def _share_of(row: Sequence[Summary | None]) -> str:
    return next((entry.share_of for entry in row if entry is not None), "")


def _draw_panel(axis: Any, measures: Mapping[str, Sequence[Summary | None]]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    share_of = _share_of(next(iter(measures.values())))
    known = [entry.mean for row in measures.values() for entry in row if entry is not None]
    is_logarithmic = bool(share_of) and any(value > 0 for value in known)
    floor = min((value for value in known if value > 0), default=1.0) / 3  # zero has no place on a logarithmic axis
    for (name, row), (colour, marker, size) in zip(measures.items(), _LOOKS * len(measures), strict=False):
        shown = [(y, entry) for y, entry in enumerate(row) if entry is not None]
        x = [max(entry.mean, floor) if is_logarithmic else entry.mean for _, entry in shown]
        fill = "none" if marker == _OPEN else colour
        axis.plot(
            x, [y for y, _ in shown], marker, color=colour, markersize=size, markerfacecolor=fill, label=_safe(name)
        )
        for place, (y, entry) in zip(x, shown, strict=True):
            if entry.low is not None and entry.high is not None:
                low = max(entry.low, floor) if is_logarithmic else entry.low
                axis.plot([low, entry.high], [y, y], "|-", color=colour, markersize=6, linewidth=1.2)
            if is_logarithmic and entry.mean <= 0:
                axis.annotate("0", (place, y), xytext=(0, 5), textcoords="offset points", fontsize=7, ha="center")
    axis.grid(axis="y", color=QUIET, alpha=0.2, linewidth=0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    if is_logarithmic:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    scale = " (log scale)" if is_logarithmic else ""
    axis.set_xlabel(f"share of the {share_of}{scale}" if share_of else _safe(next(iter(measures))))
    if len(measures) > 1:
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=8, handletextpad=0.2)


def _safe(text: str) -> str:
    """Names are the user's: characters that the font may lack are spelt out."""
    return text.encode("ascii", "backslashreplace").decode()
