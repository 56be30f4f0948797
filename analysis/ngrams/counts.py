"""The n-grams of a corpus, counted shard by shard: what every statistic of `analysis=ngrams` is made of.

Reads a corpus artifact. Writes an ngram_counts artifact; figures of several pairs share it. Each corpus shard gives one
Parquet file in each of these folders:

    documents/    id, origin, units: one row a document, a row group a batch of documents
    words/        word, count, documents: the shard's different words (or tokens), how often, in how many documents
    bigrams/      first, second, count, documents: its bi-grams; the words by their row in the shard. In several row
                  groups where a shard has more different ones than are held, each then with counts of its own
    occurrences/  document, word, count: words by document (row in the batch), a row group a batch
    responses/    document, bucket, count: hashed uni- and bi-grams by document, a row group a batch; a bucket may come
                  up in several rows

Bi-grams never cross documents. All counts are exact. Memory a process: one batch, the shard's different words, and its
bi-grams, a table of at most 128 MB.

Shapes: D documents of a batch, E entries (an n-gram of a document).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.ngrams.compiled import is_compiled
from analysis.ngrams.hashing import Hasher
from analysis.ngrams.tables import Entries, PairCounts, PairEntries, UnitCounts
from analysis.ngrams.units import Splitter, Words, splitters
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig
from toedit.console import Progress, note
from toedit.documents import Document, read_documents, shard_of, shard_paths
from toedit.executors import ShardWork, over_shards
from toedit.named_tokenizers import NamedTokenizer
from toedit.parquet_files import parquet_writer
from toedit.units import origin_of
from toedit.workspace import Result, Workspace

SCHEMAS = {
    "documents": pa.schema([("id", pa.string()), ("origin", pa.string()), ("units", pa.int32())]),
    "words": pa.schema([("word", pa.string()), ("count", pa.int64()), ("documents", pa.int32())]),
    "bigrams": pa.schema([(name, pa.int32()) for name in ("first", "second", "count", "documents")]),
    "occurrences": pa.schema([(name, pa.int32()) for name in ("document", "word", "count")]),
    "responses": pa.schema([(name, pa.int32()) for name in ("document", "bucket", "count")]),
}
_BATCH_CHARACTERS = 1 << 20
_HELD_BIGRAMS = 1 << 21
"""Of a shard; more are written and the table begins anew."""


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
            "layout": 2,
        },
        inputs={"corpus": corpus},
        root=root,
        build=partial(build_counts, rules=rules, processes=processes),
    )


def build_counts(workspace: Workspace, rules: Rules, processes: int | None) -> Result:
    """Count every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    pending = [path for path in shards if workspace.finished(path.name) is None]
    if pending:
        prepare(rules.hash, rules.buckets)
    with Progress("count n-grams", sum(path.stat().st_size for path in pending), "bytes read") as progress:
        work = ShardWork("count n-grams", CountShard, (rules,))
        for number, units in over_shards(workspace, work, [(workspace.path, path) for path in pending], processes):
            path = pending[number]
            progress.advance(path.stat().st_size, f"{units} in {path.name}")
    result = Result(counts={"documents": 0, "units": 0, "bigram_rows": 0})
    for path in shards:
        record = workspace.finished(path.name)
        assert record is not None
        for key in result.counts:
            result.counts[key] += record[key]
    return result


def prepare(hash: str, buckets: int) -> None:
    """Have everything compiled by this process, so that its workers find it done."""
    if not is_compiled():
        note("n-grams: compiling what counts them; this takes seconds, once on a machine")
    tally = Tally(Words())
    _, words, pairs = tally.add(["a b"])
    responses(tally, Hasher(hash, buckets), words, pairs)
    tally.pairs.rows()


class Tally:
    """Counts documents, batch by batch: their n-grams all together, and those of each."""

    def __init__(self, splitter: Splitter) -> None:
        self.splitter = splitter
        self.units, self.pairs = UnitCounts(), PairCounts()
        self.documents = 0

    def add(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], Entries, PairEntries]:
        """`(units_D, units by document, bi-grams by document)` of a batch."""
        found = self.splitter(texts)
        units = self.units.add(found.id_N, found.first_D1, self.splitter.known, self.documents)
        pairs = self.pairs.add(found.id_N, found.first_D1)
        self.documents += len(texts)
        return np.diff(found.first_D1), units, pairs


def responses(tally: Tally, hasher: Hasher, words: Entries, pairs: PairEntries) -> list[NDArray[np.int32]]:
    """document, bucket, count of the words and bi-grams that `tally` has just counted."""
    hasher.learn(tally.splitter.names())
    bucket_E, other_E = hasher.of_words(words.unit_E), hasher.of_pairs(pairs, tally.pairs.bucket_S)
    columns = (words.document_E, pairs.document_E), (bucket_E, other_E), (words.count_E, pairs.count_E)
    return [np.concatenate(column) for column in columns]


class CountShard:
    """Counts one corpus shard after another."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.new_splitter = splitters(rules.tokenizer_definition)

    def __call__(self, folder: Path, shard: Path) -> int:
        """Write the counts of `shard` below `folder`; return its units."""
        name = shard_of(shard)
        outputs = [f"{table}/{name}.parquet" for table in SCHEMAS]
        with Workspace(folder, {}).shard(shard.name, *outputs) as (paths, record), ExitStack() as files:
            record.update(documents=0, units=0, bigram_rows=0)
            writers = {
                table: files.enter_context(parquet_writer(path, schema, use_dictionary=["origin"]))
                for path, (table, schema) in zip(paths, SCHEMAS.items(), strict=True)
            }

            def write(table: str, *columns: object) -> int:
                schema = SCHEMAS[table]
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                rows = pa.table(arrays, schema=schema)
                writers[table].write_table(rows, row_group_size=max(len(rows), 1))
                return len(rows)

            tally, hasher = Tally(self.new_splitter()), Hasher(self.rules.hash, self.rules.buckets)
            for batch in batches(read_documents(shard)):
                units_D, words, pairs = tally.add([document["text"] for document in batch])
                origins = [origin_of(document, self.rules.unit_fields) for document in batch]
                write("documents", [document["id"] for document in batch], origins, units_D)
                write("occurrences", words.document_E, words.unit_E, words.count_E)
                write("responses", *responses(tally, hasher, words, pairs))
                record["documents"] += len(batch)
                record["units"] += int(units_D.sum())
                if tally.pairs.known > _HELD_BIGRAMS:
                    record["bigram_rows"] += write("bigrams", *tally.pairs.rows())
                    tally.pairs.clear()
            names = tally.splitter.names()
            write("words", names, *tally.units.totals(len(names)))
            record["bigram_rows"] += write("bigrams", *tally.pairs.rows())
        return int(record["units"])


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
