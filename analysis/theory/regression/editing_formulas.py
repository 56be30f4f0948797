"""Closed forms of iterated editing: Theorems 1 and 2 of Zhu et al. 2025 as printed, and corrected forms beside them.

Errors are in units of v (`formulas.unit_error`); "rounds" is the number of editing rounds after the fit on real data,
r the share of the rows that a round edits. A mask M is diagonal with zeros and ones; tr M counts the edited rows.
`registry` holds source, status and assumptions of every function.

Why Theorem 1 needs a correction: with residuals R of the labels, H = X X^+ and Q = I - H the recursion of eq. 3 is
R <- (I - M Q) R + M E, and the fit's deviation from w* is X^+ R. One round gives X^+ (E_1 - M Q E_1 + M E_2). The
theorem has no middle term, which vanishes for M = 0 and M = I and where M and H commute: edited rows lose the noise
that the fit had averaged out with that of the other rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.theory.registry import DERIVED, LOOSE, NOT_AS_PRINTED
from analysis.theory.regression.formulas import squared_inverse_gram_trace, unit_error
from analysis.theory.regression.registry import formula

_ZHU = "Zhu et al. 2025"
_DISJOINT = "every row is edited at most once (the proof's M_i M_j = 0), so the shares sum to at most 1"


@formula(
    source=f"{_ZHU}, Theorem 1 and eq. 35",
    status=NOT_AS_PRINTED,
    assumptions="its proof needs masks that commute with H, and disjoint masks (eq. 16), which the theorem does not "
    "name; the trace of eq. 36 is read as tr(M X (X'X)^-2 X' M)",
)
def theorem_1_error(shares: Sequence[float]) -> float:
    """1 + sum r_i: what Theorem 1 gives for rounds that edit these shares."""
    return 1 + math.fsum(shares)


@formula(
    source="Theorem 1 with the term -X^+ M Q E_1", status=DERIVED, assumptions="large T; at finite T an upper bound"
)
def one_edit_error(share: float) -> float:
    """1 + r (2 - r): the error after one round that edits a share r of the rows."""
    return 1 + share * (2 - share)


@formula(
    source=f"{_ZHU}, Theorem 2, first bound",
    status=NOT_AS_PRINTED,
    assumptions="true for one round, for random masks whose shares sum to at most 1/2, for disjoint masks up to a "
    "share of ln 1.5 in all, for fixed rows up to a share of (sqrt 3 - 1)/2 at large T",
)
def theorem_2_bound() -> float:
    """2: the bound E(w_{n+1}) <= 2 v for any number of rounds."""
    return 2.0


@formula(
    source=f"{_ZHU}, Theorem 2, second bound (eq. 42), in units of v",
    status=LOOSE,
    assumptions="|M_i| = eta |M_{i-1}| with the Frobenius norm: 0/1 masks all have spectral norm 1; eta^2 is the ratio "
    "of successive shares; T > d + 3",
)
def theorem_2_geometric_bound(d: int, T: int, share: float, ratio: float) -> float:
    """1 + s^2 sqrt(E tr (X'X)^-2) sqrt(tr M_1) / (1 - eta) / v with eta = sqrt(ratio); infinite at ratio 1."""
    eta = math.sqrt(ratio)
    if eta >= 1:
        return math.inf
    return 1 + math.sqrt(squared_inverse_gram_trace(d, T) * share * T) / (1 - eta) / unit_error(d, T)


@formula(source="the recursion of eq. 3", status=DERIVED, assumptions=f"large T; {_DISJOINT}")
def disjoint_error(shares: Sequence[float]) -> float:
    """Rounds that edit disjoint groups of rows with these shares, e.g. k groups of 1/k: 2, 2.6875, ... below 2e - 1.

    The fit's deviation is a sum of independent parts: of the labels never edited (a product of all factors 1 + r_i), of
    every group's first labels, and of its second ones.
    """
    untouched = math.prod(1 + share for share in shares)
    parts, after = [(1 - math.fsum(shares)) * untouched**2], untouched
    for share in shares:
        after /= 1 + share  # the factors of the rounds that follow
        parts.append(share * ((untouched - after) ** 2 + after**2))
    return math.fsum(parts)


@formula(
    source="disjoint_error with k equal groups, k to infinity", status=DERIVED, assumptions=f"large T; {_DISJOINT}"
)
def disjoint_flow_error(edited: float) -> float:
    """2 e^phi - 1: a share phi of the rows edited in many small disjoint rounds."""
    return 2 * math.exp(edited) - 1


@formula(source="disjoint_flow_error at phi = 1", status=DERIVED, assumptions=f"large T; {_DISJOINT}")
def disjoint_limit() -> float:
    """2 e - 1 = 4.437: the largest error of disjoint editing: bounded, as the theorem says, by another constant."""
    return disjoint_flow_error(1)


@formula(source="disjoint_flow_error = 2, solved for phi", status=DERIVED, assumptions=f"large T; {_DISJOINT}")
def disjoint_share_within_two() -> float:
    """ln 1.5 = 0.405: how much may be edited in small disjoint rounds before the error passes 2 v."""
    return math.log(1.5)


_RANDOM = "rounds edit every row with probability r_i, independently of everything; X fixed; T > d + 1; any T and n"


@formula(source="in place of Theorem 2", status=DERIVED, assumptions=_RANDOM)
def random_edits_lower(shares: Sequence[float]) -> float:
    """1 + sum r_i: no smaller than this."""
    return 1 + math.fsum(shares)


@formula(source="in place of Theorem 2", status=DERIVED, assumptions=f"{_RANDOM}. Equality as T grows")
def random_edits_upper(shares: Sequence[float]) -> float:
    """1 + sum r_i (2 - r_i): no larger than this; bounded in n exactly if the shares have a finite sum.

    With D = Q Cov(R | X) Q / s^2, averaging over the mask gives an increment of the error of
    r (1 - r) tr(X^+ diag(D) X^+') + r tr (X'X)^-1, and D <= Q <= I by induction.
    """
    return 1 + math.fsum(share * (2 - share) for share in shares)


@formula(source="random_edits_upper with a constant share", status=DERIVED, assumptions=_RANDOM)
def fresh_edits_error(share: float, rounds: int) -> float:
    """1 + n r (2 - r): new random rows in every round make the error grow without bound."""
    return 1 + rounds * share * (2 - share)


@formula(source="random_edits_upper with r_i = r q^(i-1)", status=DERIVED, assumptions=f"{_RANDOM}; q < 1")
def geometric_error(share: float, ratio: float, rounds: int) -> float:
    """1 + 2 r (1 - q^n)/(1 - q) - r^2 (1 - q^2n)/(1 - q^2): rounds whose shares fall by the ratio q."""
    return random_edits_upper([share * ratio**i for i in range(rounds)])


@formula(source="the limit of geometric_error", status=DERIVED, assumptions=f"{_RANDOM}; q < 1, else it is infinite")
def geometric_plateau(share: float, ratio: float) -> float:
    """1 + 2 r/(1 - q) - r^2/(1 - q^2): where the error settles."""
    if ratio >= 1:
        return math.inf if share > 0 else 1.0
    return 1 + 2 * share / (1 - ratio) - share**2 / (1 - ratio**2)


@formula(
    source="the sum of r q^(i-1)", status=DERIVED, assumptions="above 1 no masks with M_i M_j = 0 have these shares"
)
def geometric_edited(share: float, ratio: float) -> float:
    """r / (1 - q): what all rounds edit together, in numbers of rows by T."""
    if ratio >= 1:
        return math.inf if share > 0 else 0.0
    return share / (1 - ratio)
