"""OLMo's block in olmo-core, and its weights by the names of Transformers.

olmo-core's own converter knows OLMo 2 and 3. The paper's OLMo is the first: LayerNorm without parameters before
attention and feed-forward layer, SwiGLU, rotary positions, tied embeddings, no biases. olmo-core can express all of it,
and rotates halves of a head as Transformers does, so the weights need new names and nothing else. export.py compares
the logits of both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_IN_BLOCK = {
    "attention.w_q": "self_attn.q_proj",
    "attention.w_k": "self_attn.k_proj",
    "attention.w_v": "self_attn.v_proj",
    "attention.w_out": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
}
_OUTSIDE = {"embeddings.weight": "model.embed_tokens.weight", "lm_head.w_out.weight": "lm_head.weight"}
_EPSILON = 1e-5  # of OLMo's LayerNorm in Transformers, which no setting changes


def transformer_config(architecture: Any, device: torch.device, dtype: str) -> Any:
    """olmo-core's configuration of a Transformers OlmoConfig; it computes in `dtype` on `device`."""
    from olmo_core.nn.attention import AttentionConfig
    from olmo_core.nn.feed_forward import FeedForwardConfig
    from olmo_core.nn.layer_norm import LayerNormConfig
    from olmo_core.nn.lm_head import LMHeadConfig
    from olmo_core.nn.rope import RoPEConfig
    from olmo_core.nn.transformer import TransformerBlockConfig, TransformerConfig

    norm = LayerNormConfig(eps=_EPSILON, elementwise_affine=False, bias=False, full_precision=True)
    attention = AttentionConfig(
        n_heads=architecture.num_attention_heads,
        n_kv_heads=architecture.num_key_value_heads,
        bias=False,
        rope=RoPEConfig(theta=architecture.rope_parameters["rope_theta"]),
        clip_qkv=architecture.clip_qkv,
        backend=attention_backend(device, dtype),
    )
    feed_forward = FeedForwardConfig(hidden_size=architecture.intermediate_size, bias=False)
    return TransformerConfig(
        d_model=architecture.hidden_size,
        vocab_size=architecture.vocab_size,
        n_layers=architecture.num_hidden_layers,
        block=TransformerBlockConfig(sequence_mixer=attention, feed_forward=feed_forward, layer_norm=norm),
        lm_head=LMHeadConfig(layer_norm=norm, bias=False),
        tie_word_embeddings=architecture.tie_word_embeddings,
    )


def attention_backend(device: torch.device, dtype: str) -> Any:
    """flash-attn where it is installed and serves GPU and type, else PyTorch's attention (a flash kernel, too)."""
    from olmo_core.nn.attention import AttentionBackendName as Backend

    if device.type == "cuda" and dtype == "bfloat16" and torch.cuda.get_device_capability(device) >= (8, 0):
        for backend in (Backend.flash_3, Backend.flash_2):
            try:
                backend.assert_supported()
                return backend
            except RuntimeError:
                continue
    return Backend.torch


def transformers_name(name: str) -> str:
    """`blocks.3.attention.w_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, number, rest = name.split(".", 2)
    module, _, kind = rest.rpartition(".")
    return f"model.layers.{number}.{_IN_BLOCK[module]}.{kind}"


@torch.no_grad()
def load_weights(model: Any, weights: dict[str, Tensor]) -> None:
    """Give olmo-core's model, sharded or not, the weights of a Transformers model; every rank holds them whole."""
    from olmo_core.distributed.utils import distribute_like, get_local_tensor

    for name, parameter in model.named_parameters():
        whole = weights[transformers_name(name)].to(parameter.device, parameter.dtype)
        get_local_tensor(parameter).copy_(get_local_tensor(distribute_like(parameter, whole)))


@torch.no_grad()
def whole_weights(model: Any) -> dict[str, Tensor]:
    """The float32 weights by their names in Transformers, whole, on the CPU; every rank must ask."""
    from olmo_core.distributed.utils import get_full_tensor

    return {
        transformers_name(name): get_full_tensor(weight.detach()).cpu() for name, weight in model.named_parameters()
    }
