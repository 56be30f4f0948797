"""The ratio of successive edited shares, estimated from measured ones: how far iterated editing will go.

estimate_ratio([0.125, 0.1176, 0.1108]).value    # 0.9415: each round edits 6 % less than the one before
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from analysis.intervals import student


@dataclass(frozen=True)
class Ratio:
    """A geometric mean with its 95 % interval; no interval from a single ratio."""

    value: float
    low: float | None
    high: float | None


def estimate_ratio(shares: Sequence[float]) -> Ratio | None:
    """The geometric mean of successive ratios, with Student's interval of the mean of their logarithms.

    It takes them for independent draws of one law. None for fewer than two shares, or where one of them is 0.
    """
    if len(shares) < 2 or min(shares) <= 0:
        return None
    logarithms = [math.log(after / before) for before, after in pairwise(shares)]
    value = math.exp(math.fsum(logarithms) / len(logarithms))
    if len(logarithms) < 2:
        return Ratio(value, None, None)
    low, high = student(logarithms) or (math.log(value), math.log(value))
    return Ratio(value, math.exp(low), math.exp(high))
