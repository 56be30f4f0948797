"""`theory=regression_sweep`: replace, accumulate and accumulate-subsample for many d and T.

    python run.py stage=theory theory=regression_sweep
    python run.py stage=theory theory=regression_sweep 'theory.dimensions=[1,3,10,32,100]' theory.trials=100

The panels of Gerstgrasser et al. 2024 and Kazdan et al. 2024: the error after `theory.generations` rounds with
T = m (d + 1) for the m of `theory.sizes`, and closed forms beside it. Reads nothing; writes what every study writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing
from analysis.table_files import Table
from analysis.theory.regression import formulas
from analysis.theory.regression.looks import COLOURS, DASH_DOTTED, DASHED, MARKERS, finish_logarithmic, key
from analysis.theory.regression.settings import chosen, require_intervals
from analysis.theory.regression.simulate import mean_and_error, simulate
from analysis.theory.regression.strategies import Accumulate, AccumulateSubsample, Replace, Strategy
from analysis.theory.regression.subsample import LEAST_ROWS
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.config.checks import require
from toedit.console import Progress

_STRATEGIES: dict[str, tuple[Strategy, Callable[[int], float], str]] = {
    "replace": (Replace(), formulas.replace_error, "exact"),
    "accumulate": (Accumulate(), formulas.accumulate_error, "exact"),
    "accumulate-subsample": (AccumulateSubsample(), formulas.accumulate_subsample_error, "large T"),
}


def _settings(config: Config) -> dict[str, Any]:
    require_intervals(config, "trials")
    theory = config.theory
    least, why = (2, "") if theory.fresh_X else (LEAST_ROWS, ", as samples repeat rows of X")
    wanted = f"T = m (d + 1) for these m: at least {least}{why}"
    require(min(theory.sizes) >= least, "theory.sizes", theory.sizes, wanted)
    wanted = f"at most {len(COLOURS)} dimensions in one figure"
    require(len(theory.dimensions) <= len(COLOURS), "theory.dimensions", theory.dimensions, wanted)
    return chosen(config, "dimensions", "sizes", "fresh_X", "noise", "generations", "trials")


def _compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    n, trials, rows = settings["generations"], settings["trials"], []
    sizes = [(d, m * (d + 1)) for d in settings["dimensions"] for m in settings["sizes"]]
    work = len(_STRATEGIES) * n * trials * sum(d * T for d, T in sizes)
    with Progress("simulation", work, "numbers of X") as progress:
        for d, T in sizes:
            rows += _rows_of(d, T, settings, progress)
    table = Table(
        f"Linear regression after {n} rounds: error / v ({trials} trials)",
        ["d", "T", *_STRATEGIES],
        [_cells(d, T, rows) for d, T in sizes],
        [
            f"closed forms: {n + 1} (replace), {formulas.accumulate_error(n):.3f} (accumulate), "
            f"{formulas.accumulate_subsample_error(n):.3f} (accumulate-subsample, large T); 95 % intervals"
        ],
    )
    return Found(table, rows, {"noise": settings["noise"]})


def _rows_of(d: int, T: int, settings: Mapping[str, Any], progress: Progress) -> Rows:
    n, noise, has_new_rows = settings["generations"], settings["noise"], settings["fresh_X"]
    error = simulate(
        {name: strategy for name, (strategy, _, _) in _STRATEGIES.items()},
        d=d, T=T, noise=noise, generations=n, trials=settings["trials"], seed=settings["seed"],
        fresh_X=has_new_rows, progress=progress, weight=d * T,
    )  # fmt: skip
    unit, rows = formulas.unit_error(d, T, noise), []
    for name, (_, closed, kind) in _STRATEGIES.items():
        mean_G, error_G = mean_and_error(error[name])
        mean, half = float(mean_G[-1]), 1.96 * float(error_G[-1])
        row = {"strategy": name, "d": d, "T": T, "v": unit, "mean": mean, "low": mean - half, "high": mean + half}
        row["closed_form"] = closed(n) * unit
        row["closed_form_is"] = "large T" if has_new_rows and name == "accumulate" else kind
        rows.append(row)
    return rows


def _cells(d: int, T: int, rows: Rows) -> list[str]:
    found = {row["strategy"]: row for row in rows if (row["d"], row["T"]) == (d, T)}
    values = [
        f"{row['mean'] / row['v']:.3f} ± {(row['high'] - row['mean']) / row['v']:.3f}"
        for row in (found[name] for name in _STRATEGIES)
    ]
    return [str(d), str(T), *values]


def _draw(found: Found, paths: Mapping[str, Path]) -> None:
    dimensions = list(dict.fromkeys(row["d"] for row in found.rows))
    with drawing(paths, width=9, height=3.9) as figure:
        axes = figure.subplots(1, len(_STRATEGIES), sharey=True)
        for axis, name in zip(axes, _STRATEGIES, strict=True):
            for d, colour, marker in zip(dimensions, COLOURS, MARKERS, strict=False):
                rows = [row for row in found.rows if row["strategy"] == name and row["d"] == d]
                x, mean = [row["T"] for row in rows], [row["mean"] for row in rows]
                axis.plot(x, mean, marker, color=colour, markersize=4, label=f"d = {d}")
                axis.fill_between(
                    x,
                    [row["low"] for row in rows],
                    [row["high"] for row in rows],
                    color=colour,
                    alpha=0.25,
                    linewidth=0,
                )
                style = DASHED if rows[0]["closed_form_is"] == "exact" else DASH_DOTTED
                axis.plot(x, [row["closed_form"] for row in rows], color=colour, linestyle=style, linewidth=1.1)
            axis.set_xscale("log")
            finish_logarithmic(axis)
            axis.set_title(name, fontsize=9)
            axis.set_xlabel("T, rows")
        axes[0].set_ylabel(f"mean error (s = {found.summary['noise']:g})")
        handles, _ = axes[0].get_legend_handles_labels()
        handles += [key(DASHED, "exact"), key(DASH_DOTTED, "large T")]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8)


STUDY = Study("regression_sweep", _settings, _compute, _draw)
