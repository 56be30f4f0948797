"""Can a linear classifier tell two corpora apart by their embeddings? The area under its ROC curve, cross-validated.

0.5 is chance, 1 a perfect separation; the number is the probability that of one document of each corpus the second
one's gets the higher score (Lopez-Paz and Oquab 2017 on classifier two-sample tests). Logistic regression on features
of unit variance; works are never split between folds, and what is one work, or one id, in both corpora is in one fold.
Documents are compared within folds only, since the classifiers of different folds have different zeros.

The interval (95 %) draws the works of each corpus, with the classifiers as they are.

Shapes: N documents of both corpora, H dimensions, R resamples, F documents of a fold, S different scores of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.intervals import LEAST_UNITS
from analysis.two_sample import Estimate, interval
from toedit.units import draw_counts

_BOOTSTRAP = 4
_BATCH = 200
Floats = NDArray[np.float64]


def separate(
    vector_NH: Floats,
    is_second_N: NDArray[np.bool_],
    work_N: Sequence[str],
    folds: int,
    inverse_penalty: float,
    resamples: int,
    seed: int,
) -> Estimate | None:
    """The area under the ROC curve; None where a corpus has a single work, so that nothing can be held out."""
    _, unit_N = np.unique(np.array(work_N, dtype=object).astype(str), return_inverse=True)
    works = [len(np.unique(unit_N[side_N])) for side_N in (~is_second_N, is_second_N)]
    folds = min(folds, *works)
    if folds < 2:
        return None
    score_N, fold_N = out_of_fold_scores(vector_NH, is_second_N, unit_N, folds, inverse_penalty, seed)
    if score_N is None:
        return None
    ones_1N = np.ones((1, len(unit_N)), np.int64)
    value = float(area(score_N, is_second_N, fold_N, ones_1N)[0])
    if not np.isfinite(value):
        return None
    if min(works) < LEAST_UNITS:
        return Estimate(value)
    generator = np.random.default_rng([seed, _BOOTSTRAP])
    drawn = []
    for start in range(0, resamples, _BATCH):
        rows = min(_BATCH, resamples - start)
        count_RN = np.zeros((rows, len(unit_N)), np.int64)
        for side_N in (~is_second_N, is_second_N):
            _, own_N = np.unique(unit_N[side_N], return_inverse=True)
            count_RN[:, side_N] = draw_counts(generator, rows, int(own_N.max()) + 1)[:, own_N]
        drawn.append(area(score_N, is_second_N, fold_N, count_RN))
    value_R = np.concatenate(drawn)
    low, high = interval(value_R[np.isfinite(value_R)])
    return Estimate(value, min(low, value), max(high, value))


def out_of_fold_scores(
    vector_NH: Floats,
    is_second_N: NDArray[np.bool_],
    unit_N: NDArray[np.integer],
    folds: int,
    inverse_penalty: float,
    seed: int,
) -> tuple[Floats | None, NDArray[np.int64]]:
    """`(score_N, fold_N)`: each document's score by a classifier that saw nothing of its work; None without one."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    score_N, fold_N = np.zeros(len(unit_N)), np.full(len(unit_N), -1, np.int64)
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folds that lack a class: those are left out below
        parts = list(split.split(vector_NH, is_second_N, unit_N))
    for number, (train, test) in enumerate(parts):
        if len(np.unique(is_second_N[train])) < 2:
            continue
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=2000)
        )
        score_N[test] = model.fit(vector_NH[train], is_second_N[train]).decision_function(vector_NH[test])
        fold_N[test] = number
    return (score_N if (fold_N >= 0).any() else None), fold_N


def area(
    score_N: Floats, is_second_N: NDArray[np.bool_], fold_N: NDArray[np.int64], count_RN: NDArray[np.int64]
) -> Floats:
    """[R]: of the pairs within a fold, the share with the second corpus's document above; ties count half. A document
    counts so many times. NaN where no fold has a pair."""
    concordant_R, pairs_R = np.zeros(len(count_RN)), np.zeros(len(count_RN))
    for number in np.unique(fold_N[fold_N >= 0]):
        row_F = np.flatnonzero(fold_N == number)
        row_F = row_F[np.argsort(score_N[row_F], kind="stable")]
        # Equal documents may differ in the last digit of their scores.
        start_S = np.flatnonzero(np.diff(np.round(score_N[row_F], 9), prepend=np.nan))
        count_RF, is_second_F = count_RN[:, row_F], is_second_N[row_F]
        second_RS = np.add.reduceat(count_RF * is_second_F, start_S, axis=1).astype(float)
        first_RS = np.add.reduceat(count_RF * ~is_second_F, start_S, axis=1).astype(float)
        below_RS = np.cumsum(first_RS, axis=1) - first_RS
        concordant_R += (second_RS * (below_RS + 0.5 * first_RS)).sum(1)
        pairs_R += second_RS.sum(1) * first_RS.sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(pairs_R > 0, concordant_R / pairs_R, np.nan)
