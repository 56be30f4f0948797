"""What a generation trains on, as one rule for the residuals of its labels.

All strategies with one X have residuals R = y - X w* that follow

    R <- keep R + predict X delta + draw E

with delta = w - w* of the fit so far and new noise E. They differ in the three coefficients, a number or one a row:

    strategy               keep       predict    draw
    replace                0          1          1          synthetic labels alone
    accumulate             1 - 1/i    1/i        1/i        generation i: the mean of all labels so far
    fresh real rows        0          M          1          M: rows that are synthetic; the others get new real labels
    edit with masks M      1 - M      M          M          Zhu et al. 2025, eq. 3
    Theorem 1 as printed   1          0          M          no feedback of the fit

Fixed real rows are an edit whose mask never changes. Accumulate-subsample trains on other rows in every generation:
`subsample`.

Shapes: R trials, T rows of X, N rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Coefficient = float | Floats


@dataclass(frozen=True)
class State:
    """What a strategy may look at before a round."""

    round: int
    """1: the first after the fit on real data."""
    uniform_RT: Floats
    """Random numbers of this round, the same for all strategies."""
    residual_RT: Floats
    """Labels minus X w*."""
    prediction_RT: Floats
    """X delta: the fit minus X w*."""


class Strategy(Protocol):
    def coefficients(self, state: State) -> tuple[Coefficient, Coefficient, Coefficient]:
        """keep, predict, draw."""


class Masks(Protocol):
    """Which rows a round edits."""

    def mask(self, state: State) -> Floats:
        """(T,) or (R, T) zeros and ones."""

    def shares(self, rounds: int) -> list[float]:
        """The (expected) share of the rows that each round edits."""


@dataclass(frozen=True)
class Replace:
    """Train on the last model's labels alone."""

    def coefficients(self, state: State) -> tuple[Coefficient, Coefficient, Coefficient]:
        return 0.0, 1.0, 1.0


@dataclass(frozen=True)
class Accumulate:
    """Train on the labels of all generations: with one X the same as on their mean."""

    def coefficients(self, state: State) -> tuple[Coefficient, Coefficient, Coefficient]:
        weight = 1 / (state.round + 1)
        return 1 - weight, weight, weight


@dataclass(frozen=True)
class FreshRealRows:
    """Every row is synthetic with probability `share`; the others get new real labels."""

    share: float

    def coefficients(self, state: State) -> tuple[Coefficient, Coefficient, Coefficient]:
        return 0.0, (state.uniform_RT < self.share).astype(float), 1.0


@dataclass(frozen=True)
class Edit:
    """Edited rows get the last model's labels, the others keep theirs (Zhu et al. 2025, eq. 3)."""

    masks: Masks

    def coefficients(self, state: State) -> tuple[Coefficient, Coefficient, Coefficient]:
        mask = self.masks.mask(state)
        return 1 - mask, mask, mask


@dataclass(frozen=True)
class TheoremOne:
    """Theorem 1 as printed: w* + X^+ (E_1 + sum of M_i E_{i+1})."""

    masks: Masks

    def coefficients(self, state: State) -> tuple[Coefficient, Coefficient, Coefficient]:
        return 1.0, 0.0, self.masks.mask(state)


@dataclass(frozen=True)
class AccumulateSubsample:
    """Train on T rows drawn without replacement from those of all generations (`subsample`)."""

    def coefficients(self, state: State) -> tuple[Coefficient, Coefficient, Coefficient]:
        raise NotImplementedError("its rows change: simulate sends it to analysis.theory.regression.subsample")


@dataclass(frozen=True)
class RandomMasks:
    """Round i edits every row with probability share_N[i], independently; after the last share none."""

    share_N: list[float]

    def mask(self, state: State) -> Floats:
        share = self.share_N[state.round - 1] if state.round <= len(self.share_N) else 0.0
        return (state.uniform_RT < share).astype(float)

    def shares(self, rounds: int) -> list[float]:
        return [*self.share_N, *[0.0] * rounds][:rounds]


def fresh(share: float, rounds: int) -> RandomMasks:
    """New random rows in every round."""
    return RandomMasks([share] * rounds)


def geometric(share: float, ratio: float, rounds: int) -> RandomMasks:
    """New random rows in every round, their share falling by `ratio`."""
    return RandomMasks([share * ratio**i for i in range(rounds)])


@dataclass(frozen=True)
class FixedMasks:
    """The same rows in every round. Rows are exchangeable: the first ones."""

    share: float

    def mask(self, state: State) -> Floats:
        T = state.residual_RT.shape[-1]
        return (np.arange(T) < round(self.share * T)).astype(float)

    def shares(self, rounds: int) -> list[float]:
        return [self.share] * rounds


def fixed_real_rows(share: float) -> Edit:
    """A share of the rows keeps its real labels; the others get the last model's."""
    return Edit(FixedMasks(1 - share))


@dataclass(frozen=True)
class DisjointMasks:
    """Round i edits a share share_N[i] of the rows that no round edited before; after the last share none."""

    share_N: list[float]

    def mask(self, state: State) -> Floats:
        T = state.residual_RT.shape[-1]
        groups = disjoint_groups(self.share_N, T)
        mask_T = np.zeros(T)
        if state.round <= len(groups):
            mask_T[groups[state.round - 1]] = 1
        return mask_T

    def shares(self, rounds: int) -> list[float]:
        return [*self.share_N, *[0.0] * rounds][:rounds]


def disjoint_groups(share_N: Sequence[float], T: int) -> list[slice]:
    """Rows of each round; their ends are rounded, so that rounding does not add up."""
    ends = [round(end) for end in np.cumsum([0.0, *share_N]) * T]
    return [slice(start, end) for start, end in pairwise(ends)]


@dataclass(frozen=True)
class ConfidenceMasks:
    """The rows whose labels are nearest to the fit: what the model is surest of."""

    share: float

    def mask(self, state: State) -> Floats:
        T = state.residual_RT.shape[-1]
        count = round(self.share * T)
        if count in (0, T):
            return np.full(T, float(count > 0))
        distance_RT = np.abs(state.residual_RT - state.prediction_RT)
        return (distance_RT <= np.partition(distance_RT, count - 1, axis=1)[:, count - 1 : count]).astype(float)

    def shares(self, rounds: int) -> list[float]:
        return [self.share] * rounds
