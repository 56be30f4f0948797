"""`theory=phase_diagram`: where training on one's own output costs how much, as maps with contours.

Reads nothing. Writes (see `analysis.theory.study`)

    table                contours: exact with a 95 % interval, and in closed form
    data.csv             map, x, y, value, low, high: every cell
    phase_diagram.png    the three maps

    python run.py stage=theory theory=phase_diagram

| map | x | y | value |
|---|---|---|---|
| random rows | share of the rows edited anew in every generation | generations | regression error by the first one's |
| fixed rows | share of the rows, the same in every generation | generations | the same |
| next token | real tokens N | synthetic tokens n | mean drift E ||p^(m) - p^(1)||_1 once it has settled |

Regression: exact for given X (`analysis.theory.regression.exact`), averaged over draws of X; bands are over those. The
next-token map is the Gaussian value in closed form (`analysis.theory.safe_mix.amounts`); some cells are simulated too.

Shapes: S shares, G generations, N real and M synthetic amounts, R trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.intervals import student
from analysis.table_files import Table
from analysis.theory.next_token.distributions import zipf
from analysis.theory.regression import exact
from analysis.theory.safe_mix.amounts import drift_bound, rigorous_k, sharp_k
from analysis.theory.study import Found, Rows, Study
from analysis.theory.threshold.estimate import Floats
from analysis.theory.threshold.tolerance import crossing, increasing
from toedit.config import Config
from toedit.config.checks import require
from toedit.console import Progress

RANDOM, FIXED, TOKENS = "random rows", "fixed rows", "next token"
AMOUNTS = (10.0, 10_000.0)
"""Ends of both axes of the next-token map."""
_Z = 1.959964
_KEYS = ("support", "map_shares", "map_designs", "map_amounts", "map_checks", "contours", "epsilon")
_LONGEST = 400
"""Generations that a simulated cell may take."""


def settings(config: Config) -> dict[str, Any]:
    theory, own = config.theory, config.theory.threshold
    wanted = f"must be more than theory.d + 1 = {theory.d + 1}, or the error has no finite mean"
    require(theory.d + 1 < theory.T, "theory.T", theory.T, wanted)
    shared = {key: getattr(theory, key) for key in ("d", "T", "generations", "trials", "seed")}
    return {key: getattr(own, key) for key in _KEYS} | shared


def compute(settings: dict[str, Any], folders: Mapping[str, Path]) -> Found:
    share_S = np.linspace(0, 1, settings["map_shares"])
    mean_2GS, error_2GS = regression_maps(share_S, settings)
    rows: Rows = []
    for name, mean_GS, error_GS in zip((RANDOM, FIXED), mean_2GS, error_2GS, strict=True):
        rows += [
            _row(name, "exact", share_S[s], g, mean_GS[g, s], mean_GS[g, s] - _Z * error_GS[g, s],
                 mean_GS[g, s] + _Z * error_GS[g, s])
            for g in range(len(mean_GS)) for s in range(len(share_S))
        ]  # fmt: skip
    p_V = zipf(settings["support"], 1.0)
    amount_N = np.geomspace(*AMOUNTS, settings["map_amounts"])
    drift_NM = drift_bound(amount_N[:, None], amount_N[None, :], _sharp(p_V))
    rows += [
        _row(TOKENS, "closed form", real, fake, drift_NM[n, m])
        for n, real in enumerate(amount_N) for m, fake in enumerate(amount_N)
    ]  # fmt: skip
    rows += (simulated := simulated_cells(p_V, settings))
    table = _table(share_S, mean_2GS, error_2GS, p_V, simulated, settings)
    return Found(table, rows, {key: settings[key] for key in ("contours", "epsilon")}, {"cells": f"{len(rows):,}"})


def _row(name: str, how: str, x: float, y: float, value: float, low: float | None = None,
         high: float | None = None) -> dict[str, Any]:  # fmt: skip
    cells = {"value": value, "low": low, "high": high}
    numbers = {key: None if number is None else float(number) for key, number in cells.items()}
    return {"map": name, "how": how, "x": float(x), "y": float(y), **numbers}


def _sharp(p_V: Floats) -> Floats:
    return sharp_k(np.sqrt(p_V * (1 - p_V)).sum())


def regression_maps(share_S: Floats, settings: dict[str, Any]) -> tuple[Floats, Floats]:
    """Errors in units of the first generation's, [2, G, S]: of random and of fixed rows, with standard errors."""
    rounds, T = settings["generations"], settings["T"]
    share_NS = np.tile(share_S, (rounds, 1))

    def errors(X_Td: Floats) -> Floats:
        fixed_SG = [exact.fixed_rows(X_Td, round(share * T), rounds) for share in share_S.tolist()]
        return np.stack([exact.random_edits(X_Td, share_NS), np.stack(fixed_SG, axis=1)])

    return exact.averaged(
        errors, d=settings["d"], T=T, designs=settings["map_designs"], seed=settings["seed"], title="regression maps"
    )


def simulated_cells(p_V: Floats, settings: dict[str, Any]) -> Rows:
    """Some cells of the next-token map by simulation, those that settle within `_LONGEST` generations."""
    amounts = np.unique(np.geomspace(*AMOUNTS, settings["map_checks"]).round().astype(int)).tolist()
    # Three relaxation times, (N + n) / (2 N) each.
    cells = [(n, m, int(np.ceil(1.5 * (n + m) / n)) + 1) for n in amounts for m in amounts]
    cells = [cell for cell in cells if cell[2] <= _LONGEST]
    rows: Rows = []
    with Progress("next-token cells", sum(cell[2] for cell in cells), "generations") as progress:
        for real, synthetic, generations in cells:
            generator = np.random.default_rng([settings["seed"], real, synthetic])
            first_RV = generator.multinomial(real, p_V, size=settings["trials"])
            model_RV = first_RV / real
            for _ in range(generations):
                model_RV = (first_RV + generator.multinomial(synthetic, model_RV)) / (real + synthetic)
                progress.advance(1)
            drift_R = np.abs(model_RV - first_RV / real).sum(axis=1)
            low, high = student(drift_R.tolist()) or (None, None)
            rows.append(_row(TOKENS, "simulated", real, synthetic, drift_R.mean(), low, high))
    return rows


def fixed_contour(kappa: float) -> float:
    """The share of fixed rows at which the settled error is kappa v: (sqrt(1 + kappa (kappa - 1)) - 1) / kappa.

    Solves (1 + 2 r) / (1 - r^2) = kappa. Status: derived here, large T.
    """
    return (np.sqrt(1 + kappa * (kappa - 1)) - 1) / kappa


def random_contour(kappa: float, rounds: int) -> float:
    """The share of random rows at which the upper bound v (1 + n r (2 - r)) is kappa v. Status: derived here."""
    return float(1 - np.sqrt(max(1 - (kappa - 1) / rounds, 0)))


def _table(
    share_S: Floats, mean_2GS: Floats, error_2GS: Floats, p_V: Floats, simulated: Rows, settings: dict[str, Any]
) -> Table:
    rounds, lines = settings["generations"], []
    for place, name in enumerate((RANDOM, FIXED)):
        for kappa in sorted(settings["contours"]):
            # A larger error crosses earlier: the upper curve gives the lower end.
            value_BS = mean_2GS[place, -1] + np.array([[0], [_Z], [-_Z]]) * error_2GS[place, -1]
            value, low, high = crossing(share_S, increasing(value_BS), np.full(3, kappa))
            closed = random_contour(kappa, rounds) if name == RANDOM else fixed_contour(kappa)
            said = "none" if np.isinf(value) else f"{value:.4f} [{low:.4f}, {high:.4f}]"
            lines.append([f"{name}: share where the error is {kappa:g} v", said, f"{closed:.4f}"])
    for epsilon in sorted(settings["epsilon"]):
        sharp, rigorous = (float(k) / (2 * epsilon**2) for k in (_sharp(p_V), rigorous_k(len(p_V))))
        name = f"{TOKENS}: real tokens from which any amount drifts less than {epsilon:g}"
        lines.append([name, "", f"{sharp:,.0f} (rigorous {rigorous:,.0f})"])
    most = {row["x"]: row["y"] for row in simulated}
    for row in (row for row in simulated if row["y"] == most[row["x"]]):
        closed = float(drift_bound(row["x"], row["y"], _sharp(p_V)))
        interval = "" if row["low"] is None else f" [{row['low']:.4f}, {row['high']:.4f}]"
        name = f"{TOKENS}: drift at N = {row['x']:,.0f}, n = {row['y']:,.0f}"
        lines.append([name, f"{row['value']:.4f}{interval}", f"{closed:.4f}"])
    return Table(
        "Where training on one's own output is safe",
        ["contour", "exact, or simulated", "closed form"],
        lines,
        [
            f"Regression: after {rounds} generations, d = {settings['d']}, T = {settings['T']}; v is the error of the "
            f"first one; 95 % intervals over {settings['map_designs']} draws of X. Closed forms: fixed rows "
            "settled and T large; random rows by the upper bound, so too small a share.",
            f"Next token: {settings['support']} tokens (Zipf); closed form: Gaussian, too large where N is small; "
            f"95 % intervals over {settings['trials']} trials.",
        ],
    )


def _draw(found: Found, paths: Mapping[str, Path]) -> None:
    from analysis.theory.threshold.phase_figure import draw

    draw(found.rows, found.summary["contours"], found.summary["epsilon"], paths)


STUDY = Study("phase_diagram", settings, compute, _draw)
