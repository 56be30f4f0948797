"""Settings of `theory=generations`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from toedit.config.checks import require, require_one_of

REGIMES = (
    "same_text",
    "fresh_real",
    "replace",
    "accumulate",
    "accumulate_subsample",
    "real_share",
    "edit_once",
    "edit_fixed_prior",
    "edit_own_prior",
    "random_tokens",
    "random_at_eligible",
)
COUNTS = ("continuations", "occurrences")
_MATCHED = ("random_tokens", "random_at_eligible")


@dataclass
class GenerationsConfig:
    """N-gram language models over generations."""

    regimes: list[str] = field(default_factory=lambda: list(REGIMES))
    """What generations train on; analysis/theory/generations/regimes.py has a line on each."""
    seeds: int = 3
    """Runs of every arm: theory.seed and those after it. Intervals and tests are over them."""
    tokens: int = 20_000
    """Tokens of every generation's text (accumulate: that it adds)."""
    corpus_bytes: int = 1_000_000
    """Text read from the corpus, whole documents drawn at random; all of it where there is less."""
    held_out_share: float = 0.2
    """Share of that text that models are measured on."""
    reference_share: float = 0.2
    """Share that trains the model under which generated and held-out passages are compared; the rest is what generation
    0 is drawn from."""
    unit_fields: list[str] = field(default_factory=lambda: ["metadata.origin", "metadata.origin_path"])
    """What names the work a document is from (dotted paths, the first that there is); works are not divided."""
    vocabulary_size: int = 1000
    """Tokens of the byte-level BPE trained on the text that generation 0 is drawn from; its 257 first are bytes and the
    document end."""
    document_tokens: int = 256
    """Longer documents are cut into passages of this many tokens; models write no longer ones."""
    order: int = 3
    """Tokens of the longest n-grams."""
    discount: float = 0.75
    """Absolute discount of the models that write and edit; 0: maximum likelihood, with back-off where a context is new.
    Smoothing is noise that every generation adds."""
    counts: str = "continuations"
    """How shorter n-grams are counted: continuations (Kneser and Ney) or occurrences."""
    measuring_discount: float = 0.75
    """The discount that held-out text is measured with, as a new n-gram has no probability without one."""
    real_shares: list[float] = field(default_factory=lambda: [0.1, 0.5])
    """real_share: the shares, an arm each."""
    p: list[float] = field(default_factory=lambda: [0.99, 0.5])
    """Edits: tokens with P >= p are drawn again; an arm each."""
    k: int = 8
    """Edits: from how many candidates."""
    temperature: float = 1.0
    """Edits: of the draw."""
    rare_count: int = 2
    """A token or pair is rare that held-out text has at most so many times."""
    contexts: int = 300
    """Places at which whole laws of the next token are compared."""
    documents: int = 300
    """Passages of a text, and of held-out text, that a distribution test compares."""
    resamples: int = 199
    """Permutations of that test."""
    margin: float = 0.01
    """Nats a token: an arm is stable whose loss certainly drifts by less in the second half of the generations."""

    def __post_init__(self) -> None:
        def check(key: str, holds: Callable[[Any], bool], wanted: str) -> None:
            value = getattr(self, key)
            for item in value if isinstance(value, list) else [value]:
                require(holds(item), f"theory.language_model.{key}", value, wanted)

        for regime in self.regimes:
            require_one_of("theory.language_model.regimes", regime, REGIMES)
        require_one_of("theory.language_model.counts", self.counts, COUNTS)
        for key in ("seeds", "tokens", "corpus_bytes", "order", "k", "rare_count", "contexts", "resamples"):
            check(key, lambda value: value >= 1, "must be at least 1")
        for key in ("document_tokens", "documents"):
            check(key, lambda value: value >= 2, "must be at least 2")
        check("vocabulary_size", lambda value: 257 <= value <= 2**20, "must lie in [257, 1048576]: bytes need as many")
        check("order", lambda value: value <= 8, "must be at most 8")
        for key in ("discount", "real_shares"):
            check(key, lambda value: 0 <= value <= 1, "must lie in [0, 1]")
        check(
            "measuring_discount", lambda value: 0 < value <= 1, "must lie in (0, 1]: without one, losses are infinite"
        )
        check("p", lambda value: 0 < value <= 1, "must lie in (0, 1]")
        for key in ("temperature", "margin"):
            check(key, lambda value: value > 0, "must be more than 0")
        for key in ("held_out_share", "reference_share"):
            check(key, lambda value: 0 < value < 1, "must lie between 0 and 1")
        self._check_together()

    def _check_together(self) -> None:
        shares = self.held_out_share + self.reference_share
        require(shares < 1, "theory.language_model.held_out_share", self.held_out_share, "leaves nothing to train on")
        for key in ("regimes", "real_shares", "p"):
            values = getattr(self, key)
            require(len(set(values)) == len(values), f"theory.language_model.{key}", values, "names one twice")
        require(bool(self.regimes), "theory.language_model.regimes", self.regimes, "is empty")
        for key, regimes in (("real_shares", ("real_share",)), ("p", REGIMES[REGIMES.index("edit_once") :])):
            is_read = bool(set(regimes) & set(self.regimes))
            values = getattr(self, key)
            require(bool(values) or not is_read, f"theory.language_model.{key}", values, "is empty")
        for regime in _MATCHED:
            require(
                regime not in self.regimes or "edit_own_prior" in self.regimes,
                "theory.language_model.regimes",
                self.regimes,
                f"{regime} changes as many tokens as edit_own_prior, which is not among them",
            )
