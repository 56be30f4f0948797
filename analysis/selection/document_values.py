"""One number a document, by which a method takes it: the form in which every method gives them.

Reads what the method reads. Writes a document_values artifact, `values/*.parquet`, one row a document, row-aligned with
the corpus: `id`, `value` (null where the method has no say: such a document is never taken). The draw comes after, so
that other sizes and seeds of a selection cost nothing.

Shapes: D documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from toedit.console import Progress, printable
from toedit.documents import shard_paths
from toedit.errors import UnusableInput
from toedit.parquet_files import read_parquet, write_parquet
from toedit.workspace import Result, Workspace

VALUES = "values"
SCHEMA = pa.schema([("id", pa.string()), ("value", pa.float64())])

ShardValues = tuple[Sequence[str], NDArray[np.float64]]
"""(ids, value_D) of a shard; NaN where there is none."""


def build_values(workspace: Workspace, title: str, of_shard: Callable[[Path], ShardValues]) -> Result:
    """Write the values of every shard that an earlier run has not finished.

    Raises UnusableInput where a value is infinite: whatever is behind it is broken.
    """
    shards = shard_paths(workspace.inputs["corpus"])
    pending = [path for path in shards if workspace.finished(path.name) is None]
    with Progress(title, sum(path.stat().st_size for path in pending), "bytes read") as progress:
        for path in pending:
            with workspace.shard(path.name, values_name(path)) as ((file,), record):
                ids, value_D = of_shard(path)
                if np.isinf(value_D).any():
                    wrong = ids[int(np.flatnonzero(np.isinf(value_D))[0])]
                    raise UnusableInput(f"{path}: {title}: document {printable(wrong)} has a value that is not finite")
                without_D = np.isnan(value_D)
                values = pa.array(value_D, pa.float64(), mask=without_D)
                write_parquet(file, pa.table([pa.array(ids, pa.string()), values], schema=SCHEMA))
                record.update(documents=len(ids), without_value=int(without_D.sum()))
            progress.advance(path.stat().st_size)
    result = Result(counts={"documents": 0, "without_value": 0})
    for path in shards:
        record = workspace.finished(path.name) or {}
        for key in result.counts:
            result.counts[key] += record[key]
        result.rows[values_name(path)] = record["documents"]
    return result


def read_values(values: Path, shard: Path) -> ShardValues:
    """`(ids, value_D)` of one corpus shard; NaN where a document has no value."""
    table = read_parquet(values / values_name(shard), SCHEMA).combine_chunks()
    return table["id"].to_pylist(), table["value"].to_numpy().astype(np.float64)


def values_name(shard: Path) -> str:
    return f"{VALUES}/{shard.name.removesuffix('.jsonl.zst')}.parquet"
