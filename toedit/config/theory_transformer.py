"""Settings of `theory=transformer_generations`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of

PANELS = ("l1", "l1_to_real", "bits_per_byte", "excess", "loss", "rare_loss", "rare_recall", "entropy", "eligible",
          "changed")  # fmt: skip
"""What is measured of a generation and can be drawn."""
_REGIMES = ("real", "replace", "accumulate", "accumulate_subsample", "edit_once", "edit_fixed", "edit_reestimated")


@dataclass
class TransformerStudyConfig:
    """Transformers over generations. Text, model, recipe, sampling and editing are those of the command: `corpus.*`,
    `model.*`, `recipe.*`, `synthesis.*`, `edit.*`."""

    regimes: list[str] = field(default_factory=lambda: ["real", "replace", "mix_50", "edit_fixed", "edit_reestimated"])
    """What a generation reads: real, replace, accumulate, accumulate_subsample, mix_<per cent synthetic>, edit_once,
    edit_fixed or edit_reestimated (docs/theory/transformer.md)."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Whole repetitions: initial weights, order, sampling, editing and, of a larger corpus, the real text."""
    tokens: int | None = 30_000
    """Tokens that every generation reads (accumulate: reads once more each time); null: the whole training text."""
    tokenizer: str = "characters"
    """characters (one token each) or bpe (byte-level); made from the text."""
    vocabulary_size: int = 1024
    """tokenizer=bpe: its entries."""
    passage_characters: int = 60
    """Documents are cut into passages of at most this many characters: a model writes one within its context."""
    held_out_share: float = 0.1
    """Share of the text, by a hash, that no model reads and all are measured on."""
    held_out_passages: int = 300
    """Passages of that part that are read at most; which, a hash says."""
    ground_truth: str = "text"
    """What is real: the text, or `model`: what a first model, trained on the text, writes."""
    fixed_prior: str = "first"
    """edit_fixed, edit_once: edit with the model of generation 1 (first), or with the command's `prior` (command)."""
    contexts: int = 300
    """Held-out contexts whose next-token laws are compared."""
    context_tokens: int = 32
    """Tokens of such a context."""
    rare_ngram: int = 5
    """Length in tokens of the n-grams that are called rare."""
    rare_count: int = 2
    """An n-gram of the held-out text is rare where the real text that is trained on has it 1 to so many times."""
    margin: float = 0.05
    """Bits per byte: change over all generations below which a regime counts as stable (two one-sided tests)."""
    panels: list[str] = field(default_factory=lambda: ["bits_per_byte", "excess", "l1", "rare_recall", "changed"])
    """What the figure shows by generation."""
    curves: bool = True
    """Draw the validation loss of every training, a panel a regime."""

    def __post_init__(self) -> None:
        key = "theory.transformer"
        require(bool(self.regimes), f"{key}.regimes", self.regimes, "must name at least one regime")
        for regime in self.regimes:
            known = regime in _REGIMES or mixed_share(regime) is not None
            wanted = f"must be one of {', '.join(_REGIMES)}, or mix_<per cent>, 0 < per cent < 100"
            require(known, f"{key}.regimes", regime, wanted)
        for name in ("regimes", "seeds", "panels"):
            value = getattr(self, name)
            require(len(set(value)) == len(value), f"{key}.{name}", value, "names something twice")
        require(bool(self.seeds), f"{key}.seeds", self.seeds, "must hold at least one seed")
        for seed in self.seeds:
            require(seed >= 0, f"{key}.seeds", seed, "must not be negative")
        require_one_of(f"{key}.tokenizer", self.tokenizer, ("characters", "bpe"))
        require_one_of(f"{key}.ground_truth", self.ground_truth, ("text", "model"))
        require_one_of(f"{key}.fixed_prior", self.fixed_prior, ("first", "command"))
        for panel in self.panels:
            require_one_of(f"{key}.panels", panel, PANELS)
        for name in ("held_out_passages", "contexts", "context_tokens", "rare_ngram", "rare_count"):
            require(getattr(self, name) >= 1, f"{key}.{name}", getattr(self, name), "must be at least 1")
        require(self.vocabulary_size >= 300, f"{key}.vocabulary_size", self.vocabulary_size, "must be at least 300")
        reason = "must be at least 20"
        require(self.passage_characters >= 20, f"{key}.passage_characters", self.passage_characters, reason)
        tokens = self.tokens
        require(tokens is None or tokens >= 1, f"{key}.tokens", tokens, "must be at least 1, or null for all")
        share = self.held_out_share
        require(0 < share < 1, f"{key}.held_out_share", share, "must lie between 0 and 1")
        require(self.margin > 0, f"{key}.margin", self.margin, "must be positive")


def mixed_share(regime: str) -> float | None:
    """The synthetic share that `mix_50` names (0.5); None where it names none."""
    matched = re.fullmatch(r"mix_(\d+(?:\.\d+)?)", regime)
    share = float(matched[1]) / 100 if matched else 0.0
    return share if 0 < share < 1 else None
