"""How many tokens and bytes each document of a corpus has: what `stage=mix` decides by.

Reads a corpus artifact. Writes a token_counts artifact, `counts/*.parquet`, one row a document, row-aligned with the
corpus: `id`, `tokens` (the text's own, nothing added), `bytes`. It is kept, because the mixtures of a sweep, with other
ratios and seeds, share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa

from toedit.artifacts import Artifact
from toedit.console import Progress
from toedit.documents import Document, read_documents, shard_paths
from toedit.executors import ShardWork, over_shards
from toedit.named_tokenizers import NamedTokenizer
from toedit.parquet_files import read_parquet, write_parquet
from toedit.tokenize_corpus import document_batches
from toedit.tokenizing import plain_tokenizer
from toedit.workspace import Result, Workspace

COUNTS = "counts"
SCHEMA = pa.schema([("id", pa.string()), ("tokens", pa.int32()), ("bytes", pa.int32())])


def plan_counts(
    corpora: Mapping[str, Artifact], tokenizer: NamedTokenizer, processes: int | None, root: Path
) -> dict[str, Artifact]:
    """The counts of each side's corpus, as inputs of their mixture."""
    return {f"{side}_counts": plan_token_counts(corpus, tokenizer, processes, root) for side, corpus in corpora.items()}


def plan_token_counts(corpus: Artifact, tokenizer: NamedTokenizer, processes: int | None, root: Path) -> Artifact:
    """The counts of `corpus`."""
    return Artifact(
        kind="token_counts",
        name=f"{corpus.name}.{tokenizer.name}",
        identity={"tokenizer": tokenizer.fingerprint},
        inputs={"corpus": corpus},
        root=root,
        build=partial(build_token_counts, tokenizer=tokenizer, processes=processes),
    )


def build_token_counts(workspace: Workspace, tokenizer: NamedTokenizer, processes: int | None) -> Result:
    """Count every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    pending = [path for path in shards if workspace.finished(path.name) is None]
    with Progress("count tokens", sum(path.stat().st_size for path in pending), "bytes read") as progress:
        tasks = [(workspace.path, path) for path in pending]
        work = ShardWork("count tokens", CountShard, (tokenizer.definition,))
        for number, tokens in over_shards(workspace, work, tasks, processes):
            path = pending[number]
            progress.advance(path.stat().st_size, f"{tokens} tokens in {path.name}")
    result = Result(counts={"documents": 0, "tokens": 0, "bytes": 0}, revisions=tokenizer.revisions)
    for path in shards:
        record = workspace.finished(path.name)
        assert record is not None
        for key in result.counts:
            result.counts[key] += record[key]
        result.rows[_counts_name(path)] = record["documents"]
    return result


class CountShard:
    """Counts one corpus shard after another."""

    def __init__(self, definition: str) -> None:
        self.tokenizer = plain_tokenizer(definition)

    def __call__(self, folder: Path, shard: Path) -> int:
        """Write the counts of `shard` below `folder`; return its tokens."""
        ids: list[str] = []
        tokens_D: list[int] = []
        bytes_D: list[int] = []

        with Workspace(folder, {}).shard(shard.name, _counts_name(shard)) as ((path,), record):
            documents = _noting_ids(shard, ids)
            for batch in document_batches(documents):
                encodings = self.tokenizer.encode_batch_fast(batch, add_special_tokens=False)
                tokens_D += map(len, encodings)
                bytes_D += [len(text.encode()) for text in batch]
            write_parquet(path, pa.table([ids, tokens_D, bytes_D], SCHEMA))
            record.update(documents=len(ids), tokens=sum(tokens_D), bytes=sum(bytes_D))
        return int(record["tokens"])


def read_counts(counts: Path, shard: Path) -> pa.Table:
    """The counts of one corpus shard: columns `id`, `tokens`, `bytes`."""
    return read_parquet(counts / _counts_name(shard), SCHEMA)


def _noting_ids(shard: Path, ids: list[str]) -> Iterator[Document]:
    for document in read_documents(shard):
        ids.append(document["id"])
        yield document


def _counts_name(shard: Path) -> str:
    return f"{COUNTS}/{shard.name.removesuffix('.jsonl.zst')}.parquet"
