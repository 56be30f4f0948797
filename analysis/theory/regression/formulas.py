"""Closed forms of the strategies that do not edit: replace, accumulate, accumulate-subsample, keep or add real rows.

Errors are in units of v = s^2 d / (T - d - 1), the error of a fit on real data (`unit_error`). "rounds" is the number
of generations after that fit. "Large T" means T to infinity at fixed d. `registry` holds source, status and
assumptions of every function.
"""

from __future__ import annotations

import math

from analysis.theory.registry import DERIVED, HOLDS, NOT_AS_PRINTED
from analysis.theory.regression.registry import formula

_GERSTGRASSER = "Gerstgrasser et al. 2024"


@formula(
    source="Zhu et al. 2025, Lemma 3 (A.2) and eq. 7 with one generation",
    status=HOLDS,
    assumptions="T > d + 1, else the mean is infinite",
)
def unit_error(d: int, T: int, noise: float = 1.0) -> float:
    """v = s^2 d / (T - d - 1): the mean error of a least-squares fit on real data."""
    return noise**2 * d / (T - d - 1) if d + 1 < T else math.inf


@formula(
    source="moments of the inverse Wishart law; used by Zhu et al. 2025, eq. 42",
    status=DERIVED,
    assumptions="T > d + 3; Sigma = I",
)
def squared_inverse_gram_trace(d: int, T: int) -> float:
    """E tr (X'X)^-2 = d (T - 1) / ((T - d) (T - d - 1) (T - d - 3))."""
    return d * (T - 1) / ((T - d) * (T - d - 1) * (T - d - 3)) if d + 3 < T else math.inf


@formula(
    source="Zhu et al. 2025, eq. 7: E(w_n) = n v",
    status=HOLDS,
    assumptions="T > d + 1; exact, for one X as for a new X in every generation",
)
def replace_error(rounds: int) -> float:
    """n + 1 after n rounds: every generation adds the error of one fit."""
    return rounds + 1.0


@formula(
    source="Zhu et al. 2025, Section 2: E(w_{n+1}) = n v",
    status=NOT_AS_PRINTED,
    assumptions="the index is one too large: eq. 7 of the same paper has it right",
)
def replace_error_section_2(rounds: int) -> float:
    """n after n rounds, as Section 2 prints it."""
    return float(rounds)


@formula(
    source=_GERSTGRASSER,
    status=HOLDS,
    assumptions="T > d + 1; the same X in every generation. With a new X each time it lies above what is measured",
)
def accumulate_error(rounds: int) -> float:
    """Sum of 1 / i^2 for i = 1 ... n + 1 after n rounds."""
    return math.fsum(1 / i**2 for i in range(1, rounds + 2))


@formula(source=_GERSTGRASSER, status=HOLDS, assumptions="those of accumulate_error")
def accumulate_limit() -> float:
    """pi^2 / 6: the least upper bound of accumulate_error."""
    return math.pi**2 / 6


@formula(
    source="the setting of Kazdan et al. 2024, who report a plateau",
    status=DERIVED,
    assumptions="large T; T rows drawn without replacement from all rows so far",
)
def accumulate_subsample_error(rounds: int) -> float:
    """1 + sum 1/i^2 + 2 sum (H_i - 1)/(i (i + 1)) + 2 (H_g - 1)/g for g = n + 1, H_i harmonic numbers.

    The sums run over 2 <= i <= g and 2 <= i < g. Two samples from overlapping pools share noise: the covariance of the
    noise of generations m < g is v / g, and generation g + 1 inherits a share 1 / (g + 1) of that of generation g.
    """
    last = rounds + 1
    harmonic, terms = 1.0, [1.0]
    for i in range(2, last + 1):
        harmonic += 1 / i
        terms.append(1 / i**2)
        if i < last:
            terms.append(2 * (harmonic - 1) / (i * (i + 1)))
    return math.fsum([*terms, 2 * (harmonic - 1) / last])


@formula(source="the limit of accumulate_subsample_error", status=DERIVED, assumptions="those of its series")
def accumulate_subsample_limit() -> float:
    """pi^2 / 2 - 2 = 2.9348: the plateau of accumulate-subsample."""
    return math.pi**2 / 2 - 2


@formula(
    source="the fixed rows of the editing recursion (Zhu et al. 2025, eq. 3)",
    status=DERIVED,
    assumptions="large T; the same share r of the rows is synthetic in every generation, the others stay real",
)
def fixed_rows_error(share: float, rounds: int) -> float:
    """r (1 - r^2g) / (1 - r^2) + (1 - r^g)^2 / (1 - r) for g = n + 1, r the share that is not real; n + 1 at r = 1."""
    if share == 1:
        return rounds + 1.0
    last = rounds + 1
    return share * (1 - share ** (2 * last)) / (1 - share**2) + (1 - share**last) ** 2 / (1 - share)


@formula(
    source="the limit of fixed_rows_error",
    status=DERIVED,
    assumptions="large T. At finite T it is an underestimate, and infinite once fewer than d + 2 rows stay real",
)
def fixed_rows_limit(share: float) -> float:
    """(1 + 2 r) / (1 - r^2): where the error settles while a share 1 - r of the rows stays real."""
    return (1 + 2 * share) / (1 - share**2) if share < 1 else math.inf


@formula(
    source="fixed_rows_limit over 1 / (1 - r), the error of a fit on the real rows alone",
    status=DERIVED,
    assumptions="large T",
)
def fixed_rows_cost(share: float) -> float:
    """(1 + 2 r) / (1 + r), less than 1.5: the error by that of training on the rows that stayed real, alone."""
    return (1 + 2 * share) / (1 + share)


@formula(source="fixed_rows_limit, solved for r", status=DERIVED, assumptions="large T; factor >= 1")
def fixed_rows_share(factor: float) -> float:
    """(sqrt(1 + k (k - 1)) - 1) / k: the share of synthetic rows at which the error settles at k times v."""
    return (math.sqrt(1 + factor * (factor - 1)) - 1) / factor


@formula(
    source="the same argument for real rows that are drawn anew",
    status=DERIVED,
    assumptions="large T; every row is synthetic with probability r, otherwise its real label is drawn anew",
)
def fresh_real_rows_error(share: float, rounds: int) -> float:
    """Sum of r^2i for i = 0 ... n after n rounds."""
    return math.fsum(share ** (2 * i) for i in range(rounds + 1))


@formula(source="the limit of fresh_real_rows_error", status=DERIVED, assumptions="those of the sum")
def fresh_real_rows_limit(share: float) -> float:
    """1 / (1 - r^2): where the error settles with new real labels in a share 1 - r of the rows."""
    return 1 / (1 - share**2) if share < 1 else math.inf
