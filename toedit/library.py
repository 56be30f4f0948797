"""The library: score, edit, revert, diff, plan from Python, on files, folders, lists, frames and data sets.

    import toedit

    toedit.edit("my-corpus.jsonl.gz", prior="my-model", out="edited")          # files in, an edited corpus out
    frame = toedit.edit(frame, prior="my-model", text="body")                   # a frame in, a frame out
    scores = toedit.score(texts, prior="my-model")                              # the prior runs once,
    [toedit.edit(scores, p=p) for p in (0.9, 0.99, 0.999)]                      # each edit takes seconds

Files are those that the command takes; everything is an artifact below `artifacts` (for rows in memory, unless named, a
temporary folder), made once and found again. `settings` are keys of the command (`{"score.window": 512}`). Errors that
a caller can cause are `toedit.ToEditError`, in one line.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from toedit import executors
from toedit.artifacts import Artifact
from toedit.command import as_user_error
from toedit.config import Config
from toedit.documents import Document, read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.rows import have_text, is_in_memory, own_copy, put_back, require_a_place, write_rows
from toedit.settings import (
    check_generation,
    check_late,
    config_of,
    flattened,
    is_scores,
    of_building,
    prior_settings,
    scored_already,
)

Settings = Mapping[str, Any] | None
_P = ParamSpec("_P")
_R = TypeVar("_R")
_OF_ROWS = ("kind", "path", "hub_", "layout", "columns", "tags", "text_fields", "id_field", "source_field", "metadata_")
"""Keys of the corpus that say where documents are and what their fields mean: of rows, all that is known."""


def _public(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """An error that the caller can mend is a ToEditError of one line; an interrupt stays what it is."""

    @wraps(function)
    def wrapped(*arguments: _P.args, **named: _P.kwargs) -> _R:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise BadConfiguration(
                f"toedit.{function.__name__}: called while a worker process imports the script that started it; put "
                'the calls of the script under `if __name__ == "__main__":`'
            )
        try:
            return function(*arguments, **named)
        except Exception as error:
            known = as_user_error(error)
            if known is None or known is error:
                raise
            raise known from error

    return wrapped


@dataclass(frozen=True)
class _Rows:
    """Rows in memory, and the folder that holds them as files for as long as anything refers to it."""

    data: Any
    """A copy of the caller's."""
    text: str
    folder: tempfile.TemporaryDirectory[str]


@dataclass(frozen=True)
class Scores:
    """A prior's pass over a corpus: what every edit is made from."""

    path: Path
    """The artifact's folder (scores/*.parquet, manifest.json)."""
    config: Config = field(repr=False)
    rows: _Rows | None = field(default=None, repr=False)

    @property
    def tokens(self) -> int:
        return int(_counts(self.path)["tokens"])

    @property
    def confident(self) -> int:
        """Tokens with P >= score.min_p, whose candidates are stored."""
        return int(_counts(self.path)["confident"])


@dataclass(frozen=True)
class Edited:
    """An edited corpus and its ledger."""

    path: Path
    """The artifact's folder (documents/*.jsonl.zst, edits/*.parquet, manifest.json)."""

    @property
    def tokens(self) -> int:
        return int(_counts(self.path)["tokens"])

    @property
    def eligible(self) -> int:
        """Tokens that the rule may change (P >= p)."""
        return int(_counts(self.path)["eligible"])

    @property
    def changed(self) -> int:
        """Tokens that really differ."""
        return int(_counts(self.path)["changed"])

    def documents(self) -> Iterator[Document]:
        """The documents, in order: id, text, source, metadata."""
        for path in shard_paths(self.path):
            yield from read_documents(path)

    def to_pandas(self) -> Any:
        """A pandas frame, one row a document."""
        import pandas

        return pandas.DataFrame(list(self.documents()))

    def to_dataset(self) -> Any:
        """A `datasets.Dataset`, one row a document: id, text, source and the three counts."""
        from datasets import Dataset

        keys = ("tokens", "eligible", "changed")
        return Dataset.from_list(
            [
                {key: document[key] for key in ("id", "text", "source")}
                | {key: document["metadata"]["toedit"][key] for key in keys}
                for document in self.documents()
            ]
        )


@_public
def score(
    data: Any,
    prior: str | Path,
    *,
    text: str = "text",
    artifacts: str | Path | None = None,
    out: str | Path | None = None,
    settings: Settings = None,
) -> Scores:
    """Run `prior` (a folder or a hub id) over `data`: a file, a folder, a glob, a corpus, or rows in memory.

    `text` names the field or column that holds the text; `out` is the folder of the result.
    """
    from toedit.stages.score import plan

    rows = _rows(data, text)
    config = _config(data, rows, text, prior, artifacts, out, of_building(settings))
    if rows and not have_text(rows.data, text):
        raise UnusableInput("data: no row holds a text to score")
    return Scores(_built(plan, config), replace(config, out=None), rows)


@_public
def edit(
    data: Any,
    prior: str | Path | None = None,
    *,
    p: float = 0.99,
    k: int = 8,
    temperature: float = 1.0,
    seed: int = 0,
    text: str = "text",
    artifacts: str | Path | None = None,
    out: str | Path | None = None,
    settings: Settings = None,
) -> Any:
    """Edit `data`, or `Scores` of it, by Algorithm 1 of the paper.

    Files give an `Edited`; rows in memory come back in their own type, with the column `toedit` ({tokens, eligible,
    changed}) where they have columns. A k or p beyond what the scores hold is refused (`score.top_k`, `score.min_p`).
    """
    from toedit.stages.edit import plan

    own = {"edit.p": p, "edit.k": k, "edit.temperature": temperature, "edit.seed": seed, **of_building(settings)}
    if isinstance(data, str | os.PathLike):
        require_a_place(str(data))
        data = _scores_at(Path(data), own) if is_scores(Path(data)) else data
    if isinstance(data, Scores):
        return _edit_scores(data, prior, text, artifacts, out, own)
    if prior is None:
        raise BadConfiguration("prior: name a model folder or a hub id, or pass toedit.Scores")
    rows = _rows(data, text)
    config = _config(data, rows, text, prior, artifacts, out, own)
    if rows and not have_text(rows.data, text):
        if out is not None:
            raise UnusableInput(f"out={out}: no row holds a text, so that there is no corpus to put there")
        return put_back(rows.data, text, None)
    return _edited(rows, _built(plan, config))


def _edit_scores(
    scores: Scores,
    prior: str | Path | None,
    text: str,
    artifacts: str | Path | None,
    out: str | Path | None,
    own: Mapping[str, Any],
) -> Any:
    from toedit.stages.edit import plan

    if prior is not None:
        raise BadConfiguration(f"prior={prior}: the scores name theirs already")
    if text != "text":
        raise BadConfiguration(f"text={text}: the scores are of a text already")
    check_late(own)
    late = config_of(own)
    config = replace(
        scores.config,
        scores=replace(scores.config.scores, path=str(scores.path)),
        edit=late.edit,
        executor=late.executor if any(key.startswith("executor.") for key in own) else scores.config.executor,
        artifacts=str(artifacts) if artifacts else scores.config.artifacts,
        out=_text(out),
    )
    with scored_already():
        return _edited(scores.rows, _built(plan, config))


def _edited(rows: _Rows | None, path: Path) -> Any:
    return put_back(rows.data, rows.text, path) if rows else Edited(path)


@_public
def revert(edited: Edited | str | Path, *, out: str | Path) -> Path:
    """The original corpus, byte for byte, in the folder `out`."""
    from toedit.stages.revert import plan

    return _built(plan, _of_edited(edited, out))


@_public
def diff(edited: Edited | str | Path, *, documents: int = 3, out: str | Path | None = None) -> Path:
    """A page that shows edited documents beside their originals; the path of diff.html."""
    from toedit.stages.diff import PAGE, plan

    return _built(plan, _of_edited(edited, out, {"diff.documents": documents})) / PAGE


@_public
def export_dolma(edited: Edited | str | Path, *, out: str | Path) -> Path:
    """The ledger as attributes of the original documents, with the configuration by which the Dolma toolkit's mixer
    makes the edited text of them, in the folder `out`."""
    from toedit.stages.export_dolma import plan

    return _built(plan, _of_edited(edited, out))


@_public
def plan(data: Any, prior: str | Path, *, text: str = "text", settings: Settings = None) -> str:
    """What an edit would do and cost, in words; builds nothing (but reads rows in memory)."""
    from toedit.command import print_plan
    from toedit.stages.edit import plan as plan_edit

    rows = _rows(data, text)
    config = replace(_config(data, rows, text, prior, None, None, flattened(settings)), dry_run=True)
    said = StringIO()
    with redirect_stdout(said):
        print_plan(plan_edit(config))
    return said.getvalue()


def _scores_at(path: Path, own: Mapping[str, Any]) -> Scores:
    check_generation(own, path)
    return Scores(path, config_of({}))


def _config(
    data: Any,
    rows: _Rows | None,
    text: str,
    prior: str | Path,
    artifacts: str | Path | None,
    out: str | Path | None,
    settings: Mapping[str, Any],
) -> Config:
    if rows:
        of_rows = tuple(f"corpus.{key}" for key in _OF_ROWS)
        if place := next((key for key in settings if key.startswith(of_rows)), None):
            raise BadConfiguration(f"{place}: rows in memory are the corpus; it can be set for files")
    if "scores.path" in settings:
        raise BadConfiguration("scores.path: pass the folder of the scores as the data of toedit.edit")
    place = rows.folder.name if rows else "."
    given = {
        "corpus.kind": "local",
        "corpus.path": str(Path(rows.folder.name) / "rows.jsonl") if rows else str(data),
        "corpus.text_fields": ["text" if rows else text],
        **prior_settings(prior),
        "artifacts": str(artifacts) if artifacts else str(Path(place) / "artifacts"),
        "out": _text(out),
    }
    return config_of(given | dict(settings))


def _rows(data: Any, text: str) -> _Rows | None:
    if not is_in_memory(data):
        require_a_place(str(data))
        return None
    rows = _Rows(own_copy(data, text), text, tempfile.TemporaryDirectory(prefix="toedit-"))
    write_rows(rows.data, text, Path(rows.folder.name) / "rows.jsonl")
    return rows


def _of_edited(edited: Edited | str | Path, out: str | Path | None, further: Settings = None) -> Config:
    path = edited.path if isinstance(edited, Edited) else edited
    return config_of({"edited.path": str(path), "out": _text(out), **(further or {})})


def _built(plan: Callable[[Config], Artifact], config: Config) -> Path:
    with executors.using(config.executor):
        return plan(config).ensure()


def _counts(path: Path) -> dict[str, Any]:
    from toedit.workspace import read_manifest

    counts: dict[str, Any] = read_manifest(path)["counts"]
    return counts


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
