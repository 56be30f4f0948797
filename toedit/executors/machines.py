"""What of a machine decides the bytes it makes: compared before a worker of another machine touches a shard.

`here` describes the machine that the command runs on, and the same function the worker's; `difference` is the one line
that refuses the worker, or None.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toedit import environment
from toedit.fingerprints import hash_file
from toedit.workspace import BUILDING, MANIFEST

_DECIDE_BYTES = ("toedit", "torch", "transformers", "tokenizers", "numpy", "pyarrow", "zstandard")
_SMALL = 16 << 20
_ENDS = 1 << 20


@dataclass(frozen=True)
class Machine:
    """One machine, as far as its bytes go."""

    versions: dict[str, str]
    """Of the packages that shape results, and of the code itself."""
    inputs: dict[str, str | None]
    """What lies at the path of each input; None: nothing."""
    output: str | None
    """The marker of the folder being built; None: it is not there."""


def here(inputs: Mapping[str, Path], output: Path, package: str) -> Machine:
    """This machine. `package` is the top-level package whose work is done."""
    known = environment.packages()
    versions = {name: known[name] for name in _DECIDE_BYTES if name in known}
    versions |= {f"the code of {name}": code_hash(name)[:12] for name in sorted({"toedit", package})}
    return Machine(versions, {role: content(path) for role, path in inputs.items()}, _hash_if_there(output / BUILDING))


def difference(ours: Machine, theirs: Machine, address: str, inputs: Mapping[str, Path], output: Path) -> str | None:
    """Why the worker at `address` must not work for us."""
    for name, version in ours.versions.items():
        if theirs.versions.get(name) != version:
            found = theirs.versions.get(name, "not there")
            return f"executor=ray: {address} has another version of {name}: {found} there, {version} here"
    shared = "; executor=ray needs folders that all machines see"
    if theirs.output != ours.output:
        return f"out={output}: {address} does not see this folder{shared} (a shared file system)"
    for role, known in ours.inputs.items():
        if theirs.inputs.get(role) is None:
            return f"{inputs[role]}: {address} does not see the {role}{shared}"
        if theirs.inputs[role] != known:
            return (
                f"{inputs[role]}: {address} holds another version of the {role} there: "
                f"{str(theirs.inputs[role])[:12]} there, {str(known)[:12]} here"
            )
    return None


def content(path: Path) -> str | None:
    """What an input holds, told quickly: its manifest; of a foreign folder its small files and both ends of others."""
    if (path / MANIFEST).is_file():
        return hash_file(path / MANIFEST)
    if not path.exists():
        return None
    digest = hashlib.sha256()
    for file in sorted(found for found in path.rglob("*") if found.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path).as_posix()} {size}\n".encode())
        with file.open("rb") as stream:
            if size <= _SMALL:
                digest.update(stream.read())
            else:  # weights, gigabytes on every worker: their header, beginning and end tell revisions apart
                digest.update(stream.read(_ENDS))
                stream.seek(-_ENDS, 2)
                digest.update(stream.read())
    return digest.hexdigest()


def code_hash(package: str) -> str:
    """sha256 of a package's sources: two checkouts of one version may differ."""
    known = sys.modules[package]
    folder = Path(known.__path__[0]) if hasattr(known, "__path__") else None
    files = sorted(folder.rglob("*.py")) if folder else [Path(known.__file__ or "")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder) if folder else file.name}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _hash_if_there(file: Path) -> str | None:
    return hash_file(file) if file.is_file() else None
