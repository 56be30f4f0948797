"""How many synthetic tokens N real ones carry before the model drifts from the first one by more than epsilon.

The largest n with E||p^(m) - p^(1)||_1 <= epsilon in all generations: equation (11) of Seddik et al. 2024, the rigorous
and the sharp law, and the n at which a simulated stationary drift crosses epsilon. Reads nothing; writes what
`study.py` says.

    python run.py stage=theory theory=safe_amount
    python run.py stage=theory theory=safe_amount 'theory.next_token.N=[1000]' 'theory.next_token.epsilons=[0.1]'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.table_files import Table
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
    only_law,
    title,
)
from analysis.theory.next_token.distributions import Floats, describe, support_size
from analysis.theory.next_token.formulas import (
    enough_real_tokens,
    largest_synthetic_count,
    largest_synthetic_count_published,
    relaxation_generations,
    spread_rigorous,
    spread_sharp,
)
from analysis.theory.next_token.simulate import simulate
from analysis.theory.next_token.trajectories import Mean, mean
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.console import Progress

_LINES = {
    "published": Line("equation (11) as printed", VERMILION, ":"),
    "rigorous": Line("guaranteed, $K = s - 1$", GREEN, "-."),
    "sharp": Line(r"sharp, $K = \frac{2}{\pi}(\sum\sqrt{p(1-p)})^2$", INK, "--"),
    "simulated": Line("simulated, with 95 % interval", BLUE, "", "o"),
    "beyond": Line("simulated: safe up to here, looked no further", BLUE, "", "^"),
}
_GRID = 17  # values of n a simulated N
_RELAXATIONS = 5  # V is then within 0.7 % of its limit


def settings(config: Config) -> dict[str, Any]:
    return {
        "law": only_law(config),
        "N": sorted(config.theory.next_token.N),
        "epsilons": config.theory.next_token.epsilons,
        "largest_ratio": config.theory.next_token.largest_ratio,
        "trials": config.theory.trials,
        "seed": config.theory.seed,
    }


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    p_V = law_of(settings["law"], settings["seed"])
    support = support_size(p_V)
    laws, spreads = _laws(p_V), _spreads(p_V)
    rows: Rows = []
    cells = []
    with Progress("simulating", len(settings["N"]), "values of N") as progress:
        drifts = {}
        for N in settings["N"]:
            drifts[N] = _stationary_drift(p_V, N, settings)
            progress.advance(1)
    for epsilon in settings["epsilons"]:
        where = {"panel": rf"$\epsilon$ = {epsilon:g}", "measure": "count"}
        for series, law in laws.items():
            x = _axis(settings["N"], epsilon, spreads.get(series))
            rows += _finite(curve(where, series, "N", x, [law(N, epsilon) for N in x]))
        for N in settings["N"]:
            root = _crossing(*drifts[N], epsilon)
            rows += _point(where, N, root, settings["largest_ratio"] * N)
            known = [law(N, epsilon) for law in laws.values()]
            shown = _count(root[0], settings["largest_ratio"] * N)
            cells.append([f"{epsilon:g}, {N}", *map(_count, known), shown])
    enough = {name: enough_real_tokens(0.1, K) for name, K in spreads.items()}
    table = Table(
        f"Most synthetic tokens that keep the L1 drift below epsilon ({title('law', p_V).replace('$', '')})",
        ["epsilon, N", "published", "guaranteed", "sharp", "simulated"],
        cells,
        [
            f"{settings['trials']} trials. The law and N are those of one context; published: equation (11), with s = "
            f"{support}, the tokens that occur.",
            "any: N is at least K/(2 epsilon^2), and no number of synthetic tokens drifts further. At epsilon = 0.1 "
            f"that is N = {enough['rigorous']:,.0f} guaranteed, {enough['sharp']:,.0f} by the sharp law.",
            f"The simulation looks no further than {settings['largest_ratio']:g} N. Rare tokens drift less than the "
            "sharp law has it, so that at small N more is safe than it says.",
        ],
    )
    return Found(table, rows, {"law": describe(p_V), "K": spreads})


def _spreads(p_V: Floats) -> dict[str, float]:
    return {"rigorous": spread_rigorous(support_size(p_V)), "sharp": spread_sharp(p_V)}


def _laws(p_V: Floats) -> dict[str, Callable[[float, float], float]]:
    """n by N and epsilon."""
    spreads, support = _spreads(p_V), support_size(p_V)
    return {
        "published": lambda N, epsilon: largest_synthetic_count_published(N, epsilon, support),
        "rigorous": lambda N, epsilon: largest_synthetic_count(N, epsilon, spreads["rigorous"]),
        "sharp": lambda N, epsilon: largest_synthetic_count(N, epsilon, spreads["sharp"]),
    }


def _axis(N: list[int], epsilon: float, spread: float | None) -> list[float]:
    """From half of the smallest N to twice the largest one; close to where a law becomes infinite, closer points."""
    x = [float(each) for each in np.geomspace(min(N) / 2, max(N) * 2, 200)]
    if spread is None:
        return x
    return sorted([*x, *(enough_real_tokens(epsilon, spread) * (1 - 10**-k) for k in (1.5, 2, 3, 4, 5, 6))])


def _finite(rows: Rows) -> Rows:
    """What a logarithmic axis can show."""
    return [row for row in rows if 0 < row["value"] < math.inf]


def _stationary_drift(p_V: Floats, N: int, settings: Mapping[str, Any]) -> tuple[Floats, Mean]:
    """E||p^(m) - p^(1)||_1 after the drift has settled, for a grid of n from 1 to `largest_ratio` N."""
    count_G = np.unique(np.geomspace(1, max(2, settings["largest_ratio"] * N), _GRID).astype(np.int64))
    drift_RG = np.empty((settings["trials"], len(count_G)))
    for g, n in enumerate(count_G):
        generations = 2 + math.ceil(_RELAXATIONS * relaxation_generations(N, int(n)))
        found = simulate("partially_synthetic", p_V, int(n), N, generations, settings["trials"], settings["seed"])
        drift_RG[:, g] = found.l1_drift_RG[:, -1]
    return count_G.astype(np.float64), mean(drift_RG)


def _crossing(count_G: Floats, drift: Mean, epsilon: float) -> tuple[float, float, float]:
    """n at which the mean drift reaches epsilon, and where the ends of its interval do: 0 below the grid, infinite
    above it. Between the grid's points the drift is linear in ln n."""
    roots = []
    for value_G in (drift.mean_G, drift.high_G, drift.low_G):
        rising_G = np.maximum.accumulate(value_G)
        inside = np.interp(epsilon, rising_G, np.log(count_G), left=-math.inf, right=math.inf)
        roots.append(float(np.exp(inside)))
    return roots[0], roots[1], roots[2]


def _point(where: Mapping[str, Any], N: int, root: tuple[float, float, float], most: float) -> Rows:
    if root[0] == math.inf:
        return curve(where, "beyond", "N", [N], [most])
    rows = _finite(curve(where, "simulated", "N", [N], [root[0]]))
    for row in rows:
        row["low"], row["high"] = root[1], min(root[2], most)
    return rows


def _count(n: float, most: float = math.inf) -> str:
    if n == math.inf:
        return "any" if most == math.inf else f"{most:,.0f} and more"
    return "none" if n < 1 else f"{n:,.1f}" if n < 100 else f"{n:,.0f}"


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    counts = [row["value"] for row in found.rows if row["series"] in ("simulated", "beyond")]
    draw_grid(
        found.rows,
        paths,
        axis="N",
        lines=_LINES,
        measures={"count": Axis("synthetic tokens n", "log", low=0.5, high=2 * max(counts, default=1e4))},
        x_label="real tokens N in a context",
        x_scale="log",
    )


STUDY = Study("safe_amount", settings, compute, draw)
