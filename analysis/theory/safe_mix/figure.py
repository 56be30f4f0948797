"""The picture of `theory=safe_mix`: allowed amounts by count, and how much of the corpus stays within epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from analysis.theory.safe_mix.amounts import allowed_amount, published_amount
from analysis.theory.safe_mix.contexts import KINDS, Contexts
from analysis.theory.study import Rows

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")  # Okabe and Ito: told apart by everybody
_DOTS = 4000
"""Contexts in the first panel, the most frequent ones and then evenly by rank."""


def draw(rows: Rows, contexts: Contexts, paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    epsilons = sorted({row["epsilon"] for row in rows if row["part"] == "corpus"})
    with drawing(paths, width=11, height=3.8) as figure:
        by_count, by_share, any_amount = figure.subplots(1, 3, width_ratios=[1.25, 1.1, 0.8])
        _draw_amounts(by_count, contexts, epsilons)
        _draw_curves(by_share, rows, epsilons)
        _draw_any(any_amount, rows, epsilons)


def _draw_amounts(axis: Any, contexts: Contexts, epsilons: list[float]) -> None:
    order = np.argsort(-contexts.real_C, kind="stable")
    picked = np.unique(np.geomspace(1, len(order), min(_DOTS, len(order))).astype(int)) - 1
    real = contexts.real_C[order[picked]]
    support, k = contexts.support_C[order[picked]], contexts.k_by_kind["sharp"][order[picked]]
    finite_most = 1.0
    for epsilon, colour in zip(epsilons, _COLOURS, strict=False):
        amount = allowed_amount(real, k, epsilon)
        shown = np.isfinite(amount) & (amount >= 1)
        finite_most = max(finite_most, float(amount[shown].max(initial=1.0)))
        axis.scatter(real[shown], amount[shown], s=5, color=colour, alpha=0.55, linewidths=0, label=f"ε = {epsilon:g}")
    top = 6 * finite_most
    for level, (epsilon, colour) in enumerate(zip(epsilons, _COLOURS, strict=False)):
        safe = np.isinf(allowed_amount(real, k, epsilon)) & (support > 1)
        place = top * 2.2**level
        axis.scatter(real[safe], np.full(int(safe.sum()), place), s=12, marker="|", color=colour, linewidths=0.5)
    published = published_amount(real, support, epsilons[-1])
    seen = published >= 1
    axis.scatter(real[seen], published[seen], s=9, marker="x", color=QUIET, linewidths=0.7,
                 label=f"published, ε = {epsilons[-1]:g}" if seen.any() else None)  # fmt: skip
    axis.axhline(top / 2.2, color=QUIET, linewidth=0.5)
    axis.text(0.02, 0.985, "ticks: any amount", transform=axis.transAxes, va="top", fontsize=7.5, color=QUIET)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(0.7, top * 2.2 ** (len(epsilons) + 0.6))
    axis.set_xlabel("N: times the context was seen")
    axis.set_ylabel("largest synthetic amount n")
    axis.set_title("by context (sharp)", fontsize=9.5, loc="left")
    axis.legend(framealpha=0.85, edgecolor="none", borderpad=0.1, fontsize=7.5, loc="lower right", markerscale=1.6)


def _draw_curves(axis: Any, rows: Rows, epsilons: list[float]) -> None:
    for epsilon, colour in zip(epsilons, _COLOURS, strict=False):
        for kind, line in (("sharp", "-"), ("rigorous", (0, (4, 2)))):
            points = _series(rows, "mass", kind, epsilon, "share")
            shares = [100 * point["share"] for point in points]
            label = f"ε = {epsilon:g}" if kind == "sharp" else None
            values = [100 * point["value"] for point in points]
            axis.plot(shares, values, color=colour, linestyle=line, linewidth=1.3, label=label)
            if kind == "sharp" and points[0]["low"] is not None:
                low, high = ([100 * point[key] for point in points] for key in ("low", "high"))
                axis.fill_between(shares, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 101)
    axis.set_xlabel("synthetic share of the training data, %")
    axis.set_ylabel("tokens within ε, %")
    axis.set_title("whole corpus (dashed: rigorous)", fontsize=9.5, loc="left")
    axis.legend(framealpha=0.85, edgecolor="none", fontsize=7.5, loc="center right")


def _draw_any(axis: Any, rows: Rows, epsilons: list[float]) -> None:
    looks = [
        (colour, marker, fill) for colour, marker in zip(_COLOURS, "so", strict=False) for fill in ("white", colour)
    ]
    for place, (kind, (colour, marker, fill)) in enumerate(zip(KINDS, looks, strict=True)):
        for number, epsilon in enumerate(epsilons):
            (point,) = [p for p in _series(rows, "mass", kind, epsilon, "share") if p["share"] == 1.0]
            x = number + 0.16 * (place - 1.5)
            if point["low"] is not None:
                axis.plot([x, x], [100 * point["low"], 100 * point["high"]], color=colour, linewidth=1)
            axis.plot(x, 100 * point["value"], marker=marker, color=colour, markerfacecolor=fill, markersize=4.5,
                      linestyle="none", label=kind if number == 0 else None)  # fmt: skip
    axis.set_xticks(range(len(epsilons)), [f"{epsilon:g}" for epsilon in epsilons])
    axis.set_xlim(-0.6, len(epsilons) - 0.4)
    axis.set_ylim(0, 101)
    axis.set_xlabel("ε")
    axis.set_ylabel("tokens with any amount safe, %")
    axis.set_title("no limit at all", fontsize=9.5, loc="left")
    axis.legend(frameon=False, fontsize=7.5)


def _series(rows: Rows, measure: str, kind: str, epsilon: float, by: str) -> Rows:
    wanted = ("corpus", measure, kind, epsilon)
    found = [row for row in rows if (row["part"], row["measure"], row["kind"], row["epsilon"]) == wanted]
    return sorted(found, key=lambda row: row[by])
