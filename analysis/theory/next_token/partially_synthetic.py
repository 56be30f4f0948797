"""Training on N fixed real tokens and n of the model before: how concentrated the model gets, how far it drifts.

Seddik et al. 2024, Figures 3 and 4: a column for each law and each n. Both signs of equation (9) are drawn, and the two
laws of the L1 drift, which follow from the exact squared drift. Reads nothing; writes what `study.py` says.

    python run.py stage=theory theory=partially_synthetic 'theory.next_token.n=[10,100,1000]'
    python run.py stage=theory theory=partially_synthetic theory.next_token.n=10 \
        'theory.next_token.squared_norms=[0.05,0.1,0.3]'
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.table_files import Table
from analysis.theory.next_token.curves import (
    BLUE,
    GREEN,
    VERMILION,
    Axis,
    Line,
    curve,
    draw_grid,
    law_of,
    law_settings,
    only,
    simulated,
)
from analysis.theory.next_token.distributions import Floats, concentration, describe
from analysis.theory.next_token.formulas import (
    concentration_partially_synthetic,
    concentration_partially_synthetic_published,
    drift_bound_published_log10,
    l1_drift_bound,
    l1_drift_gaussian,
)
from analysis.theory.next_token.recursions import squared_drift_partially_synthetic
from analysis.theory.next_token.simulate import simulate
from analysis.theory.next_token.trajectories import Trajectories
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.console import Progress

_LINES = {
    "simulated": Line("simulated mean, 95 % interval; pale: 95 % of trials", BLUE),
    "corrected": Line("equation (9), sign corrected (exact)", style="--"),
    "published": Line("equation (9) as printed", VERMILION, ":"),
    "gaussian": Line("normal drifts, from the exact squared drift", style="--"),
    "bound": Line("upper bound, from the exact squared drift", GREEN, "-."),
}
_MEASURES = {
    "concentration": Axis(r"concentration $\|p^{(m)}\|_2^2$", shared=False, trials=False),
    "drift": Axis(r"drift $\|p^{(m)} - p^{(1)}\|_1$", low=0),
}


def settings(config: Config) -> dict[str, Any]:
    return {
        "laws": law_settings(config),
        "n": config.theory.next_token.n,
        "N": only(config, "N"),
        "generations": config.theory.generations,
        "trials": config.theory.trials,
        "seed": config.theory.seed,
    }


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    laws = {name: law_of(each, settings["seed"]) for name, each in settings["laws"].items()}
    cases = [(name, n) for name in laws for n in settings["n"]]
    N, generations, trials = settings["N"], settings["generations"], settings["trials"]
    rows: Rows = []
    cells = []
    with Progress("simulating", len(cases) * trials * generations, "generations") as progress:
        for name, n in cases:
            found = simulate(
                "partially_synthetic", laws[name], n, N, generations, trials, settings["seed"], advance=progress.advance
            )
            rows += _curves(f"{name}, n = {n}", laws[name], N, n, found)
            cells.append(_cells(name, laws[name], N, n, found))
    columns = ["law, n", "S_0", "S simulated", "S exact", "S as printed", "L1 drift", "normal", "bound", "Theorem 3"]
    table = Table(
        f"Generation {generations} of training on {N} real tokens and n of the model before",
        columns,
        cells,
        [
            f"{trials} trials; ± is one standard error.",
            "S as printed: equation (9) with the sign as published; exact: with the sign of its own recursion.",
            "Normal and bound follow from the exact squared drift; Theorem 3 is the published bound (2 is trivial).",
        ],
    )
    return Found(table, rows, {"laws": {name: describe(p_V) for name, p_V in laws.items()}})


def _curves(panel: str, p_V: Floats, N: int, n: int, found: Trajectories) -> Rows:
    S_0, generation_G = concentration(p_V), np.arange(1, found.concentration_RG.shape[1] + 1)
    V_G = squared_drift_partially_synthetic(S_0, N, n, len(generation_G))
    first, second = {"panel": panel, "measure": "concentration"}, {"panel": panel, "measure": "drift"}
    exact = [concentration_partially_synthetic(S_0, N, n, m) for m in generation_G]
    published = [concentration_partially_synthetic_published(S_0, N, n, m) for m in generation_G]
    return [
        *simulated(first, "simulated", "generation", generation_G, found.concentration_RG),
        *curve(first, "corrected", "generation", generation_G, exact),
        *curve(first, "published", "generation", generation_G, published),
        *simulated(second, "simulated", "generation", generation_G, found.l1_drift_RG),
        *curve(second, "gaussian", "generation", generation_G, [l1_drift_gaussian(V, p_V) for V in V_G]),
        *curve(second, "bound", "generation", generation_G, [l1_drift_bound(V, p_V) for V in V_G]),
    ]


def _cells(name: str, p_V: Floats, N: int, n: int, found: Trajectories) -> list[str]:
    """The last generation."""
    S_0, generations, trials = concentration(p_V), found.concentration_RG.shape[1], len(found.collapse_R)
    V = squared_drift_partially_synthetic(S_0, N, n, generations)[-1]
    S_R, drift_R = found.concentration_RG[:, -1], found.l1_drift_RG[:, -1]
    return [
        f"{name}, {n}",
        f"{S_0:.3g}",
        _with_error(S_R, trials),
        f"{concentration_partially_synthetic(S_0, N, n, generations):.4f}",
        f"{concentration_partially_synthetic_published(S_0, N, n, generations):.4f}",
        _with_error(drift_R, trials),
        f"{l1_drift_gaussian(V, p_V):.4f}",
        f"{l1_drift_bound(V, p_V):.4f}",
        f"10^{drift_bound_published_log10(N, n, len(p_V)):.1f}",
    ]


def _with_error(value_R: Floats, trials: int) -> str:
    error = value_R.std(ddof=1) / trials**0.5 if trials > 1 else 0.0
    return f"{value_R.mean():.4f} ± {error:.4f}"


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    draw_grid(found.rows, paths, axis="generation", lines=_LINES, measures=_MEASURES, x_label="generation m")


STUDY = Study("partially_synthetic", settings, compute, draw)
