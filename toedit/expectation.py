"""How many tokens an edit is expected to change: exact, for many settings at once, before any draw.

Reads a scores artifact, shard by shard, once for a whole grid of (p, k, temperature). The expectation of one setting is
the sum over its eligible tokens of 1 - q(original), q being what `toedit.editing` draws from; the grid shares the
exponentials among all p and k (a cumulative sum serves every k) and needs no uniforms.

Shapes: N confident tokens of a shard (R rows of them at a time), K stored candidates, and a grid of P thresholds p, J
numbers of candidates k, and S temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toedit.artifacts import Artifact, load_input
from toedit.console import Progress
from toedit.documents import documents_file, read_documents
from toedit.editing import is_eligible
from toedit.errors import BadConfiguration
from toedit.protection import restrict
from toedit.scores import SCORES, ShardScores, read_scores
from toedit.workspace import read_manifest

_ROWS = 16_384  # bounds memory to a few matrices of this many rows and K columns


@dataclass(frozen=True)
class Grid:
    """The settings: every combination of p, k and temperature."""

    p: Sequence[float]
    k: Sequence[int]
    temperature: Sequence[float]
    strict: bool = False


@dataclass(frozen=True)
class Expectation:
    """What each setting of a grid is expected to do to all tokens of the scores."""

    tokens: int
    """Tokens of the corpus, the unscored ones included: what shares are of."""
    eligible_P: NDArray[np.int64]
    changed_PJS: NDArray[np.float64]
    """Expected number of changed tokens. Draws that cannot be written into the text are counted: a slight excess."""


def refuse_what_scores_lack(scores: Artifact, grid: Grid, section: str) -> None:
    """Raise BadConfiguration where the scores hold too little for some setting; `section` is where it was asked for."""
    min_p, top_k = scores.identity["min_p"], scores.identity["top_k"]
    p, k = min(grid.p), max(grid.k)
    if p < min_p:
        raise BadConfiguration(
            f"{section}.p={p:g}: the scores keep candidates for P >= {min_p:g} only; add score.min_p={p:g}"
        )
    if k > top_k:
        raise BadConfiguration(f"{section}.k={k}: the scores keep {top_k} candidates; add score.top_k={k}")


def expect(scores: Path, grid: Grid, protect: Sequence[str] = ()) -> Expectation:
    """The expectation over a whole scores artifact, which must hold enough for it (`refuse_what_scores_lack`).

    Tokens that may not change are left out, as in an edit; only then the corpus is read as well.
    """
    manifest = read_manifest(scores)
    is_restricted = bool(protect or manifest["counts"].get("instructions"))
    corpus = load_input(scores, manifest, "corpus").path if is_restricted else None
    eligible_P = np.zeros(len(grid.p), np.int64)
    changed_PJS = np.zeros((len(grid.p), len(grid.k), len(grid.temperature)))
    with Progress("expect", manifest["counts"]["tokens"]) as progress:
        for path in sorted((scores / SCORES).glob("*.parquet")):
            shard = read_scores(path)
            if corpus is not None:
                corpus_shard = corpus / documents_file(path.stem)
                shard, _ = restrict(shard, list(read_documents(corpus_shard)), protect, corpus_shard)
            shard_eligible_P, shard_changed_PJS = expect_shard(shard, grid)
            eligible_P += shard_eligible_P
            changed_PJS += shard_changed_PJS
            progress.advance(len(shard.token_id_T))
    return Expectation(manifest["counts"]["tokens"], eligible_P, changed_PJS)


def expect_shard(scores: ShardScores, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(eligible_P, changed_PJS) of one shard."""
    eligible_P = np.zeros(len(grid.p), np.int64)
    changed_PJS = np.zeros((len(grid.p), len(grid.k), len(grid.temperature)))
    token_id_N, logprob_N = scores.token_id_T[scores.token_N], scores.logprob_T[scores.token_N]
    needed_N = np.flatnonzero(is_eligible(logprob_N, min(grid.p), grid.strict))
    for start in range(0, len(needed_N), _ROWS):
        row_R = needed_N[start : start + _ROWS]
        is_eligible_PR = np.stack([is_eligible(logprob_N[row_R], p, grid.strict) for p in grid.p])
        is_original_RK = scores.candidate_id_NK[row_R, : max(grid.k)] == token_id_N[row_R, None]
        logprob_RK = scores.candidate_logprob_NK[row_R, : max(grid.k)].astype(np.float64)
        below_top_RK = logprob_RK - logprob_RK[:, :1]
        last_J = np.minimum(grid.k, logprob_RK.shape[1]) - 1  # a vocabulary may be smaller than k
        eligible_P += is_eligible_PR.sum(axis=1)
        for s, temperature in enumerate(grid.temperature):
            weight_RK = np.exp(below_top_RK / temperature)
            total_RJ = np.cumsum(weight_RK, axis=1)[:, last_J]
            original_RJ = np.cumsum(weight_RK * is_original_RK, axis=1)[:, last_J]
            changed_PJS[:, :, s] += is_eligible_PR @ (1.0 - original_RJ / total_RJ)
    return eligible_P, changed_PJS
