"""Hashed uni- and bi-grams of every document: what DSIR and the density sketch read.

Reads a corpus artifact. Writes an ngram_features artifact, `features/*.parquet`, one row a document, row-aligned with
the corpus: `id`, `words` (their number), `buckets` and `counts` (lists of the same length: the buckets that its words
and pairs of words fall into, ascending, and how often). Words and buckets are those of data-selection. Every method,
size and seed shares them.

Shapes: D documents, E different (document, bucket).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.ngrams.counts import Tally, batches, prepare, responses
from analysis.ngrams.hashing import Hasher
from analysis.ngrams.units import Words
from toedit.artifacts import Artifact
from toedit.console import Progress
from toedit.documents import Document, read_documents, shard_paths
from toedit.executors import ShardWork, over_shards
from toedit.parquet_files import parquet_writer, row_groups
from toedit.workspace import Result, Workspace

FEATURES = "features"
SCHEMA = pa.schema(
    [("id", pa.string()), ("words", pa.int32()), ("buckets", pa.list_(pa.int32())), ("counts", pa.list_(pa.int32()))]
)
_HASH = "sha256"
"""Of the n-gram's text, as in data-selection."""


@dataclass(frozen=True)
class Features:
    """The features of some documents."""

    ids: list[str]
    words_D: NDArray[np.int64]
    offset_D1: NDArray[np.int64]
    """Where each document's entries begin, and the end."""
    bucket_E: NDArray[np.int32]
    count_E: NDArray[np.int32]

    @property
    def document_E(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.ids)), np.diff(self.offset_D1))


def plan_features(corpus: Artifact, buckets: int, processes: int | None, root: Path) -> Artifact:
    """The features of `corpus`."""
    return Artifact(
        kind="ngram_features",
        name=f"{corpus.name}.{buckets}buckets",
        identity={"units": "words", "hash": _HASH, "buckets": buckets, "ngrams": 2},
        inputs={"corpus": corpus},
        root=root,
        build=partial(build_features, buckets=buckets, processes=processes),
    )


def build_features(workspace: Workspace, buckets: int, processes: int | None) -> Result:
    """Every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    pending = [path for path in shards if workspace.finished(path.name) is None]
    if pending:
        prepare(_HASH, buckets)
    with Progress("hash n-grams", sum(path.stat().st_size for path in pending), "bytes read") as progress:
        work = ShardWork("hash n-grams", FeatureShard, (buckets,))
        for number, words in over_shards(workspace, work, [(workspace.path, path) for path in pending], processes):
            path = pending[number]
            progress.advance(path.stat().st_size, f"{words} words in {path.name}")
    result = Result(counts={"documents": 0, "words": 0})
    for path in shards:
        record = workspace.finished(path.name)
        assert record is not None
        for key in result.counts:
            result.counts[key] += record[key]
        result.rows[features_name(path)] = record["documents"]
    return result


class FeatureShard:
    """Makes the features of one corpus shard after another."""

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets

    def __call__(self, folder: Path, shard: Path) -> int:
        """Write the features of `shard` below `folder`; return its words."""
        with Workspace(folder, {}).shard(shard.name, features_name(shard)) as ((path,), record):
            record.update(documents=0, words=0)
            with parquet_writer(path, SCHEMA) as writer:
                for batch in batches(read_documents(shard)):
                    found = count_features(batch, self.buckets)
                    writer.write_table(_table(found), row_group_size=max(len(batch), 1))
                    record["documents"] += len(batch)
                    record["words"] += int(found.words_D.sum())
        return int(record["words"])


def count_features(documents: Sequence[Document], buckets: int) -> Features:
    """The features of a batch; bi-grams never cross documents."""
    tally, hasher = Tally(Words()), Hasher(_HASH, buckets)
    words_D, words, pairs = tally.add([document["text"] for document in documents])
    document_E, bucket_E, count_E = responses(tally, hasher, words, pairs)
    key_E, entry_E = np.unique(document_E.astype(np.int64) * buckets + bucket_E, return_inverse=True)
    document_E, bucket_E = np.divmod(key_E, buckets)
    return Features(
        ids=[document["id"] for document in documents],
        words_D=words_D,
        offset_D1=np.searchsorted(document_E, np.arange(len(documents) + 1)),
        bucket_E=bucket_E.astype(np.int32),
        count_E=np.bincount(entry_E, count_E, minlength=len(key_E)).astype(np.int32),
    )


def read_features(features: Path, shard: Path) -> Iterator[Features]:
    """The features of one corpus shard, in batches."""
    return read_feature_file(features / features_name(shard))


def read_feature_file(path: Path) -> Iterator[Features]:
    """The features in one file, in batches."""
    for group in row_groups(path):
        table = group.combine_chunks()
        lists, counts = (table.column(name).chunk(0) for name in ("buckets", "counts"))
        offset_D1 = lists.offsets.to_numpy().astype(np.int64)
        yield Features(
            ids=table["id"].to_pylist(),
            words_D=table["words"].to_numpy().astype(np.int64),
            offset_D1=offset_D1 - offset_D1[0],
            bucket_E=lists.flatten().to_numpy(),
            count_E=counts.flatten().to_numpy(),
        )


def features_name(shard: Path) -> str:
    """The file, below an ngram_features artifact, that belongs to a shard of its corpus."""
    return f"{FEATURES}/{shard.name.removesuffix('.jsonl.zst')}.parquet"


def _table(found: Features) -> pa.Table:
    offsets = pa.array(found.offset_D1, pa.int32())
    lists = [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in (found.bucket_E, found.count_E)]
    return pa.table([pa.array(found.ids, pa.string()), pa.array(found.words_D, pa.int32()), *lists], schema=SCHEMA)
