"""Errors of iterated training for a given X, averaged over labels and masks exactly: no noise is drawn.

All errors are for unit noise (times s^2) and Sigma = I; error_G[0] is the fit on real data, tr (X'X)^-1. With
Q = I - X X^+ and C the covariance of the labels' residuals given X:

    given_masks       C <- (I - M Q) C (I - M Q)' + M^2 for masks (or weights) known in advance      any rows, O(T^2 d)
    random_edits      the same averaged over masks that edit each row with probability r             O(T d^2) or O(T^2)
    fixed_rows        the same rows every time: a function of the d eigenvalues of L^-1 X_a'X_a L^-T  O(T d^2)
    disjoint_rows     every row once: products of d x d matrices                                     O(N^2 d^3)
    fresh_real_rows   random rows get new real labels                                                O(T d^2) or O(T^2)

`averaged` takes their mean over X, in units of v, with a standard error.

Shapes: T rows of X, d dimensions, N rounds, G = N + 1 generations, S settings side by side, D draws of X.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from analysis.theory.regression.strategies import Floats
from toedit.console import Progress


def given_masks(X_Td: Floats, weight_NT: Floats) -> Floats:
    """error_G of rounds that put `weight_NT` (zeros and ones: an edit) of a row's label on the fit's prediction.

    1 everywhere: replace; 1/i everywhere in generation i: accumulate.
    """
    U_Td, inverse_Td = _basis(X_Td)
    C_TT = np.eye(len(X_Td))
    error_G = [_trace(inverse_Td.T @ C_TT @ inverse_Td)]
    for weight_T in weight_NT:
        for _ in range(2):  # the rule on one side, transposed, and again: on both sides
            C_TT = (C_TT - weight_T[:, None] * (C_TT - U_Td @ (U_Td.T @ C_TT))).T
        C_TT[np.diag_indices_from(C_TT)] += weight_T**2
        error_G.append(_trace(inverse_Td.T @ C_TT @ inverse_Td))
    return np.array(error_G)


def random_edits(X_Td: Floats, share_NS: Floats) -> Floats:
    """error_GS of rounds that edit every row with probability share_NS[i], independently.

    Averaged over the mask, e <- e + r (1 - r) sum_t D_t |x_t^+|^2 + r tr (X'X)^-1 for the diagonal D of Q C Q, and
    D <- (1 - r)^2 D + r (1 - r) (Q * Q) D + r diag(Q) with squared entries of Q: the diagonal closes on itself.
    """
    U_Td, inverse_Td = _basis(X_Td)
    leverage_T1 = (U_Td**2).sum(axis=1)[:, None]
    norm_T = (inverse_Td**2).sum(axis=1)
    squared = _squared_projection(U_Td)
    D_TS = np.repeat(1 - leverage_T1, share_NS.shape[1], axis=1)
    error_GS = [np.full(share_NS.shape[1], norm_T.sum())]
    for r_S in share_NS:
        error_GS.append(error_GS[-1] + r_S * (1 - r_S) * (norm_T @ D_TS) + r_S * norm_T.sum())
        squared_Q_TS = (1 - 2 * leverage_T1) * D_TS + squared(D_TS)
        D_TS = (1 - r_S) ** 2 * D_TS + r_S * (1 - r_S) * squared_Q_TS + r_S * (1 - leverage_T1)
    return np.array(error_GS)


def fresh_real_rows(X_Td: Floats, share: float, rounds: int) -> Floats:
    """error_G where every row is synthetic with probability `share`, and the others get new real labels.

    The covariance K of delta follows K <- r^2 K + r (1 - r) X^+ diag(X K X') X^+' + (X'X)^-1.
    """
    _, inverse_Td = _basis(X_Td)
    start_dd = inverse_Td.T @ inverse_Td
    K_dd, error_G = start_dd, [_trace(start_dd)]
    for _ in range(rounds):
        spread_T = np.einsum("td,de,te->t", X_Td, K_dd, X_Td)
        within_dd = (inverse_Td * spread_T[:, None]).T @ inverse_Td
        K_dd = share**2 * K_dd + share * (1 - share) * within_dd + start_dd
        error_G.append(_trace(K_dd))
    return np.array(error_G)


def fixed_rows(X_Td: Floats, edited: int, rounds: int) -> Floats:
    """error_G where the first `edited` rows get the last model's labels in every round."""
    a_d, cost_d = _fixed_rows_spectrum(X_Td, edited)
    power_Gd = a_d ** np.arange(1, rounds + 2)[:, None]
    kept_d = 1 - a_d
    is_one_d = kept_d < 1e-12  # directions that the kept rows do not see: replace
    kept_d = np.where(is_one_d, 1.0, kept_d)
    settled_Gd = a_d * (1 - power_Gd**2) / (kept_d * (1 + a_d)) + (1 - power_Gd) ** 2 / kept_d
    return np.where(is_one_d, np.arange(1, rounds + 2)[:, None], settled_Gd) @ cost_d


def fixed_rows_stationary(X_Td: Floats, edited: int) -> float:
    """Where `fixed_rows` settles: tr (X_b'X_b)^-1 + tr L^-T A (I - A^2)^-1 L^-1; infinite if fewer than d rows stay."""
    if len(X_Td) - edited < X_Td.shape[1]:
        return float("inf")
    a_d, cost_d = _fixed_rows_spectrum(X_Td, edited)
    return float((1 / (1 - a_d) + a_d / (1 - a_d**2)) @ cost_d)


def disjoint_rows(X_Td: Floats, groups: Sequence[slice]) -> Floats:
    """error_G of rounds that each edit the rows of a group, no row twice.

    delta <- (I + P) delta + X^+ M (E_new - E_first) with P = X^+ M X; every E has its own product of such factors.
    """
    d = X_Td.shape[1]
    _, inverse_Td = _basis(X_Td)
    noise_Ndd = np.array([inverse_Td[rows].T @ inverse_Td[rows] for rows in groups])
    rest_dd = inverse_Td.T @ inverse_Td - noise_Ndd.sum(axis=0)
    all_dd = np.eye(d)
    first_Ndd, second_Ndd = np.repeat(all_dd[None], len(groups), axis=0), np.zeros_like(noise_Ndd)
    error_G = [_trace(inverse_Td.T @ inverse_Td)]
    for n, rows in enumerate(groups):
        factor_dd = np.eye(d) + inverse_Td[rows].T @ X_Td[rows]
        all_dd, first_Ndd, second_Ndd = factor_dd @ all_dd, factor_dd @ first_Ndd, factor_dd @ second_Ndd
        first_Ndd[n] -= np.eye(d)
        second_Ndd[n] += np.eye(d)
        spread = sum(
            np.einsum("nde,nef,ndf->", weight_Ndd, noise_Ndd, weight_Ndd) for weight_Ndd in (first_Ndd, second_Ndd)
        )
        error_G.append(float(spread) + _trace(all_dd @ rest_dd @ all_dd.T))
    return np.array(error_G)


def averaged(
    error: Callable[[Floats], Floats], *, d: int, T: int, designs: int, seed: int, title: str = ""
) -> tuple[Floats, Floats]:
    """The mean of `error` over `designs` draws of X in units of v, and its standard error: shapes those of `error`.

    The mean of e(X) by the mean of tr (X'X)^-1, whose expectation is v / s^2: both are large for the same X, so the
    ratio settles where T is close to d and either mean alone does not. `title` shows progress.
    """
    random = np.random.default_rng([seed, designs])
    values, units = [], []
    progress = Progress(title, designs, "draws of X") if title else None
    for _ in range(designs):
        X_Td = random.standard_normal((T, d))
        values.append(error(X_Td))
        units.append(float(np.trace(np.linalg.inv(X_Td.T @ X_Td))))
        if progress:
            progress.advance(1)
    value_D, unit_D = np.array(values), np.array(units).reshape(-1, *[1] * np.ndim(values[0]))
    ratio = value_D.mean(axis=0) / unit_D.mean()
    if designs == 1:
        return ratio, np.zeros_like(ratio)
    return ratio, (value_D - ratio * unit_D).std(axis=0, ddof=1) / np.sqrt(designs) / unit_D.mean()


def _basis(X_Td: Floats) -> tuple[Floats, Floats]:
    """An orthonormal basis of X's columns, and the transposed pseudo-inverse."""
    U_Td, L_dd = np.linalg.qr(X_Td)
    return U_Td, np.linalg.solve(L_dd, U_Td.T).T


def _squared_projection(U_Td: Floats) -> Callable[[Floats], Floats]:
    """x -> (H * H) x with the squared entries of H = U U', by way of d^2 features where T is the larger."""
    T, d = U_Td.shape
    if d * d < T:
        feature_TF = (U_Td[:, :, None] * U_Td[:, None, :]).reshape(T, d * d)
        return lambda x_TS: feature_TF @ (feature_TF.T @ x_TS)
    squared_TT = (U_Td @ U_Td.T) ** 2
    return lambda x_TS: squared_TT @ x_TS


def _fixed_rows_spectrum(X_Td: Floats, edited: int) -> tuple[Floats, Floats]:
    """Eigenvalues in [0, 1] of A = L^-1 X_a'X_a L^-T, and what each direction costs in tr (X'X)^-1."""
    L_dd = np.linalg.cholesky(X_Td.T @ X_Td)
    half_dT = np.linalg.solve(L_dd, X_Td[:edited].T)
    a_d, V_dd = np.linalg.eigh(half_dT @ half_dT.T)
    return np.clip(a_d, 0, 1), (np.linalg.solve(L_dd.T, V_dd) ** 2).sum(axis=0)


def _trace(matrix: Floats) -> float:
    return float(np.trace(matrix))
