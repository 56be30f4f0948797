"""The torch scorer: any causal language model of Transformers, on CPU or CUDA, through one code path.

What makes it fast: batches of similar lengths by token budget, right-padded, so that causal attention needs no mask;
the LM head only for rows that are asked for, `scorer.head_rows` at a time with log-sum-exp, so that no
[tokens, vocabulary] matrix ever exists; the top K only for rows above `score.min_p`.

Shapes: B sequences, L tokens (longest of the batch), H hidden size, V vocabulary, R rows asked for, C rows of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from toedit.config import ScoreConfig, ScorerConfig
from toedit.errors import UnusableInput
from toedit.scorers import BatchScores
from toedit.windows import ModelInput

_SELF_CHECK_TOLERANCE = 1e-3


class TorchScorer:
    """Runs a Hugging Face causal LM from a folder. Raises UnusableInput where the folder holds no usable model."""

    def __init__(self, model: Path, score: ScoreConfig, scorer: ScorerConfig) -> None:
        if scorer.threads is not None:
            torch.set_num_threads(scorer.threads)
        self.device = find_device(scorer.device)
        self.dtype = getattr(torch, score.dtype)
        self.model = load_causal_lm(model, self.dtype)
        torch.nn.Module.to(self.model, self.device).eval()
        self.head_rows = scorer.head_rows
        self.threshold = math.log(score.min_p) if score.min_p > 0 else -math.inf
        self.head: Callable[[Tensor], Tensor] = self._prepare_head()
        self.top_k = min(score.top_k, self._self_check(model))

    @torch.inference_mode()
    def score(self, batch: list[ModelInput]) -> BatchScores:
        lengths = [len(sequence.token_ids_L) for sequence in batch]
        token_BL = np.zeros((len(batch), max(lengths)), dtype=np.int64)
        for row, sequence in enumerate(batch):
            token_BL[row, : lengths[row]] = sequence.token_ids_L
        # A token is predicted by the hidden state one place before it.
        row_R = np.concatenate([np.full(s.scored, b) for b, s in enumerate(batch)])
        column_R = np.concatenate([np.arange(s.first_scored, length) for s, length in zip(batch, lengths, strict=True)])

        hidden_BLH = self._hidden(torch.from_numpy(token_BL).to(self.device))
        hidden_RH = hidden_BLH[torch.from_numpy(row_R), torch.from_numpy(column_R - 1)]
        target_R = torch.from_numpy(token_BL[row_R, column_R]).to(self.device)
        return self._score_rows(hidden_RH, target_R)

    def _score_rows(self, hidden_RH: Tensor, target_R: Tensor) -> BatchScores:
        logprobs, confident, candidate_ids, candidate_logprobs = [], [], [], []
        for start in range(0, len(target_R), self.head_rows):
            chunk = slice(start, start + self.head_rows)
            logit_CV = self.head(hidden_RH[chunk])
            normaliser_C = torch.logsumexp(logit_CV, dim=-1)
            # Rounding can lift a certain token a hair above probability 1.
            logprob_C = (logit_CV.gather(-1, target_R[chunk, None])[:, 0] - normaliser_C).clamp_(max=0.0)
            # Compared in float64, as the editor will: a token on the threshold is either in both sets or in neither.
            confident_M = torch.nonzero(logprob_C.double() >= self.threshold)[:, 0]
            logit_MK, id_MK = logit_CV[confident_M].topk(self.top_k, dim=-1)
            logprobs.append(logprob_C)
            confident.append(confident_M + start)
            candidate_ids.append(id_MK.int())
            candidate_logprobs.append((logit_MK - normaliser_C[confident_M, None]).clamp_(max=0.0))
        return BatchScores(
            logprob_R=torch.cat(logprobs).cpu().numpy(),
            confident_N=torch.cat(confident).cpu().numpy(),
            candidate_id_NK=torch.cat(candidate_ids).cpu().numpy(),
            candidate_logprob_NK=torch.cat(candidate_logprobs).cpu().numpy(),
        )

    def _hidden(self, token_BL: Tensor) -> Tensor:
        """The states the LM head reads: the decoder's output, final normalisation included."""
        output: Tensor = self.model.base_model(input_ids=token_BL, use_cache=False)[0]
        return output

    def _prepare_head(self) -> Callable[[Tensor], Tensor]:
        """The LM head with float32 logits whatever the operands: bfloat16 logits near 0 are 0.0625 apart."""
        head = self.model.get_output_embeddings()
        weight_VH, bias = head.weight, getattr(head, "bias", None)
        config = self.model.config.get_text_config()
        scale = getattr(config, "logit_scale", None) or 1.0  # Cohere
        scale /= getattr(config, "logits_scaling", None) or 1.0  # Granite
        cap = getattr(config, "final_logit_softcapping", None)  # Gemma
        fused = self.dtype != torch.float32 and self.device.type == "cuda"
        if not fused:
            weight_VH = weight_VH.float()

        def logits(hidden_CH: Tensor) -> Tensor:
            if fused:
                logit_CV = torch.mm(hidden_CH, weight_VH.T, out_dtype=torch.float32)
            else:
                logit_CV = hidden_CH.float() @ weight_VH.T
            if bias is not None:
                logit_CV = logit_CV + bias.float()
            if scale != 1.0:
                logit_CV = logit_CV * scale
            return torch.tanh(logit_CV / cap) * cap if cap else logit_CV

        return logits

    @torch.inference_mode()
    def _self_check(self, folder: Path) -> int:
        """Compare our chunked head with the model's own forward pass on a few tokens; return the vocabulary size.

        Some architectures scale or shift what stands between decoder and logits. A silent difference there would
        spoil every score, so an unknown one is refused.
        """
        token_BL = torch.arange(1, 9, device=self.device)[None] % self.model.config.get_text_config().vocab_size
        ours_CV = self.head(self._hidden(token_BL)[0]).log_softmax(-1)
        theirs_CV = self.model(input_ids=token_BL, use_cache=False).logits[0].float().log_softmax(-1)
        tolerance = _SELF_CHECK_TOLERANCE if self.dtype == torch.float32 else 0.1 + 0.02 * theirs_CV.abs().max().item()
        difference = (ours_CV - theirs_CV).abs().max().item()
        if not difference <= tolerance:
            kind = type(self.model).__name__
            raise UnusableInput(
                f"{folder}: {kind} puts something unknown between decoder and logits "
                f"(log-probabilities differ by {difference:.2g}); this architecture is not supported"
            )
        return int(ours_CV.shape[-1])


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
