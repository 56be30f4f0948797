"""The picture of an experiment over a number: a line a measure, its 95 % interval as a band, published lines beside it.

Writes the files it is given; the same numbers give the same bytes. Panels share the x axis and the colours: a line of
the same name (case and punctuation apart) has the same colour and marker in both. Perplexities differ by factors, so
the y axis is logarithmic, each panel's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.figure_style import METADATA, QUIET, STYLE
from analysis.intervals import Summary

Lines = Mapping[str, Sequence[tuple[float, Summary]]]
"""{name: [(x, summary)]}."""

# Okabe and Ito's colours and different shapes: for colour-blind readers and grey printers.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1b1f24")
_MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">")
_STROKES = ("-", "--", ":")
_LEGEND_ROWS = 12


def draw(title: str, axis_names: tuple[str, str], panels: Mapping[str, Lines], paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format; `axis_names` of x and y."""
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(_plain(name) for lines in panels.values() for name in lines))
    looks = {
        name: (_COLOURS[n % len(_COLOURS)], _MARKERS[n % len(_MARKERS)], _STROKES[n // len(_COLOURS) % len(_STROKES)])
        for n, name in enumerate(names)
    }
    with matplotlib.rc_context():  # whatever the user's own matplotlibrc says
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        columns = -(-len(names) // _LEGEND_ROWS)
        figure = Figure(figsize=(3.4 * len(panels) + 1.9 * columns, 3.6), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
        handles: dict[str, Any] = {}
        for axis, (panel, lines) in zip(axes, panels.items(), strict=True):
            _prepare(axis, panel, axis_names, lines)
            for name, places in lines.items():
                handles.setdefault(_plain(name), _draw_line(axis, name, places, looks[_plain(name)]))
        legend = figure.legend(
            handles=list(handles.values()), loc="outside right upper", ncols=columns, frameon=False, fontsize=8
        )
        heading = figure.suptitle(_safe(title), fontsize=9, color=QUIET, x=0.01, ha="left")
        for text in (heading, *legend.get_texts()):
            text.set_parse_math(False)
        for extension, path in paths.items():
            figure.savefig(path, format=extension, dpi=200, metadata=METADATA[extension])


def _prepare(axis: Any, panel: str, axis_names: tuple[str, str], lines: Lines) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_title(panel, fontsize=9, loc="left")
    axis.set_xlabel(_safe(axis_names[0]), parse_math=False)
    axis.set_ylabel(_safe(axis_names[1]), parse_math=False)
    axis.grid(axis="y", color=QUIET, alpha=0.2, linewidth=0.6)
    axis.set_xticks(sorted({x for places in lines.values() for x, _ in places}))
    values = [summary.mean for places in lines.values() for _, summary in places]
    if values and min(values) > 0:
        axis.set_yscale("log")
        spread = max(values) / min(values)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if spread < 100 else (1,)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())


def _draw_line(axis: Any, name: str, places: Sequence[tuple[float, Summary]], look: tuple[str, str, str]) -> Any:
    colour, marker, stroke = look
    x = [at for at, _ in places]
    y = [summary.mean for _, summary in places]
    (handle,) = axis.plot(x, y, stroke, color=colour, marker=marker, markersize=4, label=_safe(name))
    banded = [(at, summary) for at, summary in places if summary.low is not None and summary.high is not None]
    if banded:
        low, high = ([getattr(summary, end) for _, summary in banded] for end in ("low", "high"))
        axis.fill_between([at for at, _ in banded], low, high, color=colour, alpha=0.15, linewidth=0)
    return handle


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _safe(text: str) -> str:
    """Names are the user's: characters that the font may lack are spelt out."""
    return text.encode("ascii", "backslashreplace").decode()
