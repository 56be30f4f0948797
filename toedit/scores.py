"""The score cache: what one pass of the prior leaves behind, enough for every later edit.

Reads and writes `scores/*.parquet`, one row a document, row-aligned with the corpus shard of the same number:

    id                     the document's
    token_ids              list<int32>
    spans                  list<[start, end]>: byte span of each token in the document's UTF-8 text
    logprobs               list<float32>: natural log of P(token | prefix); null where nothing was scored
    candidate_positions    list<int32>: the tokens with P >= score.min_p
    candidate_ids          list<[K]>: the K most probable tokens there, most probable first
    candidate_logprobs     list<[K]>: their log-probabilities under the prior, not renormalised

Shapes: D documents of a shard, T tokens of all of them laid end to end, N tokens with candidates, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from toedit.parquet_files import read_parquet, write_parquet

SCORES = "scores"
_K = 1  # of any size
SCORES_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("spans", pa.list_(pa.list_(pa.int32(), 2))),
        ("logprobs", pa.list_(pa.float32())),
        ("candidate_positions", pa.list_(pa.int32())),
        ("candidate_ids", pa.list_(pa.list_(pa.int32(), _K))),
        ("candidate_logprobs", pa.list_(pa.list_(pa.float32(), _K))),
    ]
)


@dataclass(frozen=True)
class ShardScores:
    """The scores of one shard as flat arrays. A document's tokens are [token_offset_D1[d], token_offset_D1[d + 1])."""

    ids: list[str]
    token_offset_D1: NDArray[np.int64]
    token_id_T: NDArray[np.int32]
    span_T2: NDArray[np.int32]
    logprob_T: NDArray[np.float32]
    """NaN where nothing was scored."""
    candidate_offset_D1: NDArray[np.int64]
    candidate_position_N: NDArray[np.int32]
    """Position within the document."""
    candidate_id_NK: NDArray[np.int32]
    candidate_logprob_NK: NDArray[np.float32]

    @cached_property
    def document_N(self) -> NDArray[np.int64]:
        """Which document of the shard each token with candidates belongs to."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.candidate_offset_D1))

    @cached_property
    def token_N(self) -> NDArray[np.int64]:
        """Where each token with candidates lies among the T tokens."""
        return self.token_offset_D1[self.document_N] + self.candidate_position_N


def scores_path(artifact: Path, shard: str) -> Path:
    return artifact / SCORES / f"{shard}.parquet"


def write_scores(path: Path, scores: ShardScores) -> None:
    """Write one shard."""
    logprobs = pa.array(scores.logprob_T, mask=np.isnan(scores.logprob_T))
    candidates = scores.candidate_offset_D1
    table = pa.table(
        {
            "id": pa.array(scores.ids, pa.string()),
            "token_ids": _lists(scores.token_offset_D1, pa.array(scores.token_id_T)),
            "spans": _lists(scores.token_offset_D1, _rows(scores.span_T2)),
            "logprobs": _lists(scores.token_offset_D1, logprobs),
            "candidate_positions": _lists(candidates, pa.array(scores.candidate_position_N)),
            "candidate_ids": _lists(candidates, _rows(scores.candidate_id_NK)),
            "candidate_logprobs": _lists(candidates, _rows(scores.candidate_logprob_NK)),
        }
    )
    # Log-probabilities and ids of candidates hardly compress: level 1 costs little, dictionaries would cost more.
    write_parquet(path, table, compression_level=1, use_dictionary=False, write_statistics=False)


def read_scores(path: Path) -> ShardScores:
    """Read one shard. Raises UnusableInput naming the file where it is not one."""
    table = read_parquet(path, SCORES_SCHEMA).combine_chunks()
    columns = {name: table.column(name) for name in table.column_names}
    token_offset_D1, token_ids = _flat(columns["token_ids"])
    _, spans = _flat(columns["spans"])
    _, logprobs = _flat(columns["logprobs"])
    candidate_offset_D1, positions = _flat(columns["candidate_positions"])
    _, candidate_ids = _flat(columns["candidate_ids"])
    _, candidate_logprobs = _flat(columns["candidate_logprobs"])
    return ShardScores(
        ids=columns["id"].to_pylist(),
        token_offset_D1=token_offset_D1,
        token_id_T=token_ids.to_numpy(zero_copy_only=False),
        span_T2=_matrix(spans, np.int32),
        logprob_T=logprobs.to_numpy(zero_copy_only=False),
        candidate_offset_D1=candidate_offset_D1,
        candidate_position_N=positions.to_numpy(zero_copy_only=False),
        candidate_id_NK=_matrix(candidate_ids, np.int32),
        candidate_logprob_NK=_matrix(candidate_logprobs, np.float32),
    )


def read_logprobs(path: Path) -> NDArray[np.float32]:
    """Only the log-probabilities of a shard, the scored ones, end to end."""
    table = read_parquet(path, SCORES_SCHEMA, ["logprobs"]).combine_chunks()
    _, logprobs = _flat(table.column("logprobs"))
    return logprobs.drop_null().to_numpy(zero_copy_only=False)


def read_document_logprobs(path: Path) -> tuple[list[str], NDArray[np.int64], NDArray[np.float32]]:
    """(ids, token_offset_D1, logprob_T) of a shard; NaN where nothing was scored. Reads those columns alone."""
    table = read_parquet(path, SCORES_SCHEMA, ["id", "logprobs"]).combine_chunks()
    token_offset_D1, logprobs = _flat(table.column("logprobs"))
    return table.column("id").to_pylist(), token_offset_D1, logprobs.to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class SpannedLogprobs:
    """Of a shard: where each token stands in its document's bytes, and its log-probability."""

    ids: list[str]
    token_offset_D1: NDArray[np.int64]
    span_T2: NDArray[np.int32]
    logprob_T: NDArray[np.float32]
    """NaN where nothing was scored."""

    @cached_property
    def document_T(self) -> NDArray[np.int64]:
        """Which document of the shard each token belongs to."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.token_offset_D1))


def read_spanned_logprobs(path: Path) -> SpannedLogprobs:
    """Spans and log-probabilities of a shard. Reads those columns alone."""
    table = read_parquet(path, SCORES_SCHEMA, ["id", "spans", "logprobs"]).combine_chunks()
    token_offset_D1, logprobs = _flat(table.column("logprobs"))
    _, spans = _flat(table.column("spans"))
    return SpannedLogprobs(
        table.column("id").to_pylist(),
        token_offset_D1,
        _matrix(spans, np.int32),
        logprobs.to_numpy(zero_copy_only=False),
    )


def _lists(offset_D1: NDArray[np.int64], values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offset_D1, pa.int32()), values)


def _rows(matrix: NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), max(matrix.shape[1], 1))


def _flat(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array]:
    """(offsets from zero, the values of all lists end to end)."""
    array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    offsets = array.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], array.flatten()


def _matrix(rows: pa.Array, dtype: type[np.generic]) -> NDArray[Any]:
    return (
        rows.flatten().to_numpy(zero_copy_only=False).astype(dtype, copy=False).reshape(len(rows), rows.type.list_size)
    )
