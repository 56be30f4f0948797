"""Embeddings of documents drawn from a corpus: an artifact of their own, which pictures and tests share.

Reads a corpus artifact and the model that embeds. Writes `embeddings/*.parquet`, one file a corpus shard, one row a
drawn document:

    id, origin    the document's, and the work it is from (null: none is named)
    key           its place in the draw: documents are drawn in the order of a hash of (seed, id), so fewer are a part
                  of more
    tokens        tokens that the model read
    embedding     list<float32>

Text that has no token for the model is left out and counted. Each shard is committed by itself; an interrupted run goes
on at the next one.

Shapes: D documents, H dimensions.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.embeddings.encoders import load_encoder
from toedit.artifacts import Artifact
from toedit.config import Config, EmbeddingsConfig
from toedit.console import Progress, printable
from toedit.documents import Document, read_documents, shard_of, shard_paths
from toedit.errors import UnusableInput
from toedit.parquet_files import read_parquet, write_parquet
from toedit.units import origin_of
from toedit.workspace import Result, Workspace

EMBEDDINGS = "embeddings"
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "origin": pa.string(),
        "key": pa.int64(),
        "tokens": pa.int64(),
        "embedding": pa.list_(pa.float32()),
    }
)
_CHUNK = 8
"""Batches of documents between two looks at the progress."""


@dataclass(frozen=True)
class Settings:
    """What decides the embeddings, and how they are computed."""

    embeddings: EmbeddingsConfig
    unit_fields: tuple[str, ...]
    seed: int
    device: str
    dtype: str
    """Of the prior, where it embeds."""


@dataclass(frozen=True)
class Embedded:
    """Drawn documents, in the order of the draw."""

    ids: list[str]
    origins: list[str | None]
    vector_DH: NDArray[np.float64]
    """Of unit length."""


def plan_embeddings(corpus: Artifact, encoder: Artifact, config: Config) -> Artifact:
    """The embeddings of documents of `corpus`."""
    analysis = config.analysis
    settings = Settings(
        analysis.embeddings, tuple(analysis.unit_fields), analysis.seed, config.scorer.device, config.score.dtype
    )
    return Artifact(
        kind="embeddings",
        name=f"{corpus.name}.{encoder.name}",
        identity={
            "encoder": "prior" if analysis.embeddings.model is None else "sentence_transformers",
            "documents": analysis.embeddings.documents,
            "max_tokens": analysis.embeddings.max_tokens,
            "unit_fields": list(analysis.unit_fields),
            "seed": analysis.seed,
            **({"dtype": config.score.dtype} if analysis.embeddings.model is None else {}),
        },
        inputs={"corpus": corpus, "model": encoder},
        root=Path(config.artifacts),
        build=partial(build_embeddings, settings=settings),
    )


def build_embeddings(workspace: Workspace, settings: Settings) -> Result:
    """Embed the drawn documents of every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    drawn = draw(shards, settings.embeddings.documents, settings.seed)
    pending = [path for path in shards if drawn[path] and workspace.finished(path.name) is None]
    with Progress("embed", sum(len(drawn[path]) for path in pending), "documents") as progress:
        if pending:  # else no model is loaded
            embeddings = settings.embeddings
            encoder = load_encoder(
                workspace.inputs["model"],
                embeddings.model is None,
                embeddings.max_tokens,
                embeddings.batch_documents,
                settings.device,
                settings.dtype,
            )
        for path in pending:
            documents = [document for document in read_documents(path) if document["id"] in drawn[path]]
            name = f"{EMBEDDINGS}/{shard_of(path)}.parquet"
            vectors, tokens, step = [], [], embeddings.batch_documents * _CHUNK
            for begin in range(0, len(documents), step):
                part = documents[begin : begin + step]
                vector_DH, token_D = encoder([document["text"] for document in part])
                vectors.append(vector_DH)
                tokens.append(token_D)
                progress.advance(len(part))
            with workspace.shard(path.name, name) as ((output,), record):
                table = rows(documents, np.concatenate(vectors), np.concatenate(tokens), drawn[path], settings)
                write_parquet(output, table)
                record.update(documents=len(table), without_tokens=len(documents) - len(table))
    result = Result(counts={"documents": 0, "without_tokens": 0}, seeds={"draw": settings.seed})
    for path in shards:
        if drawn[path]:
            record = workspace.finished(path.name) or {}
            for key in result.counts:
                result.counts[key] += record[key]
    return result


def draw(shards: list[Path], documents: int, seed: int) -> dict[Path, dict[str, int]]:
    """`{shard: {id: key}}`: the documents with the smallest hashes of (seed, id)."""
    smallest: list[tuple[int, int, str]] = []  # a heap of negative keys: the largest of those kept is on top
    with Progress("draw", sum(path.stat().st_size for path in shards), "bytes read") as progress:
        for number, path in enumerate(shards):
            for document in read_documents(path):
                digest = hashlib.blake2b(f"{seed}:{document['id']}".encode(), digest_size=8).digest()
                entry = (-(int.from_bytes(digest, "big") >> 1), number, document["id"])
                if len(smallest) < documents:
                    heapq.heappush(smallest, entry)
                elif entry > smallest[0]:
                    heapq.heapreplace(smallest, entry)
            progress.advance(path.stat().st_size)
    drawn: dict[Path, dict[str, int]] = defaultdict(dict)
    for negative, number, own in smallest:
        drawn[shards[number]][own] = -negative
    return drawn


def rows(
    documents: list[Document],
    vector_DH: NDArray[np.float32],
    token_D: NDArray[np.int64],
    drawn: dict[str, int],
    settings: Settings,
) -> pa.Table:
    """The rows of one shard. Raises UnusableInput where an embedding is no number."""
    if (wrong_D := np.flatnonzero((token_D > 0) & ~np.isfinite(vector_DH).all(axis=1))).size:
        own = printable(documents[wrong_D[0]]["id"])
        raise UnusableInput(f"document {own}: its embedding is no finite number; the model is broken or overflows")
    kept = np.flatnonzero(token_D > 0)
    flat = pa.array(vector_DH[kept].reshape(-1))
    return pa.table(
        {
            "id": [documents[row]["id"] for row in kept],
            "origin": [origin_of(documents[row], settings.unit_fields) for row in kept],
            "key": [drawn[documents[row]["id"]] for row in kept],
            "tokens": token_D[kept],
            "embedding": pa.FixedSizeListArray.from_arrays(flat, vector_DH.shape[1]).cast(pa.list_(pa.float32())),
        },
        SCHEMA,
    )


def read_embeddings(artifact: Path, documents: int | None = None) -> Embedded:
    """The first `documents` of the draw (null: all), scaled to unit length; what is all zeros stays so."""
    files = sorted((artifact / EMBEDDINGS).glob("*.parquet"))
    table = pa.concat_tables([read_parquet(file, SCHEMA) for file in files]) if files else pa.table({})
    if not len(table):
        raise UnusableInput(f"{artifact}: none of the drawn documents has a token that the model could read")
    table = table.sort_by([("key", "ascending"), ("id", "ascending")]).slice(0, documents).combine_chunks()
    flat = table.column("embedding").combine_chunks().flatten().to_numpy()
    vector_DH = flat.reshape(len(table), -1).astype(np.float64)
    length_D1 = np.linalg.norm(vector_DH, axis=1, keepdims=True)
    vector_DH = np.divide(vector_DH, length_D1, out=np.zeros_like(vector_DH), where=length_D1 > 0)
    return Embedded(table.column("id").to_pylist(), table.column("origin").to_pylist(), vector_DH)
