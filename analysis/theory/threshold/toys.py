"""The toy models by synthetic share: linear regression and the next-token model, real data kept or replaced.

| case | first generation | every later one |
|---|---|---|
| regression_kept | T real rows | the same T rows, and T share / (1 - share) rows labelled by the model before it |
| regression_replaced | T real rows | every row, with probability `share`, labelled anew by the model before it |
| next_token_kept | N real tokens | the same N tokens, and N share / (1 - share) drawn by the model before it |
| next_token_replaced | N real tokens | every token, with probability `share`, drawn anew by the model before it |

At share 1 nothing real is left, and there are as many synthetic rows or tokens as there were real ones.

The metric is the squared distance to the truth, ||w - w*||^2 or ||p^(m) - p||_2^2, in units of its expectation at the
first generation, v = s^2 d / (T - d - 1) or (1 - sum p^2) / N. After the run a model is trained on the real data that
are still there (`recovered`). Where they are kept those are all; where they are replaced, the ones that no generation
has redrawn, and where these are too few (no more than d + 1 rows, or no token), the model stays as it is.

Shares and trials have common random numbers as far as they go: trial r has the same real data at every share.

Status: derived here. With real data kept the metric settles, for large T or N, at (1 + 2 share) / (1 + share) in both
models, whatever the share: less than 1.5 times the real data alone (`settled`).

Shapes: S shares, R trials, G generations, T rows, d dimensions, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from analysis.theory.next_token.simulate import models
from analysis.theory.threshold.estimate import Floats
from toedit.console import Progress
from toedit.errors import BadConfiguration

_REAL, _KEPT, _REPLACED = range(3)
"""Streams of random numbers."""
_NUMBERS = 4_000_000
"""Of the largest arrays of a batch of trials."""


@dataclass(frozen=True)
class Runs:
    """What the estimators need."""

    share_S: Floats
    metric_SRG: Floats
    """More is worse."""
    recovered_SR: Floats | None
    """The metric after retraining; None: not known."""


@dataclass(frozen=True)
class Toy:
    """Sizes."""

    d: int
    T: int
    p_V: Floats
    real: int
    generations: int
    trials: int
    seed: int
    batch: int = 0
    """Of trials, which fit memory together."""

    def random(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.batch, purpose])


def settled(share: float) -> float:
    """(1 + 2 share) / (1 + share): cost of synthetic data beside real ones. Status: derived here, large T or N."""
    return (1 + 2 * share) / (1 + share)


def settled_at(kappa: float) -> float:
    """The share at which that is kappa, (kappa - 1) / (2 - kappa); infinite for kappa >= 1.5. Status: derived here."""
    return np.inf if kappa >= 1.5 else (kappa - 1) / (2 - kappa)


def run(case: str, shares: list[float], toy: Toy, progress: Progress) -> Runs:
    """All shares of one case. Raises BadConfiguration where its error has no finite mean."""
    if case.startswith("regression") and toy.d + 1 >= toy.T:
        raise BadConfiguration(
            f"theory.T={toy.T}: must be more than theory.d + 1 = {toy.d + 1}, or the error has no finite mean"
        )
    simulate: dict[str, Callable[[float, Toy], tuple[Floats, Floats]]] = {
        "regression_kept": _regression_kept,
        "regression_replaced": _regression_replaced,
        "next_token_kept": _next_token_kept,
        "next_token_replaced": _next_token_replaced,
    }
    share_S = sorted(set(shares))
    numbers = toy.T * (toy.d + 8) if case.startswith("regression") else 8 * len(toy.p_V)
    rows = max(_NUMBERS // numbers, 1)
    metric_SRG = np.empty((len(share_S), toy.trials, toy.generations))
    recovered_SR = np.empty((len(share_S), toy.trials))
    for batch, start in enumerate(range(0, toy.trials, rows)):
        part = slice(start, min(start + rows, toy.trials))
        small = replace(toy, trials=part.stop - part.start, batch=batch)
        for number, share in enumerate(share_S):
            metric_SRG[number, part], recovered_SR[number, part] = simulate[case](share, small)
            progress.advance(small.trials * toy.generations, case)
    return Runs(np.array(share_S), metric_SRG, recovered_SR)


def _synthetic(real: int, share: float) -> int:
    return real if share >= 1 else round(real * share / (1 - share))


def _regression_kept(share: float, toy: Toy) -> tuple[Floats, Floats]:
    """(metric_RG, recovered_R); in d dimensions: only X'X and X'E of real and synthetic rows matter."""
    real, fake = toy.random(_REAL), toy.random(_KEPT)
    X_RTd, E_RT = real.standard_normal((toy.trials, toy.T, toy.d)), real.standard_normal((toy.trials, toy.T))
    square_Rdd, pull_Rd = X_RTd.swapaxes(1, 2) @ X_RTd, np.einsum("rtd,rt->rd", X_RTd, E_RT)
    first_Rd = delta_Rd = np.linalg.solve(square_Rdd, pull_Rd[..., None])[..., 0]
    kept = 0.0 if share >= 1 else 1.0
    root_Rdd = _root(_synthetic(toy.T, share), toy, fake)
    added_Rdd = root_Rdd @ root_Rdd.swapaxes(1, 2)
    inverse_Rdd = np.linalg.inv(kept * square_Rdd + added_Rdd)
    error = [(delta_Rd**2).sum(axis=1)]
    for _ in range(toy.generations - 1):
        noise_Rd = np.einsum("rij,rj->ri", root_Rdd, fake.standard_normal((toy.trials, toy.d)))
        label_Rd = kept * pull_Rd + np.einsum("rij,rj->ri", added_Rdd, delta_Rd) + noise_Rd
        delta_Rd = np.einsum("rij,rj->ri", inverse_Rdd, label_Rd)
        error.append((delta_Rd**2).sum(axis=1))
    unit = toy.d / (toy.T - toy.d - 1)
    recovered_R = (first_Rd**2).sum(axis=1) if kept else error[-1]
    return np.stack(error, axis=1) / unit, recovered_R / unit


def _root(rows: int, toy: Toy, generator: np.random.Generator) -> Floats:
    """A with A A' = X'X for `rows` rows of X, however many: Bartlett's decomposition of the Wishart law."""
    if rows < toy.d:
        root_Rdd = np.zeros((toy.trials, toy.d, toy.d))
        root_Rdd[:, :, :rows] = generator.standard_normal((toy.trials, toy.d, rows))
        return root_Rdd
    root_Rdd = np.tril(generator.standard_normal((toy.trials, toy.d, toy.d)), -1)
    diagonal = np.arange(toy.d)
    root_Rdd[:, diagonal, diagonal] = np.sqrt(generator.chisquare(rows - diagonal, size=(toy.trials, toy.d)))
    return root_Rdd


def _regression_replaced(share: float, toy: Toy) -> tuple[Floats, Floats]:
    """The same; residuals of the labels: R <- (I - M Q) R + M E."""
    real, fake = toy.random(_REAL), toy.random(_REPLACED)
    X_RTd, E_RT = real.standard_normal((toy.trials, toy.T, toy.d)), real.standard_normal((toy.trials, toy.T))
    inverse_Rdd = np.linalg.inv(X_RTd.swapaxes(1, 2) @ X_RTd)
    residual_RT, is_real_RT = E_RT.copy(), np.ones(E_RT.shape, bool)
    error = []
    for generation in range(toy.generations):
        delta_Rd = np.einsum("rij,rtj,rt->ri", inverse_Rdd, X_RTd, residual_RT, optimize=True)
        error.append((delta_Rd**2).sum(axis=1))
        if generation + 1 < toy.generations:
            is_edited_RT = fake.random(E_RT.shape) < share
            new_RT = np.einsum("rtd,rd->rt", X_RTd, delta_Rd) + fake.standard_normal(E_RT.shape)
            residual_RT = np.where(is_edited_RT, new_RT, residual_RT)
            is_real_RT &= ~is_edited_RT
    left_RTd = X_RTd * is_real_RT[..., None]
    square_Rdd, pull_Rd = left_RTd.swapaxes(1, 2) @ left_RTd, np.einsum("rtd,rt->rd", left_RTd, E_RT)
    is_enough_R = is_real_RT.sum(axis=1) > toy.d + 1
    square_Rdd[~is_enough_R] = np.eye(toy.d)
    refitted_Rd = np.linalg.solve(square_Rdd, pull_Rd[..., None])[..., 0]
    recovered_R = np.where(is_enough_R, (refitted_Rd**2).sum(axis=1), error[-1])
    unit = toy.d / (toy.T - toy.d - 1)
    return np.stack(error, axis=1) / unit, recovered_R / unit


def _next_token_kept(share: float, toy: Toy) -> tuple[Floats, Floats]:
    strategy = "fully_synthetic" if share >= 1 else "partially_synthetic"
    p_RV = np.broadcast_to(toy.p_V, (toy.trials, len(toy.p_V)))
    found = models(strategy, p_RV, _synthetic(toy.real, share), toy.real, toy.seed, batch=toy.batch)
    error = [_distance(model_RV, toy) for model_RV in islice(found, toy.generations)]
    return np.stack(error, axis=1), error[-1] if share >= 1 else error[0]


def _next_token_replaced(share: float, toy: Toy) -> tuple[Floats, Floats]:
    real_RV = toy.random(_REAL).multinomial(toy.real, toy.p_V, size=toy.trials)
    fake = toy.random(_REPLACED)
    pool_RV, left_RV = real_RV - real_RV, real_RV  # redrawn tokens, and those still real
    error = []
    for generation in range(toy.generations):
        model_RV = (pool_RV + left_RV) / toy.real
        error.append(_distance(model_RV, toy))
        if generation + 1 < toy.generations:
            left_RV, stays_RV = fake.binomial(left_RV, 1 - share), fake.binomial(pool_RV, 1 - share)
            drawn_R = toy.real - (left_RV + stays_RV).sum(axis=1)
            pool_RV = stays_RV + fake.multinomial(drawn_R, model_RV)
    left_R = left_RV.sum(axis=1)
    refitted_RV = left_RV / np.maximum(left_R, 1)[:, None]
    return np.stack(error, axis=1), np.where(left_R > 0, _distance(refitted_RV, toy), error[-1])


def _distance(model_RV: Floats, toy: Toy) -> Floats:
    return ((model_RV - toy.p_V) ** 2).sum(axis=1) / ((1 - (toy.p_V**2).sum()) / toy.real)
