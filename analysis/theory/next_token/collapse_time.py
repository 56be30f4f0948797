"""How long fully synthetic training takes to collapse, against the number of tokens of a generation.

Seddik et al. 2024, Figure 2: above, each law; below, the mean time to the first Dirac, by simulation, exactly (chain of
ancestors), by its diffusion law, and the published bounds. Reads nothing; writes what `study.py` says.

    python run.py stage=theory theory=collapse_time
    python run.py stage=theory theory=collapse_time 'theory.next_token.n=[10,50,100,150,200,250,300,350,400]'
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.figure_files import drawing
from analysis.table_files import Table
from analysis.theory.next_token.coalescent import chain, check, expected_collapse_time
from analysis.theory.next_token.collapse_runs import collapse_times
from analysis.theory.next_token.curves import (
    BLUE,
    INK,
    SKY,
    VERMILION,
    Line,
    curve,
    draw_lines,
    law_of,
    law_settings,
    legend,
    simulated,
    title,
)
from analysis.theory.next_token.distributions import Floats, concentration, describe, support_size
from analysis.theory.next_token.formulas import collapse_time_diffusion, collapse_time_lower, collapse_time_upper
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.console import Progress

_LINES = {
    "lower": Line("published bounds, equation (8)", VERMILION, ":"),
    "upper": Line("published bounds, equation (8)", VERMILION, ":"),
    "diffusion": Line(r"$-2n \sum (1-p) \ln(1-p)$", SKY, "-", width=4),
    "exact": Line("exact: chain of ancestors", INK, "--"),
    "simulated": Line("simulated mean, 95 % interval; pale: 95 % of runs", BLUE, "-", "o"),
}


def settings(config: Config) -> dict[str, Any]:
    counts = config.theory.next_token.n
    check(max(counts))
    return {
        "laws": law_settings(config),
        "n": counts,
        "trials": config.theory.trials,
        "seed": config.theory.seed,
    }


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    laws = {name: law_of(each, settings["seed"]) for name, each in settings["laws"].items()}
    counts, trials = settings["n"], settings["trials"]
    rows: Rows = []
    cells = []
    with Progress("simulating", trials * len(counts) * len(laws), "runs") as progress:
        for name, p_V in laws.items():
            where = {"panel": title(name, p_V), "measure": "collapse_time"}
            for n in counts:
                time_R1 = collapse_times(p_V, n, trials, settings["seed"], advance=progress.advance)[:, None]
                known = _known(p_V, n)
                rows += simulated(where, "simulated", "n", [n], time_R1)
                for series, value in known.items():
                    rows += curve(where, series, "n", [n], [value])
                error = time_R1.std(ddof=1) / trials**0.5 if trials > 1 else 0.0
                shown = [f"{known[series]:,.2f}" for series in ("exact", "diffusion", "lower", "upper")]
                cells.append([f"{name}, {n}", f"{time_R1.mean():.2f} ± {error:.2f}", *shown])
    table = Table(
        "Generations until fully synthetic training has collapsed to one token",
        ["law, n", "simulated", "exact", "diffusion law", "published lower bound", "published upper bound"],
        cells,
        [
            f"{trials} runs each; ± is one standard error. Diffusion law: -2 n sum (1 - p) ln(1 - p), at most 2 n.",
            "The published bounds, equation (8), hold; the upper one grows as n^2, the time itself as n.",
        ],
    )
    described = {name: {**describe(p_V), "p": sorted(map(float, p_V), reverse=True)} for name, p_V in laws.items()}
    return Found(table, rows, {"laws": described})


def _known(p_V: Floats, n: int) -> dict[str, float]:
    S_0, support = concentration(p_V), support_size(p_V)
    return {
        "exact": expected_collapse_time(chain(n), p_V),
        "diffusion": collapse_time_diffusion(p_V, n),
        "lower": collapse_time_lower(S_0, n, support),
        "upper": collapse_time_upper(S_0, n),
    }


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    names = list(dict.fromkeys(row["panel"] for row in found.rows))
    laws = list(found.summary["laws"].values())
    with drawing(paths, width=max(2.6 * len(names) + 0.4, 5.2), height=5.4) as figure:
        panels = figure.subplots(2, len(names), squeeze=False, sharey="row", height_ratios=(1, 1.7))
        for name, described, (above, below) in zip(names, laws, panels.T, strict=True):
            positive = [p for p in described["p"] if p > 0]
            above.step(range(1, len(positive) + 1), positive, color=INK, lw=1.2, where="mid")
            above.set(yscale="log", xlabel="token", title=name, xlim=(0, described["tokens"] + 1))
            above.title.set_fontsize(8.5)
            draw_lines(below, [row for row in found.rows if row["panel"] == name], "n", _LINES)
            below.set(xscale="log", yscale="log", xlabel="tokens of a generation, n")
        panels[0, 0].set_ylabel(r"$p^{(0)}$")
        panels[1, 0].set_ylabel("generations to collapse, T")
        legend(figure, panels.flat, "")


STUDY = Study("collapse_time", settings, compute, draw)
