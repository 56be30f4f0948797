"""Settings of what people look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of
from toedit.config.corpus import CorpusConfig
from toedit.config.embeddings import EmbeddingsConfig
from toedit.config.ngrams import NgramsConfig
from toedit.config.prior import PriorConfig
from toedit.config.prior_quality import PriorQualityConfig, StripConfig


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


ANALYSES = (
    "token_probability",
    "perplexity_distribution",
    "ngrams",
    "embeddings",
    "calibration",
    "eligible_overlap",
    "probability_strip",
    "density",
)


def _no_corpus() -> CorpusConfig:
    return CorpusConfig(kind="local")


@dataclass
class AnalysisConfig:
    """What `stage=analyze` computes."""

    name: str = "token_probability"
    """token_probability: the U-shaped histogram of Figure 5 and the intervals of Table 6; perplexity_distribution:
    perplexities of the documents of two corpora (Figures 3 and 10); ngrams: n-grams of one corpus or of two (Figures
    11 to 13); embeddings: two or three corpora in embedding space (Figure 4B); calibration: how far the prior's
    probabilities are to be believed; eligible_overlap: the eligible tokens of one corpus under two priors;
    probability_strip: the probabilities of single documents' tokens; density: how many
    documents of a corpus are alike (Figure 14)."""
    bins: int = 300
    """Bins of the histogram: of P on [0, 1], or of perplexity on a logarithmic axis."""
    other: CorpusConfig = field(default_factory=_no_corpus)
    """The corpus that `corpus` is compared with, of any kind; a local one without a path is none; kind=synthesized is
    what `stage=synthesize` makes of the same command."""
    third: CorpusConfig = field(default_factory=_no_corpus)
    """embeddings: one more corpus, such as a selection of the other."""
    other_prior: PriorConfig = field(default_factory=PriorConfig)
    """eligible_overlap: the prior that `prior` is compared with."""
    max_tokens: int | None = 2048
    """perplexity_distribution: of a document its first so many tokens; null: all of them."""
    skip_first_token: bool = True
    """perplexity_distribution: leave out a document's first token even where the prior has a context for it."""
    unit_fields: list[str] = field(default_factory=lambda: ["metadata.origin", "metadata.origin_path"])
    """The first of these that a document has names the work it is from; resampling draws works. []: documents."""
    resamples: int = 1000
    """Bootstrap resamples, and as many permutations."""
    seed: int = 0
    """Of the resampling."""
    ngrams: NgramsConfig = field(default_factory=NgramsConfig)
    """ngrams: what is counted."""
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    """embeddings: with which model, how many documents, how it is looked at."""
    prior_quality: PriorQualityConfig = field(default_factory=PriorQualityConfig)
    """calibration, eligible_overlap: at which probabilities and ranks."""
    strip: StripConfig = field(default_factory=StripConfig)
    """probability_strip: which tokens of which documents."""

    def __post_init__(self) -> None:
        self.other, self.third = self.other.local_by_path(), self.third.local_by_path()
        require_one_of("analysis.name", self.name, ANALYSES)
        require(self.bins >= 1, "analysis.bins", self.bins, "must be at least 1")
        is_enough = (
            self.max_tokens is None or self.max_tokens >= 2 or (self.max_tokens == 1 and not self.skip_first_token)
        )
        require(
            is_enough,
            "analysis.max_tokens",
            self.max_tokens,
            "must leave a token: null, or at least 2 (1 with skip_first_token=false)",
        )
        require(self.resamples >= 99, "analysis.resamples", self.resamples, "must be at least 99, for p-values of 0.01")
        require(self.seed >= 0, "analysis.seed", self.seed, "must not be negative")

    @property
    def has_other(self) -> bool:
        """Whether a second corpus is named."""
        return self.other.kind != "local" or self.other.path is not None

    @property
    def has_third(self) -> bool:
        """Whether a third corpus is named."""
        return self.third.kind != "local" or self.third.path is not None
