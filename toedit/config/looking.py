"""Settings of what people look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of


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
