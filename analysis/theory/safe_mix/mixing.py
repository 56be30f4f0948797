"""The whole corpus: which share of it stays within epsilon when every context gets the same share of synthetic data.

A context is within epsilon at the synthetic share rho if and only if K / N <= epsilon^2 (1 + 1 / rho) (`amounts`).
So the distribution of K / N over the corpus's tokens says everything, for every epsilon and every share.

Intervals draw documents, or their common origins. A resample repeats documents: its contexts look better known than
they are, so the resamples' mean excess is taken off the interval. With Chao's estimator there is none: it lives on
tokens that came once, and a repeated document has none.

Shapes: C contexts, R resamples, U resampling units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.intervals import LEAST_UNITS
from analysis.theory.safe_mix.amounts import Floats, largest_share
from analysis.theory.safe_mix.contexts import KINDS, Contexts, Grams, count_contexts
from analysis.two_sample import interval
from toedit.console import Progress
from toedit.units import draw_counts


@dataclass(frozen=True)
class Needs:
    """K / N of the contexts, increasing, and the share of the corpus's tokens up to there."""

    need_C: Floats
    mass_C: Floats

    def mass_within(self, epsilon: float, share: float) -> float:
        """Share of the tokens whose context is within epsilon at the synthetic share `share` (1: any amount)."""
        # One part in 10^12 is what rounding does to a context right at the limit.
        limit = epsilon**2 * (1 + 1 / share) * (1 + 1e-12)
        place = int(np.searchsorted(self.need_C, limit, side="right"))
        return float(self.mass_C[place - 1]) if place else 0.0

    def share_that_keeps(self, epsilon: float, keep: float) -> float:
        """The largest synthetic share that keeps `keep` of the tokens within epsilon."""
        place = int(np.searchsorted(self.mass_C, keep * (1 - 1e-12)))
        return float(largest_share(self.need_C[min(place, len(self.need_C) - 1)], epsilon))


@dataclass(frozen=True)
class Measured:
    """A number and its 95 % interval, None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


def needs(contexts: Contexts, kind: str) -> Needs:
    need_C = contexts.k_by_kind[kind] / contexts.real_C
    order_C = np.argsort(need_C, kind="stable")
    mass_C = np.cumsum(contexts.real_C[order_C])
    return Needs(need_C[order_C], mass_C / mass_C[-1])


def totals(
    grams: Grams, epsilons: Sequence[float], keep: float, shares: Sequence[float], resamples: int, seed: int
) -> dict[tuple[str, str, float, float], Measured]:
    """{(measure, kind, epsilon, share): number}. Measures: `mass` within epsilon at a share; `share` that keeps."""
    value = _all(count_contexts(grams), epsilons, keep, shares)
    if resamples == 0 or grams.units < LEAST_UNITS:
        return {key: Measured(number) for key, number in value.items()}
    generator = np.random.default_rng(seed)
    drawn: list[list[float]] = []
    with Progress("resample documents", resamples, "resamples") as progress:
        for _ in range(resamples):
            weight_U = draw_counts(generator, 1, grams.units)[0].astype(np.float64)
            drawn.append(list(_all(count_contexts(grams, weight_U), epsilons, keep, shares).values()))
            progress.advance(1)
    return {
        key: Measured(number) if "Chao1" in key[1] else _measured(number, value_R)
        for (key, number), value_R in zip(value.items(), np.array(drawn).T, strict=True)
    }


def _all(
    contexts: Contexts, epsilons: Sequence[float], keep: float, shares: Sequence[float]
) -> dict[tuple[str, str, float, float], float]:
    found = {}
    for kind in KINDS:
        known = needs(contexts, kind)
        for epsilon in epsilons:
            found["share", kind, epsilon, keep] = known.share_that_keeps(epsilon, keep)
            for share in shares:
                found["mass", kind, epsilon, share] = known.mass_within(epsilon, share)
    return found


def _measured(value: float, drawn_R: Floats) -> Measured:
    low, high = interval(drawn_R - drawn_R.mean() + value)
    return Measured(value, max(min(low, value), 0.0), min(max(high, value), 1.0))
