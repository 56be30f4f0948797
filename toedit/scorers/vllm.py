"""The vLLM scorer: `prompt_logprobs` of vLLM's own engine, as flat arrays, in the environment where vLLM lives.

Token ids go in, the context token among them; nothing is tokenised, decoded, cached or cut by vLLM. For every token it
returns the token itself and the K most probable ones; only the rows above `score.min_p` become arrays.

The start-up self-check scores a few random sequences, in two orders, and compares both with the torch scorer: an
engine whose numbers depend on the order of requests, or differ from a plain forward pass, would spoil every edit.

Shapes: L tokens of one sequence, R scored tokens of a batch, N of them confident, K candidates, V vocabulary.
"""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toedit import vllm_engine
from toedit.config import ScoreConfig, ScorerConfig
from toedit.costs import batch_tokens as usual_batch_tokens
from toedit.errors import UnusableInput
from toedit.priors import model_shape
from toedit.scorers import BatchScores
from toedit.windows import ModelInput

# vLLM allots the memory of a GPU without counting the logits of prompts; these bytes are kept free for them.
_LOGITS_BYTES = 2 << 30
# Of one logit, at the peak: float32 logits, their log-softmax, and a copy inside top-k.
BYTES_PER_LOGIT = 12
_MAX_SEQUENCES = 256

_TOLERANCE = 1e-4


class VllmScorer:
    """Runs a Hugging Face causal LM in vLLM, in this process.

    Raises BadConfiguration where this Python's vLLM does not serve, UnusableInput where vLLM cannot run the model or
    its numbers fail the self-check.
    """

    def __init__(self, model: Path, score: ScoreConfig, scorer: ScorerConfig) -> None:
        self.versions = vllm_engine.prepare("scorer=vllm")
        if scorer.threads is not None:
            import torch

            torch.set_num_threads(scorer.threads)
        self.vocabulary_size = vllm_engine.vocabulary_of(model)
        self.top_k = min(score.top_k, self.vocabulary_size)
        self.threshold = math.log(score.min_p) if score.min_p > 0 else -math.inf
        self.batch_tokens = scorer.batch_tokens or usual_batch_tokens("vllm", gpu=False)
        window = min(score.window, model_shape(model).context or score.window)
        # The reference first: two copies of the model are never in memory together.
        checked = _check_sequences(self.vocabulary_size, window) if scorer.self_check else []
        reference = _reference(model, score, scorer, checked) if checked else None
        with vllm_engine.refusals(model):
            self.engine = self._start(model, score, window)
            self._score([ModelInput(np.zeros(2, np.int32), 1)], -math.inf)  # some kernels refuse a shape only when run
        if reference is not None:
            self._self_check(checked, reference, score.dtype, model)

    def score(self, batch: list[ModelInput]) -> BatchScores:
        return self._score(batch, self.threshold)

    def _start(self, model: Path, score: ScoreConfig, window: int) -> Any:
        step_tokens = step_size(self.vocabulary_size, self.batch_tokens)
        return vllm_engine.start(
            model,
            score.dtype,
            step_tokens * self.vocabulary_size * BYTES_PER_LOGIT,
            max_model_len=window + 1,
            max_num_batched_tokens=step_tokens,
            max_num_seqs=min(_MAX_SEQUENCES, step_tokens),
            max_logprobs=self.top_k,
        )

    def _score(self, batch: list[ModelInput], threshold: float) -> BatchScores:
        import torch
        from vllm import SamplingParams, TokensPrompt

        parameters = SamplingParams(
            prompt_logprobs=self.top_k, max_tokens=1, temperature=0.0, detokenize=False, flat_logprobs=True
        )
        prompts = [TokensPrompt(prompt_token_ids=sequence.token_ids_L.tolist()) for sequence in batch]
        try:
            outputs = self.engine.generate(prompts, parameters, use_tqdm=False)
        except torch.OutOfMemoryError:
            raise UnusableInput(
                f"scorer.batch_tokens={self.batch_tokens}: vLLM ran out of memory; halve it, what is scored is kept"
            ) from None
        logprobs, confident, candidate_ids, candidate_logprobs, rows = [], [], [], [], 0
        for sequence, output in zip(batch, outputs, strict=True):
            logprob_L, confident_L, id_LK, logprob_LK = self._unpack(sequence, output.prompt_logprobs, threshold)
            logprobs.append(logprob_L)
            confident.append(confident_L + rows)
            candidate_ids.append(id_LK)
            candidate_logprobs.append(logprob_LK)
            rows += len(logprob_L)
        return BatchScores(
            logprob_R=np.concatenate(logprobs),
            confident_N=np.concatenate(confident),
            candidate_id_NK=np.concatenate(candidate_ids),
            candidate_logprob_NK=np.concatenate(candidate_logprobs),
        )

    def _unpack(
        self, sequence: ModelInput, flat: Any, threshold: float
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """One sequence's scored rows from vLLM's flat lists: nothing for the first token, then for each of the others
        1 + K entries, itself first."""
        width = 1 + self.top_k
        length = len(sequence.token_ids_L)
        if len(flat.logprobs) != (length - 1) * width:
            raise UnusableInput(
                f"vLLM returned {len(flat.logprobs)} log-probabilities for {length} tokens, not {width} for each "
                "but the first"
            )
        first = (sequence.first_scored - 1) * width
        token_id_L = np.array(flat.token_ids[first::width], np.int32)
        logprob_L = np.array(flat.logprobs[first::width], np.float32)
        if not np.array_equal(token_id_L, sequence.token_ids_L[sequence.first_scored :]):
            raise UnusableInput("vLLM returned log-probabilities of other tokens than those it was given")
        if np.isnan(logprob_L).any():
            place = sequence.first_scored + int(np.flatnonzero(np.isnan(logprob_L))[0])
            raise UnusableInput(f"vLLM returned NaN for token {place} of a window of {length}")
        # Compared in float64, as the editor will: a token on the threshold is either in both sets or in neither.
        confident_L = np.flatnonzero(logprob_L.astype(np.float64) >= threshold)
        starts = (first + 1 + confident_L * width).tolist()
        shape = (len(starts), self.top_k)
        id_LK = np.array([flat.token_ids[s : s + self.top_k] for s in starts], np.int32).reshape(shape)
        logprob_LK = np.array([flat.logprobs[s : s + self.top_k] for s in starts], np.float32).reshape(shape)
        if not np.isfinite(logprob_LK).all() or (np.diff(logprob_LK, axis=1) > 0).any():
            raise UnusableInput(f"vLLM returned fewer than {self.top_k} finite candidates in order; lower score.top_k")
        # Rounding can lift a certain token a hair above probability 1.
        return np.minimum(logprob_L, 0), confident_L, id_LK, np.minimum(logprob_LK, 0)

    def _self_check(self, sequences: list[ModelInput], reference: BatchScores, dtype: str, model: Path) -> None:
        forward = self._score(sequences, -math.inf)
        backward = _in_opposite_order(
            self._score(sequences[::-1], -math.inf), [sequence.scored for sequence in sequences[::-1]]
        )
        for name, scores, other in (
            ("in two orders", forward, backward),
            ("and by the torch scorer", forward, reference),
        ):
            difference = largest_difference(scores, other, dtype)
            if not difference <= 1:
                raise UnusableInput(
                    f"{model}: self-check failed: the same tokens scored by vLLM {name} differ {difference:.1f} times "
                    f"more than {dtype} allows; use scorer=torch (scorer.self_check=false goes on regardless)"
                )


def step_size(vocabulary_size: int, batch_tokens: int) -> int:
    """Tokens that vLLM may run at a time, so that their logits fit into the memory kept for them."""
    return max(min(batch_tokens, _LOGITS_BYTES // (vocabulary_size * BYTES_PER_LOGIT)), 16)


def largest_difference(a: BatchScores, b: BatchScores, dtype: str) -> float:
    """Largest difference of log-probabilities in units of what is tolerated; inf where shapes differ, NaN for NaN.

    Candidates are compared by value: which of two equal ones comes first is nobody's business.
    """
    worst = 0.0
    for x, y in ((a.logprob_R, b.logprob_R), (a.candidate_logprob_NK, b.candidate_logprob_NK)):
        if x.shape != y.shape:
            return math.inf
        tolerance = _TOLERANCE * np.maximum(np.abs(y), 1) if dtype == "float32" else 0.1 + 0.02 * np.abs(y).max()
        worst = float(np.maximum(worst, (np.abs(x - y) / tolerance).max()))
    return worst


def _check_sequences(vocabulary_size: int, window: int) -> list[ModelInput]:
    """Random tokens: short and longer sequences, two of them prefixes of another, where a cache would show."""
    generator = np.random.default_rng(0)
    longest = min(window, 48)
    lengths = sorted({min(length, longest) for length in (2, 5, 17, 48)})
    sequences = [generator.integers(0, vocabulary_size, length).astype(np.int32) for length in lengths]
    sequences += [sequences[-1][: max(longest // 2, 2)], sequences[-1][: max(longest - 1, 2)]]
    return [ModelInput(token_ids_L, 1) for token_ids_L in sequences]


def _reference(model: Path, score: ScoreConfig, scorer: ScorerConfig, sequences: list[ModelInput]) -> BatchScores:
    """What the torch scorer says of these sequences, every row with candidates; its memory is free again afterwards."""
    import torch

    from toedit.scorers.torch import TorchScorer

    plain = TorchScorer(model, replace(score, min_p=0), scorer)
    scores = plain.score(sequences)
    del plain
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return scores


def _in_opposite_order(scores: BatchScores, lengths: list[int]) -> BatchScores:
    """Scores of sequences laid end to end, every row with candidates, with the sequences in the opposite order."""
    stops = np.cumsum(lengths)
    order_R = np.concatenate(
        [np.arange(stop - length, stop) for stop, length in zip(stops, lengths, strict=True)][::-1]
    )
    return BatchScores(
        scores.logprob_R[order_R],
        scores.confident_N,
        scores.candidate_id_NK[order_R],
        scores.candidate_logprob_NK[order_R],
    )
