"""How much synthetic data a context carries: the partially synthetic next-token model of Seddik et al. 2024.

A context was seen N times in real text; p^(1) are its empirical frequencies. Every generation trains on the same N real
tokens and n that the model before it has drawn. With K below, for every n and for all generations m,

    E ||p^(m) - p^(1)||_1 <= sqrt(n K / (N (N + 2 n)))

    n <= epsilon^2 N^2 / (K - 2 epsilon^2 N)  keeps it below epsilon; any n does where N >= K / (2 epsilon^2).

Status: derived here (as `analysis.theory.next_token.drift_formulas`, for all contexts at once). Given p^(1),
p^(m+1) - p^(1) is n / (N + n) times (draws - p^(1)), whose mean is p^(m) - p^(1) and whose noise is new each time.
Coordinate i adds at most p_i (1 - p_i) / n of variance, so its geometric series ends at
n p_i (1 - p_i) / (N (N + 2 n)); Jensen and Cauchy-Schwarz make that the bound with the `rigorous` K. The `sharp` K
takes the mean of a Gaussian's absolute value, sqrt(2 / pi): an approximation, too large at small counts.

Given a corpus, p^(1) and its support are known: nothing else is estimated. Over all corpora of its size the mean drift
depends on the true support, which Chao's estimator (Chao 1984, bias-corrected) bounds from below.

Shapes: C contexts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def rigorous_k(support_C: ArrayLike) -> Floats:
    """Number of possible next tokens less one. Status: holds."""
    return np.asarray(support_C, np.float64) - 1


def sharp_k(root_sum_C: ArrayLike) -> Floats:
    """2 / pi times the square of sum_i sqrt(p_i (1 - p_i)). Status: derived here, Gaussian approximation."""
    return 2 / math.pi * np.asarray(root_sum_C, np.float64) ** 2


def allowed_amount(real_C: ArrayLike, k_C: ArrayLike, epsilon: float) -> Floats:
    """The largest number of synthetic tokens, by context; infinite where any number is safe. Status: derived here."""
    real_C, k_C = np.asarray(real_C, np.float64), np.asarray(k_C, np.float64)
    room_C = k_C - 2 * epsilon**2 * real_C
    with np.errstate(divide="ignore"):
        return np.where(room_C > 0, (epsilon * real_C) ** 2 / np.where(room_C > 0, room_C, 1), np.inf)


def drift_bound(real: ArrayLike, synthetic: ArrayLike, k: ArrayLike) -> Floats:
    """The bound on E ||p^(m) - p^(1)||_1, all generations; `synthetic` may be infinite. Status: derived here."""
    real, k = np.asarray(real, np.float64), np.asarray(k, np.float64)
    with np.errstate(divide="ignore"):
        per_synthetic = real / np.asarray(synthetic, np.float64)  # N / n, 0 where n is infinite
    return np.sqrt(k / (real * (per_synthetic + 2)))


def largest_share(need: ArrayLike, epsilon: float) -> Floats:
    """The largest synthetic share n / (N + n) of a context with K / N = `need`: min(1, epsilon^2 / (need - epsilon^2)).

    The same formula as `allowed_amount`. Where the same share goes to every context, it depends on the contexts through
    K / N alone.
    """
    beyond = np.asarray(need, np.float64) - epsilon**2
    return np.where(beyond > epsilon**2, epsilon**2 / np.where(beyond > 0, beyond, 1), 1.0)


def published_amount(real_C: ArrayLike, support_C: ArrayLike, epsilon: float) -> Floats:
    """Equation (11) of Seddik et al. 2024 (v1): 2 pi / e^2 min{s - 2, log(sqrt(2) pi N epsilon / (6 e s))}.

    Status: does not hold as printed. It leaves out the factor sqrt(n) of the bound in their Theorem 3, from which it
    follows. What it allows is safe all the same, and very little: it is negative unless N epsilon exceeds
    6 e s / (sqrt(2) pi), while the amount grows with N^2 and not with log N. How far the square root reaches is
    ambiguous in print; this reading is the one that Theorem 3 gives.
    """
    real_C, support_C = np.asarray(real_C, np.float64), np.asarray(support_C, np.float64)
    logarithm_C = np.log(math.sqrt(2) * math.pi * real_C * epsilon / (6 * math.e * support_C))
    return 2 * math.pi / math.e**2 * np.minimum(support_C - 2, logarithm_C)


def chao1(support_C: ArrayLike, once_C: ArrayLike, twice_C: ArrayLike) -> Floats:
    """Chao's lower bound of the true support: seen + f1 (f1 - 1) / (2 (f2 + 1)). Status: holds in the mean."""
    once_C, twice_C = np.asarray(once_C, np.float64), np.asarray(twice_C, np.float64)
    return np.asarray(support_C, np.float64) + once_C * (once_C - 1) / (2 * (twice_C + 1))
