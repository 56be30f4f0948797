"""Text sets below `eval.sets`: which files belong to which set, and what is left out.

Reads only names of files. A set is a first-level folder, with its files of the asked split together; a file, where the
folder is flat; a corpus artifact. Splits are sub-folders (`c4_en/val/...`) or files (`val.jsonl.zst`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toedit.corpora.files import format_of
from toedit.corpora.local import is_artifact
from toedit.documents import shard_paths
from toedit.errors import MissingInput, UnusableInput

HELD_OUT = "held_out_"
"""Sets of this name are what was held out of a corpus that the model was trained on."""
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}
READABLE = ".jsonl, .ndjson, .json (each also .gz or .zst) or .parquet"
_ALIASES = {alias: split for split, aliases in SPLITS.items() for alias in aliases}


@dataclass(frozen=True)
class TextSet:
    """A set's name and its files, in order of their names."""

    name: str
    files: tuple[Path, ...]
    root: Path
    """Where messages name its files from."""
    is_corpus: bool = False
    """A corpus artifact of ours: Dolma documents, whatever fields the other sets have."""


@dataclass(frozen=True)
class FoundSets:
    """The sets below a folder, and one line for each thing there that is not read."""

    sets: list[TextSet]
    left_out: list[str]


def find_sets(where: Path, split: str | None) -> FoundSets:
    """The sets at `where`, in order of their names.

    Raises MissingInput where nothing is there, UnusableInput for a set without files and where no set is found.
    """
    key = f"eval.sets={where}"
    if not where.exists():
        raise MissingInput(
            f"{key}: does not exist; give a folder of text sets ({READABLE}), one such file, or a corpus artifact "
            f"(the embedded corpus is put there by: python run.py stage=corpus out={where})"
        )
    if is_artifact(where) or not where.is_dir():
        return FoundSets([TextSet(stem(where.resolve()), _files(where, key), where)], [])
    left_out: list[str] = []
    root, where = where, _inside_split(where, split)
    folders = [entry for entry in _visible(where) if entry.is_dir()]
    sets = []
    for folder in folders:
        inside = _inside_split(folder, split)
        if inside == folder and split is not None and _splits_of(folder):
            left_out.append(f"set {folder.name}: has no split {split} ({', '.join(_splits_of(folder))})")
            continue
        files = _of_split(_files(inside, f"eval.sets: set {folder.name}"), split)
        sets.append(TextSet(folder.name, files, root))
    flat = [entry for entry in _visible(where) if entry.is_file() and is_readable(entry)]
    if folders:
        left_out += [f"{file.name}: a file beside folders is no set" for file in flat]
    else:
        chosen = _of_split(flat, split)
        left_out += [f"{file.name}: of another split than {split}" for file in flat if file not in chosen]
        short = Counter(map(stem, chosen))
        sets = [TextSet(stem(file) if short[stem(file)] == 1 else file.name, (file,), root) for file in chosen]
    if not sets:
        raise UnusableInput(f"{key}: holds no set of split {split}" + (f" ({left_out[0]}, …)" if left_out else ""))
    return FoundSets(sets, left_out)


def held_out_set(name: str, corpus: Path) -> TextSet:
    """A corpus artifact as a set."""
    return TextSet(name, tuple(shard_paths(corpus)), corpus, is_corpus=True)


def all_files(found: FoundSets) -> list[Path]:
    return [file for text_set in found.sets for file in text_set.files]


def unmatched(expected: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(expected names that are absent, names that nobody expected); case and punctuation do not count."""

    def plain(name: str) -> str:
        return "".join(filter(str.isalnum, name.lower()))

    known, present = set(map(plain, expected)), set(map(plain, names))
    return [n for n in expected if plain(n) not in present], [n for n in names if plain(n) not in known]


def _files(where: Path, what: str) -> tuple[Path, ...]:
    """The readable files of one set. A set without any is refused: a row about nothing helps nobody."""
    if is_artifact(where):
        files = shard_paths(where)
    elif where.is_dir():
        inside = (file for file in where.rglob("*") if file.is_file())
        files = sorted(
            file
            for file in inside
            if is_readable(file) and not any(part.startswith(".") for part in file.relative_to(where).parts)
        )
    else:
        files = [where] if is_readable(where) else []
    if not files:
        raise UnusableInput(f"{what}: is empty; it holds no file that can be read ({READABLE})")
    return tuple(files)


def is_readable(file: Path) -> bool:
    """Text files are left to corpora: beside sets they are read-me files."""
    found = format_of(file.name)
    return found is not None and found[0] != "txt"


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _splits_of(folder: Path) -> list[str]:
    """Names of the sub-folders that are splits."""
    return [entry.name for entry in _visible(folder) if entry.is_dir() and entry.name.lower() in _ALIASES]


def _inside_split(folder: Path, split: str | None) -> Path:
    """The sub-folder of the asked split, where `folder` has it."""
    if split is None:
        return folder
    wanted = SPLITS.get(_ALIASES.get(split, split), (split,))
    return next((folder / name for name in _splits_of(folder) if name.lower() in wanted), folder)


def _of_split(files: Sequence[Path], split: str | None) -> tuple[Path, ...]:
    """`files`, or, where some are named for a split (`val.jsonl`, `test.jsonl`), those of the asked one."""
    named = {file: _ALIASES.get(stem(file).lower()) for file in files}
    if split is None or not any(named.values()):
        return tuple(files)
    return tuple(file for file in files if named[file] == _ALIASES.get(split, split))


def stem(path: Path) -> str:
    """A file's name without what says how it is stored."""
    name = path.name
    while PurePosixPath(name).suffix.lower() in (".gz", ".zst", ".jsonl", ".ndjson", ".json", ".parquet"):
        name = PurePosixPath(name).stem
    return name
