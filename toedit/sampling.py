"""Samplers: engines that continue token ids with a causal language model.

`toedit/transformers_sampling.py` runs in this process; `toedit/vllm_sampling.py` in a Python that has vLLM, which
`toedit/elsewhere.py` starts. A sampler reads no text and writes no file; `toedit/synthesizing.py` does both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from toedit import vllm_engine
from toedit.config import SynthesisConfig
from toedit.elsewhere import Elsewhere


class Sampler(Protocol):
    """What an engine offers."""

    end_ids: list[int]
    """The tokens that end a text."""
    versions: dict[str, str]
    """Of the libraries that sample: noted in the manifest."""
    most_documents: int
    """How many documents to ask for at a time: an engine that keeps a queue of its own takes more than a batch."""

    def sample(self, prompts: Sequence[Sequence[int]], ids: Sequence[str]) -> list[list[int]]:
        """What follows each prompt, up to and including the token that ends it; what is drawn depends on the id."""
        ...


def load_sampler(
    model: Path, synthesis: SynthesisConfig, end_ids: Sequence[int], vocabulary_size: int, longest: int
) -> Sampler:
    """The engine that `synthesis.engine` names, with the model in folder `model`.

    The tokenizer knows `vocabulary_size` tokens, the model may have rows for more; no text exceeds `longest` tokens.
    """
    if synthesis.engine == "transformers":
        from toedit.transformers_sampling import TransformersSampler

        return TransformersSampler(model, synthesis, end_ids, vocabulary_size)
    from toedit.vllm_sampling import ASKS, VllmSampler

    arguments = (model.resolve(), synthesis, list(end_ids), vocabulary_size, longest)
    python = vllm_engine.other_python(ASKS, "synthesis.python", synthesis.python)
    if python is None:
        return VllmSampler(*arguments)
    return SamplerElsewhere(ASKS, python, VllmSampler, arguments, facts=("end_ids", "versions", "most_documents"))


class SamplerElsewhere(Elsewhere):
    """A sampler in a process of its own."""

    end_ids: list[int]
    versions: dict[str, str]
    most_documents: int

    def sample(self, prompts: Sequence[Sequence[int]], ids: Sequence[str]) -> list[list[int]]:
        sampled: list[list[int]] = self.call("sample", prompts, ids)
        return sampled
