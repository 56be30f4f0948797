"""Partially synthetic training: concentration, distance to the first model, how much synthetic data is safe.

Each context on its own: N real tokens, the same in all generations, and n tokens of the model before. a = n/(N+n),
beta = a ((1 + 1/N) a - 1/N), D = 1 + (1 + 1/N) a. S_m = E||p^(m)||^2, V_m = E||p^(m) - p^(1)||_2^2, s~ = `support`,
`generation` m counted from 1, where p^(1) is the model of the real tokens alone. Status: `formulas.FORMULAS`.
"""

from __future__ import annotations

import math

import numpy as np

from analysis.theory.next_token.distributions import Floats
from analysis.theory.next_token.registry import formula

_MODEL = "N fixed real tokens and n of the model before, in each context"
_C0, _C1 = math.e**3 / (2 * math.pi), 6 * math.e / math.pi**1.5  # of Theorem 3


def _shares(N: int, n: int) -> tuple[float, float, float]:
    """a, beta, D."""
    a = n / (N + n)
    return a, a * ((1 + 1 / N) * a - 1 / N), 1 + (1 + 1 / N) * a


@formula("Theorem 2, equation (9), as printed in v1", "does not hold as printed", f"{_MODEL}; a sign, see below")
def concentration_partially_synthetic_published(S_0: float, N: int, n: int, generation: int) -> float:
    """S_m with - (a/N) beta^(m-1) in the second bracket. At m = 1 it does not give S_1 = 1/N + (1 - 1/N) S_0, and it
    does not solve the recursion that it is derived from; with + in that place it does both. The limit is the same."""
    a, beta, D = _shares(N, n)
    power = beta ** (generation - 1)
    first = (1 + 2 * a - (1 - 1 / N) * a * power) / N
    return (first + (1 - 1 / N) * S_0 * (1 + a - a / N * power)) / D


@formula("Theorem 2, equation (9), with the sign of the recursion", "derived here", _MODEL)
def concentration_partially_synthetic(S_0: float, N: int, n: int, generation: int) -> float:
    """S_m = S* - beta^(m-1) (1 - 1/N) a (1 - S_0)/(N D), exactly."""
    a, beta, D = _shares(N, n)
    return concentration_limit(S_0, N, n) - beta ** (generation - 1) * (1 - 1 / N) * a * (1 - S_0) / (N * D)


@formula("Theorem 2, equation (9), m -> infinity", "holds", _MODEL)
def concentration_limit(S_0: float, N: int, n: int) -> float:
    """S* = ((1 + 2a)/N + (1 - 1/N)(1 + a) S_0)/D, the same with either sign of (9)."""
    a, _, D = _shares(N, n)
    return ((1 + 2 * a) / N + (1 - 1 / N) * (1 + a) * S_0) / D


@formula("the remark after Theorem 2", "does not hold as printed", f"{_MODEL}; n much larger than N, m fixed")
def concentration_many_synthetic_published(S_0: float, N: int) -> float:
    """S_m ~ 1/N + (1 - 1/N) (2 - 1/N)/(2 + 1/N) S_0: what the printed sign of (9) leads to."""
    return 1 / N + (1 - 1 / N) * (2 - 1 / N) / (2 + 1 / N) * S_0


@formula("the remark after Theorem 2, corrected", "derived here", f"{_MODEL}; n much larger than N, m fixed")
def concentration_many_synthetic(S_0: float, N: int) -> float:
    """S_m -> S_1 = 1/N + (1 - 1/N) S_0: many synthetic tokens repeat the model before them."""
    return 1 / N + (1 - 1 / N) * S_0


@formula(
    "Theorem 3, equation (10)",
    "loose",
    f"{_MODEL}; s tokens; more than 2, which no L1 distance exceeds, unless N is above about 6 s",
)
def drift_bound_published_log10(N: int, n: int, s: int) -> float:
    """log10 of the bound E||p^(m) - p^(1)||_1 < (1/N) sqrt(pi n/2) G_n(s); the bound itself overflows soon.

    G_n(s) = C1 s e^(C0 n/e) where C0 n/e + 2 <= s; C1 s (C0 n/s)^(s/2) where C0 n/4 + 2 <= s below that; 2^s - 2
    where s < C0 n/4 + 2; C0 = e^3/(2 pi), C1 = 6 e/pi^(3/2).
    """
    if _C0 * n / math.e + 2 <= s:
        log_G = math.log(_C1 * s) + _C0 * n / math.e
    elif _C0 * n / 4 + 2 <= s:
        log_G = math.log(_C1 * s) + s / 2 * math.log(_C0 * n / s)
    else:
        log_G = s * math.log(2) + math.log1p(-(2.0 ** (1 - s)))
    return (0.5 * math.log(math.pi * n / 2) - math.log(N) + log_G) / math.log(10)


@formula("the limit of V_(m+1) = a^2 ((1 - S_m)/n + V_m)", "derived here", f"{_MODEL}; m -> infinity, from below")
def squared_drift_limit(S_0: float, N: int, n: int) -> float:
    """V = n (1 - S*)/(N (N + 2n)), exactly."""
    return n * (1 - concentration_limit(S_0, N, n)) / (N * (N + 2 * n))


@formula("V for any n", "derived here", f"{_MODEL}; every generation")
def squared_drift_any_count(S_0: float, N: int, n: int) -> float:
    """V_m <= (1 - S*)/(2N), however many synthetic tokens there are: N real ones tie the model down."""
    return (1 - concentration_limit(S_0, N, n)) / (2 * N)


@formula("Cauchy-Schwarz and Jensen from V_m", "derived here", f"{_MODEL}; every generation")
def l1_drift_bound_by_support(squared_drift: float, support: int) -> float:
    """E||p^(m) - p^(1)||_1 <= sqrt(s~ V_m)."""
    return math.sqrt(support * squared_drift)


@formula("Jensen for each token", "derived here", f"{_MODEL}; every generation")
def l1_drift_bound(squared_drift: float, p_V: Floats) -> float:
    """E||p^(m) - p^(1)||_1 <= sqrt(V_m/(1 - S_0)) sum_i sqrt(p_i (1 - p_i)).

    Of token i, E(p_i^(m) - p_i^(1))^2 = V_m p_i (1 - p_i)/(1 - S_0): all tokens obey one recursion. In the limit this
    is at most `l1_drift_limit_bound`.
    """
    return math.sqrt(squared_drift / (1 - float(np.sum(p_V**2)))) * _deviation(p_V)


@formula("the mean of |normal| for each token", "derived here", f"{_MODEL}; N p_i large, so that drifts are normal")
def l1_drift_gaussian(squared_drift: float, p_V: Floats) -> float:
    """E||p^(m) - p^(1)||_1 ~ sqrt(2/pi) times `l1_drift_bound`. Rare tokens move less often and further, so that
    their mean distance is smaller: the value is then too large, never by more than the bound."""
    return math.sqrt(2 / math.pi) * l1_drift_bound(squared_drift, p_V)


@formula("`l1_drift_bound` with S* >= S_0", "derived here", f"{_MODEL}; every generation")
def l1_drift_limit_bound(p_V: Floats, N: int, n: int) -> float:
    """E||p^(m) - p^(1)||_1 <= sqrt(n/(N (N + 2n))) sum_i sqrt(p_i (1 - p_i))."""
    return math.sqrt(n / (N * (N + 2 * n))) * _deviation(p_V)


@formula("`l1_drift_limit_bound` and Cauchy-Schwarz", "derived here", f"{_MODEL}; every generation")
def l1_drift_limit_bound_by_support(support: int, N: int, n: int) -> float:
    """E||p^(m) - p^(1)||_1 <= sqrt(n (s~ - 1)/(N (N + 2n))): for a law of which the support alone is known."""
    return math.sqrt(n * (support - 1) / (N * (N + 2 * n)))


@formula("sqrt(2/pi) times `l1_drift_limit_bound`", "derived here", f"{_MODEL}; m -> infinity; N p_i large")
def l1_drift_limit_gaussian(p_V: Floats, N: int, n: int) -> float:
    """E||p^(m) - p^(1)||_1 ~ sqrt(2 n/(pi N (N + 2n))) sum_i sqrt(p_i (1 - p_i))."""
    return math.sqrt(2 / math.pi) * l1_drift_limit_bound(p_V, N, n)


@formula(
    "equation (11)",
    "does not hold as printed",
    f"{_MODEL}; L1 distance below epsilon; the extent of its square root is our reading, the one that Theorem 3 gives",
)
def largest_synthetic_count_published(N: int, epsilon: float, s: int) -> float:
    """n <= 2 pi e^-2 min{s - 2, ln(sqrt(2) pi N epsilon/(6 e s))}.

    It leaves out Theorem 3's sqrt(n), and is below 0 (no synthetic token at all) while N epsilon < 6 e s/(sqrt(2) pi).
    That n must grow as log N is a property of the bound: see `largest_synthetic_count`, which grows as N^2.
    """
    logarithm = math.log(math.sqrt(2) * math.pi * N * epsilon / (6 * math.e * s))
    return 2 * math.pi * math.e**-2 * min(s - 2, logarithm)


@formula("V for all generations, solved for n", "derived here", f"{_MODEL}; all generations at once")
def largest_synthetic_count(N: int, epsilon: float, spread: float) -> float:
    """The largest n that keeps E||p^(m) - p^(1)||_1 <= epsilon for all m: epsilon^2 N^2/(K - 2 epsilon^2 N).

    Infinite where N >= K/(2 epsilon^2). K is `spread_rigorous` (a guarantee) or `spread_sharp` (the value, where drifts
    are normal).
    """
    room = spread - 2 * epsilon**2 * N
    return epsilon**2 * N**2 / room if room > 0 else math.inf


@formula("K of the rigorous amount", "derived here", f"{_MODEL}; s~ tokens have a positive probability")
def spread_rigorous(support: int) -> float:
    """K = s~ - 1 >= (sum_i sqrt(p_i (1 - p_i)))^2."""
    return support - 1.0


@formula("K of the sharp amount", "derived here", f"{_MODEL}; N p_i large, so that drifts are normal")
def spread_sharp(p_V: Floats) -> float:
    """K = (2/pi) (sum_i sqrt(p_i (1 - p_i)))^2."""
    return 2 / math.pi * _deviation(p_V) ** 2


@formula("N that allows any n", "derived here", f"{_MODEL}; K as in `largest_synthetic_count`")
def enough_real_tokens(epsilon: float, spread: float) -> float:
    """N = K/(2 epsilon^2): from there on, any number of synthetic tokens keeps within epsilon."""
    return spread / (2 * epsilon**2)


@formula("the decay a^2 of V", "derived here", _MODEL)
def relaxation_generations(N: int, n: int) -> float:
    """Generations in which the distance to V's limit falls by e: 1/(-2 ln a), about (N + n)/(2N) for n above N."""
    return 1 / (-2 * math.log(n / (N + n)))


def _deviation(p_V: Floats) -> float:
    """sum_i sqrt(p_i (1 - p_i))."""
    return float(np.sum(np.sqrt(p_V * (1 - p_V))))
