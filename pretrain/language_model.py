"""The loss of a language model without its logits: the LM head a chunk of rows at a time, forward and backward at once.

A whole [tokens, vocabulary] matrix never exists. Torch's own `linear_cross_entropy` does the same and cannot be
compiled, which on a CPU makes it much slower (docs/decisions.md).

Shapes: B sequences, L tokens, H hidden size, V rows of the LM head, R = B * L rows, C rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from pretrain.data import IGNORED
from toedit.errors import BadConfiguration

_SELF_CHECK_TOLERANCE = 1e-3


def loss_and_gradient(logit_CV: Tensor, target_C: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of the cross-entropies, their gradient by the logits, in the logits' type); IGNORED targets add nothing."""
    wide_CV = logit_CV.float()
    learnt_C1 = (target_C >= 0).float()[:, None]
    normaliser_C1 = torch.logsumexp(wide_CV, dim=-1, keepdim=True)
    loss = ((normaliser_C1 - wide_CV.gather(1, target_C.clamp(min=0)[:, None])) * learnt_C1).sum()
    hit_CV = torch.arange(logit_CV.shape[1], device=logit_CV.device) == target_C[:, None]
    return loss, ((torch.exp(wide_CV - normaliser_C1) - hit_CV.float()) * learnt_C1).to(logit_CV.dtype)


@cache
def _compiled() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return torch.compile(loss_and_gradient, dynamic=False)


class ChunkedLoss(torch.autograd.Function):
    """Sum of the cross-entropies of `hidden_RH @ head_VH.T`; gradients are made in the forward pass."""

    @staticmethod
    def forward(
        context: Any, hidden_RH: Tensor, head_VH: Tensor, target_R: Tensor, rows: int, compiled: bool
    ) -> Tensor:
        chunk_loss = _compiled() if compiled else loss_and_gradient
        loss = torch.zeros((), device=hidden_RH.device)
        hidden_gradient_RH = torch.empty_like(hidden_RH)
        head_gradient_VH: Tensor | None = None
        for start in range(0, len(target_R), rows):
            part = slice(start, start + rows)
            chunk_sum, gradient_CV = chunk_loss(hidden_RH[part] @ head_VH.T, target_R[part])
            loss += chunk_sum
            torch.mm(gradient_CV, head_VH, out=hidden_gradient_RH[part])
            product_VH = gradient_CV.T @ hidden_RH[part]
            if len(target_R) > rows:  # chunks add up in float32: in bfloat16 the small terms would be lost
                product_VH = product_VH.float() if head_gradient_VH is None else head_gradient_VH.add_(product_VH)
            head_gradient_VH = product_VH
        assert head_gradient_VH is not None
        context.save_for_backward(hidden_gradient_RH, head_gradient_VH.to(head_VH.dtype))
        return loss

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient_RH, head_gradient_VH = context.saved_tensors
        # In place, and by a scalar in float32: its rounding to bfloat16 would scale the whole gradient.
        return hidden_gradient_RH.mul_(gradient), head_gradient_VH.mul_(gradient), None, None, None


class LanguageModel(nn.Module):
    """A Transformers causal LM whose forward pass is its loss. The unit that FSDP wraps, so that it sees the head."""

    def __init__(self, model: Any, rows: int, compiled: bool) -> None:
        super().__init__()
        self.model = model
        self.rows, self.compiled = rows, compiled

    def forward(self, token_BL: Tensor, target_BL: Tensor | None = None, position_BL: Tensor | None = None) -> Tensor:
        """Sum of the cross-entropies over all tokens; without targets the logits in float32.

        Where positions begin again, another text begins, which sees nothing of those before it.
        """
        places = {} if position_BL is None else {"position_ids": position_BL}
        hidden_BLH = self.model.base_model(input_ids=token_BL, use_cache=False, **places)[0]
        head_VH = self.model.get_output_embeddings().weight
        if target_BL is None:
            return (hidden_BLH.to(head_VH.dtype) @ head_VH.T).float()
        hidden_RH, target_R = hidden_BLH.flatten(0, 1).to(head_VH.dtype), target_BL.flatten()
        if torch.is_grad_enabled():
            loss: Tensor = ChunkedLoss.apply(hidden_RH, head_VH, target_R, self.rows, self.compiled)
            return loss
        parts = range(0, len(target_R), self.rows)
        chunks = [slice(start, start + self.rows) for start in parts]
        losses = [
            nn.functional.cross_entropy(
                (hidden_RH[part] @ head_VH.T).float(), target_R[part], reduction="sum", ignore_index=IGNORED
            )
            for part in chunks
        ]
        return torch.stack(losses).sum()


@torch.no_grad()
def self_check(model: Any) -> None:
    """Compare our head with the model's own logits on a few tokens; refuse an architecture that has more there."""
    language_model = LanguageModel(model, 1024, False)
    was_training = model.training
    model.eval()
    token_BL = torch.arange(1, 9)[None] % model.config.get_text_config().vocab_size
    difference = (language_model(token_BL) - model(input_ids=token_BL, use_cache=False).logits).abs().max().item()
    model.train(was_training)
    if not difference <= _SELF_CHECK_TOLERANCE:
        raise BadConfiguration(
            f"model.kind={model.config.model_type}: puts something unknown between decoder and logits "
            f"(they differ by {difference:.2g}); this architecture cannot be trained here"
        )


@torch.no_grad()
def self_check_packing(model: Any) -> None:
    """Two texts in one sequence must give the hidden states that each gives alone; refuse a model that mixes them."""
    was_training = model.training
    model.eval()
    token_BL = torch.arange(1, 9)[None] % model.config.get_text_config().vocab_size
    position_BL = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])
    together = model.base_model(input_ids=token_BL, position_ids=position_BL, use_cache=False)[0]
    alone = model.base_model(input_ids=token_BL[:, 3:], use_cache=False)[0]
    difference = (together[:, 3:] - alone).abs().max().item()
    model.train(was_training)
    if not difference <= _SELF_CHECK_TOLERANCE:
        raise BadConfiguration(
            f"sft.packing=true: in a {model.config.model_type} conversations that share a sequence see each other "
            f"(hidden states differ by {difference:.2g}); sft.packing=false"
        )
