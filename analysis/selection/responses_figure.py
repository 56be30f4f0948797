"""The picture of `analysis=density`: a histogram of the densities of documents, and of what the sketch's counters hold.

Writes the files it is given; the same numbers give the same bytes (see `figure_style`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from toedit.console import printable

# Blue and orange differ in every kind of colour blindness; the lines differ in print.
_COLOURS = ("#2f6da8", "#b45309")
_LINES = ("-", (0, (4, 1.5)))


def draw(
    histogram: Sequence[Mapping[str, Any]], counters: Sequence[Mapping[str, Any]], paths: Mapping[str, Path]
) -> None:
    """Write the picture to `paths`, by format."""
    corpora = list(dict.fromkeys(row["corpus"] for row in histogram))
    with drawing(paths, 8.2, 3.6) as figure:
        left, right = figure.subplots(1, 2)
        exponent = math.floor(math.log10(max(row["to"] for row in histogram)))
        for corpus, colour, line in zip(corpora, _COLOURS, _LINES, strict=False):
            shown = [row for row in histogram if row["corpus"] == corpus]
            _draw_densities(left, shown, 10.0**-exponent, colour, line)
            _draw_counters(right, [row for row in counters if row["corpus"] == corpus], colour, line)
        left.set_xlim(left=0)
        left.set_ylim(bottom=0)
        left.set_xlabel(f"density of a document, in units of 1e{exponent}")
        left.set_ylabel("share of documents")
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("share of the corpus in a counter of the sketch")
        right.set_ylabel("share of counters with as much or more")
        for axis in (left, right):
            axis.grid(axis="y", color=QUIET, alpha=0.2, linewidth=0.6)
        legend = figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _draw_densities(axis: Any, rows: Sequence[Mapping[str, Any]], factor: float, colour: str, line: Any) -> None:
    edges = [factor * edge for edge in (rows[0]["from"], *(row["to"] for row in rows))]
    shares = [row["share"] for row in rows]
    axis.stairs(shares, edges, fill=True, color=colour, alpha=0.25, linewidth=0)
    axis.stairs(shares, edges, color=colour, linestyle=line, linewidth=1.2, label=_plain(rows[0]["corpus"]))


def _draw_counters(axis: Any, rows: Sequence[Mapping[str, Any]], colour: str, line: Any) -> None:
    reaching = np.cumsum([row["share"] for row in rows][::-1])[::-1]
    seen = [(row["of_corpus"], y) for row, y in zip(rows, reaching.tolist(), strict=True) if row["documents"]]
    x, y = zip(*seen, strict=True)
    axis.step(x, y, where="pre", color=colour, linestyle=line, linewidth=1.2)


def _plain(text: str) -> str:
    """Names are the user's: cut where long, spelt out where the font may lack a sign."""
    shown = printable(text if len(text) <= 60 else f"{text[:59]}...")
    return shown.encode("ascii", "backslashreplace").decode()
