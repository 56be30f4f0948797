"""The LM head of a causal language model: float32 logits, a few rows at a time.

The [tokens, vocabulary] matrix never exists. A chunk of it, small enough for the processor's cache, is computed into a
buffer that is used again; log-sum-exp makes log-probabilities of it, and only the rows above `score.min_p` are searched
for their top K.

Shapes: H hidden size, V vocabulary, R rows asked for, C rows of a chunk, M confident rows of a chunk, K candidates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toedit.costs import head_rows
from toedit.scorers import BatchScores
from toedit.scorers.compiled_kernels import compiled_kernels


class LanguageModelHead:
    """From hidden states to log-probabilities and candidates."""

    def __init__(self, model: Any, rows: int | None = None, compiled: bool = True) -> None:
        """`rows`: rows of a chunk, None chooses by vocabulary and device; `compiled`: use the compiled kernels."""
        head = model.get_output_embeddings()
        config = model.config.get_text_config()
        self.device = head.weight.device
        # bfloat16 logits near 16 are 0.125 apart. On a GPU a product of bfloat16 operands can return float32; on a CPU
        # it cannot, so there the product is our own, or one of float32 operands.
        self.mixed = head.weight.dtype != torch.float32 and self.device.type == "cuda"
        self.kernels = compiled_kernels() if compiled and self.device.type == "cpu" else None
        self.packed = None if self.kernels is None else self.kernels.pack(head.weight)
        self.weight_HV = head.weight.T if self.mixed or self.packed is not None else head.weight.float().T
        bias = getattr(head, "bias", None)
        self.bias_V = None if bias is None else bias.float()
        self.scale = getattr(config, "logit_scale", None) or 1.0  # Cohere
        self.scale /= getattr(config, "logits_scaling", None) or 1.0  # Granite
        self.cap = getattr(config, "final_logit_softcapping", None)  # Gemma
        self.vocabulary_size = int(head.weight.shape[0])
        self.rows = rows or head_rows(self.vocabulary_size, gpu=self.device.type == "cuda")
        self._kept: dict[str, Tensor] = {}

    def logits(self, hidden_CH: Tensor, out: Tensor | None = None) -> Tensor:
        """float32 logits [C, V]."""
        if self.mixed:
            logit_CV = torch.mm(hidden_CH, self.weight_HV, out_dtype=torch.float32)
        elif self.kernels is not None and self.packed is not None:
            out = torch.empty(len(hidden_CH), self.vocabulary_size) if out is None else out
            logit_CV = self.kernels.product(hidden_CH, self.packed, out)
        else:
            logit_CV = torch.mm(hidden_CH.float(), self.weight_HV, out=out)
        if self.bias_V is not None:
            logit_CV += self.bias_V
        if self.scale != 1.0:
            logit_CV *= self.scale
        return logit_CV.div_(self.cap).tanh_().mul_(self.cap) if self.cap else logit_CV

    def score(self, hidden_RH: Tensor, target_R: Tensor, threshold: float, top_k: int) -> BatchScores:
        """Log-probabilities of `target_R`; candidates where they reach `threshold`."""
        logprobs, confident, candidate_ids, candidate_logprobs = [], [], [], []
        rows = min(self.rows, max(len(target_R), 1))
        buffer_CV = None if self.mixed else self._buffer("logits", rows)
        for start in range(0, len(target_R), rows):
            chunk = slice(start, min(start + rows, len(target_R)))
            count = chunk.stop - chunk.start
            logit_CV = self.logits(hidden_RH[chunk], None if buffer_CV is None else buffer_CV[:count])
            normaliser_C = self._log_sum_exp(logit_CV)
            logprob_C = logit_CV.gather(-1, target_R[chunk, None])[:, 0] - normaliser_C
            # Rounding can lift a certain token a hair above probability 1.
            logprob_C.clamp_(max=0.0)
            # Compared in float64, as the editor will: a token on the threshold is either in both sets or in neither.
            confident_M = torch.nonzero(logprob_C.double() >= threshold)[:, 0]
            logit_MK, id_MK = self._top(logit_CV, confident_M, top_k)
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

    def release(self) -> None:
        """Give the buffers back."""
        self._kept.clear()

    def _log_sum_exp(self, logit_CV: Tensor) -> Tensor:
        """log(sum(exp(logit))) a row. torch.logsumexp takes twenty times as long on a CPU."""
        if self.kernels is not None:
            return self.kernels.log_sum_exp(logit_CV)
        largest_C1 = logit_CV.amax(-1, keepdim=True)
        work_CV = self._buffer("exponentials", len(logit_CV))
        torch.sub(logit_CV, largest_C1, out=work_CV).exp_()
        return work_CV.sum(-1).log_() + largest_C1[:, 0]

    def _top(self, logit_CV: Tensor, row_M: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(values, ids) of the k largest logits of some rows."""
        if self.kernels is not None:
            return self.kernels.top(logit_CV, row_M, k)
        return logit_CV[row_M].topk(k, dim=-1)

    def _buffer(self, name: str, rows: int) -> Tensor:
        """A [rows, V] matrix that is used again; fresh memory for every chunk would cost more than the exponentials."""
        kept = self._kept.get(name)
        if kept is None or len(kept) < rows:
            kept = self._kept[name] = torch.empty(rows, self.vocabulary_size, device=self.device)
        return kept[:rows]
