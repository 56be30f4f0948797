"""Where an artifact comes from, and which artifacts nothing needs: both read manifests alone.

toedit why edited                                    # its ancestry, with the commands that made it
toedit clean artifacts --keep edited --keep figures  # what neither they nor what they were made from needs
toedit clean artifacts --keep edited --yes           # ... removed
"""

from __future__ import annotations

import fcntl
import json
import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toedit.artifacts import slug
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.workspace import BUILDING, LOCK, MANIFEST, read_manifest


@dataclass(frozen=True)
class Ancestor:
    """One artifact of an ancestry."""

    depth: int
    """0: the artifact asked for."""
    role: str
    """What it was to the artifact above it; empty at depth 0."""
    path: Path
    """Its folder. Of an input whose place a shared manifest leaves out: where it would be below `artifacts`."""
    kind: str
    name: str
    command: str
    """The command during which it was made; empty: not recorded, or somebody else's folder."""
    state: str
    """there, gone, replaced (another artifact lies there now) or external (somebody else's folder)."""
    counts: dict[str, Any]


def ancestry(path: Path) -> Iterator[Ancestor]:
    """The artifact in `path`, then what it was made from, depth first; what occurs twice is listed twice."""
    yield from _ancestry(path, read_manifest(path), 0, "")


def _ancestry(path: Path, manifest: dict[str, Any], depth: int, role: str) -> Iterator[Ancestor]:
    command = manifest.get("runtime", {}).get("command") or []
    yield Ancestor(
        depth, role, path, manifest["kind"], manifest["name"], _command(command), "there", manifest["counts"]
    )
    for name, recorded in manifest.get("inputs", {}).items():
        source, found, state = _input(path, recorded)
        if found is None:
            yield Ancestor(depth + 1, name, source, recorded["kind"], recorded["name"], "", state, {})
        else:
            yield from _ancestry(source, found, depth + 1, name)


def _input(path: Path, recorded: dict[str, Any]) -> tuple[Path, dict[str, Any] | None, str]:
    """(folder, manifest where there is one, state) of an input of the artifact in `path`."""
    if "path" not in recorded:  # a shared artifact
        return Path(recorded["kind"]) / f"{slug(recorded['name'])}--{recorded['fingerprint'][:8]}", None, "gone"
    source = Path(path / recorded["path"]).resolve()
    return source, *_found(source, recorded)


def _found(source: Path, recorded: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    if not source.exists():
        return None, "gone"
    try:
        manifest = read_manifest(source)
    except UnusableInput:  # a model, a folder of text sets: complete as it stands
        return None, "external" if recorded["kind"] in ("model", "sets") else "replaced"
    return (manifest, "there") if manifest["fingerprint"] == recorded["fingerprint"] else (None, "replaced")


def _command(words: list[str]) -> str:
    return shlex.join(["python", *words] if words[0].endswith(".py") else words) if words else ""


# --- what nothing needs -----------------------------------------------------------------------------------------------


_ADDRESSES = "*/*--????????"
"""Where artifacts lie below a root."""


@dataclass(frozen=True)
class Removable:
    """An artifact below a root that none of the kept ones needs."""

    path: Path
    kind: str
    bytes: int
    is_finished: bool


def removable(root: Path, keep: Iterable[Path]) -> list[Removable]:
    """Artifacts below `root` (root/kind/name--12345678) that are neither kept nor an ancestor of a kept one.

    Artifacts of other folders keep nothing unless they are named. What another process is building stays, and so does
    what it is built from; work that was left unfinished does not, but as long as it is there, what it is built from
    does. Raises BadConfiguration where nothing is kept, MissingInput where a kept path is not there.
    """
    if not root.is_dir():
        raise MissingInput(f"{root}: no such folder of artifacts")
    kept = list(keep)
    if not kept:
        raise BadConfiguration("--keep: name at least one artifact, or everything would go")
    needed = {needed.resolve() for path in kept for needed in _with_ancestors(path)}
    needed |= {needed.resolve() for path in _built_from(root) for needed in _with_ancestors(path)}
    found = []
    for folder in sorted(root.glob(_ADDRESSES)):
        if folder.is_symlink() or folder.resolve() in needed or _is_being_built(folder):
            continue
        kind = _kind(folder)
        if kind != folder.parent.name:  # not where we put things: not ours to remove
            continue
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
        found.append(Removable(folder, kind, size, (folder / MANIFEST).exists()))
    return found


def remove(artifacts: Iterable[Removable]) -> None:
    """Delete them; the manifest first, so that a killed removal leaves nothing that looks finished."""
    for artifact in artifacts:
        (artifact.path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(artifact.path)


def _with_ancestors(path: Path) -> Iterator[Path]:
    """`path` is an artifact, or a folder of artifacts, which are all kept."""
    if not path.exists():
        raise MissingInput(f"--keep={path}: does not exist")
    manifests = [path / MANIFEST] if (path / MANIFEST).is_file() else sorted(path.rglob(MANIFEST))
    if not manifests:
        raise UnusableInput(f"--keep={path}: holds no artifact")
    for manifest in manifests:
        yield from (ancestor.path for ancestor in ancestry(manifest.parent))


def _built_from(root: Path) -> Iterator[Path]:
    """The artifacts below `root` that those which are being built there, or were left unfinished, are made from.

    A folder that is being built says its inputs' fingerprints alone: no manifest holds their paths yet.
    """
    at_work = {file.parent for file in root.rglob(BUILDING)}
    at_work |= {folder for folder in root.glob(_ADDRESSES) if _is_being_built(folder)}
    wanted = {fingerprint for folder in at_work for fingerprint in _fingerprints_of_inputs(folder)}
    for file in sorted(root.rglob(MANIFEST)) if wanted else ():
        if str(_read_object(file).get("fingerprint")) in wanted:
            yield file.parent


def _fingerprints_of_inputs(folder: Path) -> Iterator[str]:
    for marker in (BUILDING, MANIFEST):  # a finished artifact that is built again has both
        inputs = _read_object(folder / marker).get("inputs")
        for recorded in inputs.values() if isinstance(inputs, dict) else ():
            if isinstance(recorded, dict) and isinstance(fingerprint := recorded.get("fingerprint"), str):
                yield fingerprint


def _read_object(file: Path) -> dict[str, Any]:
    """The JSON object in `file`; empty where there is none."""
    try:
        held = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def _kind(folder: Path) -> str | None:
    kinds = (_read_object(folder / marker).get("kind") for marker in (MANIFEST, BUILDING))
    return next((str(kind) for kind in kinds if kind is not None), None)


def _is_being_built(folder: Path) -> bool:
    try:
        with (folder / LOCK).open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
