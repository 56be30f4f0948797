"""Settings of token files."""

from __future__ import annotations

from dataclasses import dataclass

from toedit.config.checks import require, require_one_of


@dataclass
class TokensConfig:
    """What `stage=tokenize` tokenises, and with what."""

    path: str | None = None
    """A tokens artifact to use as it is, instead of making one."""
    source: str = "corpus"
    """What is tokenised: corpus, or of the same command mix (the mixture), edited (the edited corpus) or select."""
    tokenizer: str | None = None
    """Folder or hub id of a tokenizer; null: the prior's."""
    document_end: str | None = None
    """The token that ends a document, by its text; null: the end-of-text token that the tokenizer's files name."""
    processes: int | None = None
    """Processes that tokenise, here and where `stage=mix` counts; null: as many as there are cores."""

    def __post_init__(self) -> None:
        require_one_of("tokens.source", self.source, ("corpus", "mix", "edited", "select"))
        require(self.processes is None or self.processes >= 1, "tokens.processes", self.processes, "must be at least 1")
