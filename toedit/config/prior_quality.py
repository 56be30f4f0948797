"""Settings of the analyses of the prior itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require


@dataclass
class PriorQualityConfig:
    """What `analysis=calibration` and `analysis=eligible_overlap` measure."""

    thresholds: list[float] = field(default_factory=lambda: [0.5, 0.9, 0.99, 0.999])
    """Reliability and eligibility at P >= each of these."""
    ranks: list[int] = field(default_factory=lambda: [1, 8, 64])
    """Calibration: share of tokens among the prior's so many most probable ones."""
    bins: int = 20
    """Calibration: equal bins of stated probability, of the diagram and of the expected calibration error."""

    def __post_init__(self) -> None:
        key = "prior_quality."
        thresholds, ranks = self.thresholds, self.ranks
        is_open = bool(thresholds) and all(0 < p < 1 for p in thresholds)
        require(is_open, f"{key}thresholds", thresholds, "must lie between 0 and 1, and be at least one")
        require(len(set(thresholds)) == len(thresholds), f"{key}thresholds", thresholds, "must differ")
        is_rank = bool(ranks) and all(rank >= 1 for rank in ranks) and len(set(ranks)) == len(ranks)
        require(is_rank, f"{key}ranks", ranks, "must differ and be at least 1")
        require(2 <= self.bins <= 1000, f"{key}bins", self.bins, "must lie between 2 and 1000")


@dataclass
class StripConfig:
    """Which tokens `analysis=probability_strip` shows."""

    documents: int = 1
    """So many documents, the first ones of the corpus."""
    ids: list[str] = field(default_factory=list)
    """These documents instead."""
    first_token: int = 0
    """The first token shown, counted from 0."""
    tokens: int = 50
    """How many tokens of each document."""
    row_tokens: int = 50
    """Tokens in a row of the picture."""
    lines: list[float] = field(default_factory=lambda: [0.001, 0.99])
    """Probabilities at which a line is drawn; tokens at or above the last one are marked as eligible, tokens below the
    first as unlikely."""

    def __post_init__(self) -> None:
        require(1 <= self.documents <= 20, "strip.documents", self.documents, "must lie between 1 and 20")
        require(self.first_token >= 0, "strip.first_token", self.first_token, "must not be negative")
        require(1 <= self.tokens <= 2000, "strip.tokens", self.tokens, "must lie between 1 and 2000")
        require(5 <= self.row_tokens <= 100, "strip.row_tokens", self.row_tokens, "must lie between 5 and 100")
        is_ascending = len(self.lines) == 2 and 0 < self.lines[0] < self.lines[1] < 1
        require(is_ascending, "strip.lines", self.lines, "must be two probabilities, the smaller one first")
        rows = max(len(self.ids), self.documents if not self.ids else 0) * -(-self.tokens // self.row_tokens)
        require(rows <= 40, "strip.tokens", self.tokens, f"makes {rows} rows of a picture; at most 40 are readable")
