"""What the tests of corpora share: writing rows in every format, building, reading back."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from toedit.config import CorpusConfig
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths

FORMATS = [
    f"{kind}{packing}" for kind in (".jsonl", ".ndjson", ".json", ".array.json") for packing in ("", ".gz", ".zst")
]


def build(root: Path, **settings) -> Path:
    return plan_corpus(CorpusConfig(**{"kind": "local", **settings}), root / "artifacts").ensure()


def documents_of(corpus: Path) -> list[dict]:
    return [document for path in shard_paths(corpus) for document in read_documents(path)]


def counts_of(corpus: Path) -> dict:
    return json.loads((corpus / "manifest.json").read_text())["counts"]


def rejected_of(corpus: Path) -> list[dict]:
    return [json.loads(line) for line in (corpus / "rejected.jsonl").read_text().splitlines()]


def content_of(corpus: Path) -> dict[str, bytes]:
    files = [*sorted((corpus / "documents").iterdir()), corpus / "rejected.jsonl"]
    return {file.name: file.read_bytes() for file in files}


def pack(data: bytes, name: str) -> bytes:
    """`data` compressed as the name says, in two members or frames."""
    half = len(data) // 2
    if name.lower().endswith(".gz"):
        return gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0)
    if name.lower().endswith(".zst"):
        return zstandard.compress(data[:half]) + zstandard.compress(data[half:])
    return data


def write(path: Path, rows: list) -> Path:
    """`rows` (documents, or raw bytes) in the format that the name asks for."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
        return path
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    data = b"[" + b",\n ".join(lines) + b"]" if ".array" in path.name else b"".join(line + b"\n" for line in lines)
    path.write_bytes(pack(data, path.name))
    return path
