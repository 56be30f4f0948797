"""Every setting of the library, typed, documented and validated.

The values live in `configs/`; these classes say which keys exist, what they mean and what they may be. `run.py`
composes the YAML with Hydra and calls `build_config`, which turns the result into these classes and refuses, in one
line that names the key, whatever does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toedit.errors import BadConfiguration


def require(holds: bool, key: str, value: Any, wanted: str) -> None:
    """Raise one line that names the key unless `holds`."""
    if not holds:
        raise BadConfiguration(f"{key}={value}: {wanted}")


def require_one_of(key: str, value: Any, choices: tuple[str, ...]) -> None:
    require(value in choices, key, value, f"must be one of {', '.join(choices)}")


@dataclass
class StageConfig:
    """Which stage to run (`stage=edit`)."""

    name: str | None = None
    """The stage; `python run.py` lists them."""


@dataclass
class CorpusConfig:
    """Where documents come from. One class for every kind, so that any place that takes a corpus takes each of them."""

    kind: str = "pydocs"
    """pydocs (documentation that the installation holds), local (files) or hub (a Hugging Face data set)."""
    name: str | None = None
    """Name in the artifact's address; by default made from the kind, path or id."""
    path: str | None = None
    """kind=local: a file, a folder, a glob, or a corpus artifact, which is used as it is."""
    hub_id: str | None = None
    """kind=hub: `owner/name`, or a local folder laid out like a hub data set."""
    hub_subset: str | None = None
    """kind=hub: the data set's configuration name."""
    hub_split: str = "train"
    """kind=hub: the data set's split."""
    hub_data_files: list[str] = field(default_factory=list)
    """kind=hub: only these files of the repository (globs)."""
    hub_url_list: str | None = None
    """kind=hub: a text file in the repository with one URL of a JSON-lines file a line (Dolma is published so)."""
    revision: str | None = None
    """kind=hub: commit, tag or branch; resolved to a commit and recorded."""
    retries: int = 5
    """kind=hub: how often a failing read is tried again, with growing pauses."""
    text_fields: list[str] = field(default_factory=lambda: ["text"])
    """The fields that make up a document's text; dotted paths reach inside (`messages.0.content`)."""
    text_joiner: str = " "
    """What stands between several text fields."""
    id_field: str = "id"
    """The field that holds the id; a missing one becomes a hash of source and text."""
    source_field: str = "source"
    """The field that holds the source; where it is missing, the file's or data set's name."""
    metadata_field: str = "metadata"
    """The field that holds a mapping of further facts."""
    on_bad_row: str = "reject"
    """reject (list it in rejected.jsonl, count it, go on) or stop."""
    on_truncated_file: str = "refuse"
    """A compressed file that ends too early: refuse it, or keep what could be read."""
    max_document_bytes: int = 16_000_000
    """A document whose UTF-8 text is longer is a bad row."""
    max_documents: int | None = None
    """Stop after this many good documents."""
    max_tokens: int | None = None
    """Stop after the document that reaches this many tokens of `tokenizer`."""
    tokenizer: str | None = None
    """Folder or hub id of the tokenizer that `max_tokens` counts with."""
    shard_bytes: int = 2_000_000
    """A shard is closed once it holds this many bytes of text; shards are the unit of work and of resumption."""
    split: str | None = None
    """train, validation or test: keep only that part, by a hash of `split_key`; null keeps everything."""
    split_key: str = "id"
    """What the split hashes: `id`, `source` or a dotted path such as `metadata.origin_path` (keeps works whole)."""
    split_shares: list[float] = field(default_factory=lambda: [45.0, 5.0, 50.0])
    """Shares of train, validation and test in per cent."""
    split_seed: int = 0
    """Another value gives another split."""
    packages: list[str] = field(default_factory=list)
    """kind=pydocs: the packages whose docstrings and descriptions are read; `python` is the standard library."""
    min_characters: int = 200
    """kind=pydocs: shorter texts are left out."""

    def __post_init__(self) -> None:
        require_one_of("corpus.kind", self.kind, ("pydocs", "local", "hub"))
        require_one_of("corpus.on_bad_row", self.on_bad_row, ("reject", "stop"))
        require_one_of("corpus.on_truncated_file", self.on_truncated_file, ("refuse", "keep"))
        if self.split is not None:
            require_one_of("corpus.split", self.split, ("train", "validation", "test"))
        require(
            self.max_document_bytes >= 1, "corpus.max_document_bytes", self.max_document_bytes, "must be at least 1"
        )
        require(self.shard_bytes >= 1, "corpus.shard_bytes", self.shard_bytes, "must be at least 1")
        require(self.retries >= 0, "corpus.retries", self.retries, "must not be negative")
        for key in ("max_documents", "max_tokens"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"corpus.{key}", value, "must be at least 1, or null for all")
        shares = self.split_shares
        require(
            len(shares) == 3 and min(shares) >= 0 and abs(sum(shares) - 100) < 1e-6,
            "corpus.split_shares",
            shares,
            "must be three shares (train, validation, test) that add up to 100",
        )
        require(bool(self.text_fields), "corpus.text_fields", self.text_fields, "must name at least one field")
        if self.max_tokens is not None and not self.tokenizer:
            raise BadConfiguration("corpus.max_tokens needs corpus.tokenizer=<folder or hub id> to count with")


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
            raise BadConfiguration("prior=local needs prior.path=<a Hugging Face folder>")
        if self.kind == "hub" and not self.hub_id:
            raise BadConfiguration("prior.kind=hub needs prior.hub_id=<owner/name>")


@dataclass
class ScoreConfig:
    """What the prior's pass computes and keeps. Belongs to the identity of the scores."""

    top_k: int = 64
    """Candidates kept for each confident token."""
    min_p: float = 0.9
    """A token is confident, and its candidates are kept, when P >= min_p."""
    window: int = 2048
    """Longest window in tokens, the context token included; a prior with a shorter context shortens it."""
    min_context: int | None = None
    """Where a document needs several windows, tokens have at least this much context; null: a quarter of a window."""
    dtype: str = "float32"
    """float32 or bfloat16 operands; log-probabilities come from float32 logits either way."""
    context_token: str = "auto"
    """What the first token is conditioned on: bos, eos, none (it stays unscored), or auto: the first it has."""

    def __post_init__(self) -> None:
        require(self.top_k >= 1, "score.top_k", self.top_k, "must be at least 1")
        require(0 <= self.min_p <= 1, "score.min_p", self.min_p, "must lie in [0, 1]")
        require(self.window >= 2, "score.window", self.window, "must be at least 2")
        context = self.min_context
        require(
            context is None or 1 <= context < self.window - 1,
            "score.min_context",
            context,
            "must be below score.window",
        )
        require_one_of("score.dtype", self.dtype, ("float32", "bfloat16"))
        require_one_of("score.context_token", self.context_token, ("auto", "bos", "eos", "none"))


@dataclass
class ScorerConfig:
    """The engine that runs the prior. Except for its kind, none of this changes the scores' identity."""

    kind: str = "torch"
    """torch."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    batch_tokens: int = 4096
    """Tokens in a batch, padding included."""
    head_rows: int = 1024
    """Rows of the LM head computed at a time: bounds the logits in memory."""
    threads: int | None = None
    """CPU threads; null leaves torch's own choice."""

    def __post_init__(self) -> None:
        require_one_of("scorer.kind", self.kind, ("torch",))
        require(self.batch_tokens >= 1, "scorer.batch_tokens", self.batch_tokens, "must be at least 1")
        require(self.head_rows >= 1, "scorer.head_rows", self.head_rows, "must be at least 1")
        require(self.threads is None or self.threads >= 1, "scorer.threads", self.threads, "must be at least 1")


@dataclass
class EditConfig:
    """How confident tokens are resampled."""

    name: str = "paper"
    """Preset: paper, official or none."""
    sampler: str = "top_k"
    """top_k (Algorithm 1), or none: change nothing."""
    p: float = 0.99
    """A token is eligible when the prior gives it probability P >= p."""
    strict: bool = False
    """Eligible means P > p (the released script) instead of P >= p (the paper)."""
    k: int = 8
    """Candidates to draw from: the prior's k most probable tokens, the original among them."""
    temperature: float = 1.0
    """Log-probabilities are divided by this before the draw; 1 is the prior itself."""
    seed: int = 0
    """Key of the uniforms, with the document's id and the token's position."""

    def __post_init__(self) -> None:
        require_one_of("edit.sampler", self.sampler, ("top_k", "none"))
        require(0 < self.p <= 1, "edit.p", self.p, "must lie in (0, 1]")
        require(self.k >= 1, "edit.k", self.k, "must be at least 1")
        require(self.temperature > 0, "edit.temperature", self.temperature, "must be positive")


@dataclass
class ArtifactConfig:
    """An artifact of an earlier stage, named by its folder."""

    path: str | None = None
    """The folder; null means: build it from the other settings."""


@dataclass
class DiffConfig:
    """What `stage=diff` shows."""

    documents: int = 3
    """How many documents, those with the most edits first."""
    ids: list[str] = field(default_factory=list)
    """Show these documents instead."""
    max_characters: int = 4000
    """Characters of a document shown in the terminal; the page shows it whole."""

    def __post_init__(self) -> None:
        require(self.documents >= 1, "diff.documents", self.documents, "must be at least 1")
        require(self.max_characters >= 1, "diff.max_characters", self.max_characters, "must be at least 1")


@dataclass
class AnalysisConfig:
    """What `stage=analyze` computes."""

    name: str = "token_probability"
    """token_probability: the U-shaped histogram of Figure 5 and the intervals of Table 6."""
    bins: int = 300
    """Bins of the histogram on [0, 1]."""

    def __post_init__(self) -> None:
        require_one_of("analysis.name", self.name, ("token_probability",))
        require(self.bins >= 1, "analysis.bins", self.bins, "must be at least 1")


@dataclass
class Config:
    """The whole configuration of one command."""

    stage: StageConfig = field(default_factory=StageConfig)
    """What to do."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The documents."""
    prior: PriorConfig = field(default_factory=PriorConfig)
    """The prior language model."""
    scorer: ScorerConfig = field(default_factory=ScorerConfig)
    """The engine that runs the prior."""
    score: ScoreConfig = field(default_factory=ScoreConfig)
    """What the scores hold."""
    edit: EditConfig = field(default_factory=EditConfig)
    """How tokens are edited."""
    scores: ArtifactConfig = field(default_factory=ArtifactConfig)
    """Scores to edit from, instead of those the other settings name."""
    edited: ArtifactConfig = field(default_factory=ArtifactConfig)
    """The edited corpus that revert and diff read."""
    diff: DiffConfig = field(default_factory=DiffConfig)
    """What diff shows."""
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)
    """What analyze computes."""
    seed: int = 0
    """Root of every seed."""
    artifacts: str = "artifacts"
    """Folder below which artifacts get readable addresses."""
    out: str | None = None
    """Put the stage's artifact exactly here."""
    dry_run: bool = False
    """Print the resolved plan and stop."""
