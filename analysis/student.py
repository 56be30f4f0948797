"""Student's distribution for whole degrees of freedom: intervals and tests of a mean over a few seeds.

In closed form (Abramowitz and Stegun 26.7.3 and 26.7.4: finite sums, exact), so that nothing but Python is needed.
"""

from __future__ import annotations

import math


def student_cdf(t: float, freedom: int) -> float:
    """P(T <= t) of Student's distribution with a whole number of degrees of freedom."""
    angle = math.atan2(abs(t), math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    term = total = 1.0 if freedom % 2 == 0 else cosine
    for number in range(2 if freedom % 2 == 0 else 3, freedom, 2):
        term *= cosine**2 * (number - 1) / number
        total += term
    odd = 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))
    within = sine * total if freedom % 2 == 0 else odd
    return 0.5 + math.copysign(within / 2, t)


def student_quantile(p: float, freedom: int) -> float:
    """The t with P(T <= t) = p, 0 < p < 1, by bisection."""
    low, high = -1.0, 1.0
    while student_cdf(low, freedom) > p:
        low *= 2
    while student_cdf(high, freedom) < p:
        high *= 2
    while high - low > 1e-12 * max(abs(low), abs(high), 1.0):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2
