"""Whether an artifact still holds what its manifest says: sizes, checksums, counts, the address it stands for.

    toedit verify edited
    toedit verify artifacts        # all of a folder

Reads every byte of the artifact; a stage that uses one looks at names and sizes alone, and at the checksums inside
compressed shards as it reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toedit.console import Progress
from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import hash_file, hash_json
from toedit.workspace import BUILDING, MANIFEST, read_manifest


def artifacts_in(path: Path) -> list[Path]:
    """`path`, or the finished artifacts below it where it is none itself. Raises MissingInput, UnusableInput."""
    if not path.exists():
        raise MissingInput(f"{path}: does not exist")
    if (path / MANIFEST).is_file() or (path / BUILDING).exists():
        return [path]
    found = sorted(manifest.parent for manifest in path.rglob(MANIFEST))
    if not found:
        raise UnusableInput(f"{path}: holds no finished artifact")
    return found


def verify(path: Path) -> list[str]:
    """What is wrong with the artifact in `path`, one line a fault; empty where nothing is.

    Raises MissingInput where nothing is there, UnusableInput where it was not finished or the manifest is no JSON.
    """
    manifest = read_manifest(path)
    return [*_manifest_faults(path, manifest), *_file_faults(path, manifest)]


def _manifest_faults(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    file = path / MANIFEST
    try:
        inputs = {role: one["fingerprint"] for role, one in manifest["inputs"].items()}
        stands_for = {key: manifest[key] for key in ("format", "kind", "identity")} | {"inputs": inputs}
        counts, outputs = manifest["counts"], manifest["outputs"]
        [(one["path"], one["bytes"], one["sha256"]) for one in outputs]
    except (KeyError, TypeError, AttributeError):
        raise UnusableInput(f"{file}: not a manifest") from None
    if hash_json(stands_for) != manifest["fingerprint"]:
        yield f"{file}: damaged: its settings and inputs are not those of its fingerprint"
    if "documents_in" in counts and counts["documents_in"] != counts["documents_out"] + counts["rejected"]:
        yield f"{file}: damaged: {counts['documents_in']} documents in, {counts['documents_out']} out, " + (
            f"{counts['rejected']} rejected"
        )


def _file_faults(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    outputs = manifest["outputs"]
    with Progress("verify", sum(one["bytes"] for one in outputs), "bytes read") as progress:
        for one in outputs:
            file = path / one["path"]
            if not file.is_file():
                yield f"{file}: gone"
            elif (size := file.stat().st_size) != one["bytes"]:
                yield f"{file}: damaged: {size} bytes instead of {one['bytes']}"
            elif hash_file(file) != one["sha256"]:
                yield f"{file}: damaged: its bytes are not those that were written"
            progress.advance(one["bytes"])
