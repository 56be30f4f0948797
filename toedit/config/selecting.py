"""Settings of data selection."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of
from toedit.config.corpus import SYNTHESIZED, CorpusConfig
from toedit.errors import BadConfiguration

METHODS = ("dsir", "perplexity", "density", "classifier", "random")


def _no_corpus() -> CorpusConfig:
    return CorpusConfig(kind="local")


@dataclass
class DensityConfig:
    """The sketch that estimates how many documents of a corpus are like a given one."""

    rows: int = 1000
    """Hash functions of the sketch; a density is the mean over them."""
    buckets: int = 20_000
    """Counters of each."""
    projections: int = 2000
    """Random projections that all rows draw theirs from."""
    hashes: int = 16
    """Projections of a row: more of them, and only closer documents share a counter."""
    width: float = 3.0
    """Width of a projection's intervals; documents lie on the unit sphere and are at most 1.41 apart."""
    seed: int = 0
    """Of the projections; the draw of documents has a seed of its own (select.seed)."""

    def __post_init__(self) -> None:
        for key in ("rows", "projections", "hashes"):
            require(getattr(self, key) >= 1, f"density.{key}", getattr(self, key), "must be at least 1")
        require(self.hashes <= self.projections, "density.hashes", self.hashes, "must not exceed density.projections")
        require(self.buckets >= 2, "density.buckets", self.buckets, "must be at least 2")
        require(self.width > 0, "density.width", self.width, "must be more than 0")
        require(self.seed >= 0, "density.seed", self.seed, "must not be negative")


@dataclass
class ClassifierConfig:
    """The model that judges documents."""

    path: str = "HuggingFaceFW/fineweb-edu-classifier"
    """Folder or hub id of a sequence-classification model; one with a single output is a regression."""
    revision: str | None = None
    """Commit, tag or branch of a hub id."""
    label: int | None = None
    """Of several classes the one that is wanted; the score is its log-probability. Null: the only output, as it is."""
    max_tokens: int = 512
    """Tokens of a document that are read; the rest of it is cut off."""
    batch_documents: int = 32
    """Documents judged at once."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu or cuda."""
    dtype: str = "float32"
    """float32 or bfloat16."""

    def __post_init__(self) -> None:
        for key in ("max_tokens", "batch_documents"):
            require(getattr(self, key) >= 1, f"classifier.{key}", getattr(self, key), "must be at least 1")
        require(self.label is None or self.label >= 0, "classifier.label", self.label, "must be the number of a class")
        require_one_of("classifier.dtype", self.dtype, ("float32", "bfloat16"))


@dataclass
class SelectConfig:
    """Which documents of a corpus `stage=select` takes."""

    method: str = "dsir"
    """dsir (importance resampling towards select.target), perplexity, density (rare documents more often), classifier
    (best first) or random."""
    documents: int | None = None
    """How many documents to take."""
    tokens: int | None = None
    """Instead: documents until they have at least so many tokens of `tokenizer`."""
    share: float | None = None
    """Instead: this share of the corpus's documents."""
    tokenizer: str | None = None
    """Folder or hub id of the tokenizer that `tokens` counts with; null: the prior's."""
    seed: int = 0
    """Of the draw; perplexity and classifier draw nothing."""
    target: CorpusConfig = field(default_factory=_no_corpus)
    """dsir: the corpus whose n-grams the selection is to have, of any kind; without one, mix.select_synthetic takes
    mix.human."""
    noise: bool = True
    """dsir, density: draw without replacement (Gumbel noise on the log weights); false: the largest weights."""
    buckets: int = 10_000
    """dsir, density: into how many buckets uni- and bi-grams are hashed."""
    min_words: int = 100
    """dsir: documents of fewer words are never taken, as in data-selection."""
    keep: str = "highest"
    """perplexity: highest (what the prior finds hard), lowest, or middle (nearest to the median)."""
    max_tokens: int | None = 2048
    """perplexity: of a document its first so many tokens; null: all of them."""
    skip_first_token: bool = True
    """perplexity: leave out a document's first token even where the prior has a context for it."""
    density: DensityConfig = field(default_factory=DensityConfig)
    """density, and analysis=density: the sketch."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """classifier: the model."""

    def __post_init__(self) -> None:
        self.target = self.target.local_by_path()
        require_one_of("select.method", self.method, METHODS)
        require_one_of("select.keep", self.keep, ("highest", "lowest", "middle"))
        for key in ("documents", "tokens", "max_tokens"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"select.{key}", value, "must be at least 1, or null")
        require(self.share is None or 0 < self.share <= 1, "select.share", self.share, "must lie in (0, 1], or be null")
        sizes = [key for key in ("documents", "tokens", "share") if getattr(self, key) is not None]
        if len(sizes) > 1:
            raise BadConfiguration(f"select.{sizes[0]} and select.{sizes[1]}: name one of them; the other is null")
        require(self.buckets >= 2, "select.buckets", self.buckets, "must be at least 2")
        require(self.min_words >= 0, "select.min_words", self.min_words, "must not be negative")
        require(self.seed >= 0, "select.seed", self.seed, "must not be negative")
        if self.target.kind == SYNTHESIZED:
            raise BadConfiguration(f"select.target.kind={SYNTHESIZED}: only mix.synthetic can be that")

    @property
    def has_target(self) -> bool:
        """Whether a target corpus is named."""
        return self.target.kind != "local" or self.target.path is not None
