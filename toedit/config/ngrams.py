"""Settings of n-gram statistics."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of


@dataclass
class NgramsConfig:
    """What `stage=analyze analysis=ngrams` counts."""

    tokenizer: str | None = None
    """Folder or hub id of a tokenizer whose tokens are counted; null: words, as data-selection (DSIR) splits them."""
    buckets: int = 10_000
    """Into how many buckets uni- and bi-grams are hashed (Figure 11)."""
    hash: str = "mixed"
    """mixed (fast), or sha256: of words the very buckets of data-selection."""
    top: int = 40
    """How many of the most frequent bi-grams are shown (Figures 12 and 13)."""
    top_share: float = 0.01
    """The share of buckets, the fullest first, of which is told what share of all n-grams they hold."""
    zipf_ranks: list[int] = field(default_factory=lambda: [10, 1000])
    """First and last rank that the Zipf slope is fitted to."""
    budget: int | None = None
    """Units at which distinct-n is compared; null: as many as the smaller corpus has."""
    max_groups: int = 1000
    """Where there are more units of resampling than this, they are drawn in this many groups: memory stays bounded."""
    max_rows: int = 40_000_000
    """Different bi-grams held in memory at once; where there may be more, the counts are read several times."""

    def __post_init__(self) -> None:
        require(self.buckets >= 2, "ngrams.buckets", self.buckets, "must be at least 2")
        require_one_of("ngrams.hash", self.hash, ("mixed", "sha256"))
        require(self.top >= 1, "ngrams.top", self.top, "must be at least 1")
        require(0 < self.top_share < 1, "ngrams.top_share", self.top_share, "must lie between 0 and 1")
        ranks = self.zipf_ranks
        is_range = len(ranks) == 2 and ranks[0] >= 1 and ranks[0] + 2 <= ranks[1]
        require(is_range, "ngrams.zipf_ranks", ranks, "must be [first, last] with at least three ranks from 1 on")
        require(self.budget is None or self.budget >= 1, "ngrams.budget", self.budget, "must be at least 1, or null")
        require(self.max_groups >= 10, "ngrams.max_groups", self.max_groups, "must be at least 10")
        require(self.max_rows >= 1, "ngrams.max_rows", self.max_rows, "must be at least 1")
