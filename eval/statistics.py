"""From documents' log-probabilities to metrics, and how far these would move with other documents.

Both conventions are functions of the documents' weights: all 1 for the value itself, the number of times each was drawn
for a bootstrap resample. So one matrix product a convention gives a value, or a thousand resamples of it.

Shapes: D documents of a set, U units (documents, or origins that several share), R resamples, B batches of documents.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from eval.perplexity import Measured
from toedit.units import draw_counts

METRICS = ("nll", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
PAPER_METRICS = METRICS[:2]

Values = dict[str, NDArray[np.float64]]
Statistic = Callable[[NDArray[np.float64]], Values]
"""weight_RD -> {metric: value_R}."""

_LARGEST_MATRIX = 4_000_000


def rolling_statistic(measured: Measured) -> Statistic:
    """Minus the sum of log P over all documents, by token, word and byte."""
    total_D4 = np.stack([measured.nll_D, measured.scored_D, measured.words_D, measured.bytes_D], axis=1).astype(float)

    def statistic(weight_RD: NDArray[np.float64]) -> Values:
        nll_R, tokens_R, words_R, bytes_R = (weight_RD @ total_D4).T
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return {
                "nll": nll_R / tokens_R,
                "perplexity": np.exp(nll_R / tokens_R),
                "word_perplexity": np.exp(nll_R / words_R),
                "byte_perplexity": np.exp(nll_R / bytes_R),
                "bits_per_byte": nll_R / bytes_R / math.log(2),
            }

    return statistic


def paper_statistic(measured: Measured, batch_documents: int, cap: float) -> Statistic:
    """The mean over batches of documents of each batch's mean loss, cut off at `cap`.

    A batch without a measured token (documents of one token) has no mean and does not count.
    """
    first_B = np.arange(0, len(measured.nll_D), batch_documents)

    def statistic(weight_RD: NDArray[np.float64]) -> Values:
        nll_RB = np.add.reduceat(weight_RD * measured.nll_D, first_B, axis=1)
        tokens_RB = np.add.reduceat(weight_RD * measured.scored_D, first_B, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_RB = np.where(tokens_RB > 0, nll_RB / tokens_RB, 0.0)
            loss_R = np.minimum(mean_RB.sum(axis=1) / (tokens_RB > 0).sum(axis=1), cap)
        return {"nll": loss_R, "perplexity": np.exp(loss_R)}

    return statistic


def values(statistic: Statistic, documents: int) -> dict[str, float]:
    """The metrics of all documents, each once."""
    return {name: float(value_R[0]) for name, value_R in statistic(np.ones((1, documents))).items()}


def standard_errors(
    statistic: Statistic, unit_D: NDArray[np.int64], resamples: int, seed: int, set_name: str
) -> dict[str, float]:
    """Standard deviation of each metric over bootstrap resamples of units; NaN where there is one unit alone."""
    units = int(unit_D.max()) + 1
    generator = np.random.default_rng([seed, zlib.crc32(set_name.encode())])
    rows = max(min(_LARGEST_MATRIX // len(unit_D), resamples), 1)
    parts: dict[str, list[NDArray[np.float64]]] = {}
    for start in range(0, resamples if units > 1 else 0, rows):
        count_RU = draw_counts(generator, min(rows, resamples - start), units)
        for name, value_R in statistic(count_RU[:, unit_D].astype(float)).items():
            parts.setdefault(name, []).append(value_R)
    with np.errstate(invalid="ignore"):
        return {name: float(np.concatenate(found).std(ddof=1)) for name, found in parts.items()}
