"""Where the weights of a training lie: in this process, or sharded over the ranks with FSDP2.

Both keep float32 weights that the optimizer moves, and compute in the recipe's type; gradients of micro batches and of
ranks add up in float32. The numbers are the same but for the order of sums. `parameters` holds the float32 weights by
their names in the Transformers model: checkpoints of one kind load into the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pretrain.language_model import LanguageModel
from pretrain.models import blocks
from pretrain.ranks import Ranks

_PREFIX = "model."


class Weights:
    """Weights in one process."""

    def __init__(self, language_model: LanguageModel, dtype: torch.dtype, ranks: Ranks) -> None:
        self.language_model = language_model.to(ranks.device)
        working = self._named()
        self.parameters = working
        self._copies: tuple[list[Tensor], list[Tensor]] | None = None
        if dtype != torch.float32:
            # The model computes with copies in `dtype`, made once a step; autocast would make them for every product.
            self.parameters = {name: nn.Parameter(weight.detach().clone()) for name, weight in working.items()}
            for name, weight in working.items():
                weight.data = weight.data.to(dtype)
                weight.register_post_accumulate_grad_hook(_moves_gradient_to(self.parameters[name]))
            self._copies = (list(working.values()), list(self.parameters.values()))

    def _named(self) -> dict[str, nn.Parameter]:
        return {name.removeprefix(_PREFIX): weight for name, weight in self.language_model.named_parameters()}

    def backward(self, batch: Sequence[Tensor | None], is_last: bool) -> Tensor:
        """Add the gradient of one micro batch (tokens, targets, positions); return the sum of its cross-entropies."""
        loss: Tensor = self.language_model(*batch)
        loss.backward()
        return loss.detach()

    def normalise(self, tokens: int) -> None:
        """Once a step, in float32: the gradient of a sum becomes that of the mean over the `tokens` learnt in it."""
        gradients = [weight.grad for weight in self.parameters.values() if weight.grad is not None]
        torch._foreach_mul_(gradients, 1 / tokens)

    def publish(self) -> None:
        """After the optimizer moved `parameters`: let the model compute with them."""
        if self._copies is not None:
            with torch.no_grad():
                torch._foreach_copy_(*self._copies)

    def full(self) -> dict[str, Tensor]:
        """The float32 weights, whole, on the CPU; every rank must ask."""
        return {name: weight.detach().cpu() for name, weight in self.parameters.items()}


class ShardedWeights(Weights):
    """Weights sharded with FSDP2: every decoder layer by itself, and the rest together.

    Over all ranks, or where `is_hybrid` over those of a machine, with a copy on every machine.
    """

    def __init__(
        self, language_model: LanguageModel, dtype: torch.dtype, ranks: Ranks, is_hybrid: bool = False
    ) -> None:
        from torch.distributed import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        if is_hybrid:  # whole on every machine, sharded within it
            mesh = init_device_mesh(
                ranks.device.type, (ranks.count // ranks.on_this_machine, ranks.on_this_machine),
                mesh_dim_names=("machine", "rank"),
            )  # fmt: skip
        else:
            mesh = init_device_mesh(ranks.device.type, (ranks.count,))
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        language_model.to(ranks.device)
        for block in blocks(language_model.model):
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(language_model, mesh=mesh, mp_policy=policy)
        assert isinstance(language_model, FSDPModule)
        self.language_model = language_model
        self.parameters = self._named()
        self._copies = None
        self._ranks = ranks.count

    def backward(self, batch: Sequence[Tensor | None], is_last: bool) -> Tensor:
        sharded: Any = self.language_model
        sharded.set_requires_gradient_sync(is_last)
        return super().backward(batch, is_last)

    def normalise(self, tokens: int) -> None:
        gradients = [weight.grad for weight in self.parameters.values() if weight.grad is not None]
        torch._foreach_mul_(gradients, self._ranks / tokens)  # FSDP took the mean over the ranks

    def full(self) -> dict[str, Tensor]:
        whole = {}
        for name, weight in self.parameters.items():
            gathered: Any = weight.detach()
            whole[name] = gathered.full_tensor().cpu()
        return whole


def _moves_gradient_to(master: nn.Parameter) -> Callable[[Tensor], None]:
    def move(weight: Tensor) -> None:
        assert weight.grad is not None
        if master.grad is None:
            master.grad = weight.grad.float()
        else:
            master.grad.add_(weight.grad)
        weight.grad = None

    return move
