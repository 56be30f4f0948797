"""Sums over a corpus from which every number of `analysis=calibration` follows.

Reads scores that hold candidates at every token (`score.min_p=0`), shard by shard. At each token the prior states a
probability q for each of its K most probable tokens; a statement is right where that token stands in the text.

    bins, top, tail    statements by q, each as [count, sum of q, how many were right]
        bins           of all candidates, equal bins on [0, 1]
        top            of the most probable candidate alone, the same bins
        tail           of the most probable candidate where q >= 0.5, bins of 1 - q on a logarithmic scale
    at_least           likewise of all candidates with q >= each threshold
    eligible           tokens of the text with P >= each threshold
    within             tokens of the text among the first 1, 8, 64 candidates
    mass               what these candidates have together
    tokens, nll, bytes scored tokens, their negative log-likelihood in nats, and their bytes

Shapes: N tokens with candidates (a slice of a shard), K candidates, B bins, Q thresholds, C ranks, G groups of works,
3 = (count, stated, right).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.prior_quality.scored_corpora import Floats, Works
from toedit.config import PriorQualityConfig
from toedit.console import Progress
from toedit.documents import shard_paths
from toedit.editing import is_eligible
from toedit.errors import UnusableInput
from toedit.scores import ShardScores, read_scores

TAIL_EDGES = np.concatenate([[0.0], 10.0 ** np.arange(-5, -0.3, 0.25), [0.5]])
"""Bins of 1 - q: four a decade, from 1 in 100,000 to 1 in 2."""
_SLICE = 50_000
"""Tokens looked at together: with 64 candidates, 25 MB an array of them."""


@dataclass(frozen=True)
class Layout:
    """Where each group of sums lies among the S columns."""

    settings: PriorQualityConfig

    def shapes(self) -> dict[str, tuple[int, ...]]:
        bins, tail = self.settings.bins, len(TAIL_EDGES) - 1
        thresholds, ranks = len(self.settings.thresholds), len(self.settings.ranks)
        return {
            "bins": (bins, 3),
            "top": (bins, 3),
            "tail": (tail, 3),
            "at_least": (thresholds, 3),
            "eligible": (thresholds,),
            "within": (ranks,),
            "mass": (ranks,),
            "totals": (3,),
        }

    @property
    def columns(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes().values())

    def split(self, sum_RS: Floats) -> dict[str, Floats]:
        """Views of the columns, by name, as [R, *shape]."""
        parts, begin = {}, 0
        for name, shape in self.shapes().items():
            end = begin + int(np.prod(shape))
            parts[name] = sum_RS[:, begin:end].reshape(len(sum_RS), *shape)
            begin = end
        return parts


def count(scores: Path, corpus: Path, works: Works, settings: PriorQualityConfig, progress: Progress) -> Floats:
    """[G, S]. Raises UnusableInput where candidates are missing, or nothing is scored."""
    layout = Layout(settings)
    sum_GS = np.zeros((works.groups, layout.columns))
    into = layout.split(sum_GS)
    for shard in shard_paths(corpus):
        path = works.scores_of(scores, shard)
        found = read_scores(path)
        works.check(path, found.ids, shard)
        scored = int((~np.isnan(found.logprob_T)).sum())
        if scored != len(found.candidate_position_N):
            raise UnusableInput(
                f"{path}: candidates of {len(found.candidate_position_N):,} of {scored:,} scored tokens; calibration "
                "needs those of all: score.min_p=0"
            )
        group_D = works.group_of[shard]
        _add_totals(into["totals"], found, group_D)
        for begin in range(0, len(found.candidate_position_N), _SLICE):
            _add_slice(into, found, group_D, slice(begin, begin + _SLICE), settings)
        progress.advance(scored)
    if not into["totals"][:, 0].any():
        raise UnusableInput(f"{corpus}: no scored token, so there is nothing to measure")
    return sum_GS


def _add_totals(into_G3: Floats, found: ShardScores, group_D: NDArray[np.int64]) -> None:
    document_T = np.repeat(np.arange(len(found.ids)), np.diff(found.token_offset_D1))
    scored = np.flatnonzero(~np.isnan(found.logprob_T))
    document_N = document_T[scored]
    np.add.at(into_G3[:, 0], group_D[document_N], 1)
    np.add.at(into_G3[:, 1], group_D[document_N], -found.logprob_T[scored].astype(np.float64))
    # From the first scored byte of a document to the last: spans may leave out white space between words.
    first_D, last_D = np.full(len(found.ids), np.iinfo(np.int64).max), np.zeros(len(found.ids), np.int64)
    np.minimum.at(first_D, document_N, found.span_T2[scored, 0].astype(np.int64))
    np.maximum.at(last_D, document_N, found.span_T2[scored, 1].astype(np.int64))
    np.add.at(into_G3[:, 2], group_D, np.where(last_D > 0, last_D - np.minimum(first_D, last_D), 0))


def _add_slice(
    into: dict[str, Floats], found: ShardScores, group_D: NDArray[np.int64], part: slice, settings: PriorQualityConfig
) -> None:
    token_N = found.token_N[part]
    group_N = group_D[found.document_N[part]]
    logprob_NK = np.minimum(found.candidate_logprob_NK[part].astype(np.float64), 0.0)
    stated_NK = np.exp(logprob_NK)
    is_right_NK = found.candidate_id_NK[part] == found.token_id_T[token_N, None]
    _add_statements(into["bins"], group_N, stated_NK, is_right_NK, settings.bins)
    _add_statements(into["top"], group_N, stated_NK[:, :1], is_right_NK[:, :1], settings.bins)
    _add_tail(into["tail"], group_N, -np.expm1(logprob_NK[:, 0]), is_right_NK[:, 0])
    for column, p in enumerate(settings.thresholds):
        is_stated_NK = is_eligible(found.candidate_logprob_NK[part], p)
        for place, value_NK in enumerate((is_stated_NK, is_stated_NK * stated_NK, is_stated_NK & is_right_NK)):
            np.add.at(into["at_least"][:, column, place], group_N, value_NK.sum(axis=1))
        np.add.at(into["eligible"][:, column], group_N, is_eligible(found.logprob_T[token_N], p))
    for column, rank in enumerate(settings.ranks):
        np.add.at(into["within"][:, column], group_N, is_right_NK[:, :rank].any(axis=1))
        np.add.at(into["mass"][:, column], group_N, np.minimum(stated_NK[:, :rank].sum(axis=1), 1.0))


def _add_statements(
    into_GB3: Floats, group_N: NDArray[np.int64], stated_NK: Floats, is_right_NK: NDArray[np.bool_], bins: int
) -> None:
    bin_NK = np.minimum((stated_NK * bins).astype(np.int64), bins - 1)
    cell = (group_N[:, None] * bins + bin_NK).ravel()
    for place, weight in enumerate((None, stated_NK.ravel(), is_right_NK.ravel())):
        counted = np.bincount(cell, weight, minlength=len(into_GB3) * bins)
        into_GB3[:, :, place] += counted.reshape(len(into_GB3), bins)


def _add_tail(into_GB3: Floats, group_N: NDArray[np.int64], error_N: Floats, is_right_N: NDArray[np.bool_]) -> None:
    kept_N = error_N <= TAIL_EDGES[-1]
    bins = len(TAIL_EDGES) - 1
    bin_N = np.minimum(np.searchsorted(TAIL_EDGES, error_N[kept_N], side="right") - 1, bins - 1)
    cell = group_N[kept_N] * bins + bin_N
    for place, weight in enumerate((None, 1 - error_N[kept_N], is_right_N[kept_N])):
        counted = np.bincount(cell, weight, minlength=len(into_GB3) * bins)
        into_GB3[:, :, place] += counted.reshape(len(into_GB3), bins)
