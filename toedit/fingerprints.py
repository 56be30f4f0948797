"""Hashes that say whether two things are the same: configurations, files, folders.

File hashes are remembered in `<artifacts>/.cache/file_hashes.json` under (path, size, modification time), so that a
warm start does not read gigabytes again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def canonical_json(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def hash_json(value: Any) -> str:
    """sha256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex, in constant memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class FileHashes:
    """sha256 of files, remembered by path, size and modification time."""

    def __init__(self, root: Path) -> None:
        self._memo_path = root / ".cache" / "file_hashes.json"
        try:
            self._memo: dict[str, list[Any]] = json.loads(self._memo_path.read_text())
        except (OSError, ValueError):
            self._memo = {}

    def of(self, paths: Iterable[Path]) -> dict[Path, str]:
        """{path: sha256} of existing files."""
        hashes, learnt = {}, False
        for path in paths:
            stat = path.stat()
            key = str(path.resolve())
            known = self._memo.get(key)
            if known is None or known[:2] != [stat.st_size, stat.st_mtime_ns]:
                known = [stat.st_size, stat.st_mtime_ns, hash_file(path)]
                self._memo[key] = known
                learnt = True
            hashes[path] = str(known[2])
        if learnt:
            self._save()
        return hashes

    def of_folder(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """{name: sha256} of the files in `folder` that `names` lists and that exist."""
        present = [folder / name for name in names if (folder / name).is_file()]
        return {path.name: digest for path, digest in self.of(present).items()}

    def _save(self) -> None:
        try:
            self._memo_path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._memo_path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(self._memo))
            temporary.replace(self._memo_path)
        except OSError:
            pass  # a memo only: without it the files are read again
