"""Sampling from a causal language model of Transformers: `generate`, with uniforms by address instead of a stream.

Every document has its own uniforms, keyed by seed and id (`toedit/uniforms.py`), so that what is drawn for it depends
neither on the documents sampled beside it nor on how many were sampled before: a resumed run gives the same documents.
Temperature and top-p are Transformers' own; only the draw is ours, the inverse of the cumulative distribution.

Shapes: B documents of a batch, L tokens (longest of the batch), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from toedit.config import SynthesisConfig
from toedit.errors import UnusableInput
from toedit.scorers.torch import find_device, load_causal_lm
from toedit.uniforms import UInt64s, document_keys, uniforms


class TransformersSampler:
    """A Hugging Face causal LM in this process, ready to continue batches of token ids."""

    def __init__(self, model: Path, synthesis: SynthesisConfig, end_ids: Sequence[int], vocabulary_size: int) -> None:
        self.device = find_device(synthesis.device, "synthesis.device")
        self.model = load_causal_lm(model, getattr(torch, synthesis.dtype))
        torch.nn.Module.to(self.model, self.device).eval()
        self.end_ids, self.pad_id = list(end_ids), end_ids[0] if end_ids else 0
        self.settings, self.most_documents = synthesis, synthesis.batch_size
        self.versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        rows = self.model.config.get_text_config().vocab_size
        self.no_tokens = list(range(vocabulary_size, rows))  # rows that fill the embedding up
        # The folder's own sampling defaults (penalties, top-k, …) are none of our business.
        self.model.generation_config = transformers.GenerationConfig(
            do_sample=False,  # the draw is made in `DrawByAddress`
            max_new_tokens=synthesis.max_new_tokens,
            eos_token_id=self.end_ids or None,
            pad_token_id=self.pad_id,
        )

    @torch.inference_mode()
    def sample(self, prompts: Sequence[Sequence[int]], ids: Sequence[str]) -> list[list[int]]:
        """What follows each prompt, up to and including the token that ends it."""
        width = max(map(len, prompts))
        token_BL = torch.full((len(prompts), width), self.pad_id, dtype=torch.long)
        mask_BL = torch.zeros_like(token_BL)
        for row, prompt in enumerate(prompts):  # to the left, so that all continue at the same place
            token_BL[row, width - len(prompt) :] = torch.tensor(prompt)
            mask_BL[row, width - len(prompt) :] = 1
        processors = transformers.LogitsProcessorList()
        if self.no_tokens:
            processors.append(transformers.SuppressTokensLogitsProcessor(self.no_tokens, str(self.device)))
        if self.settings.temperature != 1:
            processors.append(transformers.TemperatureLogitsWarper(self.settings.temperature))
        if self.settings.top_p < 1:
            processors.append(transformers.TopPLogitsWarper(self.settings.top_p))
        processors.append(DrawByAddress(document_keys(self.settings.seed, ids), width))
        try:
            output_BL = self.model.generate(
                input_ids=token_BL.to(self.device),
                attention_mask=mask_BL.to(self.device),
                logits_processor=processors,
            )
        except torch.OutOfMemoryError:
            raise UnusableInput(
                f"synthesis.batch_size={self.settings.batch_size}: out of memory; halve it, what is sampled is kept"
            ) from None
        return [self._until_end(row) for row in output_BL[:, width:].tolist()]

    def _until_end(self, ids: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(ids) if token in self.end_ids), len(ids) - 1)
        return ids[: end + 1]


class DrawByAddress(transformers.LogitsProcessor):
    """Draws the next token of each document with its own uniform, and leaves no other token a chance."""

    def __init__(self, key_B2: UInt64s, prompt_width: int) -> None:
        self.key_B2, self.prompt_width = key_B2, prompt_width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Any:
        position_B = np.full(len(self.key_B2), input_ids.shape[1] - self.prompt_width)
        uniform_B = torch.from_numpy(uniforms(self.key_B2, position_B)).to(scores.device)
        cumulative_BV = scores.double().softmax(-1).cumsum(-1)
        threshold_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
        choice_B1 = torch.searchsorted(cumulative_BV, threshold_B1, right=True).clamp_(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, choice_B1, 0.0)
