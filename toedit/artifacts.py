"""Artifacts: folders that say exactly how they were made.

An `Artifact` is a plan before it is a folder: its fingerprint follows from its identity and its inputs' fingerprints,
so the address is known, and a cache hit seen, before any work. `ensure` builds what is missing. `manifest.json` is
written last, atomically: a folder with a manifest is complete, one without can be resumed by the same command.

Writes `<artifacts>/<kind>/<name>--<8 hex>/` (or the folder asked for with `out=`):
    manifest.json    written last; the success marker
    .building.json   whose unfinished work this is, while it is being built
    .progress/       one small JSON a finished shard, while it is being built
    .lock            held by the process that builds; the kernel frees it when that process dies
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from toedit import environment
from toedit.console import note
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.fingerprints import hash_file, hash_json
from toedit.workspace import BUILDING, LOCK, MANIFEST, PROGRESS, Result, Workspace, read_manifest, write_json

FORMAT = 1
"""Version of the artifacts' layout; part of every fingerprint."""

_OURS = {BUILDING, PROGRESS, LOCK}


@dataclass
class Artifact:
    """One folder, planned or built.

    `identity` is the configuration that defines the content; `inputs` the artifacts it is made from. `build` fills a
    `Workspace`; `estimate` says for a dry run what that would cost. An artifact loaded by path has no `build`.
    """

    kind: str
    name: str
    identity: dict[str, Any]
    root: Path
    inputs: dict[str, Artifact] = field(default_factory=dict)
    build: Callable[[Workspace], Result] | None = None
    estimate: Callable[[], dict[str, str]] | None = None
    out: Path | None = None
    stored_fingerprint: str | None = None
    external: bool = False
    """A folder somebody else made (a model): complete as it stands, without a manifest."""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of format, kind, identity and the inputs' fingerprints."""
        if self.stored_fingerprint is not None:
            return self.stored_fingerprint
        inputs = {role: artifact.fingerprint for role, artifact in self.inputs.items()}
        return hash_json({"format": FORMAT, "kind": self.kind, "identity": self.identity, "inputs": inputs})

    @cached_property
    def path(self) -> Path:
        if self.out is not None:
            return self.out
        return self.root / self.kind / f"{slug(self.name)}--{self.fingerprint[:8]}"

    def manifest(self) -> dict[str, Any]:
        """The manifest of a finished artifact."""
        return read_manifest(self.path)

    def state(self) -> str:
        """`cached`, `unfinished` or `to build`."""
        if self._is_complete():
            return "cached"
        return "unfinished" if (self.path / BUILDING).exists() else "to build"

    def ensure(self) -> Path:
        """Build the artifact unless it is there; return its folder.

        Raises UnusableInput where the folder holds something else. A second process with the same command waits for
        the first.
        """
        if self._is_complete():
            return self.path
        if self.build is None:
            raise UnusableInput(f"{self.path}: not a finished artifact")
        self._refuse_foreign_content()  # before hours go into the inputs
        for source in self.inputs.values():
            source.ensure()
        self._refuse_foreign_content()
        with _locked(self.path):
            if not self._is_complete():
                self._refuse_foreign_content()
                self._build()
        return self.path

    def _build(self) -> None:
        assert self.build is not None
        started = time.time()
        workspace = Workspace(self.path, {role: source.path for role, source in self.inputs.items()})
        workspace.sweep()
        was_empty = all(_is_ours(entry.name) for entry in self.path.iterdir()) and not workspace.has_finished()
        earlier = self.path / MANIFEST
        promised = earlier.read_bytes() if earlier.exists() else None
        inputs = {role: {"fingerprint": source.fingerprint} for role, source in self.inputs.items()}
        marker = {"kind": self.kind, "name": self.name, "fingerprint": self.fingerprint}
        write_json(self.path / BUILDING, {**marker, "identity": self.identity, "inputs": inputs}, durable=True)
        earlier.unlink(missing_ok=True)
        try:
            result = self.build(workspace)
        except (BadConfiguration, UnusableInput, MissingInput):
            if not workspace.has_finished():
                if was_empty:  # leave no trace, so that `out=` serves for the mended command
                    workspace.clear()
                elif promised is not None:  # damaged, but for the rest as finished as it was
                    earlier.write_bytes(promised)
                    workspace.close()
            raise
        outputs = _describe_outputs(self.path, result.rows, workspace.checksums())
        manifest = {
            "kind": self.kind,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "format": FORMAT,
            "identity": self.identity,
            "inputs": {
                role: {
                    "kind": source.kind,
                    "name": source.name,
                    "fingerprint": source.fingerprint,
                    "path": _relative(source.path, self.path),
                }
                for role, source in self.inputs.items()
            },
            "outputs": outputs,
            "counts": result.counts,
            "seeds": result.seeds,
            "revisions": {**self._revisions_of_inputs(), **result.revisions},
            "runtime": {**environment.runtime(), **result.runtime},
            "code": environment.code(),
            "environment": environment.packages(),
            "timings": {"started": round(started, 3), "seconds": round(time.time() - started, 3)},
        }
        write_json(self.path / MANIFEST, manifest, durable=True)
        workspace.close()

    def _revisions_of_inputs(self) -> dict[str, str]:
        """{hub id: commit} of the inputs that came from the hub."""
        identities = [source.identity for source in self.inputs.values()]
        return {
            known["hub_id"]: known["revision"] for known in identities if known.get("hub_id") and known.get("revision")
        }

    def _differences(self, held: Mapping[str, Any]) -> str:
        """`, made with recipe.steps=10 instead of 20`: what sets an artifact of our kind apart from this one."""
        theirs, ours = _leaves(held.get("identity", {})), _leaves(self.identity)
        changed = [
            f"{key.lstrip('.')}={theirs.get(key)} instead of {ours.get(key)}"
            for key in sorted({*theirs, *ours})
            if theirs.get(key) != ours.get(key)
        ]
        inputs = {role: source.fingerprint for role, source in self.inputs.items()}
        used = {role: recorded["fingerprint"] for role, recorded in held.get("inputs", {}).items()}
        changed += [f"another input {role}" for role in sorted({*inputs, *used}) if inputs.get(role) != used.get(role)]
        if not changed:
            return ""
        rest = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        return f", made with {', '.join(changed[:5])}{rest}"

    def _is_complete(self) -> bool:
        if self.external:
            return True
        try:
            manifest = json.loads((self.path / MANIFEST).read_text())
        except (OSError, ValueError):
            return False
        if not isinstance(manifest, dict) or manifest.get("fingerprint") != self.fingerprint:
            return False
        for output in manifest.get("outputs", []):
            file = self.path / output["path"]
            if not file.is_file() or file.stat().st_size != output["bytes"]:
                if self.build is None:
                    raise UnusableInput(
                        f"{file}: the manifest promises {output['bytes']} bytes; the file is damaged or gone"
                    )
                note(f"{file}: damaged or gone; {self.name} is built again")
                return False
        return True

    def _refuse_foreign_content(self) -> None:
        if self.path.is_symlink() and not self.path.exists():
            raise UnusableInput(f"out={self.path}: is a link to something that is not there")
        above = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
        if above.is_file():
            named = "" if above == self.path else f"{above} "
            raise UnusableInput(f"out={self.path}: {named}is a file, not a folder")
        if above.is_dir() and not os.access(above, os.W_OK | os.X_OK) and above.is_dir():
            raise UnusableInput(f"out={self.path}: nothing can be written in {above}")
        try:
            foreign = sorted(entry.name for entry in self.path.iterdir() if not _is_ours(entry.name))
        except FileNotFoundError:  # another command on bad input may be removing it just now
            return
        hint = "choose another folder, or remove it"
        # The marker is looked for after the files: another command may begin or finish this artifact in between.
        for marker in (BUILDING, MANIFEST):
            try:
                held = json.loads((self.path / marker).read_text())
                same, what = held["fingerprint"] == self.fingerprint, f"{held['kind']} {held['name']!r}"
                what += self._differences(held) if held["kind"] == self.kind else ""
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError):
                same, what = False, f"an unreadable {marker}"
            if not same:
                state = "unfinished " if marker == BUILDING else ""
                raise UnusableInput(f"out={self.path}: holds another artifact ({state}{what}); {hint}")
            return
        if foreign:
            raise UnusableInput(f"out={self.path}: holds files that are not an artifact ({foreign[0]!r}, …); {hint}")


def _is_ours(name: str) -> bool:
    """Whether a file belongs to the building of an artifact; another command may be writing its marker just now."""
    return name in _OURS or (name.startswith(f"{BUILDING}.") and name.endswith(".tmp"))


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {key: leaf for name, item in value.items() for key, leaf in _leaves(item, f"{prefix}.{name}").items()}


def load_artifact(path: Path, kinds: tuple[str, ...], key: str, builds_it: str) -> Artifact:
    """The finished artifact in `path`.

    Raises MissingInput with the command `builds_it` where nothing is there, UnusableInput where it is of another kind.
    """
    if not path.exists():
        raise MissingInput(f"{key}={path}: does not exist; build it with: {builds_it}")
    manifest = read_manifest(path)
    if manifest["kind"] not in kinds:
        raise UnusableInput(f"{key}={path}: holds a {manifest['kind']} artifact, wanted {' or '.join(kinds)}")
    inputs = {
        role: load_input(path, manifest, role)
        for role, recorded in manifest.get("inputs", {}).items()
        if "path" in recorded and (path / recorded["path"]).is_dir()
    }
    return Artifact(
        kind=manifest["kind"],
        name=manifest["name"],
        identity=manifest["identity"],
        root=path.parent,
        inputs=inputs,
        out=path,
        stored_fingerprint=manifest["fingerprint"],
    )


def load_input(path: Path, manifest: Mapping[str, Any], role: str) -> Artifact:
    """The input `role` of the artifact in `path`, checked against the fingerprint its manifest recorded.

    Raises MissingInput where it is gone, or was never here (a shared artifact), UnusableInput where it is another.
    """
    recorded = manifest["inputs"][role]
    if "path" not in recorded:
        raise MissingInput(
            f"{path} needs its input {role}, {recorded['kind']} {recorded['name']!r}: it was shared without it"
        )
    source = path / recorded["path"]
    if recorded["kind"] in ("model", "sets"):  # somebody else's folders: no manifest there
        return external_folder(recorded["kind"], recorded["name"], {}, path.parent, source, recorded["fingerprint"])
    artifact = load_artifact(
        source, (recorded["kind"],), f"{path.name} needs its input {role}, ", "the command that built it"
    )
    if artifact.fingerprint != recorded["fingerprint"]:
        raise UnusableInput(f"{source}: is not the {role} that {path} was made from (fingerprints differ)")
    return artifact


def external_folder(
    kind: str, name: str, identity: dict[str, Any], root: Path, folder: Path, fingerprint: str
) -> Artifact:
    """A folder that this project did not make, as an input of others."""
    return Artifact(kind, name, identity, root, out=folder, stored_fingerprint=fingerprint, external=True)


def slug(name: str) -> str:
    """`name` as part of a folder's name: letters, digits, `.`, `_`, `-`."""
    safe = "".join(
        character if character.isascii() and (character.isalnum() or character in "._-") else "-" for character in name
    )
    return safe.strip(".-")[:80] or "unnamed"


def _relative(target: Path, start: Path) -> str:
    return os.path.relpath(target.resolve(), start.resolve())


def _describe_outputs(folder: Path, rows: Mapping[str, int], checksums: Mapping[str, str]) -> list[dict[str, Any]]:
    described = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or name.split("/")[0] in _OURS or name == MANIFEST:
            continue
        entry: dict[str, Any] = {"path": name, "bytes": file.stat().st_size}
        if name in rows:
            entry["rows"] = rows[name]
        entry["sha256"] = checksums.get(name) or hash_file(file)
        described.append(entry)
    return described


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold `folder/.lock`; afterwards a folder that was made for it and got nothing goes.

    Freed by the kernel when the holder dies, so a killed run never blocks the next.
    """
    lock = folder / LOCK
    while True:
        is_new = not folder.exists()
        with suppress(FileExistsError):  # removed and made again meanwhile
            folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = lock.open("w")
        except FileNotFoundError:  # whoever held it found bad input, and left no trace
            if folder.is_symlink():  # to something that is not there: nobody will make it
                raise
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"{folder}: another process is building it; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_still(lock, handle):
            break
        handle.close()  # the lock of a file that is gone keeps nobody out
    with handle:
        try:
            yield
        finally:
            nothing_left = [entry.name for entry in folder.glob("*")] == [LOCK]
            if nothing_left or (folder / MANIFEST).exists():
                lock.unlink(missing_ok=True)
            if nothing_left and is_new:
                with suppress(OSError):  # another command may have its lock there by now
                    folder.rmdir()


def _is_still(path: Path, handle: IO[str]) -> bool:
    """Whether what was opened is what stands there now."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
