"""What is measured of every model of every trial, and its mean with a 95 % interval.

Shapes: R trials, G generations (column 0 is the first model, p^(1)), V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.theory.next_token.distributions import Floats

_Z = 1.959964


@dataclass(frozen=True)
class Trajectories:
    """R trials over G generations. Probabilities and distances have no unit; entropies are in nats."""

    concentration_RG: Floats
    """||p^(m)||_2^2, the probability that two draws are the same token; 1: collapsed."""
    l1_drift_RG: Floats
    """||p^(m) - p^(1)||_1, twice the total variation."""
    squared_drift_RG: Floats
    """||p^(m) - p^(1)||_2^2."""
    support_RG: NDArray[np.int32]
    """Tokens that still have a positive probability."""
    entropy_RG: Floats
    """In nats."""
    total_variation_RG: Floats
    """Half of ||p^(m) - p^(0)||_1: distance to the real law, not to the first model."""
    collapse_R: NDArray[np.int64]
    """The first generation that is collapsed; 0: none is. With a window of K, the first with K Diracs in a row at
    the same token."""

    @classmethod
    def stack(cls, parts: Sequence[Trajectories]) -> Trajectories:
        """Batches of trials, one after the other."""
        return cls(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)))


class Mean(NamedTuple):
    """A mean over trials, with its normal 95 % interval and its standard error; each of shape G."""

    mean_G: Floats
    low_G: Floats
    high_G: Floats
    error_G: Floats


def mean(value_RG: NDArray[np.floating] | NDArray[np.integer]) -> Mean:
    """Over the trials; of a single trial the interval is the value."""
    trials = len(value_RG)
    mean_G = value_RG.mean(axis=0)
    error_G = value_RG.std(axis=0, ddof=1) / math.sqrt(trials) if trials > 1 else np.zeros_like(mean_G)
    return Mean(mean_G, mean_G - _Z * error_G, mean_G + _Z * error_G, error_G)


class Recorder:
    """Measures one model after the other, without keeping the models."""

    def __init__(self, p_RV: Floats, trials: int, generations: int, window: int = 1) -> None:
        self.p_RV, self.window, self.generation = p_RV, window, 0
        shape = (trials, generations)
        self.measured = Trajectories(
            concentration_RG=np.empty(shape),
            l1_drift_RG=np.empty(shape),
            squared_drift_RG=np.empty(shape),
            support_RG=np.empty(shape, np.int32),
            entropy_RG=np.empty(shape),
            total_variation_RG=np.empty(shape),
            collapse_R=np.zeros(trials, np.int64),
        )
        self._last_token_R = np.full(trials, -1)
        self._diracs_R = np.zeros(trials, np.int64)

    def add(self, model_RV: Floats) -> None:
        """The next generation."""
        if self.generation == 0:
            self._first_RV = model_RV
        measured, g = self.measured, self.generation
        drift_RV = model_RV - self._first_RV
        measured.concentration_RG[:, g] = np.einsum("rv,rv->r", model_RV, model_RV)
        measured.l1_drift_RG[:, g] = np.abs(drift_RV).sum(axis=1)
        measured.squared_drift_RG[:, g] = np.einsum("rv,rv->r", drift_RV, drift_RV)
        measured.support_RG[:, g] = np.count_nonzero(model_RV, axis=1)
        measured.entropy_RG[:, g] = entropy(model_RV)
        measured.total_variation_RG[:, g] = np.abs(model_RV - self.p_RV).sum(axis=1) / 2
        self.generation += 1
        self._note_collapse(model_RV, measured.support_RG[:, g] == 1)

    def _note_collapse(self, model_RV: Floats, is_dirac_R: NDArray[np.bool_]) -> None:
        token_R = np.where(is_dirac_R, model_RV.argmax(axis=1), -1)
        follows_R = is_dirac_R & (token_R == self._last_token_R)
        self._diracs_R = np.where(follows_R, self._diracs_R + 1, is_dirac_R)
        self._last_token_R = token_R
        new_R = (self._diracs_R >= self.window) & (self.measured.collapse_R == 0)
        self.measured.collapse_R[new_R] = self.generation


def entropy(p_RV: Floats) -> Floats:
    """In nats, of each row."""
    value_R: Floats = -np.sum(p_RV * np.log(np.where(p_RV > 0, p_RV, 1)), axis=1)
    return value_R + 0.0  # no -0
