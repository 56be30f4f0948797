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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import hash_file, hash_json

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
        """The record of a shard that an earlier run committed, or None; also where record or outputs are damaged.

        Of outputs only the sizes are looked at: what a machine lost that went down is found, a flipped bit is not.
        """
        commit = _read_commit(self.path / PROGRESS / f"{shard}.json")
        if commit is None:
            return None
        for output, facts in commit["outputs"].items():
            file = self.path / output
            if not file.is_file() or file.stat().st_size != facts["bytes"]:
                return None
        record: dict[str, Any] = commit["record"]
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
        # Hashed here, where what was just written is still in memory, and not at the end: then the manifest promises
        # the bytes that were written, whatever became of them since.
        known = record.get("sha256", {})
        described: dict[str, dict[str, Any]] = {}
        for file, output in zip(temporary, outputs, strict=True):
            described[output] = {"bytes": file.stat().st_size, "sha256": known.get(output) or hash_file(file)}
            _replace(file, self.path / output)
        commit = {"record": record, "outputs": described}
        commit = json.loads(json.dumps(commit))  # keys as they will be read
        write_json(self.path / PROGRESS / f"{shard}.json", {**commit, "sha256": hash_json(commit)})

    def checksums(self) -> dict[str, str]:
        """sha256 by output of all committed shards."""
        known: dict[str, str] = {}
        for file in (self.path / PROGRESS).glob("*.json"):
            if commit := _read_commit(file):
                known.update({output: facts["sha256"] for output, facts in commit["outputs"].items()})
        return known

    def sweep(self) -> None:
        """Remove the files that killed workers left half-written."""
        for kind in (f"*{UNFINISHED}", "*.json.*.tmp"):
            for file in self.path.rglob(kind):
                file.unlink(missing_ok=True)

    def has_finished(self) -> bool:
        """Whether any shard was committed."""
        return any((self.path / PROGRESS).glob("*.json"))

    def clear(self) -> None:
        """Remove all that is in the folder but its lock, as far as that can be done."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != LOCK:
                with suppress(OSError):
                    entry.unlink()

    def close(self) -> None:
        """Remove the traces of building; the manifest is there."""
        shutil.rmtree(self.path / PROGRESS, ignore_errors=True)
        (self.path / BUILDING).unlink(missing_ok=True)


def _read_commit(file: Path) -> dict[str, Any] | None:
    """What a finished shard left: `record` and `outputs`; None where that is not what was written."""
    try:
        held = json.loads(file.read_text())
        commit = {"record": held["record"], "outputs": held["outputs"]}
        return commit if held["sha256"] == hash_json(commit) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _replace(file: Path, target: Path) -> None:
    """Give `file` the name `target`, whatever lies there (a damaged folder may)."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    file.replace(target)


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


def write_json(path: Path, value: Any, durable: bool = False) -> None:
    """Write JSON atomically; `durable`: a machine that goes down a moment later leaves it whole, too."""
    temporary = path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
