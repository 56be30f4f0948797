"""Several runs of one setting as a mean with a 95 % interval.

Counts of random draws (a changed token is one) are pooled over the seeds: Wilson's interval of a binomial share. It is
a little too wide, as the tokens' probabilities differ. Anything else: Student's interval of the mean over seeds. Runs
that came out the same, whatever the seed, have no interval. Text and prior are fixed: another corpus is another number.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.measures import Measure
from analysis.student import student_quantile

LEAST_UNITS = 5
"""Works, or documents, that a bootstrap interval needs: fewer repeat each other too often to say anything."""

_Z = 1.959964


@dataclass(frozen=True)
class Summary:
    """Runs of one setting, in one number."""

    mean: float
    share_of: str
    runs: int
    """Different runs: one, where the seed changes nothing."""
    deviation: float | None = None
    """Standard deviation over the runs."""
    low: float | None = None
    high: float | None = None


def summarize(measures: Sequence[Measure]) -> Summary:
    """The summary of different runs (another seed, another artifact)."""
    values = [measure.value for measure in measures]
    low, high = _pooled(measures) or student(values) or _own(measures) or (None, None)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), measures[0].share_of, len(values), deviation, low, high)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `hits` of `trials` were seen."""
    share, square = hits / trials, _Z**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = _Z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    # At the ends rounding could exclude what was seen.
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def student(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a mean; None where the values are one or all the same."""
    if len(set(values)) < 2:
        return None
    mean, freedom = statistics.fmean(values), len(values) - 1
    half = student_quantile(0.975, freedom) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def _own(measures: Sequence[Measure]) -> tuple[float, float] | None:
    """The interval that a single run came with."""
    low, high = measures[0].low, measures[0].high
    return None if len(measures) > 1 or low is None or high is None else (low, high)


def _pooled(measures: Sequence[Measure]) -> tuple[float, float] | None:
    hits, trials, total = (sum(getattr(entry, key) or 0 for entry in measures) for key in ("hits", "trials", "total"))
    if not trials or any(entry.trials is None for entry in measures):
        return None
    low, high = wilson(hits, trials)
    return low * trials / total, high * trials / total
