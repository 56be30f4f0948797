"""Parts of a corpus: train, validation and test by a hash, the first documents or tokens; and what defines content.

    python run.py stage=corpus corpus.split=validation
    python run.py stage=corpus corpus=local corpus.path=P corpus.max_tokens=1000000 corpus.tokenizer=T

Local files and hub data are filtered while they are read; artifacts and pydocs by `derived.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from toedit.config import CorpusConfig
from toedit.config.instruction import TEXT, columns_of, tags_of
from toedit.corpora.rows import pick
from toedit.documents import Document
from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import FileHashes, canonical_json


def part_of(document: Document, config: CorpusConfig) -> str:
    """train, validation or test: a hash of the value of `split_key`; a document without that key goes by its id."""
    value = pick(document, config.split_key)
    if value is None or value == "":
        value = document["id"]
    key = value if isinstance(value, str) else canonical_json(value)
    digest = hashlib.sha256(f"{config.split_seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    share = int.from_bytes(digest[:7], "big") / 2**56 * 100  # 56 bits: the quotient is exact and below 1
    train, validation, _ = config.split_shares
    if share < train:
        return "train"
    return "validation" if share < train + validation else "test"


def asks_for_part(config: CorpusConfig) -> bool:
    """Whether the configuration wants less than the whole corpus."""
    return config.split is not None or config.max_documents is not None or config.max_tokens is not None


def part_identity(config: CorpusConfig, root: Path) -> dict[str, Any]:
    """What defines the part."""
    identity: dict[str, Any] = {}
    if config.split is not None:
        identity["split"] = [config.split, config.split_key, config.split_shares, config.split_seed]
    if config.max_documents is not None:
        identity["max_documents"] = config.max_documents
    if config.max_tokens is not None:
        assert config.tokenizer is not None  # CorpusConfig sees to it
        file = tokenizer_file(config.tokenizer)
        identity["max_tokens"] = [config.max_tokens, FileHashes(root).of([file])[file] if file else config.tokenizer]
    return identity


def content_identity(config: CorpusConfig, root: Path) -> dict[str, Any]:
    """What, besides the input itself, defines the documents and how they lie in shards.

    `on_bad_row` and `on_truncated_file` belong here: a corpus made with `reject` does not answer to `stop`.
    """
    return {
        "text_fields": config.text_fields,
        "text_joiner": config.text_joiner,
        "id_field": config.id_field,
        "source_field": config.source_field,
        "metadata_field": config.metadata_field,
        "on_bad_row": config.on_bad_row,
        "on_truncated_file": config.on_truncated_file,
        "max_document_bytes": config.max_document_bytes,
        "shard_bytes": config.shard_bytes,
        **layout_identity(config),
        **part_identity(config, root),
    }


def layout_identity(config: CorpusConfig) -> dict[str, Any]:
    """What defines how instruction rows are read; nothing for plain text."""
    if config.layout == TEXT:
        return {}
    columns, tags = columns_of(config.layout, config.columns), tags_of(config.layout, config.tags)
    return {"layout": config.layout, "columns": columns, "tags": tags}


def part_suffix(config: CorpusConfig) -> str:
    """`-train`, `-1000docs`, … for the artifact's name."""
    suffix = f"-{config.split}" if config.split else ""
    if config.max_documents is not None:
        suffix += f"-{config.max_documents}docs"
    if config.max_tokens is not None:
        suffix += f"-{config.max_tokens}tokens"
    return suffix


def tokenizer_file(name: str) -> Path | None:
    """`tokenizer.json` of the folder `name`; None where `name` is no folder (then it is a hub id)."""
    folder = Path(name).expanduser()
    if folder.is_file():
        return folder
    if not folder.exists() and name.count("/") <= 1 and not name.startswith((".", "/", "~")):
        return None
    for candidate in (folder / "tokenizer.json", folder / "hf" / "tokenizer.json"):
        if candidate.is_file():
            return candidate
    raise MissingInput(
        f"corpus.tokenizer={name}: no tokenizer.json there; give the folder of a fast tokenizer or a hub id"
    )


class TokenCounter:
    """Counts the text's own tokens with the tokenizer that `corpus.tokenizer` names."""

    def __init__(self, name: str) -> None:
        from tokenizers import Tokenizer

        file = tokenizer_file(name)
        try:
            self._tokenizer = Tokenizer.from_file(str(file)) if file else Tokenizer.from_pretrained(name)
        except Exception as error:  # the library raises bare Exception
            reason = " ".join(str(error).split())[:200]
            raise UnusableInput(f"corpus.tokenizer={name}: cannot be loaded ({reason})") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
