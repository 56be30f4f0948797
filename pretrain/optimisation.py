"""AdamW with decay where it belongs, and the learning rate of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from toedit.config import RecipeConfig


def adamw(
    parameters: Mapping[str, torch.nn.Parameter], embeddings: set[str], recipe: RecipeConfig
) -> torch.optim.AdamW:
    """Matrices decay; normalisation, biases and, unless asked for, embeddings do not."""
    decayed = {
        name
        for name, weight in parameters.items()
        if weight.ndim >= 2 and (recipe.decay_embeddings or name not in embeddings)
    }
    groups = [
        {"params": [w for name, w in parameters.items() if name in decayed], "weight_decay": recipe.weight_decay},
        {"params": [w for name, w in parameters.items() if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(recipe.betas[0], recipe.betas[1]),
        eps=recipe.epsilon,
        fused=True,
    )


def learning_rate(step: int, steps: int, recipe: RecipeConfig) -> float:
    """Linear warm-up, then a cosine to its end; `step` counts from 0."""
    peak, warmup = recipe.learning_rate, recipe.warmup(steps)
    if step < warmup:
        return peak * (recipe.warmup_start_share + (1 - recipe.warmup_start_share) * (step + 1) / warmup)
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    end = recipe.final_learning_rate_share
    return peak * (end + (1 - end) * (1 + math.cos(math.pi * done)) / 2)
