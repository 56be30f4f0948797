"""`theory=regression_map`: where iterated editing stays within the published 2 v, by share of rows and rounds.

    python run.py stage=theory theory=regression_map
    python run.py stage=theory theory=regression_map theory.T=400 theory.points=101 theory.designs=1000

Two heat maps of the exact error, for new random rows in every round and for the same rows in every round; no noise is
drawn. Reads nothing; writes what every study writes.

Shapes: G generations, S shares.
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
from analysis.theory.regression.looks import DASHED, key
from analysis.theory.regression.settings import chosen, require_finite_mean, require_intervals, require_small_enough
from analysis.theory.regression.strategies import Floats
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config

_KINDS = {"fresh": "new random rows in every round", "fixed": "the same rows in every round"}
_TABLE_ROUNDS = (1, 2, 3, 5, 10, 20, 50, 100)


def _settings(config: Config) -> dict[str, Any]:
    require_intervals(config, "designs")
    require_finite_mean(config.theory.d, config.theory.T)
    require_small_enough(config.theory.d, config.theory.T)
    return chosen(config, "d", "T", "points", "generations", "designs")


def _compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    d, T, n = settings["d"], settings["T"], settings["generations"]
    share_S = np.linspace(0, 1, settings["points"])

    def errors(X_Td: Floats) -> Floats:
        return np.array([exact.random_edits(X_Td, np.tile(share_S, (n, 1))), _fixed(X_Td, share_S, n)])

    mean, error = exact.averaged(
        errors, d=d, T=T, designs=settings["designs"], seed=settings["seed"], title="exact errors"
    )
    rows: Rows = [
        {
            "masks": kind,
            "share": float(share),
            "rounds": rounds,
            "error_by_v": float(mean[number, rounds, s]),
            "standard_error": float(error[number, rounds, s]),
            "large_T": _large_T(kind, float(share), rounds),
        }
        for number, kind in enumerate(_KINDS)
        for s, share in enumerate(share_S)
        for rounds in range(n + 1)
    ]
    shown = sorted({rounds for rounds in _TABLE_ROUNDS if rounds <= n} | {n})
    bound = editing_formulas.theorem_2_bound()
    table = Table(
        f"The largest share of edited rows with an error of at most 2 v (d = {d}, T = {T})",
        ["rounds", *(f"{kind} rows{more}" for kind in _KINDS for more in (", exact", ", large T"))],
        [
            [str(rounds)]
            + [
                f"{_largest_share(share_S, error_S, bound):.3f}"
                for number, kind in enumerate(_KINDS)
                for error_S in (mean[number, rounds], np.array([_large_T(kind, float(r), rounds) for r in share_S]))
            ]
            for rounds in shown
        ],
        [
            f"exact given X, over {settings['designs']} draws of X; linear between {settings['points']} shares",
            f"fixed rows settle below 2 v up to a share of {formulas.fixed_rows_share(bound):.3f} (large T)",
        ],
    )
    return Found(table, rows, {"T": T})


def _fixed(X_Td: Floats, share_S: Floats, rounds: int) -> Floats:
    """error_GS; between whole rows linear."""
    row_S = share_S * len(X_Td)
    whole_S = np.minimum(row_S.astype(int), len(X_Td) - 1)
    error = {rows: exact.fixed_rows(X_Td, rows, rounds) for rows in {*whole_S.tolist(), *(whole_S + 1).tolist()}}
    parts = zip(whole_S.tolist(), (row_S - whole_S).tolist(), strict=True)
    return np.transpose([(1 - part) * error[rows] + part * error[rows + 1] for rows, part in parts])


def _large_T(kind: str, share: float, rounds: int) -> float:
    if kind == "fresh":
        return editing_formulas.fresh_edits_error(share, rounds)
    return formulas.fixed_rows_error(share, rounds)


def _largest_share(share_S: Floats, error_S: Floats, bound: float) -> float:
    """Where the error, which grows with the share, reaches `bound`; 1 where it never does."""
    above = np.flatnonzero(error_S > bound + 1e-9)
    if not len(above):
        return 1.0
    s = int(above[0])
    slope = (bound - error_S[s - 1]) / (error_S[s] - error_S[s - 1])
    return float(share_S[s - 1] + slope * (share_S[s] - share_S[s - 1]))


def _draw(found: Found, paths: Mapping[str, Path]) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, LogLocator

    highest = max(row["error_by_v"] for row in found.rows)
    with drawing(paths, width=7.6, height=4.1) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (kind, title) in zip(axes, _KINDS.items(), strict=True):
            rows = [row for row in found.rows if row["masks"] == kind and row["rounds"] >= 1]
            share_S = np.unique([row["share"] for row in rows])
            rounds_N = np.unique([row["rounds"] for row in rows])
            error, large = (
                np.array([row[column] for row in rows]).reshape(len(share_S), len(rounds_N)).T
                for column in ("error_by_v", "large_T")
            )
            mesh = axis.pcolormesh(
                share_S, rounds_N, error, norm=LogNorm(1, highest), cmap="cividis", shading="nearest"
            )
            mesh.set_rasterized(True)
            for values, style in ((error, "solid"), (large, DASHED)):
                if values.min() < 2 < values.max() and len(rounds_N) > 1:
                    axis.contour(
                        share_S, rounds_N, values, levels=[2], colors="white", linestyles=[style], linewidths=1.6
                    )
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("ρ, share of the rows edited")
        axes[0].set_ylabel("rounds")
        bar = figure.colorbar(mesh, ax=axes, label="exact error / v", pad=0.02)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        handles = [key("solid", "error = 2 v (white): exact", INK), key(DASHED, "and at large T", INK)]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=8)


STUDY = Study("regression_map", _settings, _compute, _draw)
