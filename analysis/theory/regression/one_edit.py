"""`theory=regression_one_edit`: the error after a single edit, beside what Theorem 1 of Zhu et al. 2025 gives for it.

    python run.py stage=theory theory=regression_one_edit
    python run.py stage=theory theory=regression_one_edit 'theory.sizes=[40,400]' theory.trials=10000

One round in which every row is edited with probability rho: simulated, exact, at large T (1 + rho (2 - rho)); and the
right side of Theorem 1 as printed, simulated and in closed form (1 + rho).
Reads nothing; writes what every study writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import INK
from analysis.table_files import Table
from analysis.theory.regression import editing_formulas, exact, formulas
from analysis.theory.regression.looks import COLOURS, DASH_DOTTED, DASHED, DOTTED
from analysis.theory.regression.settings import chosen, require_finite_mean, require_intervals, require_small_enough
from analysis.theory.regression.simulate import mean_and_error, simulate
from analysis.theory.regression.strategies import Edit, RandomMasks, Strategy, TheoremOne
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.console import Progress

_TABLE_ROWS = 11
"""At most so many shares of one T in the table; data.csv has all."""


def _settings(config: Config) -> dict[str, Any]:
    require_intervals(config, "trials", "designs")
    for T in config.theory.sizes:
        require_finite_mean(config.theory.d, T, "theory.sizes")
        require_small_enough(config.theory.d, T, "theory.sizes")
    return chosen(config, "d", "sizes", "points", "trials", "designs")


def _compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    rows: Rows = []
    work = settings["trials"] * 2 * settings["points"] * sum(settings["sizes"])
    with Progress("simulation", work, "trial-rounds x T") as progress:
        for T in settings["sizes"]:
            rows += _rows_of(T, settings, progress)
    step = -(-(settings["points"] - 1) // (_TABLE_ROWS - 1))
    table = Table(
        f"One edit of a share rho of the rows: error / v (d = {settings['d']}, {settings['trials']} trials)",
        ["T, rho", "simulated", "exact given X", "large T", "Theorem 1, simulated", "Theorem 1: 1 + rho"],
        [_cells(row) for number, row in enumerate(rows) if number % settings["points"] % step == 0],
        [
            "large T: 1 + rho (2 - rho). Theorem 1 as printed has no term -X^+ M Q E_1; 95 % intervals",
            f"exact errors over {settings['designs']} draws of X",
        ],
    )
    return Found(table, rows)


def _rows_of(T: int, settings: Mapping[str, Any], progress: Progress) -> Rows:
    d, seed, rows = settings["d"], settings["seed"], []
    rho_S = np.linspace(0, 1, settings["points"])
    unit = formulas.unit_error(d, T)
    strategies: dict[str, Strategy] = {}
    for s, rho in enumerate(rho_S):
        masks = RandomMasks([float(rho)])
        strategies |= {f"edit {s}": Edit(masks), f"printed {s}": TheoremOne(masks)}
    error = simulate(
        strategies,
        d=d,
        T=T,
        noise=1.0,
        generations=1,
        trials=settings["trials"],
        seed=seed,
        progress=progress,
        weight=T,
    )
    mean_S, error_S = exact.averaged(
        lambda X_Td: exact.random_edits(X_Td, rho_S[None])[1], d=d, T=T, designs=settings["designs"], seed=seed
    )
    for s, rho in enumerate(rho_S):
        row: dict[str, Any] = {"T": T, "rho": float(rho)}
        for name in ("edit", "printed"):
            mean_G, half_G = mean_and_error(error[f"{name} {s}"] / unit)
            row |= {name: float(mean_G[1]), f"{name}_half_interval": 1.96 * float(half_G[1])}
        row |= {"exact": float(mean_S[s]), "exact_half_interval": 1.96 * float(error_S[s])}
        row["large_T"] = editing_formulas.one_edit_error(float(rho))
        row["theorem_1"] = editing_formulas.theorem_1_error([float(rho)])
        rows.append(row)
    return rows


def _cells(row: Mapping[str, Any]) -> list[str]:
    edit, exactly, printed = (
        f"{row[key]:.3f} ± {row[f'{key}_half_interval']:.3f}" for key in ("edit", "exact", "printed")
    )
    return [
        f"{row['T']}, {row['rho']:.2f}", edit, exactly, f"{row['large_T']:.3f}", printed, f"{row['theorem_1']:.3f}"
    ]  # fmt: skip


def _draw(found: Found, paths: Mapping[str, Path]) -> None:
    sizes = list(dict.fromkeys(row["T"] for row in found.rows))
    with drawing(paths, width=1.2 + 3.1 * len(sizes), height=3.9) as figure:
        axes = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
        for axis, T in zip(axes, sizes, strict=True):
            rows = [row for row in found.rows if row["T"] == T]
            rho = [row["rho"] for row in rows]

            def values(key: str, rows: Rows = rows) -> list[float]:
                return [row[key] for row in rows]

            axis.errorbar(
                rho, values("edit"), yerr=values("edit_half_interval"), fmt="o", markersize=3.5, linewidth=1,
                color=COLOURS[1], label="simulated edit",
            )  # fmt: skip
            axis.plot(rho, values("exact"), color=COLOURS[1], linestyle=DASHED, linewidth=1.3, label="exact given X")
            axis.plot(
                rho, values("large_T"), color=INK, linestyle=DASH_DOTTED, linewidth=1, label="large T: 1 + ρ (2 - ρ)"
            )
            axis.errorbar(
                rho, values("printed"), yerr=values("printed_half_interval"), fmt="s", markersize=3.5, linewidth=1,
                color=COLOURS[0], markerfacecolor="white", label="Theorem 1 as printed, simulated",
            )  # fmt: skip
            axis.plot(
                rho, values("theorem_1"), color=COLOURS[0], linestyle=DOTTED, linewidth=1.5, label="as printed: 1 + ρ"
            )
            axis.set_title(f"T = {T}", fontsize=9)
            axis.set_xlabel("ρ, share of the rows edited")
        axes[0].set_ylabel("error / v after one edit")
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=8
        )


STUDY = Study("regression_one_edit", _settings, _compute, _draw)
