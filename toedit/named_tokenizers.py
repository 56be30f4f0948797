"""Tokenizers that a setting names (`mix.tokenizer`, `tokens.tokenizer`), and copies of them beside what they made.

Reads a folder (a model's, a checkpoint artifact, a tokens artifact), a tokenizer.json, or the tokenizer files of a hub
id. A tokenizer is known by the content of its tokenizer.json, wherever that lies.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact
from toedit.config import PriorConfig
from toedit.errors import MissingInput, UnusableInput
from toedit.priors import plan_prior
from toedit.tokenizing import named_id, plain_tokenizer, read_definition

_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
          "merges.txt", "vocab.txt")  # fmt: skip
_HUB_FILES = [*_FILES, "config.json", "generation_config.json"]
# Folders of a bare tokenizer.json name no document end. These special tokens can be nothing else.
_USUAL_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]")


@dataclass(frozen=True)
class NamedTokenizer:
    """A tokenizer with what an artifact has to know of it."""

    name: str
    """For addresses."""
    folder: Path
    """Where its files lie."""
    definition: str
    """The text of its tokenizer.json."""
    fingerprint: str
    """sha256 of the definition."""
    vocabulary_size: int
    """The largest id plus one."""
    end_id: int | None
    """The token that ends a document, where the files name one."""
    revisions: dict[str, str]
    """{hub id: commit} where it came from the hub."""

    def end(self, asked: str | None) -> int:
        """The id of the document end: the token `asked` for, else the one the files name.

        Raises UnusableInput where there is none.
        """
        if asked is not None:
            found = plain_tokenizer(self.definition).token_to_id(asked)
            if found is None:
                raise UnusableInput(f"tokens.document_end={asked}: the tokenizer {self.folder} has no such token")
            return int(found)
        if self.end_id is None:
            raise UnusableInput(
                f"{self.folder}: the tokenizer has no document end token; name one with tokens.document_end=<token>"
            )
        return self.end_id

    def copy_to(self, folder: Path, end_id: int) -> None:
        """Write its files into `folder`, which then names the document end `end_id` whatever the original said."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self.definition, encoding="utf-8")
        for name in _FILES[1:]:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
        file = folder / "tokenizer_config.json"
        settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        settings.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
        if named_id("eos", [settings], plain_tokenizer(self.definition).get_vocab()) != end_id:
            settings["eos_token"] = plain_tokenizer(self.definition).id_to_token(end_id)
        file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def tokenizer_or_prior(
    choice: str | None,
    key: str,
    prior: PriorConfig,
    root: Path,
    seed: int,
    dry_run: bool,
    revision: str | None = None,
) -> NamedTokenizer | Artifact:
    """The tokenizer that `key`=`choice` names (of a hub id, at `revision`), else the prior's.

    What is made with a tokenizer is known by the tokenizer's content, so a prior that is not there yet is built; a dry
    run gets the planned prior instead, and a stand-in for a tokenizer of the hub that is not on this machine.
    """
    if choice is None and prior.kind == "hub":
        choice, key, revision = prior.hub_id, "prior.hub_id", prior.revision
    if choice is not None:
        try:
            return find_tokenizer(choice, key, revision)
        except MissingInput:
            if not dry_run or not _is_hub_id(choice):
                raise
            return Artifact("tokenizer", choice.split("/")[-1], {"hub_id": choice}, root)
    planned = plan_prior(prior, root, seed)
    if dry_run and planned.state() != "cached":
        return planned
    found = find_tokenizer(str(planned.ensure()), "prior.path")
    return replace(found, name=planned.name)


def plan_unnamed(
    kind: str,
    corpora: dict[str, Artifact],
    source: Artifact,
    root: Path,
    out: Path | None,
    settings: Mapping[str, Any] | None = None,
) -> Artifact:
    """Stands in a dry run for what the tokenizer of `source` (a prior, or a tokenizer) will make of `corpora`.

    `settings` tells apart what else would be the same.
    """
    return Artifact(
        kind=kind,
        name=f"{'+'.join(corpus.name for corpus in corpora.values())}.{source.name}",
        identity={"tokenizer": f"of the {source.kind}", **(settings or {})},
        inputs={**corpora, source.kind: source},
        root=root,
        out=out,
        estimate=lambda: {"tokenizer": f"that of {source.name}, which is not here yet; this address follows from it"},
    )


def find_tokenizer(choice: str, key: str, revision: str | None = None) -> NamedTokenizer:
    """The tokenizer that `key`=`choice` names. Raises MissingInput, UnusableInput."""
    folder = _folder(choice, key, revision)
    definition, settings = read_definition(folder)
    try:
        tokenizer = plain_tokenizer(definition)
    except Exception as error:  # the library raises bare Exception
        reason = " ".join(str(error).split())[:200]
        raise UnusableInput(f"{key}={choice}: the tokenizer cannot be loaded ({reason})") from None
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    end_id = named_id("eos", settings, vocabulary)
    if end_id is None:
        special = {token.content: i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        end_id = next((special[name] for name in _USUAL_ENDS if name in special), None)
    is_snapshot = folder.parent.name == "snapshots"
    name = choice if is_snapshot else (folder.parent if folder.name in ("hf", "tokenizer") else folder).resolve().name
    return NamedTokenizer(
        name=name.rstrip("/").split("/")[-1],
        folder=folder,
        definition=definition,
        fingerprint=hashlib.sha256(definition.encode()).hexdigest(),
        vocabulary_size=max(vocabulary.values(), default=-1) + 1,
        end_id=end_id,
        revisions={choice: folder.name} if is_snapshot else {},
    )


def _is_hub_id(choice: str) -> bool:
    return choice.count("/") == 1 and not choice.startswith((".", "/", "~")) and not Path(choice).exists()


def _folder(choice: str, key: str, revision: str | None) -> Path:
    path = Path(choice).expanduser()
    if path.is_file() and path.name == "tokenizer.json":
        return path.parent
    if path.is_file():
        raise UnusableInput(f"{key}={choice}: is a file; name the folder of a tokenizer, or a hub id")
    for folder in (path / "hf", path / "tokenizer", path):
        if any((folder / name).is_file() for name in _FILES if name != "tokenizer_config.json"):
            return folder
    if path.is_dir():
        raise UnusableInput(f"{key}={choice}: holds no tokenizer (tokenizer.json)")
    if not _is_hub_id(choice):
        raise MissingInput(f"{key}={choice}: does not exist; give the folder of a tokenizer, or a hub id (owner/name)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(choice, revision=revision, allow_patterns=_HUB_FILES))
    except Exception as error:  # gated, offline, misspelt: the Hub's client has a class for each
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise MissingInput(f"{key}={choice}: no such folder, and it cannot be had from the Hub ({reason})") from None
