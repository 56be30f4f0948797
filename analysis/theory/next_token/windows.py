"""Learning from the K most recent models, from all of them, or from all their data: does it collapse, and when?

Seddik et al. 2024, Figure 6: concentration, drift and the histogram of collapse times for several windows and a random
past, with the limits that pools have and the law of windows, neither of them in the paper. n/K tokens come from each
model, so K has to divide n. Reads nothing; writes what `study.py` says.

    python run.py stage=theory theory=windows
    python run.py stage=theory theory=windows theory.next_token.n=12 'theory.next_token.windows=[1,2,3,6]'
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.table_files import Table
from analysis.theory.next_token.curves import (
    BLUE,
    INK,
    VERMILION,
    Line,
    curve,
    draw_lines,
    law_of,
    legend,
    only,
    only_law,
    simulated,
    title,
)
from analysis.theory.next_token.distributions import Floats, concentration, describe
from analysis.theory.next_token.formulas import collapse_time_window, pooled_concentration_limit
from analysis.theory.next_token.recursions import (
    concentration_accumulate,
    concentration_fully_synthetic,
    concentration_random_past,
)
from analysis.theory.next_token.simulate import check, simulate
from analysis.theory.next_token.trajectories import Trajectories
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.console import Progress

_LINES = {
    "simulated": Line("simulated mean, 95 % interval; pale: 95 % of runs", BLUE),
    "exact": Line("exact", INK, "--"),
    "limit": Line(r"limit $1 - (1-S_0)\,\sin(x)/x$, $x = \pi/\sqrt{n}$", VERMILION, ":"),
}
_BINS = 15
_POOLS = {"random past": "random_past", "all data": "accumulate"}


def settings(config: Config) -> dict[str, Any]:
    n, windows, generations = only(config, "n"), config.theory.next_token.windows, config.theory.generations
    for window in windows:
        check("window", n, 1, generations, window)
    return {
        "law": only_law(config),
        "n": n,
        "windows": windows,
        "generations": generations,
        "trials": config.theory.trials,
        "seed": config.theory.seed,
    }


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    p_V, n = law_of(settings["law"], settings["seed"]), settings["n"]
    generations, trials, seed = settings["generations"], settings["trials"], settings["seed"]
    cases = {f"K = {window}": ("window", window) for window in settings["windows"]}
    cases |= {name: (strategy, 1) for name, strategy in _POOLS.items()}
    rows: Rows = []
    cells = []
    with Progress("simulating", len(cases) * trials * generations, "generations") as progress:
        for name, (strategy, window) in cases.items():
            found = simulate(strategy, p_V, n, 1, generations, trials, seed, window, progress.advance)
            rows += _curves(name, strategy, window, p_V, n, found) + _histogram(name, found)
            cells.append(_cells(name, strategy, window, p_V, n, found))
    table = Table(
        f"Generation {generations} of training on {n} tokens of earlier models ({title('law', p_V).replace('$', '')})",
        ["learns from", "S", "S exact or limit", "collapsed", "mean T of these", "law of E T", "L1 drift"],
        cells,
        [
            f"{trials} runs; ± is one standard error. K models: the K most recent ones, n/K tokens from each.",
            "T: the first generation at which all K models are the same Dirac; of a pool, the first Dirac, which the "
            "next model may leave again. Runs that did not collapse have no T.",
            "Law of E T: ((K + 1)/2)^2 times -2 n sum (1 - p) ln(1 - p); pools have none, as their S stays below 1.",
        ],
    )
    return Found(table, rows, {"law": describe(p_V)})


def _curves(name: str, strategy: str, window: int, p_V: Floats, n: int, found: Trajectories) -> Rows:
    generation_G = np.arange(1, found.concentration_RG.shape[1] + 1)
    first, second = {"panel": name, "measure": "concentration"}, {"panel": name, "measure": "drift"}
    rows = simulated(first, "simulated", "x", generation_G, found.concentration_RG)
    rows += simulated(second, "simulated", "x", generation_G, found.l1_drift_RG)
    exact_G = _exact(strategy, window, concentration(p_V), n, len(generation_G))
    if exact_G is not None:
        rows += curve(first, "exact", "x", generation_G, exact_G)
    if strategy != "window":
        limit = pooled_concentration_limit(concentration(p_V), n)
        rows += curve(first, "limit", "x", generation_G, np.full(len(generation_G), limit))
    return rows


def _exact(strategy: str, window: int, S_0: float, n: int, generations: int) -> Floats | None:
    """S by generation; None for windows above 1, which have no closed recursion here."""
    if strategy == "window":
        return concentration_fully_synthetic(S_0, n, generations) if window == 1 else None
    exact = {"random_past": concentration_random_past, "accumulate": concentration_accumulate}[strategy]
    return exact(S_0, n, generations)


def _histogram(name: str, found: Trajectories) -> Rows:
    """Runs by their collapse time; x is the lower edge of a bin."""
    edges = np.linspace(0, found.concentration_RG.shape[1], _BINS + 1)
    runs, _ = np.histogram(found.collapse_R[found.collapse_R > 0], edges)
    return curve({"panel": name, "measure": "collapse_time"}, "runs", "x", edges[:-1], runs)


def _cells(name: str, strategy: str, window: int, p_V: Floats, n: int, found: Trajectories) -> list[str]:
    S_R, time_R = found.concentration_RG[:, -1], found.collapse_R[found.collapse_R > 0]
    S_0, generations, trials = concentration(p_V), found.concentration_RG.shape[1], len(S_R)
    exact_G = _exact(strategy, window, S_0, n, generations)
    law = f"{collapse_time_window(p_V, n, window):,.1f}" if strategy == "window" else "none"
    error = S_R.std(ddof=1) / trials**0.5 if trials > 1 else 0.0
    return [
        name,
        f"{S_R.mean():.4f} ± {error:.4f}",
        "1 (limit)" if exact_G is None else f"{exact_G[-1]:.4f}",
        f"{len(time_R)} of {trials}",
        f"{time_R.mean():.1f}" if len(time_R) else "none",
        law,
        f"{found.l1_drift_RG[:, -1].mean():.3f}",
    ]


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    names = list(dict.fromkeys(row["panel"] for row in found.rows))
    labels = (r"$\|p^{(m)}\|_2^2$", r"drift $\|p^{(m)} - p^{(1)}\|_1$", "runs that collapsed")
    with drawing(paths, width=max(2.1 * len(names) + 0.5, 5.2), height=6.4) as figure:
        panels = figure.subplots(3, len(names), squeeze=False, sharey="row", sharex=True)
        for name, column in zip(names, panels.T, strict=True):
            for measure, panel in zip(("concentration", "drift", "collapse_time"), column, strict=True):
                own = [row for row in found.rows if row["panel"] == name and row["measure"] == measure]
                if measure == "collapse_time":
                    edges = [row["x"] for row in own]
                    width = edges[1] - edges[0]
                    panel.bar(edges, [row["value"] for row in own], width=0.9 * width, align="edge", color=BLUE)
                else:
                    draw_lines(panel, own, "x", _LINES)
            column[0].set_title(name, fontsize=9)
            column[2].set_xlabel("generation")
        for panel, label in zip(panels[:, 0], labels, strict=True):
            panel.set_ylabel(label)
            panel.set_ylim(0, None)
        legend(figure, panels.flat, "")


STUDY = Study("windows", settings, compute, draw)
