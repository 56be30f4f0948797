"""Settings of mixtures of a human and a synthetic corpus."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of
from toedit.config.corpus import SYNTHESIZED, CorpusConfig
from toedit.errors import BadConfiguration


@dataclass
class MixConfig:
    """How much of which corpus `stage=mix` takes."""

    human: CorpusConfig = field(default_factory=CorpusConfig)
    """The human corpus; `mix.human.path` alone makes it one of local files or an artifact."""
    synthetic: CorpusConfig = field(default_factory=CorpusConfig)
    """The synthetic corpus, likewise; kind=synthesized is what `stage=synthesize` makes of the same command."""
    edit_human: bool = False
    """Mix the edited human corpus (as `edit.*` says) in its place: semi-synthetic instead of human text."""
    select_synthetic: bool = False
    """Mix a selection of the synthetic corpus (as `select.*` says) in its place."""
    synthetic_ratio: float = 0.5
    """Share of the tokens (mode=tokens) or of each side's files (mode=files) that is synthetic."""
    mode: str = "tokens"
    """tokens (whole documents up to an exact number of tokens) or files (whole shards, as the released code did)."""
    tokens: int | None = None
    """mode=tokens: tokens of the mixture, document ends not counted."""
    tokenizer: str | None = None
    """Folder or hub id of the tokenizer that counts; null: the prior's."""
    allow_repeat: bool = False
    """Where a corpus is smaller than its part, take its documents again instead of stopping."""
    seed: int = 0
    """Key of the order in which documents (mode=tokens) or files (mode=files) are taken."""
    shard_bytes: int = 2_000_000
    """mode=tokens: a shard of the mixture is closed once it holds about this many bytes of text."""

    def __post_init__(self) -> None:
        self.human, self.synthetic = self.human.local_by_path(), self.synthetic.local_by_path()
        if self.human.kind == SYNTHESIZED:
            raise BadConfiguration(f"mix.human.kind={SYNTHESIZED}: only mix.synthetic can be that")
        require(0 <= self.synthetic_ratio <= 1, "mix.synthetic_ratio", self.synthetic_ratio, "must lie in [0, 1]")
        require_one_of("mix.mode", self.mode, ("tokens", "files"))
        require(self.tokens is None or self.tokens >= 1, "mix.tokens", self.tokens, "must be at least 1")
        require(self.shard_bytes >= 1, "mix.shard_bytes", self.shard_bytes, "must be at least 1")
        if self.mode == "files" and self.tokens is not None:
            raise BadConfiguration("mix.mode=files takes whole files and knows no mix.tokens; mix=files leaves it out")
