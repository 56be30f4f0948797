"""The figure of `theory=generations`: metrics by generation, a row of panels for written text and one for each p.

Means over seeds with 95 % bands; dashed what the discrete theory predicts of edits (`prediction`), dotted its bound on
the total variation of edits with a re-estimated prior.

Shapes: S seeds, G1 generations and the first one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_files import drawing
from analysis.figure_style import QUIET
from analysis.student import student_quantile
from analysis.theory.generations.regimes import EDITING, REGIMES, Arm
from analysis.theory.generations.table import Values, by_arm
from analysis.theory.study import Found

_CHANGES = {
    "loss": "loss, nats a token",
    "rare_token_recall": "rare tokens held",
    "rare_bigram_recall": "rare bigrams held",
    "predictive_entropy": "entropy of law, nats",
}
"""Drawn as changes since generation 0, seed by seed: seeds differ in the text that they begin with."""
_OF_ALL = {**_CHANGES, "ks": "KS distance to held-out"}
_OF_WRITTEN = {**_OF_ALL, "distinct_2": "distinct pairs, share"}
_OF_EDITED = {
    **{metric: label for metric, label in _OF_ALL.items() if metric != "rare_token_recall"},
    "eligible": "eligible tokens, share",
    "tv_where_sure": "total variation where sure",
}
_WRITTEN = "written"
# Okabe and Ito's colours, told apart by the colour-blind; markers besides.
_COLOURS = ("#000000", "#8a8a8a", "#d55e00", "#0072b2", "#56b4e9", "#009e73", "#cc79a7")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    values = by_arm(found.rows)
    groups = _groups(list(dict.fromkeys(arm for arm, _ in values)))
    with drawing(paths, width=15, height=0.5 + 2.5 * len(groups)) as figure:
        panels_RC = figure.subplots(len(groups), 7, squeeze=False)
        for panels_C, (title, arms) in zip(panels_RC, groups.items(), strict=True):
            metrics = _OF_WRITTEN if title == _WRITTEN else _OF_EDITED
            for panel, (metric, label) in zip(panels_C[:-1], metrics.items(), strict=True):
                _panel(panel, metric, label, arms, values)
            panels_C[-1].axis("off")
            handles, labels = panels_C[0].get_legend_handles_labels()
            panels_C[-1].legend(handles, labels, loc="center left", frameon=False, title=title, alignment="left")
        for panel in panels_RC[-1][:-1]:
            panel.set_xlabel("generation")


def _groups(names: Sequence[str]) -> dict[str, list[Arm]]:
    """A row of panels each; the controls on real text are in all."""
    found = [_arm(name) for name in names]
    real = [arm for arm in found if arm.regime in ("same_text", "fresh_real")]
    written = [arm for arm in found if arm.regime not in EDITING and arm not in real]
    groups = {_WRITTEN: [*real, *written]} if written or not any(arm.regime in EDITING for arm in found) else {}
    for p in dict.fromkeys(arm.number for arm in found if arm.regime in EDITING):
        groups[f"edited, p = {p:g}"] = [*real, *(arm for arm in found if arm.regime in EDITING and arm.number == p)]
    return groups


def _arm(name: str) -> Arm:
    regime, _, number = name.partition(" ")
    assert regime in REGIMES
    return Arm(regime, float(number.removeprefix("p=")) if number else None)


def _panel(panel: Any, metric: str, label: str, arms: Sequence[Arm], values: Values) -> None:
    panel.set_title(f"{label}: change" if metric in _CHANGES else label, fontsize=9)
    for index, arm in enumerate(arms):
        value_SG1 = values.get((arm.name, metric))
        if value_SG1 is None:
            continue
        if metric in _CHANGES:
            value_SG1 = value_SG1 - value_SG1[:, :1]
        colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
        shown = np.flatnonzero(~np.isnan(value_SG1[0]))
        mean_G = value_SG1[:, shown].mean(axis=0)
        half_G = _half_width(value_SG1[:, shown])
        style = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.1, "markevery": 1 + len(shown) // 7}
        panel.plot(shown, mean_G, label=arm.regime if arm.regime in EDITING else arm.name, **style)
        low_G = mean_G - half_G if metric in _CHANGES else np.maximum(mean_G - half_G, 0)  # the others are not negative
        panel.fill_between(shown, low_G, mean_G + half_G, color=colour, alpha=0.2, linewidth=0)
        predicted_SG1 = values.get((arm.name, f"{metric}_predicted"))
        if predicted_SG1 is not None:
            at = np.flatnonzero(~np.isnan(predicted_SG1[0]))
            panel.plot(at, predicted_SG1[:, at].mean(axis=0), color=colour, linestyle="--", linewidth=1)
        if metric == "tv_where_sure" and arm.regime == "edit_own_prior" and arm.number is not None:
            panel.axhline(1 - arm.number**2, color=QUIET, linestyle=":", linewidth=1)
    if not panel.lines:
        panel.text(0.5, 0.5, "no such tokens", ha="center", color=QUIET, transform=panel.transAxes)
        panel.set_xticks([])
        panel.set_yticks([])


def _half_width(value_SG: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of Student's 95 % interval by generation; 0 for one seed."""
    seeds = len(value_SG)
    if seeds < 2:
        return np.zeros(value_SG.shape[1])
    return student_quantile(0.975, seeds - 1) * value_SG.std(axis=0, ddof=1) / math.sqrt(seeds)
