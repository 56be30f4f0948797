"""`theory=bound`: what iterated editing costs in linear regression, for one's own numbers.

    python run.py stage=theory theory=bound theory.d=10 theory.T=200 theory.masks=fresh theory.share=0.125
    python run.py stage=theory theory=bound theory.T=400 'theory.masks=[0.125,0.1176,0.1108]'

The exact error after `theory.generations` rounds, the corrected interval, both bounds of Theorem 2 as published
(Zhu et al. 2025) and whether their assumptions hold. A list of measured shares stands for rounds that edit random rows;
the ratio of successive shares is estimated from it, with an interval, and where the error settles is predicted.
Reads nothing; writes what every study writes, without a figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.table_files import Table
from analysis.theory.regression.bound_assumptions import assumptions, notes_of
from analysis.theory.regression.bound_case import Case, case_of
from analysis.theory.regression.bound_lines import Line, all_lines
from analysis.theory.regression.registry import FORMULAS
from analysis.theory.regression.settings import chosen, require_disjoint, require_finite_mean, require_small_enough
from analysis.theory.study import Found, Study
from toedit.config import Config

_KEYS = ("d", "T", "noise", "masks", "share", "ratio", "generations", "designs", "trials")


def _settings(config: Config) -> dict[str, Any]:
    theory = config.theory
    require_finite_mean(theory.d, theory.T)
    require_small_enough(theory.d, theory.T)
    if theory.masks == "disjoint":
        require_disjoint(theory.share, theory.generations)
    return chosen(config, *_KEYS)


def _compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    case = case_of(settings)
    lines, error = all_lines(case, settings)
    title = f"Iterated editing in linear regression: d = {case.d}, T = {case.T}, s = {case.noise:g}, {case.masks} masks"
    table = Table(
        title,
        ["", "error / v", "95 % interval", "error", "status"],
        [[line.quantity, _number(line.value), _interval(line), _absolute(line, case), line.status] for line in lines],
        notes_of(case, error),
    )
    summary = {
        "case": asdict(case),
        "v": case.unit,
        "assumptions": assumptions(case),
        "formulas": {
            entry.name: {
                "says": entry.says,
                "source": entry.source,
                "status": entry.status,
                "assumes": entry.assumptions,
            }
            for entry in FORMULAS.values()
        },
    }
    row = {"masks": case.masks, "rounds": str(case.rounds), "error / v": _number(error)}
    return Found(table, [_tidy(line, case) for line in lines], summary, row)


def _number(value: float) -> str:
    return "infinite" if math.isinf(value) else f"{value:.4g}"


def _interval(line: Line) -> str:
    return "" if line.low is None or line.high is None else f"{_number(line.low)} to {_number(line.high)}"


def _absolute(line: Line, case: Case) -> str:
    return _number(line.value * case.unit) if line.is_error else ""


def _tidy(line: Line, case: Case) -> dict[str, Any]:
    """A CSV row; an infinite number is an empty cell, as its quantity and status say."""

    def finite(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return {
        "quantity": line.quantity,
        "error_by_v": finite(line.value),
        "low": finite(line.low),
        "high": finite(line.high),
        "error": finite(line.value * case.unit) if line.is_error else None,
        "is_infinite": math.isinf(line.value),
        "status": line.status,
    }


STUDY = Study("bound", _settings, _compute)
