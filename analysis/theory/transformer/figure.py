"""The figure: measures by generation, a line a regime; below, the validation loss of every training, a panel a regime.

Bands are 95 % intervals over seeds; of L1 and a single seed, over contexts. Drawn from what the study found alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from analysis.theory.study import Found

LABELS = {
    "l1": "L1 distance to generation 1's laws",
    "l1_to_real": "L1 distance to regime real's laws",
    "bits_per_byte": "bits per byte, held-out text",
    "excess": "bits per byte above regime real",
    "loss": "loss, nats a token, held-out text",
    "rare_loss": "loss at rare n-grams, nats a token",
    "rare_recall": "rare n-grams left in the text",
    "entropy": "entropy of next-token laws, nats",
    "eligible": "eligible tokens, share",
    "changed": "changed tokens, share",
}
# Colour and marker of a regime, the same in every figure. Okabe and Ito's palette, which colour-blind readers can tell
# apart; markers say it again.
_STYLES = {
    "real": ("#000000", "s"),
    "replace": ("#D55E00", "o"),
    "accumulate": ("#E69F00", "P"),
    "accumulate_subsample": ("#7F7F00", "X"),
    "edit_once": ("#666666", "*"),
    "edit_fixed": ("#009E73", "D"),
    "edit_reestimated": ("#CC79A7", "v"),
}
_MIXED = (("#0072B2", "^"), ("#56B4E9", "<"), ("#3B3B98", ">"))
_MOST_COLUMNS = 5


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    """Write the figure to `paths`, by format."""
    regimes: dict[str, Any] = found.summary["regimes"]
    measured = {metric for entry in regimes.values() for metric, points in entry["metrics"].items() if points}
    panels = [panel for panel in found.summary["panels"] if panel in measured] or ["bits_per_byte"]
    curves = list(regimes) if found.summary["curves"] else []
    heights = [_rows(panels) * 2.9 + 0.4, _rows(curves) * 2.5]
    columns = max(_columns(len(panels)), _columns(len(curves)))
    with drawing(paths, width=0.4 + 2.7 * max(columns, 2), height=sum(heights)) as figure:
        parts = figure.subfigures(2 if curves else 1, 1, height_ratios=heights if curves else None, squeeze=False)[:, 0]
        _draw_measures(parts[0], panels, regimes)
        if curves:
            _draw_curves(parts[1], found, curves)


def _columns(count: int) -> int:
    """Panels side by side: all of few, as many in each row of more."""
    return -(-count // max(-(-count // _MOST_COLUMNS), 1))


def _rows(panels: list[str]) -> int:
    return -(-len(panels) // max(_columns(len(panels)), 1))


def _grid(part: Any, count: int, share: bool = False) -> list[Any]:
    columns = _columns(count)
    axes = part.subplots(-(-count // columns), columns, squeeze=False, sharey=share).ravel()
    for unused in axes[count:]:
        unused.set_axis_off()
    return list(axes[:count])


def _draw_measures(part: Any, panels: list[str], regimes: Mapping[str, Any]) -> None:
    handles: dict[str, Any] = {}
    last = max(point["generation"] for entry in regimes.values() for point in entry["metrics"]["l1"])
    for axes, panel in zip(_grid(part, len(panels)), panels, strict=True):
        mixed = iter(_MIXED * len(regimes))
        for regime, entry in regimes.items():
            colour, marker = _STYLES.get(regime) or next(mixed)
            points = entry["metrics"][panel]
            if not points:
                continue
            generations = [point["generation"] for point in points]
            mean = [point["mean"] for point in points]
            (handles[regime],) = axes.plot(generations, mean, lw=1.2, ms=3.5, color=colour, marker=marker)
            if all(point["low"] is not None for point in points):
                low, high = ([point[key] for point in points] for key in ("low", "high"))
                axes.fill_between(generations, low, high, color=colour, alpha=0.15, lw=0)
        axes.set(xlabel="generation", ylabel=LABELS[panel], xlim=(0.9, last + 0.1))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if panel in ("rare_recall", "l1", "eligible", "changed"):
            axes.set_ylim(bottom=0)
    names = [regime.replace("_", " ") for regime in handles]
    part.legend(handles.values(), names, loc="outside upper center", ncols=min(len(names), 6), frameon=False)


def _draw_curves(part: Any, found: Found, regimes: list[str]) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm

    last = max(row["generation"] for row in found.rows)
    shades, norm = colormaps["viridis"], BoundaryNorm(np.arange(0.5, last + 1), colormaps["viridis"].N)
    loss: dict[tuple[str, int], dict[int, list[float]]] = {}
    for row in found.rows:
        if row["step"] is not None:
            by_step = loss.setdefault((row["regime"], row["generation"]), {})
            by_step.setdefault(row["step"], []).append(row["value"])
    all_axes = _grid(part, len(regimes), share=True)
    ticks = _round_steps({step for by_step in loss.values() for step in by_step})
    for axes, regime in zip(all_axes, regimes, strict=True):
        for generation in range(1, last + 1):
            by_step = loss[regime, generation]
            mean = [np.mean(by_step[step]) for step in sorted(by_step)]
            axes.plot(sorted(by_step), mean, lw=1, color=shades(norm(generation)), marker="." * (len(mean) < 3))
        axes.set_title(regime.replace("_", " "), fontsize=9, color=QUIET)
        axes.set(xscale="log", xlabel="step")
        axes.set_xticks(ticks, [f"{step:,}" for step in ticks])
        axes.set_xticks([], minor=True)
    all_axes[0].set_ylabel("validation loss, nats a token")
    bar = part.colorbar(
        ScalarMappable(norm, shades), ax=all_axes, ticks=range(1, last + 1, max(last // 5, 1)), aspect=30
    )
    bar.set_label("generation")


def _round_steps(steps: set[int]) -> list[int]:
    """Round numbers from the first step to the last, for a logarithmic axis: 1, 2 and 5 of each power of ten."""
    first, last = min(steps), max(steps)
    found = [digit * 10**power for power in range(9) for digit in (1, 2, 5) if first <= digit * 10**power <= last]
    return found if len(found) > 1 else [first, last]
