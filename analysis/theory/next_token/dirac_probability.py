"""The probability that a model has collapsed, by generation: exactly, simulated, and between the published bounds.

Seddik et al. 2024, equation (7). A panel for each law and each n. Reads nothing; writes what `study.py` says.

    python run.py stage=theory theory=dirac_probability
    python run.py stage=theory theory=dirac_probability 'theory.next_token.n=[25,50,100]' theory.generations=400
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.intervals import wilson
from analysis.table_files import Table
from analysis.theory.next_token.coalescent import chain, check, dirac_probability, distinct_tokens
from analysis.theory.next_token.collapse_runs import collapse_times
from analysis.theory.next_token.curves import (
    BLUE,
    GREEN,
    INK,
    VERMILION,
    Axis,
    Line,
    curve,
    draw_grid,
    law_of,
    law_settings,
    title,
)
from analysis.theory.next_token.distributions import Floats, concentration, describe, support_size
from analysis.theory.next_token.formulas import (
    dirac_probability_late,
    dirac_probability_lower,
    dirac_probability_upper,
)
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.console import Progress

_LINES = {
    "lower": Line("published bounds, equation (7)", VERMILION, ":"),
    "upper": Line("published bounds, equation (7)", VERMILION, ":"),
    "late": Line(r"late law $1 - 3(1-S_0)(1-1/n)^m$", GREEN, "-."),
    "simulated": Line("simulated share, with Wilson's 95 % interval", BLUE),
    "exact": Line("exact: chain of ancestors", INK, "--"),
}
_MEASURES = {"dirac_probability": Axis(r"$\rho_m = P(p^{(m)}$ is a Dirac$)$", low=-0.04, high=1.04)}


def settings(config: Config) -> dict[str, Any]:
    check(max(config.theory.next_token.n))
    return {
        "laws": law_settings(config),
        "n": config.theory.next_token.n,
        "generations": config.theory.generations,
        "trials": config.theory.trials,
        "seed": config.theory.seed,
    }


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    laws = {name: law_of(each, settings["seed"]) for name, each in settings["laws"].items()}
    generations, trials = settings["generations"], settings["trials"]
    rows: Rows = []
    cells = []
    with Progress("simulating", trials * len(settings["n"]) * len(laws), "runs") as progress:
        for name, p_V in laws.items():
            for n in settings["n"]:
                time_R = collapse_times(p_V, n, trials, settings["seed"], advance=progress.advance)
                where = {"panel": f"{title(name, p_V)}, n = {n}", "measure": "dirac_probability"}
                found = _curves(where, p_V, n, time_R, generations)
                rows += found
                cells += _cells(f"{name}, {n}", p_V, n, found, generations)
    table = Table(
        "Probability that fully synthetic training has collapsed to one token",
        ["law, n, generation", "simulated", "exact", "published lower", "published upper", "tokens left, exact"],
        cells,
        [f"{trials} runs. A published lower bound below 0 says nothing."],
    )
    return Found(table, rows, {"laws": {name: describe(p_V) for name, p_V in laws.items()}})


def _curves(where: dict[str, str], p_V: Floats, n: int, time_R: np.ndarray[Any, Any], generations: int) -> Rows:
    S_0, support, generation_G = concentration(p_V), support_size(p_V), range(1, generations + 1)
    hits_G = [int(hits) for hits in np.searchsorted(np.sort(time_R), generation_G, side="right")]
    rows = curve(where, "simulated", "generation", generation_G, [hits / len(time_R) for hits in hits_G])
    for row, hits in zip(rows, hits_G, strict=True):
        row["low"], row["high"] = wilson(hits, len(time_R))
    known: dict[str, Iterable[float]] = {
        "lower": [dirac_probability_lower(S_0, n, m) for m in generation_G],
        "upper": [dirac_probability_upper(S_0, n, m, support) for m in generation_G],
        "late": [dirac_probability_late(S_0, n, m) for m in generation_G],
        "exact": dirac_probability(chain(n), p_V, generations),
    }
    for series, value_G in known.items():
        rows += curve(where, series, "generation", generation_G, value_G)
    return rows


def _cells(name: str, p_V: Floats, n: int, rows: Rows, generations: int) -> list[list[str]]:
    """At a third of the generations, two thirds, and the end."""
    left_G = distinct_tokens(chain(n), p_V, generations)
    cells = []
    for m in sorted({max(1, generations * part // 3) for part in (1, 2, 3)}):
        at = {row["series"]: row["value"] for row in rows if row["generation"] == m}
        shown = [f"{at[series]:.4f}" for series in ("simulated", "exact", "lower", "upper")]
        cells.append([f"{name}, {m}", *shown, f"{left_G[m - 1]:.2f}"])
    return cells


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    draw_grid(
        found.rows,
        paths,
        axis="generation",
        lines=_LINES,
        measures=_MEASURES,
        x_label="generation m",
        columns=2,
        width=3.4,
    )


STUDY = Study("dirac_probability", settings, compute, draw)
