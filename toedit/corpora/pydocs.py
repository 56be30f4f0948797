"""kind=pydocs: documentation that every installation already holds. The embedded default: no download, no data file.

    python run.py stage=corpus                          # everything, one artifact
    python run.py stage=corpus corpus.split=validation  # 5 % of it, by a hash of the id

Reads the language reference in `pydoc_data`, the docstrings of the standard library and of installed packages (their
sources are parsed, nothing is imported) and the packages' descriptions. Writes one document a section or docstring:
`id` is `module.qualname`, `topics/NAME` or `description/PACKAGE`, `source` the package. Texts that differ only in case
and white space are kept once. The text is that of the installed versions, which the identity names.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact
from toedit.config import CorpusConfig
from toedit.config.instruction import ALPACA
from toedit.console import note
from toedit.corpora import docstrings
from toedit.corpora.ingest import ingest
from toedit.corpora.rows import Row
from toedit.errors import UnusableInput
from toedit.workspace import Result, Workspace

RULES = 1
"""Version of the rules below; part of the identity."""

PYTHON = "python"
_WORKERS = 2
_LEFT_OUT_FOLDERS = {
    *("test", "tests", "testing", "idle_test", "test_utils", "conftest", "baseline_images"),  # tests
    *("_vendor", "vendor", "vendored", "_vendored", "_vendored_packages", "third_party", "extern", "externals"),
    *("site-packages", "dist-packages", "lib2to3", "ensurepip", "turtledemo", "__pycache__"),
}


def plan_pydocs(config: CorpusConfig, root: Path, out: Path | None) -> Artifact:
    """The corpus of all documentation in `config.packages` (none: the standard library alone).

    A package that is not installed is left out; raises UnusableInput where none is.
    """
    wanted = config.packages or [PYTHON]
    versions = {name: version for name in wanted if (version := _version(name)) is not None}
    if not versions:
        raise UnusableInput(f"corpus.packages={','.join(wanted)}: none of them is installed")
    identity = {
        "source": "pydocs",
        "rules": RULES,
        "packages": [[name, version] for name, version in versions.items()],
        "min_characters": config.min_characters,
        "shard_bytes": config.shard_bytes,
    }
    own = CorpusConfig(layout=config.layout, min_characters=config.min_characters, shard_bytes=config.shard_bytes)
    if config.layout == ALPACA:
        identity["layout"] = ALPACA

    def build(workspace: Workspace) -> Result:
        missing = [name for name in wanted if name not in versions]
        if missing:
            note(f"pydocs: not installed, left out: {', '.join(missing)}")
        documents = _distinct(read_documentation(list(versions), config.min_characters))
        rows = [_as_instruction(document) for document in documents] if config.layout == ALPACA else documents
        result = ingest(workspace, DocumentRows(rows), own, "pydocs")
        result.counts["bytes_by_package"] = _bytes_by_package(documents)
        return result

    return Artifact("corpus", config.name or "pydocs", identity, root, build=build, out=out)


class DocumentRows:
    """Documents in memory as a source of rows."""

    unit = "documents"

    def __init__(self, documents: Sequence[dict[str, Any]]) -> None:
        self._documents = documents
        self.total: int | None = len(documents)
        self.position = 0
        self.truncated: list[str] = []

    def rows(self, file_number: int = 0, line: int = 0) -> Iterator[Row]:
        for number, document in enumerate(self._documents[line:], start=line + 1):
            self.position = number
            yield Row(0, "pydocs", number, document)


def read_documentation(packages: list[str], min_characters: int, workers: int = _WORKERS) -> list[dict[str, Any]]:
    """All documents of `packages`, in an order that does not depend on `workers`."""
    jobs: list[tuple[str, str, Path]] = []  # (package, module, file)
    documents: list[tuple[int, int, dict[str, Any]]] = []  # (package, file, document)
    for rank, package in enumerate(packages):
        jobs += [(package, module, path) for module, path in _modules(package)]
        description = _description(package)
        if len(description) >= min_characters:
            documents.append((rank, -1, _document(f"description/{package}", description, package)))
    note(f"pydocs: reading {len(jobs)} source files of {len(packages)} packages")
    ranks = {package: rank for rank, package in enumerate(packages)}
    for number, found in _parse(jobs, min_characters, workers):
        package = jobs[number][0]
        documents += [(ranks[package], number, _document(name, text, package)) for name, text in found]
    documents.sort(key=lambda entry: entry[:2])
    return [document for *_, document in documents]


def _parse(
    jobs: Sequence[tuple[str, str, Path]], min_characters: int, workers: int
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """(number of the job, its documents) for every job, from `workers` processes."""
    numbered = sorted(range(len(jobs)), key=lambda number: jobs[number][2].stat().st_size)
    shares = [
        [[number, jobs[number][1], str(jobs[number][2])] for number in numbered[i::workers]] for i in range(workers)
    ]

    def run(share: list[Any]) -> str:
        command = [sys.executable, "-I", str(Path(docstrings.__file__))]
        finished = subprocess.run(
            command,
            input=json.dumps([min_characters, share]).encode(),
            capture_output=True,
            check=False,
        )
        if finished.returncode:
            last = finished.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UnusableInput(f"pydocs: the process that reads docstrings failed ({' '.join(last)})")
        return finished.stdout.decode("ascii")

    with ThreadPoolExecutor(workers) as pool:
        for output in pool.map(run, shares):
            for line in output.splitlines():
                number, found = json.loads(line)
                yield number, found


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of the package's own sources, without tests and vendored code, in order."""
    if package == PYTHON:
        base = Path(sysconfig.get_paths()["stdlib"])
        relative = sorted(path.relative_to(base) for path in base.rglob("*.py"))
    else:
        distribution = importlib.metadata.distribution(package)
        base = Path(str(distribution.locate_file("")))
        relative = sorted(Path(str(file)) for file in distribution.files or [] if file.suffix == ".py")
    for path in relative:
        is_test = path.name.startswith("test_") or path.name.endswith("_test.py") or path.name == "conftest.py"
        if is_test or ".." in path.parts or _LEFT_OUT_FOLDERS & set(path.parts[:-1]):
            continue
        if (base / path).is_file():
            parts = path.with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), base / path


def _version(package: str) -> str | None:
    if package == PYTHON:
        return platform.python_version()
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def _description(package: str) -> str:
    if package == PYTHON:
        return ""
    metadata = importlib.metadata.metadata(package)
    return str(metadata.get("Description") or metadata.get_payload() or "").strip()  # type: ignore[attr-defined]


def _document(name: str, text: str, package: str) -> dict[str, Any]:
    return {"id": name, "text": text, "source": package}


def _as_instruction(document: dict[str, Any]) -> dict[str, Any]:
    """A question about what the document describes, the document as its response."""
    question = f"What is `{document['id']}` of {document['source']}?"
    return {"id": document["id"], "source": document["source"], "instruction": question, "output": document["text"]}


def _distinct(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of documents whose texts differ only in case and white space."""
    first: dict[bytes, dict[str, Any]] = {}
    for document in documents:
        folded = " ".join(document["text"].casefold().split())
        first.setdefault(hashlib.sha256(folded.encode()).digest(), document)
    return list(first.values())


def _bytes_by_package(documents: list[dict[str, Any]]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for document in documents:
        sizes[document["source"]] = sizes.get(document["source"], 0) + len(document["text"].encode())
    return sizes
