"""Iterated training in linear regression: all strategies, many trials, the same random numbers for all.

    error = simulate({"replace": Replace(), "edit": Edit(fresh(0.125, 20))}, d=10, T=40, noise=1.0, generations=20,
                     trials=2000, seed=0)
    error["edit"].mean(axis=0)

One generation of all strategies is two batched matrix products and one line of arithmetic a strategy. Trials go in
batches that fit the cache; every trial has a generator of its own, keyed by (seed, trial), so that its numbers do not
depend on the batch, the number of trials or the other strategies.

Shapes: R trials of a batch (or all of them), S strategies, T rows of X, d dimensions, N rounds (`generations`),
G = N + 1 generations: the first is the fit on real data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.theory.regression.fresh_rows import fresh_rows_errors
from analysis.theory.regression.strategies import AccumulateSubsample, Floats, State, Strategy
from analysis.theory.regression.subsample import subsample_errors
from toedit.console import Progress

_BATCH_BYTES = 4 << 20
"""Of one batch's labels, X and random numbers: of the order of a core's cache."""
MEASURES = ("error", "label_variance")


@dataclass(frozen=True)
class Draws:
    """The random numbers of a batch of trials."""

    X_RTd: Floats
    noise_RGT: Floats
    uniform_RNT: Floats

    @property
    def trials(self) -> int:
        return len(self.X_RTd)


def simulate(
    strategies: Mapping[str, Strategy],
    *,
    d: int,
    T: int,
    noise: float,
    generations: int,
    trials: int,
    seed: int,
    scale_d: Floats | None = None,
    X_Td: Floats | None = None,
    fresh_X: bool = False,
    measure: str = "error",
    progress: Progress | None = None,
    weight: float = 1.0,
) -> dict[str, Floats]:
    """{strategy: error_RG}, the errors |Sigma^(1/2) (w - w*)|^2 of `generations` rounds after the fit on real data.

    `scale_d`: standard deviations of x (default 1). `X_Td`: the X of all trials (default: each its own). `fresh_X`: a
    new X in every generation (BadConfiguration for edits). `measure="label_variance"`: instead of the error, the mean
    square distance of the stored labels from the fit by s^2, (T - d) / T for real labels (ValueError for
    accumulate-subsample and with `fresh_X`). `progress` advances by `weight` times the trial-rounds of all strategies.
    LinAlgError where T < d; at T <= d + 1 errors have no finite mean.
    """
    pooled = [name for name, strategy in strategies.items() if isinstance(strategy, AccumulateSubsample)]
    if measure not in MEASURES or (measure != "error" and (fresh_X or pooled)):
        raise ValueError(f"measure={measure}: one of {', '.join(MEASURES)}; label_variance needs rows that stay")
    others = {name: strategy for name, strategy in strategies.items() if name not in pooled}
    found = {name: np.empty((trials, generations + 1)) for name in strategies}
    done = 0
    for draws in _batches(d, T, generations, trials, seed, len(others), scale_d, X_Td, fresh_X):
        rows = slice(done, done + draws.trials)
        if others:
            if fresh_X:
                error_RSG = fresh_rows_errors(list(others.values()), draws, d, generations, scale_d)
            else:
                error_RSG = _errors(list(others.values()), draws, scale_d, measure)
            for s, name in enumerate(others):
                found[name][rows] = error_RSG[:, s]
        for name in pooled:
            found[name][rows] = subsample_errors(draws, scale_d)
        done += draws.trials
        if progress:
            progress.advance(weight * draws.trials * generations * len(strategies))
    unit = noise**2 if measure == "error" else 1.0
    return {name: unit * error_RG for name, error_RG in found.items()}


def _errors(strategies: list[Strategy], draws: Draws, scale_d: Floats | None, measure: str) -> Floats:
    """error_RSG for unit noise."""
    X_RTd, noise_RGT = draws.X_RTd, draws.noise_RGT
    X_RdT = X_RTd.swapaxes(1, 2)
    inverse_RTd = X_RTd @ np.linalg.inv(X_RdT @ X_RTd)  # the transposed pseudo-inverse
    R, G, _ = noise_RGT.shape
    residual_RST = np.repeat(noise_RGT[:, None, 0], len(strategies), axis=1)
    error_RSG = np.empty((R, len(strategies), G))
    for generation in range(G):
        delta_RSd = residual_RST @ inverse_RTd
        prediction_RST = delta_RSd @ X_RdT
        error_RSG[:, :, generation] = (
            _square(delta_RSd, scale_d) if measure == "error" else ((residual_RST - prediction_RST) ** 2).mean(axis=2)
        )
        if generation + 1 == G:
            break
        noise_RT, uniform_RT = noise_RGT[:, generation + 1], draws.uniform_RNT[:, generation]
        for s, strategy in enumerate(strategies):
            state = State(generation + 1, uniform_RT, residual_RST[:, s], prediction_RST[:, s])
            keep, predict, draw = strategy.coefficients(state)
            residual_RST[:, s] = keep * state.residual_RT + predict * state.prediction_RT + draw * noise_RT
    return error_RSG


def _square(delta_RSd: Floats, scale_d: Floats | None) -> Floats:
    scaled = delta_RSd if scale_d is None else delta_RSd * scale_d
    return np.einsum("rsd,rsd->rs", scaled, scaled)


def _batches(
    d: int,
    T: int,
    generations: int,
    trials: int,
    seed: int,
    strategies: int,
    scale_d: Floats | None,
    X_Td: Floats | None,
    fresh_X: bool,
) -> Iterator[Draws]:
    designs = generations + 1 if fresh_X else 1
    numbers = T * (d * (designs + 1) + 2 * generations + 1 + 4 * strategies)
    size = max(1, min(trials, _BATCH_BYTES // (8 * numbers)))
    for start in range(0, trials, size):
        count = min(size, trials - start)
        X_RTd = np.empty((count, designs * T, d))
        noise_RGT = np.empty((count, generations + 1, T))
        uniform_RNT = np.empty((count, generations, T))
        for r in range(count):
            random = np.random.Generator(np.random.SFC64([seed, start + r]))  # the fastest of NumPy's
            random.standard_normal(out=noise_RGT[r])
            random.random(out=uniform_RNT[r])
            if X_Td is None:
                random.standard_normal(out=X_RTd[r])
        if X_Td is not None:
            X_RTd[:] = X_Td
        elif scale_d is not None:
            X_RTd *= scale_d
        yield Draws(X_RTd, noise_RGT, uniform_RNT)


def mean_and_error(value_RG: Floats) -> tuple[Floats, Floats]:
    """The mean over trials and its standard error (0 for a single trial)."""
    R = len(value_RG)
    deviation_G = value_RG.std(axis=0, ddof=1) if R > 1 else np.zeros(value_RG.shape[1:])
    return value_RG.mean(axis=0), deviation_G / np.sqrt(R)
