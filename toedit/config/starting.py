"""Settings of trainings that start from a model: the base, a LoRA adapter, instruction data, LLaMA-Factory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toedit.config.checks import require, require_one_of

BASE_STAGES = ("prior",)
"""Stages that make a base."""


@dataclass
class BaseConfig:
    """The model that continual_pretrain and sft start from."""

    path: str | None = None
    """An artifact folder, its hf/, any Hugging Face folder, or a hub id."""
    stage: str | None = None
    """prior: the prior of the same command, where `path` names no model."""
    name: str | None = None
    """Name in addresses and tables; by default made from the path or id."""
    revision: str | None = None
    """Of a hub id: commit, tag or branch; resolved to a commit and recorded."""
    optimizer: str = "fresh"
    """fresh, or kept: AdamW's moments too, where the base is a checkpoint of this project made by the same trainer."""
    trust_remote_code: bool = False
    """Run Python files that come with the model, for architectures that Transformers does not know."""

    def __post_init__(self) -> None:
        require_one_of("base.optimizer", self.optimizer, ("fresh", "kept"))
        if self.stage is not None:
            require_one_of("base.stage", self.stage, BASE_STAGES)
        if self.path is not None:
            self.stage = None


@dataclass
class AdapterConfig:
    """Which weights are trained. Part of the identity of the checkpoint."""

    kind: str = "none"
    """none (all weights) or lora (low-rank matrices beside the linear layers, merged at the end)."""
    rank: int = 8
    """lora: the rank of the matrices."""
    alpha: int = 16
    """lora: their product is scaled by alpha / rank."""
    dropout: float = 0.0
    """lora: dropout in front of them."""
    targets: list[str] = field(default_factory=lambda: ["all"])
    """lora: names of the linear layers (q_proj, v_proj, …), or all."""

    def __post_init__(self) -> None:
        require_one_of("adapter.kind", self.kind, ("none", "lora"))
        for key in ("rank", "alpha"):
            require(getattr(self, key) >= 1, f"adapter.{key}", getattr(self, key), "must be at least 1")
        require(0 <= self.dropout < 1, "adapter.dropout", self.dropout, "must lie in [0, 1)")
        require(bool(self.targets), "adapter.targets", self.targets, "must name at least one layer, or all")


@dataclass
class TemplateConfig:
    """How turns are written: `{content}` is what is said, `{end}` the tokenizer's end token."""

    system: str = "{content}"
    """A system prompt."""
    default_system: str = ""
    """What stands in its place where a row has none."""
    user: str = "{content}"
    """What is said to the model."""
    assistant: str = "{content}{end}"
    """What it answers: all of this is learnt."""
    begin: bool = True
    """Whether a conversation begins with the tokenizer's begin token, where it has one."""

    def __post_init__(self) -> None:
        for key in ("user", "assistant"):
            require("{content}" in getattr(self, key), f"template.{key}", getattr(self, key), "must hold {content}")


@dataclass
class SftConfig:
    """What supervised fine-tuning reads, and how a conversation becomes tokens."""

    source: str = "corpus"
    """What is learnt: the instruction rows of the corpus, or edited: those of the edited corpus of the same command."""
    template: str = "alpaca"
    """How turns are written: one of `templates`, or chat (the tokenizer's own); LLaMA-Factory: any name it knows."""
    templates: dict[str, TemplateConfig] = field(default_factory=dict)
    """trainer=fsdp: templates by name."""
    packing: bool = True
    """Several conversations in a sequence, none of which sees the others; false: one each, padded."""
    on_long: str = "truncate"
    """A conversation longer than recipe.sequence_length: truncate it, or drop it. Both are counted."""
    validation_split: str | None = None
    """trainer=fsdp: another split of the corpus than corpus.split, whose responses' loss is measured; null: none."""

    def __post_init__(self) -> None:
        require_one_of("sft.source", self.source, ("corpus", "edited"))
        require(bool(self.template), "sft.template", self.template, "must name a template")
        require_one_of("sft.on_long", self.on_long, ("truncate", "drop"))
        if self.validation_split is not None:
            require_one_of("sft.validation_split", self.validation_split, ("train", "validation", "test"))


@dataclass
class LlamaFactoryConfig:
    """What trainer=llamafactory takes beyond recipe, adapter and trainer."""

    sharding: str = "none"
    """Between ranks: none (each holds the model), deepspeed (ZeRO-3) or fsdp; their files lie beside the YAML."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Keys of LLaMA-Factory's YAML, as they stand there, on top of ours. Part of the identity of the checkpoint."""

    def __post_init__(self) -> None:
        require_one_of("llamafactory.sharding", self.sharding, ("none", "deepspeed", "fsdp"))
