"""Token editing inside the next-token model: what repeated rounds do, with the prior fixed or trained again each time.

Zhu et al. 2025, Algorithm 1 and Table 15. Many contexts, most of them nearly certain of a token, as the probabilities
of text are U-shaped. Drawn by round, for each temperature: the distance to the data before any edit, the eligible share
(with Table 15's), the share that really changes, entropy and support; beside them training on the model before, on half
real data and on all data. Dashed: the laws of endless data, which move h = q(H) of a context to h^2 in a round (prior
trained again, while h >= p) or to h^(t+1) in t rounds (fixed prior). Reads nothing; writes what `study.py` says.

    python run.py stage=theory theory=token_editing
    python run.py stage=theory theory=token_editing theory.next_token.editing.threshold=0.5 theory.generations=20
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from analysis.published import tables
from analysis.table_files import Table
from analysis.theory.next_token.curves import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    QUIET,
    SKY,
    VERMILION,
    Axis,
    Line,
    curve,
    draw_grid,
    only,
    only_law,
    simulated,
)
from analysis.theory.next_token.distributions import Floats, laws
from analysis.theory.next_token.editing import EditedTrajectories, simulate_editing
from analysis.theory.next_token.formulas import changed_share_of_eligible, editing_distance_reestimated_bound
from analysis.theory.next_token.recursions import edited_laws, redraw_law
from analysis.theory.next_token.simulate import models, simulate
from analysis.theory.next_token.trajectories import Trajectories, entropy
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.config.theory_next_token import LawConfig
from toedit.console import Progress

_PRIORS = {
    "reestimated": "edited, prior trained again",
    "first": "edited, prior of the first data",
    "real": "edited, prior = real law",
}
_BASELINES = {  # at n real tokens beside n synthetic ones
    "fully_synthetic": "no editing: trained on the model before",
    "partially_synthetic": "no editing: half real data",
    "accumulate": "no editing: all data so far",
}
_LINES = {
    "fully_synthetic": Line(_BASELINES["fully_synthetic"], VERMILION),
    "partially_synthetic": Line(_BASELINES["partially_synthetic"], ORANGE),
    "accumulate": Line(_BASELINES["accumulate"], PURPLE),
    "reestimated": Line(_PRIORS["reestimated"], BLUE),
    "first": Line(_PRIORS["first"], GREEN),
    "real": Line(_PRIORS["real"], SKY),
    "law_reestimated": Line(r"law of endless data, trained again ($h \to h^2$)", INK, "--", width=1.1),
    "law_first": Line(r"law of endless data, fixed prior ($h^{t+1}$)", QUIET, "--", width=1.1),
    "published": Line("Zhu et al., Table 15 (a language model)", INK, "", "s"),
}
_MEASURES = {
    "distance": Axis("TV to the first data", "log", trials=False),
    "eligible": Axis("eligible share", low=0, trials=False),
    "changed": Axis("changed share", "log", low=1e-5, trials=False),
    "entropy": Axis("entropy, nats", trials=False),
    "support": Axis("tokens that occur", trials=False),
}


def settings(config: Config) -> dict[str, Any]:
    settings = config.theory.next_token
    return {
        "law": only_law(config),
        "n": only(config, "n"),
        "contexts": settings.contexts,
        "editing": asdict(settings.editing),
        "generations": config.theory.generations,
        "seed": config.theory.seed,
    }


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    n, contexts, seed, columns = settings["n"], settings["contexts"], settings["seed"], settings["generations"] + 1
    p_CV = laws(LawConfig(**settings["law"]), contexts, seed)
    editing, temperatures = settings["editing"], settings["editing"]["temperatures"]
    threshold, top_k = editing["threshold"], editing["top_k"]
    runs = len(temperatures) * len(_PRIORS) + len(_BASELINES)
    rows: Rows = []
    cells = []
    with Progress("simulating", runs * contexts * columns, "generations") as progress:
        baselines = {
            strategy: simulate(strategy, p_CV, n, n, columns, contexts, seed, advance=progress.advance)
            for strategy in _BASELINES
        }
        cells += [[_BASELINES[name], *_cells(found, None)] for name, found in baselines.items()]
        for temperature in temperatures:
            panel = f"temperature {temperature:g}"
            for prior, label in _PRIORS.items():
                found = simulate_editing(
                    p_CV, n, prior, threshold, top_k, temperature, columns, contexts, seed, progress.advance
                )
                rows += _measured(panel, prior, found.data) + _rates(panel, prior, found)
                cells.append([f"{label}, {panel}", *_cells(found.data, found)])
            for strategy, trajectories in baselines.items():
                rows += _measured(panel, strategy, trajectories)
            first_CV = next(models("fully_synthetic", p_CV, n, n, seed))
            rows += _laws(panel, first_CV, threshold, top_k, temperature, columns)
            rows += _published(panel)
    table = Table(
        f"{settings['generations']} rounds in {contexts} contexts of {n} tokens, p = {threshold:g}, k = {top_k}",
        [
            "data",
            "TV to first",
            "entropy, first",
            "last",
            "tokens, first",
            "last",
            "eligible, first",
            "last",
            "changed",
        ],
        cells,
        [
            "TV: mean total variation to the data before any round; entropy in nats; tokens that occur in a context.",
            "Eligible: share that a round draws again; changed: share that the first round turns into other tokens.",
            f"An eligible token at P = {threshold:g} becomes another one with probability up to "
            + ", ".join(
                f"{changed_share_of_eligible(threshold, top_k, T):.2%} (temperature {T:g})" for T in temperatures
            )
            + ".",
            "Endless data, prior trained again, temperature 1: a total variation of at most "
            f"{editing_distance_reestimated_bound(threshold):.4f} (1 - p^2, for p above 1/2).",
        ],
    )
    return Found(table, rows)


def _measured(panel: str, series: str, found: Trajectories) -> Rows:
    """What any strategy has. Round 0 has no distance, which a logarithmic axis could not show either."""
    round_G = range(found.entropy_RG.shape[1])
    measures: dict[str, np.ndarray[Any, Any]] = {"entropy": found.entropy_RG, "support": found.support_RG}
    rows = simulated({"panel": panel, "measure": "distance"}, series, "round", round_G, found.l1_drift_RG / 2)[1:]
    for measure, value_RG in measures.items():
        rows += simulated({"panel": panel, "measure": measure}, series, "round", round_G, value_RG)
    return rows


def _rates(panel: str, series: str, found: EditedTrajectories) -> Rows:
    rows: Rows = []
    for measure, value_RG in (("eligible", found.eligible_RG), ("changed", found.changed_RG)):
        where = {"panel": panel, "measure": measure}
        rows += simulated(where, series, "round", range(value_RG.shape[1]), value_RG)
    return [row for row in rows if row["measure"] == "eligible" or row["value"] > 0]


def _laws(panel: str, first_CV: Floats, threshold: float, top_k: int, temperature: float, columns: int) -> Rows:
    """From the same first data, without the noise of later draws."""
    rows: Rows = []
    for series, prior_CV in (("law_reestimated", None), ("law_first", first_CV)):
        found, shares = edited_laws(first_CV, prior_CV, threshold, top_k, temperature, columns)
        values = {
            "distance": [np.abs(law_CV - first_CV).sum(axis=1).mean() / 2 for law_CV in found],
            "eligible": shares,
            "changed": [_changed(law_CV, prior_CV, threshold, top_k, temperature) for law_CV in found],
            "entropy": [entropy(law_CV).mean() for law_CV in found],
        }
        for measure, value_G in values.items():
            kept = [
                (g, value) for g, value in enumerate(value_G) if value > 1e-12 or measure in ("eligible", "entropy")
            ]
            rows += (
                curve({"panel": panel, "measure": measure}, series, "round", *zip(*kept, strict=True)) if kept else []
            )
    return rows


def _changed(law_CV: Floats, prior_CV: Floats | None, threshold: float, top_k: int, temperature: float) -> float:
    """E of the share that a round really changes: sum over eligible tokens of q (1 - probability of the same draw)."""
    prior = law_CV if prior_CV is None else prior_CV
    stays_CV = redraw_law(prior, top_k, temperature)
    return float(np.sum(law_CV * (prior >= threshold) * (1 - stays_CV), axis=1).mean())


def _published(panel: str) -> Rows:
    """Table 15's generations 1, 2, 3 are the data before any round, after one, after two."""
    shares = [row[0] / 100 for row in tables()["table15"]["rows"].values()]
    return curve({"panel": panel, "measure": "eligible"}, "published", "round", range(len(shares)), shares)


def _cells(data: Trajectories, rates: EditedTrajectories | None) -> list[str]:
    entropy_G, support_G = data.entropy_RG.mean(axis=0), data.support_RG.mean(axis=0)
    cells = [f"{data.l1_drift_RG[:, -1].mean() / 2:.4f}"]
    cells += [f"{entropy_G[0]:.3f}", f"{entropy_G[-1]:.3f}", f"{support_G[0]:.2f}", f"{support_G[-1]:.2f}"]
    if rates is None:
        return [*cells, "", "", ""]
    eligible_G = rates.eligible_RG.mean(axis=0)
    return [*cells, f"{eligible_G[0]:.2%}", f"{eligible_G[-1]:.2%}", f"{rates.changed_RG[:, 0].mean():.3%}"]


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    draw_grid(
        found.rows, paths, axis="round", lines=_LINES, measures=_MEASURES, x_label="rounds", width=4.0, height=1.9
    )


STUDY = Study("token_editing", settings, compute, draw)
