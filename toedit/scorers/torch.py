"""The torch scorer: any causal language model of Transformers, on CPU or CUDA, through one code path.

What makes it fast: batches of similar lengths by token budget, right-padded, so that causal attention needs no mask;
the LM head in chunks and only for rows that are asked for (`head.py`). On a CPU also: attention in blocks
(`attention.py`), the head in C (`compiled_kernels.py`), float32 products by the faster library
(`precision.py`).

A batch that does not fit into memory is halved, and so are those after it.

Shapes: B sequences, L tokens (longest of the batch), H hidden size, V vocabulary, R rows asked for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers.activations import GELUTanh, NewGELUActivation

from toedit.config import ScoreConfig, ScorerConfig
from toedit.console import note
from toedit.costs import batch_tokens
from toedit.errors import UnusableInput
from toedit.scorers import BatchScores
from toedit.scorers.attention import NAME as BLOCKED_ATTENTION
from toedit.scorers.compiled_kernels import CompiledGELU
from toedit.scorers.head import LanguageModelHead
from toedit.scorers.precision import fast_float32
from toedit.windows import ModelInput

_SELF_CHECK_TOLERANCE = 1e-3
# More than one block of attention.
_SELF_CHECK_TOKENS = 160


class TorchScorer:
    """Runs a Hugging Face causal LM from a folder. Raises UnusableInput where the folder holds no usable model."""

    def __init__(self, model: Path, score: ScoreConfig, scorer: ScorerConfig) -> None:
        if scorer.threads is not None:
            torch.set_num_threads(scorer.threads)
        self.device = find_device(scorer.device)
        self.versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        self.model = load_causal_lm(model, getattr(torch, score.dtype))
        torch.nn.Module.to(self.model, self.device).eval()
        self.head = LanguageModelHead(self.model, scorer.head_rows, scorer.compiled_kernels)
        self.versions["head"] = "compiled" if self.head.kernels is not None else "torch"
        self.batch_tokens = scorer.batch_tokens or batch_tokens("torch", gpu=self.device.type == "cuda")
        self.threshold = math.log(score.min_p) if score.min_p > 0 else -math.inf
        self.top_k = min(score.top_k, self.head.vocabulary_size)
        self.most_tokens = math.inf
        with torch.inference_mode(), fast_float32():
            self._prepare(model, score.dtype)

    def score(self, batch: list[ModelInput]) -> BatchScores:
        tokens = len(batch) * max(len(sequence.token_ids_L) for sequence in batch)
        if tokens > self.most_tokens and len(batch) > 1:
            return self._score_in_halves(batch)
        try:
            with torch.inference_mode(), fast_float32():
                return self._score(batch)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
        # Outside the handler: its traceback would keep the tensors of the failed attempt alive.
        self._make_room(batch, tokens)
        return self._score_in_halves(batch)

    def _score(self, batch: list[ModelInput]) -> BatchScores:
        lengths = [len(sequence.token_ids_L) for sequence in batch]
        token_BL = np.zeros((len(batch), max(lengths)), dtype=np.int64)
        for row, sequence in enumerate(batch):
            token_BL[row, : lengths[row]] = sequence.token_ids_L
        # A token is predicted by the hidden state one place before it; the last one is never read.
        row_R = np.concatenate([np.full(s.scored, b) for b, s in enumerate(batch)])
        column_R = np.concatenate([np.arange(s.first_scored, length) for s, length in zip(batch, lengths, strict=True)])
        hidden_BLH = self._hidden(torch.from_numpy(token_BL[:, :-1]).to(self.device))
        hidden_RH = hidden_BLH[torch.from_numpy(row_R), torch.from_numpy(column_R - 1)]
        target_R = torch.from_numpy(token_BL[row_R, column_R]).to(self.device)
        return self.head.score(hidden_RH, target_R, self.threshold, self.top_k)

    def _make_room(self, batch: list[ModelInput], tokens: int) -> None:
        """After running out of memory: let go of what is kept, and attempt nothing as large again."""
        self.head.release()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            raise UnusableInput(
                f"out of memory for a single window of {tokens} tokens; lower score.window or scorer.head_rows"
            )
        self.most_tokens = tokens // 2
        note(f"out of memory for a batch of {tokens} tokens: going on with {tokens // 2} (scorer.batch_tokens sets it)")

    def _score_in_halves(self, batch: list[ModelInput]) -> BatchScores:
        middle = len(batch) // 2
        first, second = self.score(batch[:middle]), self.score(batch[middle:])
        return BatchScores(
            np.concatenate([first.logprob_R, second.logprob_R]),
            np.concatenate([first.confident_N, second.confident_N + len(first.logprob_R)]),
            np.concatenate([first.candidate_id_NK, second.candidate_id_NK]),
            np.concatenate([first.candidate_logprob_NK, second.candidate_logprob_NK]),
        )

    def _hidden(self, token_BL: Tensor) -> Tensor:
        """The states the LM head reads: the decoder's output, final normalisation included."""
        output: Tensor = self.model.base_model(input_ids=token_BL, use_cache=False)[0]
        return output

    def _prepare(self, folder: Path, dtype: str) -> None:
        """Exchange what has a faster equal, and compare the result with the model as it came.

        Some architectures scale or shift what stands between decoder and logits. A silent difference there would
        spoil every score, so an unknown one is refused.
        """
        config = self.model.config.get_text_config()
        length = min(_SELF_CHECK_TOKENS, getattr(config, "max_position_embeddings", None) or _SELF_CHECK_TOKENS)
        token_BL = (torch.arange(1, length + 1, device=self.device)[None] * 7) % config.vocab_size
        theirs_CV = self.model(input_ids=token_BL, use_cache=False).logits[0].float().log_softmax(-1)
        self._exchange(dtype)
        ours_CV = self.head.logits(self._hidden(token_BL)[0]).log_softmax(-1)
        tolerance = _SELF_CHECK_TOLERANCE if dtype == "float32" else 0.1 + 0.02 * theirs_CV.abs().max().item()
        difference = (ours_CV - theirs_CV).abs().max().item()
        if not difference <= tolerance:
            kind = type(self.model).__name__
            raise UnusableInput(
                f"{folder}: {kind} puts something unknown between decoder and logits "
                f"(log-probabilities differ by {difference:.2g}); this architecture is not supported"
            )

    def _exchange(self, dtype: str) -> None:
        """Equal functions that run faster."""
        kernels = self.head.kernels if dtype == "bfloat16" else None
        gelu = torch.nn.GELU(approximate="tanh") if kernels is None else CompiledGELU(kernels)
        for module in list(self.model.modules()):
            for name, child in module.named_children():
                if isinstance(child, (NewGELUActivation, GELUTanh)):
                    setattr(module, name, gelu)
        uses_sdpa = getattr(self.model.config, "_attn_implementation", None) == "sdpa"
        if self.device.type == "cpu" and dtype == "bfloat16" and uses_sdpa:
            self.model.set_attn_implementation(BLOCKED_ATTENTION)


def load_causal_lm(folder: Path, dtype: torch.dtype) -> Any:
    """The causal LM in a Hugging Face folder. Raises UnusableInput in one line where it cannot be loaded."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # Transformers raises nearly every class of exception here
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnusableInput(f"{folder}: no causal language model can be loaded from it ({reason[0][:200]})") from None
    model, report = loaded
    if report["missing_keys"]:
        raise UnusableInput(f"{folder}: weights are missing ({sorted(report['missing_keys'])[0]}, …)")
    return model


def find_device(name: str, key: str = "scorer.device") -> torch.device:
    """The device that `key`=`name` asks for."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UnusableInput(f"{key}={name}: this machine has no CUDA device")
    return torch.device(name)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: on a GPU, or, where the operating system refuses it, on the CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
