"""Whether the assumptions of Theorems 1 and 2 (Zhu et al. 2025) hold for a case: sentences below its table."""

from __future__ import annotations

import math

from analysis.theory.regression import editing_formulas
from analysis.theory.regression.bound_case import Case

_DISJOINT = {
    "disjoint": "yes",
    "fixed": "no, the same rows are edited in every round",
    "confidence": "no, what the model is sure of is edited again",
}


def assumptions(case: Case) -> dict[str, bool | None]:
    """What the proofs need: disjoint masks, sum tr M_i <= T, a geometric decay (None: not claimed)."""
    total = math.fsum(case.share_N)
    return {
        "disjoint": case.masks == "disjoint" or case.rounds == 1 or total == 0,
        "edited_rows_at_most_T": total <= 1 + 1e-9,
        "geometric_with_all_rounds_at_most_T": None
        if case.ratio is None
        else editing_formulas.geometric_edited(case.share_N[0], case.ratio.value) <= 1,
    }


def notes_of(case: Case, error: float) -> list[str]:
    holds, total = assumptions(case), math.fsum(case.share_N)
    why = _DISJOINT.get(case.masks, "no, random rows are drawn again in later rounds")
    notes = [
        f"v = s^2 d / (T - d - 1) = {case.unit:.6g}, finite because T = {case.T} > d + 1 = {case.d + 1}",
        f"assumed by both proofs, M_i M_j = 0 (no row is edited twice): {'yes' if holds['disjoint'] else why}",
        f"implied by it, sum of tr M_i <= T: the sum is {total:.4g} T, "
        + ("so it can hold" if holds["edited_rows_at_most_T"] else "so it cannot hold"),
    ]
    if case.ratio:
        notes += _geometric(case)
    if case.measured:
        notes.append(
            "measured shares stand for random rows; where rows are edited that the model is sure of, the error grows "
            "more slowly, and the labels' noise grows: theory.masks=confidence"
        )
    if case.d + 3 >= case.T:
        notes.append(f"T <= d + 3 = {case.d + 3}: errors have a mean and no variance; simulations do not settle")
    shown = f"the error is {error:.4g} v"
    notes.append(f"E <= 2 v after {case.rounds} rounds: {'holds' if error <= 2 else 'does not hold'} here, {shown}")
    return notes


def _geometric(case: Case) -> list[str]:
    assert case.ratio is not None
    ratio = case.ratio.value
    if ratio >= 1:
        return [
            f"shares do not fall (ratio {ratio:.4g}): random edits at this pace have no plateau, and no geometric bound"
        ]
    edited = editing_formulas.geometric_edited(case.share_N[0], ratio)
    beyond = ": more than T, which no disjoint masks can do" if edited > 1 else ""
    return [
        f"geometric decay |M_i| = eta |M_(i-1)|: impossible in the spectral norm, where every mask has norm 0 or 1; in "
        f"the Frobenius norm eta = {math.sqrt(ratio):.4g}",
        f"all rounds of that decay edit {edited:.4g} T rows together{beyond}",
    ]
