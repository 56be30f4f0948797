"""How many documents of a corpus are like a given one: a RACE sketch (Coleman and Shrivastava 2020; density sampling as
in Sachdeva et al. 2024, "How to Train Data-Efficient LLMs").

A document is a point x on the unit sphere: the square roots of its hashed n-grams' shares, so that the distance of two
documents is the Hellinger distance of their n-grams, times the square root of two. Interval hashes (Datar et al. 2004),

    h(x) = floor((a . x + b) / width),   a standard normal, b uniform in [0, width),

agree on near points more often than on far ones. A row of the sketch takes `hashes` of them, which together name one of
its `buckets` counters. One pass counts; in a second pass a document's density is the mean over rows of the counter that
it falls into, divided by the number of documents. Its expectation is the mean probability that the document shares all
hashes of a row with a document of the corpus, itself included (a kernel density estimate), plus what different hashes
that meet in one counter add, at most 1 / buckets.

Rows draw their hashes from a pool of `projections`, which costs little: each row's expectation is that of fresh ones.

Reads the features of a corpus. Writes document_values, and `counters.csv`: how many counters hold how many documents.
Memory: the sketch (rows x buckets x 4 bytes: 80 MB), the pool (n-gram buckets x projections x 4 bytes: 80 MB) and a
batch. A killed first pass begins anew.

Shapes: D documents, E different (document, n-gram bucket), G n-gram buckets, P projections, R rows, H hashes a row.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding_bag

from analysis.selection.document_values import ShardValues, build_values
from analysis.selection.features import Features, plan_features, read_features
from analysis.table_files import write_csv
from toedit.artifacts import Artifact
from toedit.config import Config, DensityConfig
from toedit.console import Progress
from toedit.documents import shard_paths
from toedit.workspace import PROGRESS, Result, Workspace

COUNTERS = "counters.csv"
_SKETCH = "sketch"
_BATCH_DOCUMENTS = 512


def plan_values(config: Config, raw: Artifact) -> Artifact:
    """The densities of the documents of `raw` in `raw`."""
    select, root = config.select, Path(config.artifacts)
    density = select.density
    return Artifact(
        kind="document_values",
        name=f"{raw.name}.density",
        identity={
            "method": "density",
            **{key: getattr(density, key) for key in ("rows", "buckets", "projections", "hashes", "width", "seed")},
        },
        inputs={"corpus": raw, "features": plan_features(raw, select.buckets, config.tokens.processes, root)},
        root=root,
        build=partial(build, ngram_buckets=select.buckets, settings=density),
    )


class Hashing:
    """The hash functions of a sketch."""

    def __init__(self, ngram_buckets: int, settings: DensityConfig) -> None:
        self.settings = settings
        generator = np.random.default_rng(settings.seed)
        projection_GP = generator.standard_normal((ngram_buckets, settings.projections), dtype=np.float32)
        self.projection_GP = torch.from_numpy(projection_GP / np.float32(settings.width))
        self.shift_P = torch.from_numpy(generator.random(settings.projections, dtype=np.float32))
        self.chosen_RH = np.stack(
            [generator.permutation(settings.projections)[: settings.hashes] for _ in range(settings.rows)]
        )

    def __call__(self, batch: Features) -> NDArray[np.int32]:
        """`counter_DR`: the counter that each document falls into, row by row."""
        found = [
            self._some(batch, first, min(first + _BATCH_DOCUMENTS, len(batch.ids)))
            for first in range(0, len(batch.ids), _BATCH_DOCUMENTS)
        ]
        return np.concatenate(found) if found else np.zeros((0, self.settings.rows), np.int32)

    def _some(self, batch: Features, first: int, last: int) -> NDArray[np.int32]:
        """Those of the documents from `first` to before `last`."""
        start, end = int(batch.offset_D1[first]), int(batch.offset_D1[last])
        count_E = batch.count_E[start:end].astype(np.float32)
        total_D = np.bincount(batch.document_E[start:end] - first, count_E, minlength=last - first)
        share_E = count_E / np.repeat(total_D, np.diff(batch.offset_D1[first : last + 1])).astype(np.float32)
        projected_DP = embedding_bag(
            torch.from_numpy(batch.bucket_E[start:end].astype(np.int64)),
            self.projection_GP,
            torch.from_numpy((batch.offset_D1[first:last] - start).astype(np.int64)),
            mode="sum",
            per_sample_weights=torch.from_numpy(np.sqrt(share_E)),
        )
        interval_PD = np.ascontiguousarray((projected_DP + self.shift_P).floor_().numpy().T).astype(np.int64)
        mixed_RD = np.zeros((self.settings.rows, last - first), np.uint64)
        for chosen_R in self.chosen_RH.T:
            mixed_RD = _mix(mixed_RD + interval_PD[chosen_R].astype(np.uint64))
        return (mixed_RD % np.uint64(self.settings.buckets)).astype(np.int32).T


def _mix(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the number (half of SplitMix64's finaliser)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return (number ^ (number >> np.uint64(27))) + np.uint64(0x9E3779B97F4A7C15)


def add(sketch_RB: NDArray[np.int32], counter_DR: NDArray[np.int32]) -> None:
    """Count documents."""
    rows = len(sketch_RB)
    for counter_R in counter_DR:  # counters of one document are all different: each row has its own
        sketch_RB[np.arange(rows), counter_R] += 1


def densities(sketch_RB: NDArray[np.int32], counter_DR: NDArray[np.int32], documents: int) -> NDArray[np.float64]:
    """`density_D` of documents in a corpus of so many `documents`, from its sketch."""
    found_DR = sketch_RB[np.arange(sketch_RB.shape[0]), counter_DR]
    return found_DR.mean(axis=1, dtype=np.float64) / max(documents, 1)


def build(workspace: Workspace, ngram_buckets: int, settings: DensityConfig) -> Result:
    """Sketch the corpus, then ask for every document."""
    hashing = Hashing(ngram_buckets, settings)
    sketch_RB, documents = _sketched(workspace, hashing)
    features = workspace.inputs["features"]

    def of_shard(shard: Path) -> ShardValues:
        ids: list[str] = []
        values = [np.zeros(0)]
        for batch in read_features(features, shard):
            ids += batch.ids
            density_D = densities(sketch_RB, hashing(batch), documents)
            # A document without a word is no point of the sphere.
            values.append(np.where(batch.words_D > 0, density_D, np.nan))
        return ids, np.concatenate(values)

    result = build_values(workspace, "densities", of_shard)
    held = np.bincount(sketch_RB.ravel())
    with workspace.shard("counters", COUNTERS) as ((path,), _):
        write_csv(path, [{"documents": n, "counters": int(held[n])} for n in np.flatnonzero(held).tolist()])
    result.seeds = {"projections": settings.seed}
    return result


def _sketched(workspace: Workspace, hashing: Hashing) -> tuple[NDArray[np.int32], int]:
    """`(sketch_RB, documents)` of the corpus; kept until all densities are known."""
    file = f"{PROGRESS}/{_SKETCH}.npy"
    record = workspace.finished(_SKETCH)
    if record is not None:
        return np.load(workspace.path / file), int(record["points"])
    settings, features = hashing.settings, workspace.inputs["features"]
    sketch_RB = np.zeros((settings.rows, settings.buckets), np.int32)
    points = 0
    shards = shard_paths(workspace.inputs["corpus"])
    with Progress("sketch", sum(path.stat().st_size for path in shards), "bytes read") as progress:
        for path in shards:
            for batch in read_features(features, path):
                has_words_D = batch.words_D > 0
                add(sketch_RB, hashing(batch)[has_words_D])
                points += int(has_words_D.sum())
            progress.advance(path.stat().st_size)
    with workspace.shard(_SKETCH, file) as ((path,), record):
        with path.open("wb") as stream:
            np.save(stream, sketch_RB)
        record["points"] = points
    return sketch_RB, points
