"""`stage=tokenize`: a corpus as token files (`toedit/token_files.py`), several shards at a time.

Reads a corpus artifact. Writes a tokens artifact: one memory map a corpus shard, its documents in their order, and a
copy of the tokenizer. Text is tokenised as it stands: nothing is added, cut or normalised beyond what the tokenizer
itself does, and text that spells a special token is ordinary text. One document end follows each document.

    python run.py stage=tokenize corpus=local corpus.path=my.jsonl tokens.tokenizer=my-model

Memory is constant: a worker holds one batch of documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from toedit.artifacts import Artifact
from toedit.console import Progress, human, note
from toedit.costs import corpus_tokens
from toedit.documents import Document, read_documents, shard_of, shard_paths
from toedit.executors import ShardWork, over_shards
from toedit.named_tokenizers import NamedTokenizer
from toedit.token_files import TOKENIZER, dtype_for, file_names, write_token_file
from toedit.tokenizing import plain_tokenizer
from toedit.workspace import Result, Workspace

_BATCH_CHARACTERS = 1 << 20


def plan_tokens(
    corpus: Artifact,
    tokenizer: NamedTokenizer,
    document_end: str | None,
    processes: int | None,
    root: Path,
    out: Path | None = None,
) -> Artifact:
    """The token files of `corpus`. Raises UnusableInput where the tokenizer has no document end."""
    end_id = tokenizer.end(document_end)
    return Artifact(
        kind="tokens",
        name=f"{corpus.name}.{tokenizer.name}",
        identity={
            "tokenizer": tokenizer.fingerprint,
            "eos_id": end_id,
            "vocabulary_size": max(tokenizer.vocabulary_size, end_id + 1),
            "dtype": dtype_for(max(tokenizer.vocabulary_size, end_id + 1)),
        },
        inputs={"corpus": corpus},
        root=root,
        out=out,
        build=partial(build_tokens, tokenizer=tokenizer, end_id=end_id, processes=processes),
        estimate=partial(_estimate, corpus, tokenizer),
    )


def build_tokens(workspace: Workspace, tokenizer: NamedTokenizer, end_id: int, processes: int | None) -> Result:
    """Tokenise every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    dtype = dtype_for(max(tokenizer.vocabulary_size, end_id + 1))
    pending = [path for path in shards if workspace.finished(shard_of(path)) is None]
    tasks = [(workspace.path, path, dtype, end_id) for path in pending]
    with Progress("tokenize", sum(path.stat().st_size for path in pending), "bytes read") as progress:
        work = ShardWork("tokenize", TokenizeShard, (tokenizer.definition,))
        for number, tokens in over_shards(workspace, work, tasks, processes):
            path = pending[number]
            progress.advance(path.stat().st_size, f"{tokens} tokens in {path.name}")
    tokenizer.copy_to(workspace.path / TOKENIZER, end_id)
    result = Result(counts={"documents": 0, "tokens": 0, "ends_in_text": 0}, revisions=tokenizer.revisions)
    for path in shards:
        record = workspace.finished(shard_of(path))
        assert record is not None
        for key in result.counts:
            result.counts[key] += record[key]
        tokens_name, index_name = file_names(shard_of(path))
        result.rows |= {tokens_name: record["tokens"], index_name: record["documents"]}
    if result.counts["ends_in_text"]:
        note(
            f"tokenize: {result.counts['ends_in_text']} tokens of the text itself are the document end; readers must "
            "take the documents' bounds from the .csv.gz files"
        )
    return result


class TokenizeShard:
    """Turns one corpus shard after another into token files."""

    def __init__(self, definition: str) -> None:
        self.tokenizer = plain_tokenizer(definition)

    def __call__(self, folder: Path, shard: Path, dtype: str, end_id: int) -> int:
        """Write the token file of `shard` below `folder`; return its tokens."""
        name = shard_of(shard)
        outputs = file_names(name)
        with Workspace(folder, {}).shard(name, *outputs) as ((tokens, index), record):
            encoded = (encode(self.tokenizer, batch) for batch in document_batches(read_documents(shard)))
            written = write_token_file(tokens, index, encoded, dtype, end_id)
            record["sha256"] = dict(zip(outputs, written.pop("checksums"), strict=True))
            record.update(written)
        return int(record["tokens"])


def document_batches(documents: Iterable[Document]) -> Iterator[list[str]]:
    """Texts in batches of about a million characters."""
    batch: list[str] = []
    held = 0
    for document in documents:
        batch.append(document["text"])
        held += len(document["text"])
        if held >= _BATCH_CHARACTERS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def encode(tokenizer: Tokenizer, texts: list[str]) -> Iterator[Sequence[int]]:
    """The token ids of each text."""
    return (encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False))


def _estimate(corpus: Artifact, tokenizer: NamedTokenizer) -> dict[str, Any]:
    """What tokenising would give, for a dry run."""
    if corpus.state() != "cached":
        return {}
    tokens, known_by = corpus_tokens(corpus.manifest()["counts"])
    width = 2 if dtype_for(tokenizer.vocabulary_size) == "uint16" else 4
    return {"tokens": f"about {human(tokens)} ({known_by})", "disk": f"about {human(tokens * width, 'B')}"}
