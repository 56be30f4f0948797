"""Settings of the prior language model."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of
from toedit.config.corpus import CorpusConfig
from toedit.errors import BadConfiguration


@dataclass
class ShapeConfig:
    """Size of a model that may not be on this machine, for dry runs."""

    parameters: int | None = None
    """Number of parameters."""
    vocabulary_size: int | None = None
    """Rows of the LM head."""
    hidden_size: int | None = None
    """Width of a hidden state."""
    layers: int | None = None
    """Number of layers."""
    context: int | None = None
    """Longest window the model takes."""


@dataclass
class TrainingConfig:
    """prior=tiny: the small decoder that is trained on this machine, and how."""

    vocabulary_size: int = 4096
    """Entries of the byte-level BPE tokenizer."""
    hidden_size: int = 192
    """Width of a hidden state."""
    intermediate_size: int = 512
    """Width of the feed-forward layers."""
    layers: int = 4
    """Number of layers."""
    heads: int = 3
    """Number of attention heads."""
    context: int = 256
    """Tokens in a training sequence, and the longest window when scoring."""
    steps: int = 600
    """Optimizer steps. A number of steps, not of minutes: the result must not depend on the machine's load."""
    batch_sequences: int = 8
    """Sequences in a step."""
    matrix_learning_rate: float = 0.02
    """Peak learning rate of Muon, which trains the matrices inside the layers."""
    learning_rate: float = 0.01
    """Peak learning rate of AdamW, which trains embedding and normalisation."""
    warmup_steps: int = 20
    """Steps of linear warm-up; after them both rates fall linearly to nearly nothing."""
    weight_decay: float = 0.1
    """Muon's decay of matrices."""
    dtype: str = "bfloat16"
    """bfloat16 (autocast) or float32."""
    checkpoint_every: int = 100
    """Steps between states from which a killed training resumes."""

    @property
    def parameters(self) -> int:
        """Number of weights, but for the few of normalisation; the embedding is tied."""
        per_layer = 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size
        return self.layers * per_layer + self.vocabulary_size * self.hidden_size

    def __post_init__(self) -> None:
        require_one_of("prior.training.dtype", self.dtype, ("bfloat16", "float32"))
        for key in ("vocabulary_size", "hidden_size", "layers", "heads", "context", "steps", "batch_sequences"):
            value = getattr(self, key)
            require(value >= 1, f"prior.training.{key}", value, "must be at least 1")
        require(
            self.hidden_size % (2 * self.heads) == 0,
            "prior.training.hidden_size",
            self.hidden_size,
            f"must be a multiple of twice prior.training.heads={self.heads}",
        )
        require(
            self.vocabulary_size >= 257,
            "prior.training.vocabulary_size",
            self.vocabulary_size,
            "must be at least 257: 256 bytes and the document end",
        )


@dataclass
class PriorConfig:
    """The language model that scores the text and from which edits are drawn."""

    kind: str = "tiny"
    """tiny (trained here), local (a Hugging Face folder) or hub."""
    name: str | None = None
    """Name in addresses and tables; by default made from the path or id."""
    path: str | None = None
    """kind=local: a Hugging Face folder, or a checkpoint artifact."""
    hub_id: str | None = None
    """kind=hub: `owner/name`."""
    revision: str | None = None
    """kind=hub: commit, tag or branch; resolved to a commit and recorded."""
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    """Size of a hub model, so that a dry run needs no network."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """kind=tiny: the corpus it is trained on."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """kind=tiny: its shape and training."""

    def __post_init__(self) -> None:
        require_one_of("prior.kind", self.kind, ("tiny", "local", "hub"))
        if self.kind == "local" and not self.path:
            raise BadConfiguration("prior.path=null: prior=local needs a Hugging Face folder")
        if self.kind == "hub" and not self.hub_id:
            raise BadConfiguration("prior.hub_id=null: prior.kind=hub needs an owner/name")
