"""Perplexities of a corpus's documents, from scores: exp of minus the mean log-probability of a document's tokens.

Reads a scores artifact (ids and log-probabilities, nothing else) and, of the corpus it belongs to, which work each
document is from. Nothing is kept of a shard but a row a document.

Shapes: D documents, T tokens of a shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from toedit.config import AnalysisConfig
from toedit.console import Progress, printable
from toedit.documents import read_documents, shard_of, shard_paths
from toedit.errors import UnusableInput
from toedit.scores import read_document_logprobs, scores_path
from toedit.units import origin_of, units_of

_LARGEST_NLL = 700.0
"""exp of more is no number."""


@dataclass(frozen=True)
class DocumentPerplexities:
    """One row a document, in the order of the corpus."""

    ids: list[str]
    origins: list[str | None]
    tokens_D: NDArray[np.int64]
    """All tokens of the document."""
    measured_D: NDArray[np.int64]
    """Tokens that its perplexity is over; 0 where it has none."""
    nll_D: NDArray[np.float64]
    """Mean negative log-likelihood in nats a token; NaN where `measured_D` is 0."""

    @property
    def is_measured_D(self) -> NDArray[np.bool_]:
        return self.measured_D > 0

    def sample(self) -> tuple[NDArray[np.float64], NDArray[np.int64], str]:
        """`(nll, unit, what a unit is)` of the documents that have a perplexity."""
        kept_D = self.is_measured_D
        unit, kind = units_of([origin for origin, is_kept in zip(self.origins, kept_D, strict=True) if is_kept])
        return self.nll_D[kept_D], unit, kind

    def table(self, corpus: str) -> pa.Table:
        """The tidy data. `unit` is the work, else the document itself."""
        perplexity_D = np.exp(self.nll_D)
        units = [origin if origin is not None else own for own, origin in zip(self.ids, self.origins, strict=True)]
        return pa.table(
            {
                "corpus": pa.array([corpus] * len(self.ids), pa.string()),
                "id": pa.array(self.ids, pa.string()),
                "unit": pa.array(units, pa.string()),
                "tokens": pa.array(self.tokens_D),
                "measured_tokens": pa.array(self.measured_D),
                "nll": pa.array(self.nll_D, mask=~self.is_measured_D),
                "perplexity": pa.array(perplexity_D, mask=~self.is_measured_D),
            }
        )


def read_perplexities(scores: Path, corpus: Path, settings: AnalysisConfig, progress: Progress) -> DocumentPerplexities:
    """All documents of the corpus. Raises UnusableInput where scores and corpus do not fit, or a number is none."""
    ids: list[str] = []
    origins: list[str | None] = []
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for shard in shard_paths(corpus):
        path = scores_path(scores, shard_of(shard))
        shard_ids, token_offset_D1, logprob_T = read_document_logprobs(path)
        found = [(document["id"], origin_of(document, settings.unit_fields)) for document in read_documents(shard)]
        if [own for own, _ in found] != shard_ids:
            raise UnusableInput(f"{path}: its documents are not those of {shard}")
        measured_D, nll_D = mean_nll(token_offset_D1, logprob_T, settings.max_tokens, settings.skip_first_token)
        if (wrong_D := np.flatnonzero((measured_D > 0) & ~(nll_D <= _LARGEST_NLL))).size:
            raise UnusableInput(
                f"{path}: document {printable(shard_ids[wrong_D[0]])} has a perplexity that is no finite number; "
                "score it again with a prior that gives every token a probability"
            )
        ids += shard_ids
        origins += [origin for _, origin in found]
        parts.append((np.diff(token_offset_D1), measured_D, nll_D))
        progress.advance(len(shard_ids))
    if not ids or not any(measured_D.any() for _, measured_D, _ in parts):
        what = "no document" if not ids else f"no document with a scored token among {len(ids):,}"
        raise UnusableInput(f"{corpus}: {what}, so there is no perplexity to show")
    tokens_D, measured_D, nll_D = (np.concatenate(column) for column in zip(*parts, strict=True))
    return DocumentPerplexities(ids, origins, tokens_D, measured_D, nll_D)


def mean_nll(
    token_offset_D1: NDArray[np.int64], logprob_T: NDArray[np.floating], max_tokens: int | None, skip_first: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`(measured_D, nll_D)`: over the scored ones of a document's first `max_tokens` tokens, without the very first."""
    length_D = np.diff(token_offset_D1)
    document_T = np.repeat(np.arange(len(length_D)), length_D)
    position_T = np.arange(len(logprob_T)) - token_offset_D1[document_T]
    counts_T = ~np.isnan(logprob_T) & (position_T >= int(skip_first))
    if max_tokens is not None:
        counts_T &= position_T < max_tokens
    document_T = document_T[counts_T]
    measured_D = np.bincount(document_T, minlength=len(length_D))
    total_D = np.bincount(document_T, -logprob_T[counts_T].astype(np.float64), minlength=len(length_D))
    with np.errstate(invalid="ignore"):
        return measured_D.astype(np.int64), np.where(measured_D > 0, total_D / measured_D, np.nan)
