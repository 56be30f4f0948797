"""Token files: raw memory maps of token ids, and where documents begin and end in them. The format of OLMo.

    00000.npy       the ids of all documents end to end, a document end after each: uint16 or uint32, no header,
                    little-endian
    00000.csv.gz    one line a document: `start,end`, in tokens; the end is behind the document end
    tokenizer/      the tokenizer that made them, so that training needs nothing else

OLMo's trainer takes the `.npy` files as they are (its data type is that of the manifest's `identity.dtype`, its end
token `identity.eos_id`). Made by `toedit/tokenize_corpus.py`:

    python run.py stage=tokenize

Shapes: N tokens of a file, D documents.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toedit.errors import UnusableInput
from toedit.workspace import read_manifest

TOKENIZER = "tokenizer"


def dtype_for(vocabulary_size: int) -> str:
    """The smaller of the two types that holds every id."""
    return "uint16" if vocabulary_size <= 2**16 else "uint32"


def file_names(shard: str) -> tuple[str, str]:
    """Names of the memory map and of the index beside it."""
    return f"{shard}.npy", f"{shard}.csv.gz"


def write_token_file(
    tokens: Path, index: Path, batches: Iterable[Iterable[Sequence[int]]], dtype: str, end_id: int
) -> dict[str, Any]:
    """Write batches of documents, a document end after each; return counts and checksums.

    Counts: documents, tokens (document ends among them), ends_in_text (text's own tokens that look like a document
    end; OLMo's reader would split there unless it reads the index).
    """
    documents = total = ends = 0
    digest = hashlib.sha256()
    kind = np.dtype(dtype).newbyteorder("<")
    with tokens.open("wb") as file, index.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as lines:
        for batch in batches:
            flat: list[int] = []
            bounds: list[str] = []
            for ids in batch:
                start = total + len(flat)
                flat += ids
                flat.append(end_id)
                bounds.append(f"{start},{total + len(flat)}\n")
            token_id_N = np.fromiter(flat, kind, len(flat))
            data = token_id_N.tobytes()
            file.write(data)
            digest.update(data)
            lines.write("".join(bounds).encode("ascii"))
            documents += len(bounds)
            total += len(flat)
            ends += int((token_id_N == end_id).sum())
    checksums = [digest.hexdigest(), hashlib.sha256(index.read_bytes()).hexdigest()]
    return {"documents": documents, "tokens": total, "ends_in_text": ends - documents, "checksums": checksums}


@dataclass(frozen=True)
class TokenFiles:
    """A tokens artifact, opened."""

    folder: Path
    paths: list[Path]
    """The memory maps, in order."""
    dtype: str
    end_id: int
    vocabulary_size: int

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer."""
        return self.folder / TOKENIZER

    def token_ids(self, path: Path) -> NDArray[np.unsignedinteger]:
        """`token_id_N` of one file, mapped, not read."""
        return np.memmap(path, np.dtype(self.dtype).newbyteorder("<"), "r")

    def bounds(self, path: Path) -> NDArray[np.int64]:
        """`bound_D2`: start and end of each document of one file."""
        with gzip.open(path.with_suffix(".csv.gz"), "rt", encoding="ascii") as lines:
            return np.loadtxt(lines, dtype=np.int64, delimiter=",", ndmin=2)


def open_token_files(folder: Path) -> TokenFiles:
    """The tokens artifact in `folder`. Raises MissingInput, UnusableInput."""
    manifest = read_manifest(folder)
    if manifest["kind"] != "tokens":
        raise UnusableInput(f"{folder}: holds a {manifest['kind']} artifact, wanted tokens")
    identity = manifest["identity"]
    return TokenFiles(
        folder=folder,
        paths=sorted(folder.glob("*.npy")),
        dtype=identity["dtype"],
        end_id=identity["eos_id"],
        vocabulary_size=identity["vocabulary_size"],
    )
