"""The picture of `analysis=ngrams`: the most frequent bi-grams of each corpus, and all responses by bucket rank.

Writes the files it is given; the same rows give the same bytes (no dates, fixed hash salt). matplotlib is imported when
the picture is drawn, and no state of its pyplot is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from toedit.console import printable

_COLOURS = ("#2f6da8", "#b45309")  # told apart by colour-blind readers, and in grey
_LINES = ("-", (0, (5, 2)))


def draw(
    bigrams: Sequence[Mapping[str, Any]],
    responses: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    paths: Mapping[str, Path],
) -> None:
    """Write the picture to `paths`, by format."""
    corpora = list(dict.fromkeys(row["corpus"] for row in responses))
    most = max((row["rank"] or 1 for row in bigrams), default=1)
    height = max(4.2, 0.155 * most + 1.2)
    with drawing(paths, 4.0 * (len(corpora) + 1), height) as figure:
        axes = figure.subplots(1, len(corpora) + 1)
        highest = max((row["share"] or 0 for row in bigrams), default=0) or 1
        for axis, corpus, colour in zip(axes[:-1], corpora, _COLOURS, strict=False):
            shown = [row for row in bigrams if row["corpus"] == corpus]
            _draw_bigrams(axis, shown, colour, highest, most)
            axis.set_title(_plain(corpus), fontsize=9.5, loc="left").set_parse_math(False)
        _draw_responses(axes[-1], responses, corpora, summary["ngrams"]["buckets"])


def _draw_bigrams(axis: Any, rows: Sequence[Mapping[str, Any]], colour: str, highest: float, most: int) -> None:
    places = [row["rank"] for row in rows]
    axis.barh(places, [1000 * row["share"] for row in rows], color=colour, height=0.72)
    labels = [f"{_plain(row['first'])} {_plain(row['second'])}" for row in rows]
    axis.set_yticks(places, labels, fontsize=7.5)
    for label in axis.get_yticklabels():
        label.set_parse_math(False)
    axis.set_ylim(most + 0.6, 0.4)
    axis.set_xlim(0, 1050 * highest)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("per 1,000 bi-grams")


def _draw_responses(axis: Any, rows: Sequence[Mapping[str, Any]], corpora: Sequence[str], buckets: int) -> None:
    for corpus, colour, line in zip(corpora, _COLOURS, _LINES, strict=False):
        seen = [(row["rank"], row["share"]) for row in rows if row["corpus"] == corpus and row["share"] > 0]
        ranks, shares = zip(*seen, strict=True)
        axis.plot(ranks, shares, color=colour, linestyle=line, linewidth=1.3, label=_plain(corpus))
    axis.axhline(1 / buckets, color=QUIET, linewidth=0.7, linestyle=(0, (1, 2)), label="all buckets equal")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(f"rank of the bucket, of {buckets:,}")
    axis.set_ylabel("share of uni- and bi-grams")
    axis.set_title("hashed responses", fontsize=9.5, loc="left")
    for text in axis.legend(frameon=False, fontsize=8).get_texts():
        text.set_parse_math(False)


def _plain(text: str) -> str:
    """Text is the user's: long words cut, and spelt out what acts on its surroundings or what the font lacks."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    shown = printable(text if len(text) <= 40 else f"{text[:39]}…")
    return "".join(
        sign if font.get_char_index(ord(sign)) else sign.encode("unicode_escape").decode("ascii") for sign in shown
    )
