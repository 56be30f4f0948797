"""Settings of a corpus."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from toedit.config.checks import require, require_one_of
from toedit.config.instruction import (
    ALPACA,
    LAYOUTS,
    TAGS,
    TEXT,
    ColumnsConfig,
    TagsConfig,
    columns_of,
    tags_of,
    unread,
)
from toedit.errors import BadConfiguration

SYNTHESIZED = "synthesized"


@dataclass
class CorpusConfig:
    """Where documents come from. One class for every kind, so that any place that takes a corpus takes each of them."""

    kind: str = "pydocs"
    """pydocs (the installed documentation), local (files), hub (a data set); synthesized, in
    mix.synthetic and analysis.other only."""
    name: str | None = None
    """Name in the artifact's address; by default made from the kind, path or id."""
    path: str | None = None
    """kind=local: a file, a folder, a glob, or a corpus artifact, which is used as it is."""
    hub_id: str | None = None
    """kind=hub: `owner/name`, or a local folder laid out like a hub data set."""
    hub_subset: str | None = None
    """kind=hub: the data set's configuration name."""
    hub_split: str = "train"
    """kind=hub: the data set's split."""
    hub_data_files: list[str] = field(default_factory=list)
    """kind=hub: only these files of the repository (globs)."""
    hub_url_list: str | None = None
    """kind=hub: a text file in the repository with one URL of a JSON-lines file a line (Dolma is published so)."""
    revision: str | None = None
    """kind=hub: commit, tag or branch; resolved to a commit and recorded."""
    retries: int = 5
    """kind=hub: how often a failing read is tried again, with growing pauses."""
    layout: str = TEXT
    """text, or instruction data: alpaca (columns), sharegpt (turns from/value) or messages (turns role/content)."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """Instruction data: the columns of a row."""
    tags: TagsConfig = field(default_factory=TagsConfig)
    """Instruction data: how turns are tagged."""
    text_fields: list[str] = field(default_factory=lambda: ["text"])
    """The fields that make up a document's text; dotted paths reach inside (`messages.0.content`)."""
    text_joiner: str = " "
    """What stands between several text fields."""
    id_field: str = "id"
    """The field that holds the id; a missing one becomes a hash of source and text."""
    source_field: str = "source"
    """The field that holds the source; where it is missing, the file's or data set's name."""
    metadata_field: str = "metadata"
    """The field that holds a mapping of further facts."""
    on_bad_row: str = "reject"
    """reject (list it in rejected.jsonl, count it, go on) or stop."""
    on_truncated_file: str = "refuse"
    """A compressed file that ends too early: refuse it, or keep what could be read."""
    max_document_bytes: int = 16_000_000
    """A document whose UTF-8 text is longer is a bad row."""
    max_documents: int | None = None
    """Stop after this many good documents."""
    max_tokens: int | None = None
    """Stop after the document that reaches this many tokens of `tokenizer`."""
    tokenizer: str | None = None
    """Folder or hub id of the tokenizer that `max_tokens` counts with."""
    shard_bytes: int = 2_000_000
    """A shard is closed once it holds this many bytes of text; shards are the unit of work and of resumption."""
    split: str | None = None
    """train, validation or test: keep only that part, by a hash of `split_key`; null keeps everything."""
    split_key: str = "id"
    """What the split hashes: `id`, `source` or a dotted path such as `metadata.origin_path` (keeps works whole)."""
    split_shares: list[float] = field(default_factory=lambda: [45.0, 5.0, 50.0])
    """Shares of train, validation and test in per cent."""
    split_seed: int = 0
    """Another value gives another split."""
    packages: list[str] = field(default_factory=list)
    """kind=pydocs: the packages whose docstrings and descriptions are read; `python` is the standard library."""
    min_characters: int = 200
    """kind=pydocs: shorter texts are left out."""

    def __post_init__(self) -> None:
        require_one_of("corpus.kind", self.kind, ("pydocs", "local", "hub", SYNTHESIZED))
        require_one_of("corpus.on_bad_row", self.on_bad_row, ("reject", "stop"))
        require_one_of("corpus.on_truncated_file", self.on_truncated_file, ("refuse", "keep"))
        if self.split is not None:
            require_one_of("corpus.split", self.split, ("train", "validation", "test"))
        require(
            self.max_document_bytes >= 1, "corpus.max_document_bytes", self.max_document_bytes, "must be at least 1"
        )
        require(self.shard_bytes >= 1, "corpus.shard_bytes", self.shard_bytes, "must be at least 1")
        require(self.retries >= 0, "corpus.retries", self.retries, "must not be negative")
        for key in ("max_documents", "max_tokens"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"corpus.{key}", value, "must be at least 1, or null for all")
        shares = self.split_shares
        require(
            len(shares) == 3 and min(shares) >= 0 and abs(sum(shares) - 100) < 1e-6,
            "corpus.split_shares",
            shares,
            "must be three shares (train, validation, test) that add up to 100",
        )
        require(bool(self.text_fields), "corpus.text_fields", self.text_fields, "must name at least one field")
        self._check_layout()
        if self.max_tokens is not None and not self.tokenizer:
            raise BadConfiguration("corpus.max_tokens needs corpus.tokenizer=<folder or hub id> to count with")

    def local_by_path(self) -> CorpusConfig:
        """Itself, or local where a section names a path, whatever its default is."""
        return replace(self, kind="local") if self.path and self.kind in ("pydocs", SYNTHESIZED) else self

    def _check_layout(self) -> None:
        require_one_of("corpus.layout", self.layout, LAYOUTS)
        if isinstance(self.columns, dict):  # a file of configs/corpus taken as it stands
            self.columns = ColumnsConfig(**self.columns)
        if isinstance(self.tags, dict):
            self.tags = TagsConfig(**self.tags)
        if key := unread(self.layout, self.columns, self.tags):
            raise BadConfiguration(f"corpus.{key}: corpus.layout={self.layout} does not read it")
        if self.layout == TEXT:
            return
        known = self.kind != "pydocs" or (self.layout == ALPACA and self.columns == ColumnsConfig())
        require(known, "corpus.layout", self.layout, "corpus.kind=pydocs is text, or alpaca with its usual columns")
        if self.text_fields != ["text"]:
            raise BadConfiguration(
                f"corpus.text_fields: corpus.layout={self.layout} does not read it; see corpus.columns"
            )
        needed = "messages" if self.layout in TAGS else "response"
        names, tags = columns_of(self.layout, self.columns), tags_of(self.layout, self.tags)
        require(needed in names, f"corpus.columns.{needed}", "", "must name a column")
        for key, named in (("columns", names), ("tags", tags)):
            values = list(named.values())
            require(len(set(values)) == len(values), f"corpus.{key}", values, "must be different names")
        for key in ("role_tag", "content_tag", "user_tag", "assistant_tag") if tags else ():
            require(key in tags, f"corpus.tags.{key}", tags.get(key), "must be a name of its own")
