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
from dataclasses import dataclass
from itertools import islice

import numpy as np

from analysis.theory.next_token.simulate import models
from analysis.theory.threshold.estimate import Floats
from toedit.console import Progress
from toedit.errors import BadConfiguration


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
    found = []
    for share in share_S:
        found.append(simulate[case](share, toy))
        progress.advance(toy.trials * toy.generations, case)
    metrics, recovered = zip(*found, strict=True)
    return Runs(np.array(share_S), np.stack(metrics), np.stack(recovered))


def _synthetic(real: int, share: float) -> int:
    return real if share >= 1 else round(real * share / (1 - share))


def _regression_kept(share: float, toy: Toy) -> tuple[Floats, Floats]:
    """(metric_RG, recovered_R); in d dimensions: only X'X and X'E of real and synthetic rows matter."""
    real, fake = np.random.default_rng([toy.seed, 0]), np.random.default_rng([toy.seed, 1])
    synthetic = _synthetic(toy.T, share)
    X_RTd, E_RT = real.standard_normal((toy.trials, toy.T, toy.d)), real.standard_normal((toy.trials, toy.T))
    square_Rdd, pull_Rd = X_RTd.swapaxes(1, 2) @ X_RTd, np.einsum("rtd,rt->rd", X_RTd, E_RT)
    first_Rd = delta_Rd = np.linalg.solve(square_Rdd, pull_Rd[..., None])[..., 0]
    kept = 0.0 if share >= 1 else 1.0
    added_Rdd = np.zeros_like(square_Rdd)
    root_Rdd = added_Rdd
    if synthetic:
        new_Rnd = fake.standard_normal((toy.trials, synthetic, toy.d))
        added_Rdd = new_Rnd.swapaxes(1, 2) @ new_Rnd
        root_Rdd = _root(added_Rdd)
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


def _root(square_Rdd: Floats) -> Floats:
    """A with A A' = X'X, also where there are fewer rows than dimensions."""
    value_Rd, vector_Rdd = np.linalg.eigh(square_Rdd)
    return vector_Rdd * np.sqrt(np.maximum(value_Rd, 0))[:, None, :]


def _regression_replaced(share: float, toy: Toy) -> tuple[Floats, Floats]:
    """The same; residuals of the labels: R <- (I - M Q) R + M E."""
    real, fake = np.random.default_rng([toy.seed, 0]), np.random.default_rng([toy.seed, 2])
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
    found = models(strategy, p_RV, _synthetic(toy.real, share), toy.real, toy.seed)
    error = [_distance(model_RV, toy) for model_RV in islice(found, toy.generations)]
    return np.stack(error, axis=1), error[-1] if share >= 1 else error[0]


def _next_token_replaced(share: float, toy: Toy) -> tuple[Floats, Floats]:
    real_RV = np.random.default_rng([toy.seed, 0]).multinomial(toy.real, toy.p_V, size=toy.trials)
    fake = np.random.default_rng([toy.seed, 2])
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
