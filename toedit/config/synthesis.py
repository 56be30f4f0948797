"""Settings of a synthetic corpus."""

from __future__ import annotations

from dataclasses import dataclass

from toedit.config.checks import require, require_one_of

_COLDEST = 0.01


@dataclass
class SynthesisConfig:
    """How `stage=synthesize` samples documents from a causal language model."""

    engine: str = "transformers"
    """The engine that samples: transformers, or vllm in the environment of scripts/environment_vllm.sh."""
    model: str | None = None
    """Folder, checkpoint artifact or hub id of the model; null: the prior."""
    tokens: int = 50_000
    """Stop with the document that reaches this many tokens of the model's tokenizer, document ends not counted."""
    prompt_tokens: int = 0
    """Tokens of a prompt: the beginning of a document of the corpus. 0: no prompts, the corpus is not read."""
    keep_prompt: bool = False
    """Put the prompt into the text, too; else the text is only what the model wrote."""
    max_new_tokens: int = 200
    """Tokens of a document at most, where the model does not end it before."""
    temperature: float = 1.0
    """Logits are divided by this before the draw."""
    top_p: float = 1.0
    """Draw from the fewest most probable tokens whose mass reaches this; 1 is all of them."""
    dtype: str = "float32"
    """float32 or bfloat16 operands."""
    seed: int = 0
    """Key of the uniforms, with the document's number and the token's position."""
    batch_size: int = 64
    """Documents sampled at a time; vLLM fills places that become free."""
    shard_documents: int = 256
    """Documents of a shard: what a killed run loses at most."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; vLLM knows auto only, and CUDA_VISIBLE_DEVICES."""
    python: str | None = None
    """vLLM: the Python to run it; null: this one where it has vLLM, else the one of scripts/environment_vllm.sh."""

    def __post_init__(self) -> None:
        require_one_of("synthesis.engine", self.engine, ("transformers", "vllm"))
        require_one_of("synthesis.dtype", self.dtype, ("float32", "bfloat16"))
        for key in ("tokens", "max_new_tokens", "batch_size", "shard_documents"):
            require(getattr(self, key) >= 1, f"synthesis.{key}", getattr(self, key), "must be at least 1")
        require(self.prompt_tokens >= 0, "synthesis.prompt_tokens", self.prompt_tokens, "must not be negative")
        require(self.temperature > 0, "synthesis.temperature", self.temperature, "must be positive")
        require(0 < self.top_p <= 1, "synthesis.top_p", self.top_p, "must lie in (0, 1]")
        if self.engine == "vllm":
            require(self.device == "auto", "synthesis.device", self.device, "vLLM takes auto; see CUDA_VISIBLE_DEVICES")
            reason = f"must be at least {_COLDEST}: vLLM draws nothing colder"
            require(self.temperature >= _COLDEST, "synthesis.temperature", self.temperature, reason)
