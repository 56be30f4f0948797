"""What a model makes of documents: the log-probability of each, in windows, by the prior's fast pass.

`rolling` lays windows as lm-eval's rolling log-likelihood does: every token once, the first after BOS or EOS. `paper`
reads the first tokens of a document alone and does not measure the very first. Reads a model folder, writes nothing.

Shapes: D documents, T tokens of all of them laid end to end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from toedit.config import EvalConfig, ScoreConfig, ScorerConfig
from toedit.console import Progress
from toedit.errors import BadConfiguration
from toedit.prior_pass import PreparedShard, PriorPass
from toedit.priors import model_shape
from toedit.scorers import Scorer
from toedit.windows import Window, rolling_windows

_LONGEST_WITHOUT_LIMIT = 2048
# On a CPU the states of more tokens fall out of the cache: at 10M parameters 512 were a third faster than 4096.
_CPU_BATCH_TOKENS = 512


@dataclass(frozen=True)
class Measured:
    """Of each document: its tokens, how many of them were measured, its words and bytes, minus the sum of log P."""

    tokens_D: NDArray[np.int64]
    scored_D: NDArray[np.int64]
    words_D: NDArray[np.int64]
    bytes_D: NDArray[np.int64]
    nll_D: NDArray[np.float64]


class PerplexityPass(PriorPass):
    """The prior's pass with a harness's windows, keeping log-probabilities alone."""

    def __init__(self, model: Path, settings: EvalConfig, scorer: ScorerConfig) -> None:
        if scorer.kind != "torch":
            raise BadConfiguration(f"scorer.kind={scorer.kind}: perplexity is measured by torch alone; leave it out")
        self.settings = settings
        self.rolling = settings.mode == "rolling"
        longest = model_shape(model).context or _LONGEST_WITHOUT_LIMIT
        score = ScoreConfig(
            top_k=1,  # with min_p=1 nothing is looked up
            min_p=1.0,
            window=settings.window or longest,
            dtype=settings.dtype,
            context_token=settings.context_token if self.rolling else "none",
            truncate=not self.rolling,
            max_length=None if self.rolling else settings.max_tokens,
        )
        try:
            super().__init__(model, score, scorer)
        except BadConfiguration as error:  # its keys have another name here
            raise BadConfiguration(re.sub(r"^score\.", "eval.", str(error))) from None
        on_cpu = scorer.device == "cpu" or (scorer.device == "auto" and not torch.cuda.is_available())
        if on_cpu and scorer.batch_tokens is None:
            self.batch_tokens = _CPU_BATCH_TOKENS
        if self.rolling and settings.context_token == "auto":
            self.context_id = _harness_prefix(model, self.context_id)
        if self.rolling and settings.min_context > self.window:
            raise BadConfiguration(
                f"eval.min_context={settings.min_context}: must not exceed the window of {self.window} tokens"
            )

    @property
    def stride(self) -> int | None:
        """Tokens that a later window predicts; None where there are no later windows."""
        return self.window - self.settings.min_context + 1 if self.rolling else None

    def lay(self, tokens: int) -> list[Window]:
        if self.rolling:
            return rolling_windows(tokens, self.window, self.settings.min_context, self.context_id is not None)
        return [Window(0, tokens, 1)] if tokens > 1 else []

    def measure(
        self, prepared: PreparedShard, texts: Sequence[str], scorer: Scorer, progress: Progress, weight: float
    ) -> Measured:
        """Run the model over prepared documents; `weight` is what they add to the progress."""
        logprob_T = self.run(prepared, scorer, progress, weight).logprob_T.astype(np.float64)
        tokens_D = np.diff(prepared.token_offset_D1)
        document_T = np.repeat(np.arange(len(tokens_D)), tokens_D)
        is_scored_T = ~np.isnan(logprob_T)
        return Measured(
            tokens_D=tokens_D,
            scored_D=np.bincount(document_T[is_scored_T], minlength=len(tokens_D)),
            words_D=np.array([len(re.split(r"\s+", text)) for text in texts], np.int64),
            bytes_D=np.array([len(text.encode()) for text in texts], np.int64),
            nll_D=np.bincount(document_T, np.where(is_scored_T, -logprob_T, 0.0), len(tokens_D)).astype(np.float64),
        )


def _harness_prefix(model: Path, otherwise: int | None) -> int | None:
    """BOS, else EOS, as Transformers' tokenizer names them (a model's config may name others)."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    except Exception:  # a tokenizer that only we can read; the library raises whatever it likes
        return otherwise
    named = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    return next((token for token in named if token is not None), otherwise)
