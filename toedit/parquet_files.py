"""Parquet files of ours: every page under a checksum that readers look at, and one clear line where one is damaged.

write_parquet(path, table)
table = read_parquet(path, ["id", "logprobs"])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toedit.errors import UnusableInput


def write_parquet(path: Path, table: pa.Table, **options: Any) -> None:
    """Write one file, compressed with zstd."""
    pq.write_table(table, path, compression="zstd", write_page_checksum=True, **options)


def read_parquet(path: Path, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """The table, or these columns of it. Raises UnusableInput naming the file where it is damaged, or another one."""
    asked = list(columns) if columns else None
    with _damage_named(path):
        table = pq.read_table(path, columns=asked, filters=filters, page_checksum_verification=True, partitioning=None)
        if lacking := [name for name in columns or () if name not in table.column_names]:
            raise OSError(f"it has no column {lacking[0]}")
    return table


def count_rows(path: Path) -> int:
    """Rows of a file, from its footer. Raises UnusableInput."""
    with _damage_named(path):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        if not path.is_file():  # of a folder pyarrow would read all that lies in it
            raise OSError("no such file")
        yield
    except MemoryError:  # Arrow's own is one of its exceptions, too
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise UnusableInput(f"{path}: damaged, or not of this kind ({said[0]})") from None
