"""The folder of an artifact while it is being built: what is finished, what it holds, how it is written.

.building.json   whose unfinished work this is
.progress/       one small JSON a finished shard
manifest.json    written last by `toedit.artifacts`
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import hash_file

MANIFEST = "manifest.json"
BUILDING, PROGRESS, LOCK = ".building.json", ".progress", ".lock"
UNFINISHED = ".unfinished.tmp"
"""How the names of files end that a killed worker leaves behind."""


@dataclass
class Result:
    """What a build has to say about its artifact: all of it goes into the manifest."""

    counts: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    """Rows of an output file, by its path inside the folder."""
    runtime: dict[str, Any] = field(default_factory=dict)
    """How it was run; never part of the fingerprint."""


class Workspace:
    """The folder of an artifact while it is being built, with the shards an earlier run has finished."""

    def __init__(self, path: Path, inputs: Mapping[str, Path]) -> None:
        self.path = path
        self.inputs = inputs
        (path / PROGRESS).mkdir(parents=True, exist_ok=True)

    def finished(self, shard: str) -> dict[str, Any] | None:
        """The record of a shard that an earlier run committed, or None."""
        try:
            record: dict[str, Any] = json.loads((self.path / PROGRESS / f"{shard}.json").read_text())
        except (OSError, ValueError):
            return None
        return record

    @contextmanager
    def shard(self, shard: str, *outputs: str) -> Iterator[tuple[list[Path], dict[str, Any]]]:
        """Write `outputs` (paths inside the folder) as one unit: `(temporary paths, record)`.

        When the block ends, the temporary files get their names and the record (counts, checksums by output) is
        committed; when it raises, nothing of the shard remains. A worker that was thought lost may still be at the same
        shard, with the same bytes: each has temporary names of its own.
        """
        temporary = [self.path / f"{output}.{platform.node()}-{os.getpid()}{UNFINISHED}" for output in outputs]
        for file in temporary:
            file.parent.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = {}
        try:
            yield temporary, record
        except BaseException:
            for file in temporary:
                file.unlink(missing_ok=True)
            raise
        known = record.setdefault("sha256", {})
        for file, output in zip(temporary, outputs, strict=True):
            if output not in known:
                known[output] = hash_file(file)
            file.replace(self.path / output)
        write_json(self.path / PROGRESS / f"{shard}.json", record)

    def checksums(self) -> dict[str, str]:
        """sha256 by output, where a shard's record holds one under `sha256`."""
        known: dict[str, str] = {}
        for file in (self.path / PROGRESS).glob("*.json"):
            known.update(json.loads(file.read_text()).get("sha256", {}))
        return known

    def sweep(self) -> None:
        """Remove the files that killed workers left half-written."""
        for file in self.path.rglob(f"*{UNFINISHED}"):
            file.unlink(missing_ok=True)

    def abandon(self) -> None:
        """After bad input: leave no trace where nothing was finished, so that `out=` serves for the mended command."""
        if not any((self.path / PROGRESS).glob("*.json")):
            shutil.rmtree(self.path)

    def close(self) -> None:
        """Remove the traces of building; the manifest is there."""
        shutil.rmtree(self.path / PROGRESS, ignore_errors=True)
        (self.path / BUILDING).unlink(missing_ok=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in `path`, or MissingInput / UnusableInput in one line."""
    if not path.exists():
        raise MissingInput(f"{path}: does not exist")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        manifest["kind"], manifest["fingerprint"], manifest["identity"]
    except OSError:
        state = (
            "unfinished: run the command that builds it again" if (path / BUILDING).exists() else "has no manifest.json"
        )
        raise UnusableInput(f"{path}: not a finished artifact ({state})") from None
    except (ValueError, KeyError, TypeError):
        raise UnusableInput(f"{path / MANIFEST}: not a manifest") from None
    return dict(manifest)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
