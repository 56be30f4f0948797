"""One pass of the prior over the documents of a shard: text in, arrays out. It reads and writes no file.

Two steps, so that the next shard is prepared while the prior works: `prepare` tokenises and lays windows, `run` sends
them through the engine in batches and puts what comes back where it belongs.

Shapes: D documents of a shard, T tokens of all of them laid end to end, R tokens that a batch scores, N tokens with
candidates, K candidates.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toedit.config import ScoreConfig, ScorerConfig
from toedit.console import Progress, human
from toedit.errors import BadConfiguration, Interrupted, UnusableInput
from toedit.priors import model_shape
from toedit.scorers import BatchScores, Scorer, load_scorers
from toedit.scores import ShardScores
from toedit.tokenizing import PriorTokenizer, load_tokenizer
from toedit.windows import ModelInput, Window, batches, windows


@dataclass(frozen=True)
class PreparedShard:
    """A shard's documents as token ids, and the windows that score them."""

    ids: list[str]
    token_offset_D1: NDArray[np.int64]
    token_id_T: NDArray[np.int32]
    span_T2: NDArray[np.int32]
    laid: list[tuple[int, Window]]
    """Windows, each with the place of its document's first token among the T."""
    cut_D: NDArray[np.int64]
    """Tokens at a document's end that score.truncate leaves unscored."""


class PriorPass:
    """The prior with its tokenizer, ready to score shards: as many at a time as it has engines."""

    def __init__(self, model: Path, score: ScoreConfig, scorer: ScorerConfig) -> None:
        self.tokenizer = load_tokenizer(model)
        self.score = score
        shape = model_shape(model)
        if shape.vocabulary_size is not None and self.tokenizer.vocabulary_size > shape.vocabulary_size:
            raise UnusableInput(
                f"{model}: the tokenizer has {self.tokenizer.vocabulary_size} entries, "
                f"the embedding only {shape.vocabulary_size}: they do not belong together"
            )
        self.context_id = context_id(self.tokenizer, score.context_token, model)
        self.window = _window(score, shape.context, model)
        self.capacity = self.window - (self.context_id is not None)
        self.min_context = score.min_context if score.min_context is not None else max(self.window // 4, 1)
        if self.min_context >= self.capacity:
            raise BadConfiguration(
                f"score.min_context={self.min_context}: must be below the prior's window of {self.window}"
            )
        self.scorers: list[Scorer] = load_scorers(model, score, scorer)
        self.batch_tokens = self.scorers[0].batch_tokens
        self.stop = threading.Event()
        """Set from outside: work in other threads ends after its batch."""
        self.started, self.tokens = time.monotonic(), 0

    def score_texts(self, ids: list[str], texts: list[str], progress: Progress, weight: float) -> ShardScores:
        """Scores of documents; `weight` is what all of them add to the progress."""
        return self.run(self.prepare(ids, texts), self.scorers[0], progress, weight)

    def prepare(self, ids: list[str], texts: list[str]) -> PreparedShard:
        """Tokenise documents and lay their windows."""
        encoded = self.tokenizer.encode(texts)
        length_D = np.array([len(document.token_ids_T) for document in encoded], np.int64)
        token_offset_D1 = np.concatenate([[0], np.cumsum(length_D)])
        kept_D = np.minimum(length_D, self.capacity) if self.score.truncate else length_D
        return PreparedShard(
            ids=ids,
            token_offset_D1=token_offset_D1,
            token_id_T=np.concatenate([document.token_ids_T for document in encoded]),
            span_T2=np.concatenate([document.span_T2 for document in encoded]),
            laid=[
                (int(offset), window)
                for offset, kept in zip(token_offset_D1, kept_D, strict=False)
                for window in self.lay(int(kept))
            ],
            cut_D=length_D - kept_D,
        )

    def lay(self, tokens: int) -> list[Window]:
        """The windows of a document of `tokens` tokens."""
        return windows(tokens, self.capacity, self.min_context, self.context_id is not None)

    def run(self, prepared: PreparedShard, scorer: Scorer, progress: Progress, weight: float) -> ShardScores:
        """Score what was prepared. Raises UnusableInput naming document and position where there is no number."""
        token_id_T, laid = prepared.token_id_T, prepared.laid
        logprob_T = np.full(len(token_id_T), np.nan, dtype=np.float32)
        found_tokens: list[NDArray[np.int64]] = []
        found_ids: list[NDArray[np.int32]] = []
        found_logprobs: list[NDArray[np.float32]] = []
        lengths = [window.stop - window.start for _, window in laid]
        per_token = weight / max(sum(lengths), 1)
        for batch in batches(lengths, self.batch_tokens):
            if self.stop.is_set():
                raise Interrupted("interrupted")
            token_R = np.concatenate([_scored_tokens(*laid[index]) for index in batch])
            scored = scorer.score([self._model_input(token_id_T, *laid[index]) for index in batch])
            _refuse_what_is_no_number(prepared, token_R, scored)
            logprob_T[token_R] = scored.logprob_R
            found_tokens.append(token_R[scored.confident_N])
            found_ids.append(scored.candidate_id_NK)
            found_logprobs.append(scored.candidate_logprob_NK)
            tokens = sum(lengths[index] for index in batch)
            self.tokens += tokens
            rate = self.tokens / max(time.monotonic() - self.started, 1e-9)
            progress.advance(tokens * per_token, f"{human(rate)} tokens/s")

        token_N = np.concatenate([np.empty(0, np.int64), *found_tokens])
        order = np.argsort(token_N)
        token_N = token_N[order]
        candidate_offset_D1 = np.searchsorted(token_N, prepared.token_offset_D1)
        document_N = np.repeat(np.arange(len(prepared.ids)), np.diff(candidate_offset_D1))
        return ShardScores(
            ids=prepared.ids,
            token_offset_D1=prepared.token_offset_D1,
            token_id_T=token_id_T,
            span_T2=prepared.span_T2,
            logprob_T=logprob_T,
            candidate_offset_D1=candidate_offset_D1,
            candidate_position_N=(token_N - prepared.token_offset_D1[document_N]).astype(np.int32),
            candidate_id_NK=_stacked(found_ids, order, np.int32),
            candidate_logprob_NK=_stacked(found_logprobs, order, np.float32),
        )

    def _model_input(self, token_id_T: NDArray[np.int32], offset: int, window: Window) -> ModelInput:
        token_ids_L = token_id_T[offset + window.start : offset + window.stop]
        first_scored = window.first_scored - window.start
        if self.context_id is not None and window.prefixed:
            token_ids_L = np.concatenate([np.array([self.context_id], np.int32), token_ids_L])
            first_scored += 1
        return ModelInput(token_ids_L, first_scored)


def context_id(tokenizer: PriorTokenizer, choice: str, model: Path) -> int | None:
    """The token that stands before a text: what the first token is conditioned on."""
    known = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "none": None}
    if choice == "auto":
        return known["bos"] if known["bos"] is not None else known["eos"]
    if choice != "none" and known[choice] is None:
        raise BadConfiguration(f"score.context_token={choice}: the tokenizer of {model} has none")
    return known[choice]


def _window(score: ScoreConfig, context: int | None, model: Path) -> int:
    """The longest window: what is asked for, or what the prior takes where that is less and allowed."""
    asked, key = (score.max_length, "max_length") if score.truncate else (score.window, "window")
    assert asked is not None
    if context is None or context >= asked:
        return asked
    if score.on_short_context == "refuse":
        raise BadConfiguration(
            f"score.{key}={asked}: {model} takes {context} tokens; lower it, or set score.on_short_context=window"
        )
    return context


def _scored_tokens(offset: int, window: Window) -> NDArray[np.int64]:
    return np.arange(offset + window.first_scored, offset + window.stop)


def _refuse_what_is_no_number(prepared: PreparedShard, token_R: NDArray[np.int64], scored: BatchScores) -> None:
    bad_R = ~np.isfinite(scored.logprob_R)
    if not bad_R.any():
        return
    row = int(np.argmax(bad_R))
    token = int(token_R[row])
    document = int(np.searchsorted(prepared.token_offset_D1, token, side="right")) - 1
    position = token - int(prepared.token_offset_D1[document])
    raise UnusableInput(
        f"document {prepared.ids[document]!r}, token {position}: the prior's logits give a log-probability of "
        f"{scored.logprob_R[row]}; its weights or activations overflow (score.dtype=float32 may help)"
    )


def _stacked(parts: list[NDArray[Any]], order: NDArray[np.int64], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts)[order] if parts else np.empty((0, 1), dtype)
