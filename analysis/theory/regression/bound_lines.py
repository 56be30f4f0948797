"""The lines of `theory=bound`: exact errors of a case, closed forms, published bounds, each with its status."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.theory.regression import editing_formulas, exact, formulas
from analysis.theory.regression.bound_case import Case
from analysis.theory.regression.registry import FORMULAS
from analysis.theory.regression.simulate import mean_and_error, simulate
from analysis.theory.regression.strategies import ConfidenceMasks, Edit, Floats, disjoint_groups
from toedit.console import Progress


@dataclass(frozen=True)
class Line:
    """One number in units of v; `low` and `high` are a 95 % interval."""

    quantity: str
    value: float
    status: str
    low: float | None = None
    high: float | None = None
    is_error: bool = True
    """False: not an error, so it has no absolute value."""


def by_formula(quantity: str, function: Callable[..., float], *arguments: Any) -> Line:
    """A closed form with the status that the registry gives it."""
    return Line(quantity, function(*arguments), FORMULAS[function.__name__].status)


def all_lines(case: Case, settings: Mapping[str, Any]) -> tuple[list[Line], float]:
    """The lines, and the error after the last round."""
    n = case.rounds
    error = simulated_lines(case, settings) if case.masks == "confidence" else exact_lines(case, settings)
    unedited = [
        by_formula(f"replace, {n} rounds", formulas.replace_error, n),
        by_formula(f"accumulate, {n} rounds", formulas.accumulate_error, n),
    ]
    published = [
        by_formula("Theorem 1, as printed", editing_formulas.theorem_1_error, case.share_N),
        by_formula("Theorem 2, first bound", editing_formulas.theorem_2_bound),
    ]
    if case.ratio:
        arguments = (case.d, case.T, case.share_N[0], case.ratio.value)
        published.append(
            by_formula("Theorem 2, geometric bound", editing_formulas.theorem_2_geometric_bound, *arguments)
        )
    real = Line("fit on real data: v", 1.0, FORMULAS["unit_error"].status)
    return [real, *error, *corrected_lines(case), *published, *unedited], error[0].value


def exact_lines(case: Case, settings: Mapping[str, Any]) -> list[Line]:
    """The exact error given X after the last round (and after the measured ones), averaged over X."""
    edited = round(case.share_N[0] * case.T)
    settles = case.T - edited > case.d + 1

    def errors(X_Td: Floats) -> Floats:
        if case.masks == "fixed":
            stationary = [exact.fixed_rows_stationary(X_Td, edited)] if settles else []
            return np.append(exact.fixed_rows(X_Td, edited, case.rounds), stationary)
        if case.masks == "disjoint":
            return exact.disjoint_rows(X_Td, disjoint_groups(case.share_N, case.T))
        return exact.random_edits(X_Td, np.array(case.share_N)[:, None])[:, 0]

    size = {"d": case.d, "T": case.T, "designs": settings["designs"], "seed": settings["seed"]}
    mean_G, error_G = exact.averaged(errors, **size, title="exact errors")

    def line(generation: int, when: str) -> Line:
        mean, error = float(mean_G[generation]), float(error_G[generation])
        return _averaged(f"exact given X, {when}", mean, error, settings["designs"], "exact")

    lines = [line(case.rounds, f"{case.rounds} rounds")]
    if 0 < case.measured < case.rounds:
        lines.append(line(case.measured, f"the {case.measured} measured rounds"))
    if case.masks == "fixed":
        lines.append(line(-1, "where it settles") if settles else Line("exact: where it settles", math.inf, "exact"))
    return lines


def _averaged(quantity: str, mean: float, error: float, draws: int, status: str, is_error: bool = True) -> Line:
    """A mean with the interval of its standard error; a single draw has none."""
    half = 1.96 * error
    low, high = (mean - half, mean + half) if draws > 1 else (None, None)
    return Line(quantity, mean, status, low, high, is_error)


def simulated_lines(case: Case, settings: Mapping[str, Any]) -> list[Line]:
    """Masks that depend on the labels have no exact engine: the simulator's mean."""
    n, lines = case.rounds, []
    for measure, quantity in (
        ("error", f"simulated, {n} rounds"),
        ("label_variance", f"residual variance (real: {1 - case.d / case.T:.3g})"),
    ):
        with Progress(quantity, settings["trials"] * n, "trial-rounds") as progress:
            found = simulate(
                {"edit": Edit(ConfidenceMasks(case.share_N[0]))},
                d=case.d, T=case.T, noise=case.noise, generations=n, trials=settings["trials"], seed=settings["seed"],
                measure=measure, progress=progress,
            )  # fmt: skip
        mean_G, error_G = mean_and_error(found["edit"][:, -1:])
        unit = case.unit if measure == "error" else 1.0
        mean, error = float(mean_G[0]) / unit, float(error_G[0]) / unit
        lines.append(_averaged(quantity, mean, error, settings["trials"], "simulated", measure == "error"))
    return lines


def corrected_lines(case: Case) -> list[Line]:
    """What holds in place of Theorem 2, and where the error settles."""
    if case.masks == "disjoint":
        return [
            by_formula(f"large T, {case.rounds} rounds", editing_formulas.disjoint_error, case.share_N),
            by_formula("largest, disjoint, large T", editing_formulas.disjoint_limit),
        ]
    if case.masks == "fixed":
        return [
            by_formula(f"large T, {case.rounds} rounds", formulas.fixed_rows_error, case.share_N[0], case.rounds),
            by_formula("large T, where it settles", formulas.fixed_rows_limit, case.share_N[0]),
        ]
    if not case.has_random_masks:
        return []
    interval = [
        by_formula("corrected interval, lower", editing_formulas.random_edits_lower, case.share_N),
        by_formula("corrected interval, upper", editing_formulas.random_edits_upper, case.share_N),
    ]
    return [*interval, *_settling(case)]


def _settling(case: Case) -> list[Line]:
    """The plateau of random masks, with the interval that an estimated ratio gives it."""
    if case.ratio is None:
        if case.masks == "measured" or case.share_N[0] == 0:
            return []
        return [Line("where it settles", math.inf, FORMULAS["fresh_edits_error"].status)]
    share, ratio = case.share_N[0], case.ratio
    line = by_formula("where it settles, at most", editing_formulas.geometric_plateau, share, ratio.value)
    if not case.measured:
        return [line]
    estimate = Line("estimated ratio of shares", ratio.value, "estimated", ratio.low, ratio.high, is_error=False)
    low, high = (
        None if end is None else editing_formulas.geometric_plateau(share, end) for end in (ratio.low, ratio.high)
    )
    return [estimate, Line(line.quantity, line.value, line.status, low, high)]
