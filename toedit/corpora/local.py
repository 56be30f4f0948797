"""kind=local: documents from a file, a folder or a glob on this machine.

    python run.py stage=corpus corpus=local corpus.path=texts/
    python run.py stage=corpus corpus=local corpus.path=rows.json corpus.layout=alpaca

Reads `.jsonl`, `.ndjson`, `.json` (lines or an array) and `.txt` (one document), each plain, .gz or .zst, and
`.parquet`. Hidden files are left out; so are files of other kinds, which a closing line names.
"""

from __future__ import annotations

import glob
import io
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact
from toedit.config import CorpusConfig
from toedit.console import human, note
from toedit.corpora.files import COMPRESSIONS, SUFFIXES, FileRows, InputFile, format_of
from toedit.corpora.ingest import ingest
from toedit.corpora.parts import content_identity, part_suffix
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.fingerprints import FileHashes
from toedit.workspace import MANIFEST, Result, Workspace

BUILDING = ".building.json"
"""The file that marks an artifact's folder while it is being built."""


def plan_local(config: CorpusConfig, root: Path, out: Path | None) -> Artifact:
    """The corpus made of the files at `config.path`.

    Raises MissingInput where nothing is there, UnusableInput where no file can be read, BadConfiguration without path.
    """
    if not config.path:
        raise BadConfiguration("corpus=local needs corpus.path=<a file, a folder, a glob or a corpus artifact>")
    found, others = find_files(config.path)
    try:
        hashes = FileHashes(root).of(found.values())
    except OSError as error:
        raise UnusableInput(f"corpus.path={config.path}: {error.filename} cannot be read ({error.strerror})") from None
    identity: dict[str, Any] = {
        "source": "local",
        "files": [[name, hashes[path]] for name, path in found.items()],
        **content_identity(config, root),
    }

    def build(workspace: Workspace) -> Result:
        files = [input_file(name, path) for name, path in found.items()]
        result = ingest(workspace, FileRows(files, config), config, f"corpus.path={config.path}")
        if others:
            shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
            note(f"{config.path}: {len(others)} other files were left out: {shown}")
        return result

    def estimate() -> dict[str, str]:
        return {"files": str(len(found)), "input": human(sum(path.stat().st_size for path in found.values()), "B")}

    name = config.name or _stem(config.path) + part_suffix(config)
    return Artifact("corpus", name, identity, root, build=build, estimate=estimate, out=out)


def find_files(path: str) -> tuple[dict[str, Path], list[str]]:
    """({name: path} of the files that can be read, names of the others), both in order of their names.

    Names are relative to the folder, or to the folder where the glob begins. Artifacts below the folder are not read:
    the corpus that is being built may be among them. Raises MissingInput, UnusableInput.
    """
    where = Path(path).expanduser()
    if where.is_dir():
        base, paths = where, [path for path in where.rglob("*") if path.is_file()]
    elif where.exists():
        base, paths = where.parent, [where]
    else:
        base = _fixed_part(where)
        matches = map(Path, glob.glob(str(where), recursive=True))  # noqa: PTH207 - Path.glob refuses `x**`
        paths = [match for match in matches if match.is_file()]
        if not paths:
            raise MissingInput(
                f"corpus.path={path}: does not exist, nor do files that match it; "
                f"give a file ({SUFFIXES}), a folder of such files, a glob, or a corpus artifact "
                f"(the embedded corpus is put there by: python run.py stage=corpus out={path})"
            )
    markers = [file for file in paths if file.name in (MANIFEST, BUILDING) and file.parent != base]
    artifacts = {file.parent for file in markers if is_artifact(file.parent)}
    named = {}
    for file in paths:
        relative = file.relative_to(base)
        hidden = file != where and any(part.startswith(".") for part in relative.parts)
        if not hidden and artifacts.isdisjoint(file.parents):
            named[_printable_name(relative)] = file
    readable = {name: named[name] for name in sorted(named) if format_of(name)}
    others = [name for name in sorted(named) if name not in readable]
    others += sorted(f"{_printable_name(folder.relative_to(base))} (an artifact)" for folder in artifacts)
    if not readable:
        raise UnusableInput(f"corpus.path={path}: holds no file that can be read: {SUFFIXES}")
    return readable, others


def is_artifact(folder: Path) -> bool:
    """Whether `folder` is an artifact, finished or not, rather than a folder with a file called manifest.json."""
    if (folder / BUILDING).exists():
        return True
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return {"kind", "fingerprint", "identity"} <= manifest.keys()
    except (OSError, ValueError, AttributeError):
        return False


def input_file(name: str, path: Path) -> InputFile:
    return InputFile(name, partial(io.FileIO, path), path.stat().st_size)


def _fixed_part(pattern: Path) -> Path:
    """The folder above the first part of `pattern` that holds a wildcard."""
    parts = list(pattern.parts)
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:fixed])


def _printable_name(relative: Path) -> str:
    """The file's name as text, another for every file: bytes that are not UTF-8 become `\\xff`, a backslash doubles."""
    return os.fsencode(relative.as_posix()).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _stem(path: str) -> str:
    where = Path(path).expanduser()
    name = (where if where.exists() else _fixed_part(where)).resolve().name
    while format_of(name) or Path(name).suffix.lower() in COMPRESSIONS:
        name = Path(name).stem
    return name or "local"
