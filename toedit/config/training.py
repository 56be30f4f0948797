"""Settings of training a language model: its architecture, the recipe, how it is run, where its curves go.

`model` and `recipe` define the weights and belong to the identity of a checkpoint; `trainer` and `tracker` say how a
run is done here and may differ between the runs that make one checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from toedit.config.checks import require, require_one_of

TRAINERS = ("fsdp", "olmo", "olmo_legacy", "llamafactory")


@dataclass
class ModelConfig:
    """A decoder of Transformers with fresh weights."""

    name: str = "gpt2_tiny"
    """Name in addresses and tables."""
    tokenizer: str | None = None
    """Folder or hub id of the tokenizer that it is published with; experiments tokenise with it. null: the prior's."""
    kind: str = "gpt2"
    """The `model_type` of Transformers: gpt2, olmo, llama, …; any causal language model it knows."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Keys of that architecture's configuration class in Transformers; what is not named keeps its default there."""
    vocabulary_size: int | None = None
    """Entries of the tokenizer that the model is made for; tokens of another are refused. null: any tokenizer."""
    eos_id: int | None = None
    """Document end that the model is made for; tokens with another are refused. null: that of the tokens."""
    embedding_rows: int | None = None
    """Rows of the embedding, at least `vocabulary_size`; null: as many as the tokenizer has entries."""
    initialisation: str = "transformers"
    """transformers (the architecture's own), or mitchell (OLMo's: truncated normal, smaller with width and depth)."""

    def __post_init__(self) -> None:
        require_one_of("model.initialisation", self.initialisation, ("transformers", "mitchell"))
        for key in ("vocabulary_size", "embedding_rows"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"model.{key}", value, "must be at least 1, or null")
        rows, entries = self.embedding_rows, self.vocabulary_size
        enough = rows is None or entries is None or rows >= entries
        require(enough, "model.embedding_rows", rows, f"must be at least model.vocabulary_size={entries}")
        for key in ("vocab_size", "eos_token_id"):
            own = {"vocab_size": "model.embedding_rows", "eos_token_id": "model.eos_id"}[key]
            require(key not in self.settings, f"model.settings.{key}", self.settings.get(key), f"set {own} instead")


@dataclass
class RecipeConfig:
    """How weights come from tokens. All of it belongs to the identity of the checkpoint."""

    name: str = "gpt2_tiny"
    """Name of the recipe, a file of configs/recipe/."""
    sequence_length: int = 128
    """Tokens that the model reads at a time; documents are packed end to end and cut at this length."""
    batch_sequences: int = 16
    """Sequences in an optimizer step, over all ranks: the global batch is this times `sequence_length` tokens."""
    steps: int | None = None
    """Optimizer steps; null: as many as `epochs` gives."""
    epochs: float = 1.0
    """Passes over the tokens, each in another order; `steps`, where it is given, says instead when to stop."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    final_learning_rate_share: float = 0.1
    """Where the cosine ends, as a share of the peak."""
    warmup_steps: int = 10
    """Steps of linear warm-up."""
    warmup_share: float | None = None
    """The warm-up as a share of all steps, instead of `warmup_steps`."""
    warmup_start_share: float = 0.0
    """Where the warm-up starts, as a share of the peak."""
    weight_decay: float = 0.1
    """AdamW's decoupled decay of matrices; normalisation and biases have none."""
    decay_embeddings: bool = True
    """Whether embeddings decay, too."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    """AdamW's decay of its two moments."""
    epsilon: float = 1e-8
    """AdamW's epsilon."""
    gradient_clip: float = 1.0
    """Largest norm of the whole gradient."""
    seed: int = 0
    """Key of the initial weights, the order of the sequences, and dropout."""
    dtype: str = "bfloat16"
    """bfloat16 (weights and optimizer stay float32, as do sums over micro batches and ranks) or float32."""

    def __post_init__(self) -> None:
        for key in ("sequence_length", "batch_sequences"):
            require(getattr(self, key) >= 1, f"recipe.{key}", getattr(self, key), "must be at least 1")
        require(self.steps is None or self.steps >= 1, "recipe.steps", self.steps, "must be at least 1")
        for key in ("epochs", "learning_rate", "epsilon", "gradient_clip"):
            require(0 < getattr(self, key) < math.inf, f"recipe.{key}", getattr(self, key), "must be positive")
        for key in ("final_learning_rate_share", "warmup_start_share"):
            require(0 <= getattr(self, key) <= 1, f"recipe.{key}", getattr(self, key), "must lie in [0, 1]")
        for key in ("warmup_steps", "weight_decay"):
            require(getattr(self, key) >= 0, f"recipe.{key}", getattr(self, key), "must not be negative")
        share = self.warmup_share
        require(share is None or 0 <= share <= 1, "recipe.warmup_share", share, "must lie in [0, 1], or be null")
        betas = self.betas
        require(len(betas) == 2 and all(0 <= b < 1 for b in betas), "recipe.betas", betas, "must be two of [0, 1)")
        require_one_of("recipe.dtype", self.dtype, ("bfloat16", "float32"))

    def warmup(self, steps: int) -> int:
        """Steps of linear warm-up in a training of so many steps."""
        return self.warmup_steps if self.warmup_share is None else math.ceil(self.warmup_share * steps)

    def identity(self) -> dict[str, Any]:
        """What of it decides the weights; a key that came later stays out where it is not used."""
        unread = {"name", *(["epochs"] if self.steps is not None else [])}
        unread |= {"warmup_share"} if self.warmup_share is None else {"warmup_steps"}
        return {key: value for key, value in asdict(self).items() if key not in unread}


@dataclass
class TrainerConfig:
    """How a training is run on this machine. Except for `kind`, none of it changes which checkpoint it is."""

    kind: str = "fsdp"
    """fsdp: our loop, FSDP2 between the ranks; olmo: olmo-core's Trainer; olmo_legacy: the package of the paper for
    pre-training; llamafactory: that of the paper for Llama."""
    nproc: int = 1
    """Ranks on this machine, started as torchrun starts them; 1 trains in this process."""
    nodes: int = 1
    """fsdp: machines that train together, with `nproc` ranks each. Each is given the same command, `trainer.node`
    apart, and sees the same files."""
    node: int = 0
    """Which of them this is. Machine 0 writes the checkpoint; the others lend their ranks."""
    rendezvous: str = "localhost:29400"
    """nodes > 1: host:port of machine 0, where they find each other."""
    rendezvous_seconds: float = 600.0
    """How long they wait for each other."""
    address: str | None = None
    """nodes > 1: this machine's address for the others; null: its name."""
    sharding: str = "full"
    """full: weights sharded over all ranks; hybrid: over the ranks of a machine and whole on every machine, so that
    only gradients travel between them."""
    device: str = "auto"
    """auto, cpu or cuda."""
    micro_batch_sequences: int = 8
    """Sequences in one forward pass of a rank; a step adds up as many passes as its share needs."""
    compile: bool | None = None
    """torch.compile; null: on a GPU, and on a CPU where the training takes long enough to earn the compilation back."""
    deterministic: bool | None = None
    """Only kernels that give the same bits every time; null: on a CPU, not on a GPU, where they are slower."""
    threads: int | None = None
    """CPU threads of a rank; null shares the cores out."""
    loss_rows: int = 1024
    """Rows of the LM head computed at a time: bounds the logits in memory."""
    checkpoint_every: int = 500
    """Steps between checkpoints, from which a killed training resumes."""
    checkpoints_kept: int = 2
    """The newest checkpoints that stay while training; of a finished one the last stays."""
    log_every: int = 10
    """Steps between rows of metrics."""
    validate_every: int = 500
    """Steps between validations, where `validation_tokens.path` is given; there is one at the end in any case."""
    validation_sequences: int = 256
    """Sequences of the validation tokens that are read, the first ones."""
    python: str | None = None
    """olmo, llamafactory: the Python to run it; null: this one where it has the package, else that of the environment
    which scripts/environment_olmo.sh or scripts/environment_llamafactory.sh makes."""

    @property
    def ranks(self) -> int:
        """Of all machines together."""
        return self.nodes * self.nproc

    def __post_init__(self) -> None:
        require_one_of("trainer.kind", self.kind, TRAINERS)
        require_one_of("trainer.device", self.device, ("auto", "cpu", "cuda"))
        counts = ("nproc", "micro_batch_sequences", "loss_rows", "checkpoint_every", "checkpoints_kept")
        for key in (*counts, "log_every", "validate_every", "validation_sequences"):
            require(getattr(self, key) >= 1, f"trainer.{key}", getattr(self, key), "must be at least 1")
        require(self.nodes >= 1, "trainer.nodes", self.nodes, "must be at least 1")
        require(0 <= self.node < self.nodes, "trainer.node", self.node, f"must lie in [0, trainer.nodes={self.nodes})")
        require(self.nodes == 1 or self.kind == "fsdp", "trainer.nodes", self.nodes, "several need trainer=fsdp")
        host, _, port = self.rendezvous.rpartition(":")
        require(bool(host) and port.isdigit(), "trainer.rendezvous", self.rendezvous, "must be host:port")
        require(self.rendezvous_seconds > 0, "trainer.rendezvous_seconds", self.rendezvous_seconds, "must be positive")
        require_one_of("trainer.sharding", self.sharding, ("full", "hybrid"))
        require(self.threads is None or self.threads >= 1, "trainer.threads", self.threads, "must be at least 1")


@dataclass
class TrackerConfig:
    """Where training curves go besides the checkpoint's metrics.csv."""

    kinds: list[str] = field(default_factory=list)
    """Any of tensorboard and wandb."""
    folder: str = "outputs/tracking"
    """Folder of the curves, one folder a run; they hold times, so they are no part of the checkpoint."""
    project: str = "toedit"
    """wandb: the project."""
    wandb_mode: str = "auto"
    """wandb: online, offline, or auto: online where this machine is logged in."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            require_one_of("tracker.kinds", kind, ("tensorboard", "wandb"))
        require_one_of("tracker.wandb_mode", self.wandb_mode, ("auto", "online", "offline"))
