"""The figure of `theory=regression_generations`: a column a T; above without editing, below with it.

Thick: simulated mean with its 95 % band. Dashed: exact. Dash-dotted: closed form at large T, where nothing is exact.
Thin: limits. Dotted: Theorem 2's bound as published. Grey: the corrected interval of fresh edits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing
from analysis.figure_style import INK, QUIET
from analysis.theory.regression import editing_formulas, formulas
from analysis.theory.regression.looks import COLOURS, DASH_DOTTED, DASHED, DOTTED, finish_logarithmic, key
from analysis.theory.study import Found, Rows


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    """Write the figure to `paths`, by format."""
    sizes = list(dict.fromkeys(row["T"] for row in found.rows))
    with drawing(paths, width=2.6 + 2.7 * len(sizes), height=6.4) as figure:
        axes = figure.subplots(2, len(sizes), sharex=True, sharey="row", squeeze=False)
        for row_of_axes, is_editing in zip(axes, (False, True), strict=True):
            for axis, T in zip(row_of_axes, sizes, strict=True):
                chosen = [row for row in found.rows if row["T"] == T and row["is_editing"] == is_editing]
                _strategies(axis, chosen)
                _editing_lines(axis, chosen, found.summary["share"]) if is_editing else _limits(axis)
                finish_logarithmic(axis)
            row_of_axes[0].set_ylabel("error / v")
            handles, _ = row_of_axes[-1].get_legend_handles_labels()
            handles += [key(DASHED, "exact")] if is_editing else [key(DASHED, "exact"), key(DASH_DOTTED, "large T")]
            row_of_axes[-1].legend(
                handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8
            )
        for axis, T in zip(axes[0], sizes, strict=True):
            axis.set_title(f"T = {T}", fontsize=9)
        for axis in axes[1]:
            axis.set_xlabel("rounds after the fit on real data")


def _strategies(axis: Any, rows: Rows) -> None:
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    for colour, name in zip(COLOURS, names, strict=True):
        line = [row for row in rows if row["strategy"] == name]
        rounds = [row["rounds"] for row in line]
        axis.plot(rounds, [row["mean"] for row in line], color=colour, linewidth=1.6, alpha=0.55, label=name)
        low, high = ([row[end] for row in line] for end in ("low", "high"))
        axis.fill_between(rounds, low, high, color=colour, alpha=0.22, linewidth=0)
        is_exact = line[0]["exact"] is not None or line[0]["closed_form_is"] == "exact"
        curve = [row["closed_form"] if row["exact"] is None else row["exact"] for row in line]
        if curve[0] is not None:
            axis.plot(rounds, curve, color=colour, linewidth=1.1, linestyle=DASHED if is_exact else DASH_DOTTED)


def _limits(axis: Any) -> None:
    for limit, name in (
        (formulas.accumulate_subsample_limit(), "π² / 2 - 2, limit of accumulate-subsample"),
        (formulas.accumulate_limit(), "π² / 6, limit of accumulate"),
    ):
        colour = COLOURS[2] if "subsample" in name else COLOURS[1]
        axis.axhline(limit, color=colour, linewidth=0.7, alpha=0.8, label=name)


def _editing_lines(axis: Any, rows: Rows, share: float) -> None:
    """The corrected interval 1 + n r to 1 + n r (2 - r) of fresh edits, the limit 2 e - 1, the published bound."""
    fresh = [row for row in rows if row["strategy"] == "edit, fresh rows"]
    rounds = [row["rounds"] for row in fresh]
    lower = [editing_formulas.random_edits_lower([share] * n) for n in rounds]
    axis.fill_between(
        rounds, lower, [row["closed_form"] for row in fresh], color=QUIET, alpha=0.13, linewidth=0,
        label="corrected interval, fresh rows",
    )  # fmt: skip
    limit = editing_formulas.disjoint_limit()
    axis.axhline(limit, color=COLOURS[2], linewidth=0.7, alpha=0.8, label="2 e - 1, limit of disjoint rows")
    bound = editing_formulas.theorem_2_bound()
    axis.axhline(bound, color=INK, linestyle=DOTTED, linewidth=1.3, label="Theorem 2 as published")
