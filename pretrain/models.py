"""Models with fresh weights: from the settings to a Transformers model, the same on every rank.

Weights come from a seed and are drawn on the CPU before anything is sharded, so that they do not depend on the number
of ranks or the device. Every rank therefore holds the whole model once, in float32, at the start.
"""

from __future__ import annotations

import difflib
import math
from typing import Any

from toedit.config import ModelConfig, RecipeConfig
from toedit.errors import BadConfiguration


def architecture(model: ModelConfig, vocabulary_size: int, eos_id: int) -> Any:
    """The Transformers configuration. Raises BadConfiguration naming the key that it does not know or takes."""
    from transformers import CONFIG_MAPPING

    if model.kind not in CONFIG_MAPPING:
        close = difflib.get_close_matches(model.kind, list(CONFIG_MAPPING), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise BadConfiguration(f"model.kind={model.kind}: Transformers has no such model_type{hint}")
    kind = CONFIG_MAPPING[model.kind]
    known = {*kind().to_dict(), *kind.attribute_map}
    for key in model.settings:
        if key not in known:
            close = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise BadConfiguration(f"model.settings.{key}: {kind.__name__} has no such key{hint}")
    tokens: dict[str, Any] = {"vocab_size": model.embedding_rows or vocabulary_size, "eos_token_id": eos_id}
    if "bos_token_id" in known and "bos_token_id" not in model.settings:
        tokens["bos_token_id"] = eos_id if kind().bos_token_id is not None else None
    try:
        return kind(**model.settings, **tokens)
    except Exception as error:  # Transformers has several classes for what does not fit
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BadConfiguration(f"model.settings: {kind.__name__} refuses them: {reason[-1].strip()[:200]}") from None


def require_positions(config: Any, recipe: RecipeConfig) -> None:
    """Refuse a sequence that the model has no positions for."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and recipe.sequence_length > positions:
        raise BadConfiguration(f"recipe.sequence_length={recipe.sequence_length}: the model has {positions} positions")


def fresh_model(config: Any, initialisation: str, seed: int, attention: str = "sdpa") -> Any:
    """The model on the CPU in float32, its weights drawn from `seed`."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
        except ValueError as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise BadConfiguration(f"model.kind={config.model_type}: no causal language model ({reason})") from None
        if initialisation == "mitchell":
            mitchell_(model)
    return model


def mitchell_(model: Any) -> None:
    """OLMo's initialisation, in place: normal, cut at three standard deviations.

    The deviation is 1 / sqrt(width) for what reads the residual stream and for the embedding, and
    1 / sqrt(2 * inputs * (layer + 1)) for what writes to it: the output of attention and of the feed-forward layer.
    """
    import torch

    def draw(weight: torch.Tensor, deviation: float) -> None:
        torch.nn.init.trunc_normal_(weight, 0.0, deviation, -3 * deviation, 3 * deviation)

    width = model.config.hidden_size
    draw(model.get_input_embeddings().weight, 1 / math.sqrt(width))
    head = model.get_output_embeddings()
    if head.weight is not model.get_input_embeddings().weight:
        draw(head.weight, 1 / math.sqrt(width))
    for number, layer in enumerate(_layers(model)):
        for name, module in layer.named_modules():
            if isinstance(module, torch.nn.Linear):
                writes = name.rpartition(".")[2] in ("o_proj", "down_proj")
                inputs = 2 * module.in_features * (number + 1) if writes else width
                draw(module.weight, 1 / math.sqrt(inputs))


def _layers(model: Any) -> Any:
    layers = getattr(model.base_model, "layers", None)
    if layers is None:
        kind = model.config.model_type
        raise BadConfiguration(f"model.initialisation=mitchell: made for OLMo and Llama, not for model.kind={kind}")
    return layers


def blocks(model: Any) -> list[Any]:
    """The decoder layers: the unit of sharding and of compilation."""
    names = set(getattr(model, "_no_split_modules", None) or [])
    return [module for module in model.modules() if type(module).__name__ in names]


def count_parameters(config: Any) -> int:
    """Number of weights, tied ones once; nothing is allocated."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(weight.numel() for weight in model.parameters())
