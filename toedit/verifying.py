"""Whether an artifact still holds what its manifest says: sizes, checksums, counts, the address it stands for.

    toedit verify edited
    toedit verify artifacts        # all of a folder

Reads every byte of the artifact; a stage that uses one looks at names and sizes alone, and at the checksums inside
compressed shards as it reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toedit.console import Progress, note
from toedit.errors import MissingInput, ToEditError, UnusableInput
from toedit.fingerprints import hash_file, hash_json
from toedit.workspace import BUILDING, MANIFEST, read_manifest

_DOCUMENTS = ("documents_in", "documents_out", "rejected")


def artifacts_in(path: Path) -> list[Path]:
    """`path`, or the finished artifacts below it where it is none itself. Raises MissingInput, UnusableInput.

    Other programs call files manifest.json, too: what is JSON and clearly not ours is named and left out.
    """
    if not path.exists():
        raise MissingInput(f"{path}: does not exist")
    if (path / MANIFEST).is_file() or (path / BUILDING).exists():
        return [path]
    found = [manifest.parent for manifest in sorted(path.rglob(MANIFEST)) if not _is_foreign(manifest)]
    if not found:
        raise UnusableInput(f"{path}: holds no finished artifact")
    return found


def _is_foreign(file: Path) -> bool:
    try:
        held = json.loads(file.read_text())
    except (OSError, ValueError):  # perhaps one of ours, damaged
        return False
    is_foreign = isinstance(held, dict) and not {"kind", "fingerprint"} <= held.keys()
    if is_foreign:
        note(f"{file}: not a manifest of ours; left out")
    return is_foreign


def faults_of(path: Path) -> list[str]:
    """As `verify`, but what that raises is one more fault: other artifacts are still to be looked at."""
    try:
        return verify(path)
    except ToEditError as error:
        return [str(error)]


def verify(path: Path) -> list[str]:
    """What is wrong with the artifact in `path`, one line a fault; empty where nothing is.

    Raises MissingInput where nothing is there, UnusableInput where it was not finished or the manifest is no JSON.
    """
    manifest = read_manifest(path)
    return [*_manifest_faults(path, manifest), *_file_faults(path, manifest), *_unnamed(path, manifest)]


def _manifest_faults(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    file = path / MANIFEST
    try:
        inputs = {role: one["fingerprint"] for role, one in manifest["inputs"].items()}
        stands_for = {key: manifest[key] for key in ("format", "kind", "identity")} | {"inputs": inputs}
        counts, is_described = manifest["counts"], all(map(_is_output, manifest["outputs"]))
        documents = [counts[key] for key in _DOCUMENTS] if "documents_in" in counts else [0, 0, 0]
    except (KeyError, TypeError, AttributeError):
        raise UnusableInput(f"{file}: not a manifest") from None
    if not is_described or not all(isinstance(count, int) for count in documents):
        raise UnusableInput(f"{file}: not a manifest: a path, a size, a checksum or a count is none")
    if hash_json(stands_for) != manifest["fingerprint"]:
        yield f"{file}: damaged: its settings and inputs are not those of its fingerprint"
    if documents[0] != documents[1] + documents[2]:
        yield f"{file}: damaged: {documents[0]} documents in, {documents[1]} out, {documents[2]} rejected"


def _is_output(one: dict[str, Any]) -> bool:
    return isinstance(one["path"], str) and isinstance(one["bytes"], int) and isinstance(one["sha256"], str)


def _file_faults(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    outputs = manifest["outputs"]
    with Progress("verify", sum(one["bytes"] for one in outputs), "bytes read") as progress:
        for one in outputs:
            file = path / one["path"]
            if not file.is_file():
                yield f"{file}: gone"
            elif (size := file.stat().st_size) != one["bytes"]:
                yield f"{file}: damaged: {size} bytes instead of {one['bytes']}"
            else:
                yield from _content_faults(file, one["sha256"])
            progress.advance(one["bytes"])


def _content_faults(file: Path, written: str) -> Iterator[str]:
    try:
        if hash_file(file) != written:
            yield f"{file}: damaged: its bytes are not those that were written"
    except OSError as error:  # of a disk that fails: the other files are still to be looked at
        yield f"{file}: cannot be read: {error.strerror}"


def _unnamed(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Files that the manifest does not name, where stages would read them as part of the artifact.

    Stages read all that lies in a folder of outputs, and all token files. What else lies beside the manifest (a data
    set's README.md, somebody's notes) is read by none.
    """
    named = {one["path"] for one in manifest["outputs"]}
    folders = sorted({name.partition("/")[0] for name in named if "/" in name})
    found = [file for folder in folders for file in sorted((path / folder).rglob("*")) if file.is_file()]
    for file in [*found, *sorted(path.glob("*.npy"))]:
        if file.relative_to(path).as_posix() not in named:
            yield f"{file}: not named by the manifest, but stages would read it; remove it"
