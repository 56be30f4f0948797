"""The picture of `analysis=probability_strip`: tokens side by side, their probabilities on a logit axis.

On a logit axis 0.001 and 0.99 are both far from the edge, which on a linear or logarithmic one they are not. Characters
that the font lacks are spelt out; no text is read as mathematics. The same rows give the same bytes (`figure_style`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing, plain
from analysis.figure_style import QUIET, STYLE
from toedit.config import StripConfig

LOOKS = {
    "unlikely": ("#b45309", "v", "P below the lower line"),
    "between": ("#8a929c", "o", "between"),
    "eligible": ("#2f6da8", "^", "P at or above the upper line"),
}
_LIMITS = (2e-6, 1 - 2e-5)
"""What lies beyond stands at the edge."""
_TICKS = (1e-5, 1e-4, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_LONGEST = 16
"""Characters of a token that are written."""
_PANEL_INCHES, _TOP_INCHES, _TITLE_INCHES, _LETTER_INCHES = 1.25, 0.62, 0.3, 0.065


def draw(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], strip: StripConfig, paths: Mapping[str, Path]
         ) -> None:  # fmt: skip
    """Write the picture to `paths`, by format."""
    panels = [
        own[begin : begin + strip.row_tokens]
        for own in (list(group) for _, group in groupby(rows, key=lambda row: row["document"]))
        for begin in range(0, len(own), strip.row_tokens)
    ]
    width = max(6.4, 0.165 * max(len(panel) for panel in panels) + 1.2)
    written_below = 0.15 + _LETTER_INCHES * max(len(_short(row["text"])) for row in rows)
    gap = written_below + _TITLE_INCHES
    height = _TOP_INCHES + len(panels) * (_PANEL_INCHES + gap) - _TITLE_INCHES
    with drawing(paths, width, height, layout=None) as figure:
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        figure.subplots_adjust(
            left=0.75 / width,
            right=1 - 0.12 / width,
            top=1 - _TOP_INCHES / height,
            bottom=written_below / height,
            hspace=gap / _PANEL_INCHES,
        )
        for axis, panel in zip(axes, panels, strict=True):
            _draw_panel(axis, panel, strip)
        _draw_legend(figure, height)
        caption = f"prior: {summary['prior']}   lines at {strip.lines[0]:g} and {strip.lines[1]:g}"
        written = figure.text(0.12 / width, 1 - 0.06 / height, plain(caption), fontsize=8, color=QUIET, va="top")
        written.set_parse_math(False)


def _draw_panel(axis: Any, panel: Sequence[Mapping[str, Any]], strip: StripConfig) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_yscale("logit")
    axis.set_ylim(*_LIMITS)
    for line in strip.lines:
        axis.axhline(line, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for place, row in enumerate(panel):
        if row["probability"] is None:
            continue
        colour, marker, _ = LOOKS[row["kind"]]
        height = min(max(row["probability"], _LIMITS[0] * 1.2), 1 - (1 - _LIMITS[1]) * 1.2)
        axis.plot([place, place], [_LIMITS[0], height], color=colour, linewidth=0.7, alpha=0.6, zorder=2)
        axis.plot(place, height, marker, color=colour, markersize=4, zorder=3, clip_on=False)
    axis.yaxis.set_major_locator(FixedLocator(_TICKS))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.5f}".rstrip("0")))
    axis.tick_params(axis="y", labelsize=6.5)
    axis.set_ylabel("P(token | its prefix)\n(logit axis)", fontsize=7.5)
    axis.set_xlim(-0.8, max(len(panel), strip.row_tokens if len(panel) > 1 else 10) - 0.2)
    labels = axis.set_xticks(range(len(panel)), [_short(row["text"]) for row in panel], rotation=90, fontsize=7)
    for tick, row in zip(labels, panel, strict=True):
        for text in (tick.label1, tick.label2):
            text.set_parse_math(False)
            if row["kind"] in ("unlikely", "eligible"):
                text.set_color(LOOKS[row["kind"]][0])
    axis.tick_params(axis="x", length=2, pad=1)
    title = f"{panel[0]['document']}, tokens {panel[0]['position']} to {panel[-1]['position']}"
    axis.set_title(plain(title)[:110], loc="left", fontsize=8, pad=5).set_parse_math(False)


def _draw_legend(figure: Any, height: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=4.5, label=label)
        for colour, marker, label in LOOKS.values()
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.17 / height), ncols=3, frameon=False,
                  fontsize=8, handletextpad=0.1, columnspacing=1)  # fmt: skip


def _short(text: str) -> str:
    written = _writable(text)
    return written if len(written) <= _LONGEST else written[: _LONGEST - 1] + "…"


def _writable(text: str) -> str:
    """Characters that the font lacks, as escapes."""
    known = _characters()
    return "".join(
        character if ord(character) in known else character.encode("unicode_escape").decode() for character in text
    )


@cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont(FontProperties(family=STYLE["font.family"]))).get_charmap())
