"""Files with the rows of tasks: which task and split is where, and what is in them.

Reads `<eval.tasks_path>/<task>/<split>.jsonl` (also .ndjson, .json, each also .gz or .zst, or .parquet; parts of a
split as the Hub names them), or one file `<task>.jsonl` that holds the split the task is evaluated on. The tasks of a
group (MMLU) share these files, told apart by a field of their rows, or have a folder each:
`<group>/<part>/<split>.jsonl`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eval.sets import READABLE, is_readable, stem
from toedit.artifacts import Artifact, external_folder
from toedit.config import CorpusConfig
from toedit.console import printable
from toedit.corpora.files import FileRows
from toedit.corpora.local import input_file
from toedit.corpora.rows import BadRow, parse
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.fingerprints import FileHashes, hash_json

ONE_FILE = ""
"""The split of a task that lies in one file: whichever it is evaluated on."""
_PART = re.compile(r"-\d+-of-\d+$")


@dataclass(frozen=True)
class LocalTask:
    """The files of one task or group by split (of a group with folders: `<part>/<split>`), and where they are."""

    name: str
    where: Path
    files: Mapping[str, list[Path]]
    part: tuple[str, str] | None = None
    """Of one task of a group: a field, and the value that its rows have there."""
    ids: tuple[str, Mapping[str, tuple[int, int]]] | None = None
    """Where one file has the rows of all splits: a field, and the first and last number there of each split."""
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict, compare=False, repr=False)
    """What was read already, by split, all parts together."""


def find_tasks(folder: Path, names: Sequence[str], places: Mapping[str, str | None] | None = None) -> list[LocalTask]:
    """The named tasks below `folder`, at `places` where their names are others.

    Raises MissingInput, naming the first that is not there.
    """
    key = f"eval.tasks_path={folder}"
    if not folder.is_dir():
        raise MissingInput(f"{key}: is no folder; give one with a folder or file a task ({READABLE})")
    found = []
    for name in names:
        place = _place(folder, name, (places or {}).get(name))
        inside = folder / place
        files = _files_inside(inside) if inside.is_dir() else {}
        if not inside.is_dir():
            for file in sorted(folder.iterdir()):
                if file.is_file() and is_readable(file) and stem(file) == place:
                    files.setdefault(ONE_FILE, []).append(file)
        if not files:
            raise MissingInput(
                f"{key}: task {name} is not there, neither {place}/<split>.jsonl nor {place}.jsonl ({READABLE}); "
                f"'~eval.tasks.{name}' leaves it out"
            )
        found.append(LocalTask(name, inside if inside.is_dir() else files[ONE_FILE][0], files))
    return found


def _place(folder: Path, name: str, given: str | None) -> str:
    """The folder or file of a task: its own name where that is there, else the one that the settings give."""
    is_own = (folder / name).is_dir() or any(stem(file) == name for file in folder.iterdir() if is_readable(file))
    return name if given is None or is_own else given


def _files_inside(folder: Path) -> dict[str, list[Path]]:
    """Readable files by split, parts of a split together; where there are folders alone, those of each."""
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and is_readable(file):
            files.setdefault(_PART.sub("", stem(file)), []).append(file)
    if not files:
        for inside in sorted(path for path in folder.iterdir() if path.is_dir()):
            files |= {f"{inside.name}/{split}": own for split, own in _files_inside(inside).items()}
    return files


def part_of(group: LocalTask, part: str, part_field: str | None) -> LocalTask:
    """The rows of one task of a group: the files in its folder, or the rows whose `part_field` names it."""
    if any("/" in split for split in group.files):
        own = {
            split.removeprefix(f"{part}/"): files
            for split, files in group.files.items()
            if split.startswith(f"{part}/")
        }
        if not own:
            raise MissingInput(f"eval.tasks.{group.name}: {group.where} has no folder {part}")
        return replace(group, where=group.where / part, files=own, rows={})
    if part_field is None:
        raise BadConfiguration(
            f"eval.tasks.{group.name}.part_field: {group.where} has the rows of all tasks of this group in one file; "
            "name the field that says which task a row belongs to"
        )
    return replace(group, part=(part_field, plain(part)))


def divided_by_id(task: LocalTask, splits: Mapping[str, Any]) -> LocalTask:
    """The task with a file for each split, where it has one file for all of them: `splits` is {field: its name, split:
    [first, last]}. Where splits have files of their own, the task as it is."""
    bounds = {split: (between[0], between[1]) for split, between in splits.items() if split != "field"}
    if len(task.files) != 1 or set(task.files) & set(bounds):
        return task
    (files,) = task.files.values()
    return replace(task, files=dict.fromkeys(bounds, files), ids=(splits["field"], bounds), rows={})


def check_parts(group: LocalTask, parts: Sequence[str], part_field: str | None) -> None:
    """Refuse a row that belongs to no task of the group: it would be left out and nothing said."""
    known = {plain(part) for part in parts}
    for split, rows in group.rows.items():
        for number, row in enumerate(rows, start=1):
            if part_field is not None and plain(str(row[part_field])) not in known:
                raise UnusableInput(
                    f"eval.tasks.{group.name}: {group.files[split][0]}: row {number} has the {part_field} "
                    f"{printable(repr(row[part_field]))[:80]}, none of the {len(known)} of this group"
                )


def plain(part: str) -> str:
    """`Counting & Probability` as `counting_and_probability`: data sets write the same part in several ways."""
    return re.sub(r"[^a-z0-9]+", "_", part.lower().replace("&", "and")).strip("_")


def plan_files(
    folder: Path, names: Sequence[str], root: Path, places: Mapping[str, str | None] | None = None
) -> Artifact:
    """The files of the named tasks as an input of others: their hashes say which they are."""
    found = find_tasks(folder, names, places)
    paths = [path for task in found for files in task.files.values() for path in files]
    hashes = FileHashes(root).of(paths)
    identity = {
        "files": [[path.relative_to(folder).as_posix(), hashes[path]] for path in paths],
        "bytes": sum(path.stat().st_size for path in paths),
    }
    return external_folder("sets", folder.resolve().name, identity, root, folder, hash_json(identity))


def read_rows(task: LocalTask, split: str) -> list[dict[str, Any]]:
    """The rows of a split, of a part those that are its own. Raises UnusableInput for a bad or missing row."""
    if split not in task.rows:
        task.rows[split] = _read(task, split)
    if task.ids is not None:
        return _between(task, split, *task.ids)
    if task.part is None:
        return task.rows[split]
    part_field, part = task.part
    for number, row in enumerate(task.rows[split], start=1):
        if not isinstance(row.get(part_field), str):
            what = "is missing" if row.get(part_field) is None else "is no text"
            raise UnusableInput(
                f"eval.tasks.{task.name}: {task.files[split][0]}: field {part_field} {what} in row {number}"
            )
    own = [row for row in task.rows[split] if plain(row[part_field]) == part]
    if not own:
        raise UnusableInput(f"eval.tasks.{task.name}: {task.files[split][0]}: no row has the {part_field} {part}")
    return own


def _between(task: LocalTask, split: str, key: str, bounds: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """The rows of a split by their ids."""
    where, (first, last) = f"eval.tasks.{task.name}: {task.files[split][0]}", bounds[split]
    for number, row in enumerate(task.rows[split], start=1):
        if type(row.get(key)) is not int:
            what = "is missing" if row.get(key) is None else "is no whole number"
            raise UnusableInput(f"{where}: field {key} {what} in row {number}")
    own = [row for row in task.rows[split] if first <= row[key] <= last]
    if not own:
        raise UnusableInput(f"{where}: no row has a {key} from {first} to {last}, which make the split {split}")
    return own


def _read(task: LocalTask, split: str) -> list[dict[str, Any]]:
    """All rows of a split: a missing question would move the result, so a bad row stops the run."""
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
