"""Causal attention on the CPU, in blocks of queries that read only the keys before them.

PyTorch's fused kernel computes every product of a [length, length] matrix, and its bfloat16 path does not reach the
processor's bfloat16 units. Blocks of plain products do, and leave out what the causal mask would throw away; the
largest matrix is [block, length].

Shapes: B sequences, N heads, M heads of keys and values, G = N / M, L tokens, D width of a head, Q queries of a block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "toedit_blocks"
_BLOCK = 128
# What else a model may hand over and PyTorch's own function understands or refuses.
_BEYOND_US = ("softcap", "s_aux", "position_bias", "cache")


def blocked_attention(
    module: torch.nn.Module,
    query_BNLD: Tensor,
    key_BMLD: Tensor,
    value_BMLD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **further: Any,
) -> tuple[Tensor, None]:
    """`(attention output BLND, None)`, as Transformers calls it; anything but plain causal attention goes to SDPA."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    plain = attention_mask is None and causal and all(further.get(key) is None for key in _BEYOND_US)
    if not plain or key_BMLD.shape[2] != query_BNLD.shape[2]:
        out_BLND, _ = sdpa_attention_forward(
            module, query_BNLD, key_BMLD, value_BMLD, attention_mask, dropout, scaling, is_causal, **further
        )
        return out_BLND, None
    batch, heads, length, width = query_BNLD.shape
    key_heads = key_BMLD.shape[1]
    scale = scaling if scaling is not None else 1 / math.sqrt(width)
    # Query heads that share a key head lie side by side, so that keys are not copied.
    query_BMGLD = (query_BNLD * scale).view(batch, key_heads, heads // key_heads, length, width)
    key_BMDL = key_BMLD.transpose(-1, -2)
    out_BLND = query_BNLD.new_empty(batch, length, heads, value_BMLD.shape[-1])
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        rows = stop - start
        block_BMRD = query_BMGLD[:, :, :, start:stop].flatten(2, 3)  # R = G x Q
        score_BMRL = block_BMRD @ key_BMDL[..., :stop]
        future_QQ = torch.ones(rows, rows, dtype=torch.bool).triu_(1)
        score_BMRL.view(batch, key_heads, -1, rows, stop)[..., start:].masked_fill_(future_QQ, -math.inf)
        block_BMRD = torch.softmax(score_BMRL, dim=-1) @ value_BMLD[:, :, :stop]
        out_BLND[:, start:stop] = block_BMRD.view(batch, heads, rows, -1).transpose(1, 2)
    return out_BLND, None


AttentionInterface.register(NAME, blocked_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
