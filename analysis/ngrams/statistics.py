"""How concentrated are n-gram counts, how many different ones are there, and how far apart are two corpora?

Every statistic is a function of counts, a row a resample; `resampling` draws the resamples.

Shapes: R resamples, B buckets, W words in any order, K words by rank, F different document frequencies.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from analysis.ngrams.merge import Frequencies

Counts = NDArray[np.float64]


def gini(count_RB: Counts) -> NDArray[np.float64]:
    """Gini coefficient of the buckets' counts: 0 where all are equal, (B - 1) / B where one holds everything."""
    sorted_RB = np.sort(count_RB, axis=1)
    buckets = count_RB.shape[1]
    weight_B = 2 * np.arange(1, buckets + 1) - buckets - 1
    return np.asarray(sorted_RB @ weight_B / (buckets * count_RB.sum(axis=1)))


def top_share(count_RB: Counts, share: float) -> NDArray[np.float64]:
    """The share of all counts that the fullest `share` of the buckets hold (at least one bucket)."""
    number = max(round(share * count_RB.shape[1]), 1)
    top_RB = np.partition(count_RB, -number, axis=1)[:, -number:]
    return np.asarray(top_RB.sum(axis=1) / count_RB.sum(axis=1))


def zipf_slope(count_RW: Counts, first: int, last: int) -> NDArray[np.float64]:
    """Least-squares slope of log count on log rank over the ranks first to last; NaN with fewer than three words."""
    count_RK = -np.sort(-count_RW, axis=1)[:, first - 1 : last]
    if count_RK.shape[1] == 0:
        return np.full(len(count_RW), np.nan)
    there_RK = (count_RK > 0).astype(float)
    x_K = np.log(np.arange(first, first + count_RK.shape[1]))
    y_RK = np.log(np.maximum(count_RK, 1))
    number_R = there_RK.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x_R = there_RK @ x_K / number_R
        centred_RK = (x_K - mean_x_R[:, None]) * there_RK
        slope_R = (centred_RK * y_RK).sum(axis=1) / (centred_RK**2).sum(axis=1)
    return np.where(number_R >= 3, slope_R, np.nan)


def jensen_shannon(first_RB: Counts, second_RB: Counts) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of the two distributions in bits, 0 to 1, as the counts have it."""
    p_RB, q_RB = (count_RB / count_RB.sum(axis=1, keepdims=True) for count_RB in (first_RB, second_RB))
    middle_RB = (p_RB + q_RB) / 2

    def divergence(part_RB: Counts) -> NDArray[np.float64]:
        ratio_RB = np.divide(part_RB, middle_RB, out=np.ones_like(part_RB), where=part_RB > 0)
        return np.asarray((part_RB * np.log2(ratio_RB)).sum(axis=1))

    return np.maximum((divergence(p_RB) + divergence(q_RB)) / 2, 0.0)


def jensen_shannon_bias(first_RB: Counts, second_RB: Counts) -> NDArray[np.float64]:
    """By how many bits too large `jensen_shannon` is on average, to first order, were n-grams drawn one by one.

    Miller and Madow's correction of the three entropies. Where both distributions are equal it is
    (B - 1) / 8 (1 / N + 1 / M) nats.
    """
    total_R1, other_R1 = (count_RB.sum(axis=1, keepdims=True) for count_RB in (first_RB, second_RB))
    p_RB, q_RB = first_RB / total_R1, second_RB / other_R1
    own_R = ((first_RB > 0).sum(axis=1) - 1) / total_R1[:, 0] + ((second_RB > 0).sum(axis=1) - 1) / other_R1[:, 0]
    middle_RB = (p_RB + q_RB) / 2
    variance_RB = p_RB * (1 - p_RB) / total_R1 + q_RB * (1 - q_RB) / other_R1
    shared_R = np.divide(variance_RB, middle_RB, out=np.zeros_like(middle_RB), where=middle_RB > 0).sum(axis=1)
    return np.asarray((own_R / 4 - shared_R / 8) / math.log(2))


def expected_different(by_frequency: Frequencies, documents: int, drawn: float) -> float:
    """How many different n-grams `drawn` of the corpus's documents have on average, drawn without replacement.

    Sample-based rarefaction (Gotelli and Colwell 2001), exact for a whole number of documents: an n-gram of j documents
    is missed with probability C(documents - j, drawn) / C(documents, drawn).
    """
    frequency_F, grams_F = by_frequency
    if drawn >= documents:
        return float(grams_F.sum())
    common = math.lgamma(documents + 1) - math.lgamma(documents - drawn + 1)
    missed_F = [
        math.exp(math.lgamma(documents - j + 1) - math.lgamma(documents - j - drawn + 1) - common)
        if documents - j - drawn > -1
        else 0.0
        for j in frequency_F.tolist()
    ]
    return float(((1 - np.clip(missed_F, 0.0, 1.0)) * grams_F).sum())
