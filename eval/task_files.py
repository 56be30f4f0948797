"""Files with the rows of tasks: which task and split is where, and what is in them.

Reads `<eval.tasks_path>/<task>/<split>.jsonl` (also .ndjson, .json, each also .gz or .zst, or .parquet; parts of a
split as the Hub names them), or one file `<task>.jsonl` that holds the split the task is evaluated on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.sets import READABLE, is_readable, stem
from toedit.artifacts import Artifact, external_folder
from toedit.config import CorpusConfig
from toedit.console import printable
from toedit.corpora.files import FileRows
from toedit.corpora.local import input_file
from toedit.corpora.rows import BadRow, parse
from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import FileHashes, hash_json

ONE_FILE = ""
"""The split of a task that lies in one file: whichever it is evaluated on."""
_PART = re.compile(r"-\d+-of-\d+$")


@dataclass(frozen=True)
class LocalTask:
    """The files of one task by split, and where messages say they are."""

    name: str
    where: Path
    files: Mapping[str, list[Path]]


def find_tasks(folder: Path, names: list[str]) -> list[LocalTask]:
    """The named tasks below `folder`. Raises MissingInput, naming the first that is not there."""
    key = f"eval.tasks_path={folder}"
    if not folder.is_dir():
        raise MissingInput(f"{key}: is no folder; give one with a folder or file a task ({READABLE})")
    found = []
    for name in names:
        files: dict[str, list[Path]] = {}
        inside = folder / name
        for file in sorted(inside.iterdir() if inside.is_dir() else folder.iterdir()):
            if file.is_file() and is_readable(file) and (inside.is_dir() or stem(file) == name):
                split = _PART.sub("", stem(file)) if inside.is_dir() else ONE_FILE
                files.setdefault(split, []).append(file)
        if not files:
            raise MissingInput(
                f"{key}: task {name} is not there, neither {name}/<split>.jsonl nor {name}.jsonl ({READABLE}); "
                f"'~eval.tasks.{name}' leaves it out"
            )
        found.append(LocalTask(name, inside if inside.is_dir() else files[ONE_FILE][0], files))
    return found


def plan_files(folder: Path, names: list[str], root: Path) -> Artifact:
    """The files of the named tasks as an input of others: their hashes say which they are."""
    found = find_tasks(folder, names)
    paths = [path for task in found for files in task.files.values() for path in files]
    hashes = FileHashes(root).of(paths)
    identity = {
        "files": [[path.relative_to(folder).as_posix(), hashes[path]] for path in paths],
        "bytes": sum(path.stat().st_size for path in paths),
    }
    return external_folder("sets", folder.resolve().name, identity, root, folder, hash_json(identity))


def read_rows(task: LocalTask, split: str) -> list[dict[str, Any]]:
    """All rows of a split. Raises UnusableInput for a bad row: a missing question would move the result."""
    # Of a layout of rows all columns are read.
    reading = CorpusConfig(kind="local", path=str(task.where), layout="alpaca")
    files = [input_file(str(file), file) for file in task.files[split]]
    rows, line = [], ""
    try:
        for row in FileRows(files, reading).rows():
            value: Any = row.value
            line = f"{row.file} line {row.line}: "
            if isinstance(value, BadRow):
                raise value
            rows.append(dict(parse(value) if isinstance(value, bytes) else value))
    except BadRow as problem:
        raise UnusableInput(f"eval.tasks.{task.name}: {line}{printable(str(problem))}") from None
    except UnusableInput as error:  # a damaged file; corpora have a key for it, questions none
        raise UnusableInput(f"eval.tasks.{task.name}: {str(error).partition('; to use')[0]}") from None
    if not rows:
        raise UnusableInput(f"eval.tasks.{task.name}: {task.where}: split {split or task.name} holds no row")
    return rows
