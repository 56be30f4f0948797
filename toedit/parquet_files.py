"""Parquet files of ours: every page under a checksum that readers look at, and one clear line where one is damaged.

The footer is under no checksum; what it says of columns is compared with the schema that the reader expects.
"""

from __future__ import annotations

import errno
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


def parquet_writer(path: Path, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """A writer of one file, row group by row group."""
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True, **options)


def read_parquet(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """The table, or these columns of it. Raises UnusableInput naming the file where it is damaged, or another one.

    Lists of a fixed size may be of any size, whatever `schema` says.
    """
    asked = schema.names if columns is None else list(columns)
    with _damage_named(path):
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table, rows = file.read(asked), _rows(file.metadata)
        if table.num_rows != rows:
            raise OSError(f"{table.num_rows} rows instead of {rows}")
        for name in asked:
            if name not in table.column_names:
                raise OSError(f"it has no column {name}")
            if _of_size_1(table.schema.field(name)) != _of_size_1(schema.field(name)):
                raise OSError(f"its column {name} is {table.schema.field(name).type}")
    return table


def row_groups(path: Path) -> Iterator[pa.Table]:
    """The file in pieces, as they were written. Raises UnusableInput where it is damaged."""
    with _damage_named(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        _rows(file.metadata)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def count_rows(path: Path) -> int:
    """Rows of a file, from its footer. Raises UnusableInput."""
    with _damage_named(path):
        return _rows(pq.read_metadata(path))


def _rows(footer: pq.FileMetaData) -> int:
    """Rows of the file; the footer says it twice."""
    rows = sum(footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    if rows != footer.num_rows:
        raise OSError(f"{rows} rows instead of {footer.num_rows}")
    return int(rows)


def _of_size_1(field: pa.Field) -> pa.Field:
    """`field` with lists of size 1 for those of any other fixed size."""
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        size = 1 if pa.types.is_fixed_size_list(kind) else -1
        kind = pa.list_(_of_size_1(kind.value_field).with_name("item"), size)
    return pa.field(field.name, kind, field.nullable)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        if not path.is_file():  # of a folder pyarrow would read all that lies in it
            raise OSError("no such file")
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            raise
        said = str(error).splitlines() or [type(error).__name__]
        raise UnusableInput(f"{path}: damaged, or not of this kind ({said[0]})") from None
