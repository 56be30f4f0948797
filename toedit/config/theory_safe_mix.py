"""Settings of `theory=safe_mix`."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of


@dataclass
class SafeMixConfig:
    """How much synthetic text a corpus carries before its model drifts by more than epsilon."""

    unit: str = "words"
    """What is predicted: words, characters, bytes, or tokens (of `theory.safe_mix.tokenizer`)."""
    tokenizer: str | None = None
    """Folder, file or hub id of the tokenizer whose tokens are counted; with unit=tokens only."""
    context: int = 1
    """Units before the predicted one that make its context."""
    epsilon: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.3])
    """How far a context's law may drift, in L1 distance (twice the total variation), for all generations."""
    keep: float = 0.9
    """Share of the corpus, by tokens, whose contexts have to stay within epsilon."""
    contexts: int = 12
    """How many of the most frequent contexts the table shows."""
    resamples: int = 200
    """Bootstrap resamples of documents (or of their common origins, `analysis.unit_fields`); 0: no intervals."""

    def __post_init__(self) -> None:
        require_one_of("theory.safe_mix.unit", self.unit, ("words", "characters", "bytes", "tokens"))
        is_named = (self.unit == "tokens") == (self.tokenizer is not None)
        require(
            is_named, "theory.safe_mix.tokenizer", self.tokenizer, "goes with theory.safe_mix.unit=tokens, and only"
        )
        require(1 <= self.context <= 8, "theory.safe_mix.context", self.context, "must lie between 1 and 8")
        ranges = bool(self.epsilon) and all(0 < epsilon <= 2 for epsilon in self.epsilon)
        require(ranges, "theory.safe_mix.epsilon", self.epsilon, "must be a list of numbers in (0, 2]")
        require(0 < self.keep <= 1, "theory.safe_mix.keep", self.keep, "must lie in (0, 1]")
        require(self.contexts >= 1, "theory.safe_mix.contexts", self.contexts, "must be at least 1")
        is_enough = self.resamples == 0 or self.resamples >= 20
        require(is_enough, "theory.safe_mix.resamples", self.resamples, "must be 0 or at least 20")
