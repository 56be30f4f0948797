"""Settings of `theory=beyond_text`."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require

SEQUENCES = ("die", "bytes", "image", "melody")


@dataclass
class BeyondTextConfig:
    """Editing sequences that are not text."""

    sequences: list[str] = field(default_factory=lambda: list(SEQUENCES))
    """Which: die (independent throws of a loaded die), bytes (of `corpus`), image (a generated picture in few grey
    levels, line by line), melody (a generated one)."""
    length: int = 9216
    """Tokens of a sequence; the image is the largest square that has no more."""
    smoothing: float = 0.5
    """The prior counts: weight of the law that looks one token less far back, in tokens."""
    p: float = 0.9
    """Tokens that the prior predicts with at least this probability are drawn again."""
    k: int = 8
    """From how many of its most probable tokens."""
    temperature: float = 1.0
    """Of that draw."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.sequences if name not in SEQUENCES]
        key = "theory.beyond_text.sequences"
        require(bool(self.sequences) and not unknown, key, self.sequences, f"must be some of {', '.join(SEQUENCES)}")
        require(len(set(self.sequences)) == len(self.sequences), key, self.sequences, "must name each once")
        is_long = 256 <= self.length <= 10_000_000
        require(is_long, "theory.beyond_text.length", self.length, "must lie between 256 and 10 million")
        require(self.smoothing > 0, "theory.beyond_text.smoothing", self.smoothing, "must be more than 0")
        require(
            0.5 < self.p <= 1, "theory.beyond_text.p", self.p, "must lie in (0.5, 1]: one token a context is confident"
        )
        require(self.k >= 1, "theory.beyond_text.k", self.k, "must be at least 1")
        require(self.temperature > 0, "theory.beyond_text.temperature", self.temperature, "must be more than 0")
