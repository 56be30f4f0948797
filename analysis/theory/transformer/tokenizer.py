"""The tokenizer of the study, made from its text: one token a character, or byte-level BPE.

Reads both parts of the text: its alphabet is that of the whole text, as is usual for character-level models, so that
held-out text has no unknown character. BPE merges are learnt from the training part alone. Writes a tokenizer artifact:
`tokenizer.json` and `tokenizer_config.json`, an ordinary Hugging Face tokenizer folder. `counts.tokens` in its manifest
are those of the training part.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.character_tokenizer import characters_of, save_character_tokenizer, save_tokenizer
from toedit.documents import read_documents, shard_paths
from toedit.named_tokenizers import NamedTokenizer, find_tokenizer
from toedit.tiny_prior import train_tokenizer
from toedit.tokenize_corpus import document_batches, encode
from toedit.tokenizing import plain_tokenizer, read_definition
from toedit.workspace import Result, Workspace


def plan_tokenizer(train: Artifact, held_out: Artifact, kind: str, vocabulary_size: int, root: Path) -> Artifact:
    """The tokenizer of `kind` (characters, bpe) of a text."""
    identity = {"tokenizer": kind, **({"vocabulary_size": vocabulary_size} if kind == "bpe" else {})}
    return Artifact(
        kind="tokenizer",
        name=f"{kind}.{train.name}",
        identity=identity,
        inputs={"train": train, "held_out": held_out},
        root=root,
        build=partial(build_tokenizer, kind=kind, vocabulary_size=vocabulary_size),
    )


def build_tokenizer(workspace: Workspace, kind: str, vocabulary_size: int) -> Result:
    """Make the tokenizer, and count the tokens of the training part with it."""
    train, folder = workspace.inputs["train"], workspace.path
    if kind == "characters":
        save_character_tokenizer(characters_of(chain(texts(train), texts(workspace.inputs["held_out"]))), folder)
    else:
        save_tokenizer(train_tokenizer(train, vocabulary_size), folder, {})
    tokenizer = plain_tokenizer(read_definition(folder)[0])
    batches = document_batches(document for path in shard_paths(train) for document in read_documents(path))
    tokens = sum(len(ids) for batch in batches for ids in encode(tokenizer, batch))
    return Result(counts={"entries": tokenizer.get_vocab_size(), "tokens": tokens})


def texts(corpus: Path) -> Iterator[str]:
    """The texts of a corpus artifact."""
    return (document["text"] for path in shard_paths(corpus) for document in read_documents(path))


def named(tokenizer: Artifact, dry_run: bool) -> NamedTokenizer:
    """The tokenizer itself; what is made with it is known by its content, so it is built now.

    A dry run takes a stand-in where it is not there yet: the addresses that follow from it are then provisional.
    """
    if dry_run and tokenizer.state() != "cached":
        return NamedTokenizer(tokenizer.name, tokenizer.path, "", tokenizer.fingerprint, 256, 0, {})
    return find_tokenizer(str(tokenizer.ensure()), "theory.transformer.tokenizer")
