"""Fully synthetic training of three tokens, drawn in a triangle: a dot for each context, a panel for each generation.

Seddik et al. 2024, Figure 1, with n = 1000 read in both ways: of each context (above), and of all contexts together
(below). Contexts have random laws of their own. Reads nothing; writes what `study.py` says.

    python run.py stage=theory theory=simplex
    python run.py stage=theory theory=simplex theory.next_token.n=200 'theory.next_token.shown=[0,5,20,80]'
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.table_files import Table
from analysis.theory.next_token.curves import BLUE, QUIET, VERMILION, only, only_law
from analysis.theory.next_token.distributions import Floats, laws
from analysis.theory.next_token.formulas import collapse_time_diffusion
from analysis.theory.next_token.simulate import models
from analysis.theory.study import Found, Rows, Study
from toedit.config import Config
from toedit.config.checks import require
from toedit.config.theory_next_token import LawConfig

_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])


def settings(config: Config) -> dict[str, Any]:
    law, n, contexts = only_law(config), only(config, "n"), config.theory.next_token.contexts
    name = next(iter(config.theory.next_token.laws))
    width = len(law["probabilities"]) if law["kind"] == "list" else law["tokens"]
    require(width == 3, f"theory.next_token.laws.{name}.tokens", width, "must be 3, the corners of the triangle")
    require(n >= contexts, "theory.next_token.n", n, f"must be at least contexts={contexts}: read as a total, one each")
    return {
        "law": law,
        "n": n,
        "contexts": contexts,
        "shown": config.theory.next_token.shown,
        "seed": config.theory.seed,
    }


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    contexts, n = settings["contexts"], settings["n"]
    p_CV = laws(LawConfig(**settings["law"]), contexts, settings["seed"])
    readings = {f"n = {n} in each context": n, f"n = {n} in all, {n // contexts} in each context": n // contexts}
    rows: Rows = []
    cells = []
    for reading, each in readings.items():
        generations = islice(models("fully_synthetic", p_CV, each, 0, settings["seed"]), settings["shown"][-1])
        for generation, model_CV in enumerate([p_CV, *generations]):
            if generation in settings["shown"]:
                rows += _dots(reading, generation, model_CV)
                cells.append(_cells(f"{each}, {generation}", model_CV, p_CV))
    law_of_time = [np.mean([collapse_time_diffusion(p_V, each) for p_V in p_CV]) for each in readings.values()]
    table = Table(
        f"Fully synthetic training of {contexts} contexts with three tokens",
        ["n, generation", "contexts that collapsed", "mean concentration", "mean distance to p(0), TV"],
        cells,
        [
            f"Mean time to collapse by its diffusion law: {law_of_time[0]:,.0f} generations with n in each context, "
            f"{law_of_time[1]:,.0f} with n in all.",
            "Dots at the corners by generation 40, as in the published figure, need the second reading.",
        ],
    )
    return Found(table, rows)


def _dots(reading: str, generation: int, model_CV: Floats) -> Rows:
    names = ("p_1", "p_2", "p_3")
    return [
        {"reading": reading, "generation": generation, "context": c, **dict(zip(names, map(float, p_V), strict=True))}
        for c, p_V in enumerate(model_CV)
    ]


def _cells(name: str, model_CV: Floats, p_CV: Floats) -> list[str]:
    collapsed = int(np.sum(np.count_nonzero(model_CV, axis=1) == 1))
    concentration, distance = np.sum(model_CV**2, axis=1).mean(), np.abs(model_CV - p_CV).sum(axis=1).mean() / 2
    return [name, f"{collapsed} of {len(model_CV)}", f"{concentration:.3f}", f"{distance:.3f}"]


def draw(found: Found, paths: Mapping[str, Path]) -> None:
    readings = list(dict.fromkeys(row["reading"] for row in found.rows))
    shown = list(dict.fromkeys(row["generation"] for row in found.rows))
    with drawing(paths, width=max(1.75 * len(shown), 4.0), height=4.3) as figure:
        for part, reading in zip(figure.subfigures(len(readings), 1), readings, strict=True):
            part.suptitle(reading, fontsize=9)
            panels = part.subplots(1, len(shown), squeeze=False)
            for generation, panel in zip(shown, panels.flat, strict=True):
                own = [row for row in found.rows if (row["reading"], row["generation"]) == (reading, generation)]
                _triangle(panel, np.array([[row["p_1"], row["p_2"], row["p_3"]] for row in own]))
                panel.set_title(f"m = {generation}", fontsize=8.5)


def _triangle(panel: Any, p_CV: Floats) -> None:
    """Ternary plot: each law is its corners' mean, weighted by it. Collapsed contexts have a colour of their own."""
    outline = _CORNERS[[0, 1, 2, 0]]
    panel.plot(*outline.T, color=QUIET, lw=0.8)
    is_dirac_C = np.count_nonzero(p_CV, axis=1) == 1
    place_C2 = p_CV @ _CORNERS
    panel.scatter(*place_C2[~is_dirac_C].T, s=9, color=BLUE, alpha=0.6, lw=0, clip_on=False)
    panel.scatter(*place_C2[is_dirac_C].T, s=26, color=VERMILION, marker="D", lw=0, clip_on=False)
    for corner, label, side in zip(_CORNERS, ("token 1", "token 2", "token 3"), (-0.09, -0.09, 0.04), strict=True):
        panel.text(corner[0], corner[1] + side, label, ha="center", va="top" if side < 0 else "bottom", fontsize=6)
    for corner, token in zip(_CORNERS, range(3), strict=True):
        there = int(np.sum(p_CV[:, token] == 1))
        if there:
            panel.text(
                corner[0],
                corner[1] + (0.2 if token == 2 else -0.24),
                f"{there} collapsed",
                ha="center",
                va="bottom" if token == 2 else "top",
                fontsize=6,
                color=VERMILION,
            )
    panel.set(aspect="equal", xlim=(-0.15, 1.15), ylim=(-0.38, 1.15))
    panel.axis("off")


STUDY = Study("simplex", settings, compute, draw)
