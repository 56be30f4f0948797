"""`theory=regression_generations`: ten ways to train on one's own output, error against generation.

    python run.py stage=theory theory=regression_generations
    python run.py stage=theory theory=regression_generations 'theory.sizes=[40,200,400]' theory.share=0.3

Simulated means with 95 % bands, exact curves where there are any, Theorem 2's bound as published (Zhu et al. 2025).
Reads nothing; writes what every study writes.

Shapes: R trials, G generations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.table_files import Table
from analysis.theory.regression import exact, formulas
from analysis.theory.regression.catalogue import Entry, catalogue
from analysis.theory.regression.generations_figure import draw
from analysis.theory.regression.settings import (
    chosen,
    require_finite_mean,
    require_intervals,
    require_rows_to_subsample,
    require_small_enough,
)
from analysis.theory.regression.simulate import mean_and_error, simulate
from analysis.theory.regression.strategies import Floats
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.console import Progress

_KEYS = ("d", "sizes", "noise", "share", "ratio", "real_share", "generations", "trials", "designs")


def _settings(config: Config) -> dict[str, Any]:
    require_intervals(config, "trials", "designs")
    for T in config.theory.sizes:
        require_finite_mean(config.theory.d, T, "theory.sizes")
        require_small_enough(config.theory.d, T, "theory.sizes")
        require_rows_to_subsample(config.theory.d, T, "theory.sizes")
    return chosen(config, *_KEYS)


def _compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    rows: Rows = []
    sizes, n = settings["sizes"], settings["generations"]
    with Progress("simulation", settings["trials"] * n * 10 * sum(sizes), "trial-rounds x T") as progress:
        for T in sizes:
            rows += _rows_of(T, settings, progress)
    last = [row for row in rows if row["rounds"] == n]
    table = Table(
        f"Linear regression after {n} rounds: error / v (d = {settings['d']}, {settings['trials']} trials)",
        ["strategy", "T", "simulated", "exact given X", "closed form", "which is"],
        [_cells(row) for row in last],
        [
            f"share edited {settings['share']:g} (ratio {settings['ratio']:g}), real rows {settings['real_share']:g}; "
            f"exact errors over {settings['designs']} draws of X; intervals 95 %",
            "Theorem 2 as published: at most 2 for every edit",
        ],
    )
    summary = {"share": settings["share"]}
    return Found(table, rows, summary, {row["strategy"]: f"{row['mean']:.3g}" for row in last if row["T"] == sizes[-1]})


def _rows_of(T: int, settings: Mapping[str, Any], progress: Progress) -> Rows:
    """Tidy rows of one T."""
    d, n, trials, seed = (settings[key] for key in ("d", "generations", "trials", "seed"))
    entries = catalogue(d, T, settings["share"], settings["ratio"], settings["real_share"], n)
    error = simulate(
        {name: entry.strategy for name, entry in entries.items()},
        d=d, T=T, noise=1.0, generations=n, trials=trials, seed=seed, progress=progress, weight=T,
    )  # fmt: skip
    engines = [entry.exact for entry in entries.values() if entry.exact]

    def errors(X_Td: Floats) -> Floats:
        return np.array([engine(X_Td) for engine in engines])

    exact_mean, exact_error = exact.averaged(errors, d=d, T=T, designs=settings["designs"], seed=seed)
    unit, rows, number = formulas.unit_error(d, T), [], 0
    for name, entry in entries.items():
        mean_G, spread_G = mean_and_error(error[name] / unit)
        given = (exact_mean[number], exact_error[number]) if entry.exact else None
        number += entry.exact is not None
        rows += [_row(T, name, entry, generation, mean_G, spread_G, given) for generation in range(n + 1)]
    return rows


def _row(
    T: int,
    name: str,
    entry: Entry,
    generation: int,
    mean_G: Floats,
    error_G: Floats,
    given: tuple[Floats, Floats] | None,
) -> dict[str, Any]:
    mean, half = float(mean_G[generation]), 1.96 * float(error_G[generation])
    return {
        "T": T,
        "strategy": name,
        "is_editing": entry.is_editing,
        "rounds": generation,
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "exact": float(given[0][generation]) if given else None,
        "exact_standard_error": float(given[1][generation]) if given else None,
        "closed_form": float(entry.closed_G[generation]) if entry.closed_G is not None else None,
        "closed_form_is": entry.closed_status,
    }


def _cells(row: Mapping[str, Any]) -> list[str]:
    simulated = f"{row['mean']:.3f} ± {(row['high'] - row['low']) / 2:.3f}"
    given = "" if row["exact"] is None else f"{row['exact']:.3f} ± {1.96 * row['exact_standard_error']:.3f}"
    closed = "" if row["closed_form"] is None else f"{row['closed_form']:.3f}"
    return [row["strategy"], str(row["T"]), simulated, given, closed, row["closed_form_is"]]


STUDY = Study("regression_generations", _settings, _compute, draw)
