"""The n-grams of a corpus, counted shard by shard: what every statistic of `analysis=ngrams` is made of.

Reads a corpus artifact. Writes an ngram_counts artifact; figures of several pairs share it. Each corpus shard gives one
Parquet file in each of these folders, with a row group a batch of documents:

    documents/    id, origin, units: one row a document
    words/        word, count, documents: the different words (or tokens) of the batch, how often, in how many documents
    bigrams/      first, second, count, documents: its bi-grams; the words by their row in the batch
    occurrences/  document, word, count: words by document (row in the batch)
    responses/    document, bucket, count: hashed uni- and bi-grams by document; a bucket may come up in several rows

Bi-grams never cross documents. All counts are exact. Memory is that of one batch a process.

Shapes: N units of a batch, V different ones, D documents, G different bi-grams, E different (document, n-gram).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.ngrams.hashing import buckets
from analysis.ngrams.units import Splitter, Units, splitter
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig
from toedit.console import Progress
from toedit.documents import Document, read_documents, shard_paths
from toedit.named_tokenizers import NamedTokenizer
from toedit.units import origin_of
from toedit.workers import in_order
from toedit.workspace import Result, Workspace

SCHEMAS = {
    "documents": pa.schema([("id", pa.string()), ("origin", pa.string()), ("units", pa.int32())]),
    "words": pa.schema([("word", pa.string()), ("count", pa.int64()), ("documents", pa.int32())]),
    "bigrams": pa.schema([(name, pa.int32()) for name in ("first", "second", "count", "documents")]),
    "occurrences": pa.schema([(name, pa.int32()) for name in ("document", "word", "count")]),
    "responses": pa.schema([(name, pa.int32()) for name in ("document", "bucket", "count")]),
}
_BATCH_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Rules:
    """What is counted, and how it is hashed."""

    tokenizer_definition: str | None
    hash: str
    buckets: int
    unit_fields: tuple[str, ...]


def plan_counts(corpus: Artifact, analysis: AnalysisConfig, tokenizer: NamedTokenizer | None,
                processes: int | None, root: Path) -> Artifact:  # fmt: skip
    """The counts of `corpus`."""
    rules = Rules(
        tokenizer.definition if tokenizer else None,
        analysis.ngrams.hash,
        analysis.ngrams.buckets,
        tuple(analysis.unit_fields),
    )
    return Artifact(
        kind="ngram_counts",
        name=f"{corpus.name}.{tokenizer.name if tokenizer else 'words'}",
        identity={
            "units": tokenizer.fingerprint if tokenizer else "words",
            "hash": rules.hash,
            "buckets": rules.buckets,
            "unit_fields": list(rules.unit_fields),
        },
        inputs={"corpus": corpus},
        root=root,
        build=partial(build_counts, rules=rules, processes=processes),
    )


def build_counts(workspace: Workspace, rules: Rules, processes: int | None) -> Result:
    """Count every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    pending = [path for path in shards if workspace.finished(path.name) is None]
    with Progress("count n-grams", sum(path.stat().st_size for path in pending), "bytes read") as progress:
        results = in_order(CountShard, (rules,), [(workspace.path, path) for path in pending], processes)
        for path, units in zip(pending, results, strict=True):
            progress.advance(path.stat().st_size, f"{units} in {path.name}")
    result = Result(counts={"documents": 0, "units": 0, "bigram_rows": 0})
    for path in shards:
        record = workspace.finished(path.name)
        assert record is not None
        for key in result.counts:
            result.counts[key] += record[key]
    return result


class CountShard:
    """Counts one corpus shard after another."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.split: Splitter = splitter(rules.tokenizer_definition)

    def __call__(self, folder: Path, shard: Path) -> int:
        """Write the counts of `shard` below `folder`; return its units."""
        name = shard.name.removesuffix(".jsonl.zst")
        outputs = [f"{table}/{name}.parquet" for table in SCHEMAS]
        with Workspace(folder, {}).shard(shard.name, *outputs) as (paths, record):
            record.update(documents=0, units=0, bigram_rows=0)
            writers = {
                table: pq.ParquetWriter(path, schema, compression="zstd")
                for path, (table, schema) in zip(paths, SCHEMAS.items(), strict=True)
            }
            for batch in batches(read_documents(shard)):
                tables = self.count(batch)
                for table, writer in writers.items():
                    writer.write_table(tables[table], row_group_size=max(len(tables[table]), 1))
                record["documents"] += len(batch)
                record["units"] += int(tables["documents"]["units"].to_numpy().sum())
                record["bigram_rows"] += len(tables["bigrams"])
            for writer in writers.values():
                writer.close()
        return int(record["units"])

    def count(self, batch: Sequence[Document]) -> dict[str, pa.Table]:
        """The tables of one batch, by name."""
        units = self.split([document["text"] for document in batch])
        bucket_V, hasher = buckets(self.rules.hash, units.names.to_pylist(), self.rules.buckets)
        per_document_D = np.bincount(units.document_N, minlength=units.documents)
        document_E, word_E, count_E = _by_document(units.document_N, units.id_N, len(units.names))
        first_G, second_G, tables = _count_bigrams(units)
        document_B, bigram_B, count_B = tables["occurrences"]
        bucket_G = hasher(first_G, second_G)
        origins = [origin_of(document, self.rules.unit_fields) for document in batch]
        size = len(units.names)
        columns: dict[str, list[object]] = {
            "documents": [[document["id"] for document in batch], origins, per_document_D],
            "words": [
                units.names,
                np.bincount(units.id_N, minlength=size),
                np.bincount(word_E, minlength=size),
            ],
            "bigrams": [first_G, second_G, *tables["totals"]],
            "occurrences": [document_E, word_E, count_E],
            "responses": [
                np.concatenate([document_E, document_B]),
                np.concatenate([bucket_V[word_E], bucket_G[bigram_B]]),
                np.concatenate([count_E, count_B]),
            ],
        }
        return {name: _table(values, SCHEMAS[name]) for name, values in columns.items()}


def _count_bigrams(
    units: Units,
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, tuple[NDArray[np.int64], ...]]]:
    """`(first_G, second_G, {totals: (count_G, documents_G), occurrences: (document_E, bigram_E, count_E)})`."""
    within = units.document_N[1:] == units.document_N[:-1]
    key_N = (units.id_N[:-1] * len(units.names) + units.id_N[1:])[within]
    key_G, bigram_N = _numbered(key_N)
    document_E, bigram_E, count_E = _by_document(units.document_N[1:][within], bigram_N, len(key_G))
    count_G = np.bincount(bigram_N, minlength=len(key_G))
    documents_G = np.bincount(bigram_E, minlength=len(key_G))
    first_G, second_G = np.divmod(key_G, max(len(units.names), 1))
    return first_G, second_G, {"totals": (count_G, documents_G), "occurrences": (document_E, bigram_E, count_E)}


def _by_document(
    document_N: NDArray[np.int64], gram_N: NDArray[np.integer], grams: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """`(document_E, gram_E, count_E)`: how often each n-gram comes up in each document that has it."""
    key_E, entry_N = _numbered(document_N * grams + gram_N)
    document_E, gram_E = np.divmod(key_E, max(grams, 1))
    return document_E, gram_E, np.bincount(entry_N, minlength=len(key_E))


def _numbered(key_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """`(different keys, each key's place among them)`, in order of appearance: Arrow's hash table, no sorting."""
    encoded = pa.array(key_N).dictionary_encode()
    return encoded.dictionary.to_numpy(), encoded.indices.to_numpy()


def _table(values: Sequence[object], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(value, field.type) for value, field in zip(values, schema, strict=True)], schema=schema)


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in batches of about a million characters, what is counted at a time."""
    batch: list[Document] = []
    held = 0
    for document in documents:
        batch.append(document)
        held += len(document["text"])
        if held >= _BATCH_CHARACTERS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
