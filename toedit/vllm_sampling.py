"""Sampling in vLLM's own engine, in the environment where vLLM lives: token ids go in, token ids come out.

Every document is a request with a seed of its own, a hash of (`synthesis.seed`, id), so what is drawn for it does not
depend on the documents beside it. Its probabilities may, in their last digits: vLLM computes a step of all documents
at once, and the shapes of its products follow from their number. On a boundary of the draw such a digit makes another
token, and the text goes another way. One command, interrupted or not, forms the same batches.

The draws are not the Transformers engine's: the same settings give another text, of the same distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toedit import vllm_engine
from toedit.config import SynthesisConfig
from toedit.errors import UnusableInput
from toedit.uniforms import document_keys

ASKS = "synthesis.engine=vllm"
# Prompts are read in pieces of this many tokens at most; a step has one token of every document besides.
_PROMPT_TOKENS = 2048


class VllmSampler:
    """A Hugging Face causal LM in vLLM, in this process.

    Raises BadConfiguration where this Python's vLLM does not serve, UnusableInput where vLLM cannot run the model.
    """

    def __init__(
        self, model: Path, synthesis: SynthesisConfig, end_ids: Sequence[int], vocabulary_size: int, longest: int
    ) -> None:
        self.versions = vllm_engine.prepare(ASKS)
        self.end_ids, self.settings = list(end_ids), synthesis
        self.most_documents = synthesis.shard_documents  # vLLM fills the places of a batch that become free
        rows = vllm_engine.vocabulary_of(model)
        # Rows that fill the embedding up are no tokens.
        self.allowed_ids = list(range(vocabulary_size)) if vocabulary_size < rows else None
        with vllm_engine.refusals(model):
            self.engine = vllm_engine.start(
                model,
                synthesis.dtype,
                logits_bytes=0,  # vLLM counts those of drawn tokens itself
                max_model_len=longest,
                max_num_batched_tokens=synthesis.batch_size + _PROMPT_TOKENS,
                max_num_seqs=synthesis.batch_size,
            )
            self._sample([[0]], [0], 1)  # some kernels refuse a shape only when run

    def sample(self, prompts: Sequence[Sequence[int]], ids: Sequence[str]) -> list[list[int]]:
        """What follows each prompt, up to and including the token that ends it."""
        import torch

        seeds = [int(key_2[0]) >> 1 for key_2 in document_keys(self.settings.seed, ids)]  # torch takes 63 bits
        try:
            return self._sample(prompts, seeds, self.settings.max_new_tokens)
        except torch.OutOfMemoryError:
            raise UnusableInput(
                f"synthesis.batch_size={self.settings.batch_size}: vLLM ran out of memory; halve it, what is sampled "
                "is kept"
            ) from None

    def _sample(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], tokens: int) -> list[list[int]]:
        from vllm import SamplingParams, TokensPrompt

        parameters = [
            SamplingParams(
                temperature=self.settings.temperature,
                top_p=self.settings.top_p,
                max_tokens=tokens,
                seed=seed,
                stop_token_ids=self.end_ids,
                ignore_eos=True,  # `end_ids` has it; vLLM's own idea of it comes from other files
                allowed_token_ids=self.allowed_ids,
                detokenize=False,
            )
            for seed in seeds
        ]
        questions = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
        outputs = self.engine.generate(questions, parameters, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]
