"""kind=hub: documents of a Hugging Face data set, or of a local folder laid out like one.

    python run.py stage=corpus corpus=openwebmath corpus.max_documents=1000
    python run.py stage=corpus corpus.kind=hub corpus.hub_id=owner/name corpus.text_fields=[question,response]

`datasets` finds out which files make up the subset and split; JSON, text and Parquet files are then read as local files
are, only the configured fields, so that no other column can break the run and every bad row is listed with its file
and line. Other formats (csv, arrow, archives) stream through `datasets`. Nothing is stored but the documents: a killed
run goes on in the file it was in. No code of a data set is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact
from toedit.config import CorpusConfig
from toedit.corpora import remote
from toedit.corpora.files import FileRows, InputFile, format_of, wanted_columns
from toedit.corpora.hub_files import data_files, hub_error, listed_files
from toedit.corpora.ingest import RowSource, ingest
from toedit.corpora.parts import content_identity, part_suffix
from toedit.corpora.rows import Row
from toedit.errors import BadConfiguration, MissingInput, ToEditError
from toedit.fingerprints import FileHashes
from toedit.workspace import Result, Workspace, write_json

_COMMIT = re.compile("[0-9a-f]{40}")


def plan_hub(config: CorpusConfig, root: Path, out: Path | None) -> Artifact:
    """The corpus made of the data set `config.hub_id`.

    Raises MissingInput where the hub says that there is no such data set or revision, BadConfiguration without an id.
    """
    if not config.hub_id:
        raise BadConfiguration("corpus.kind=hub needs corpus.hub_id=<owner/name, or a folder laid out like a data set>")
    hub_id = config.hub_id
    folder = Path(hub_id).expanduser()
    short = folder.resolve().name if folder.is_dir() else hub_id.split("/")[-1]
    identity: dict[str, Any] = {"source": "hub", "name": short}  # the name is the source of rows that have none
    commit: str | None = None
    if folder.is_dir():
        config = replace(config, hub_id=str(folder))
        hashes = FileHashes(root).of(sorted(path for path in folder.rglob("*") if _is_visible_file(path, folder)))
        identity["files"] = sorted([path.relative_to(folder).as_posix(), digest] for path, digest in hashes.items())
    elif hub_id.startswith((".", "/", "~")) or hub_id.count("/") > 1:
        raise MissingInput(f"corpus.hub_id={hub_id}: no such folder; give owner/name, or a folder that exists")
    else:
        commit = resolve_commit(config, root)
        identity.update(hub_id=hub_id, revision=commit)
    identity.update(
        subset=config.hub_subset,
        hub_split=config.hub_split,
        data_files=config.hub_data_files,
        url_list=config.hub_url_list,
        **content_identity(config, root),
    )

    def build(workspace: Workspace) -> Result:
        if not folder.is_dir() and commit is None:
            raise MissingInput(
                f"corpus.hub_id={config.hub_id}: the hub cannot be reached (offline?); on a machine that can, run "
                f"`hf download {config.hub_id} --repo-type dataset --local-dir D`, then set corpus.hub_id=D here"
            )
        default_source = short if folder.is_dir() else str(config.hub_id)
        source = _source(config, commit, folder if folder.is_dir() else None)
        result = ingest(workspace, source, config, f"corpus.hub_id={config.hub_id}", default_source)
        if commit is not None:
            result.revisions[str(config.hub_id)] = commit
        return result

    subset = f"-{config.hub_subset}" if config.hub_subset else ""
    name = config.name or short + subset + part_suffix(config)
    return Artifact("corpus", name, identity, root, build=build, estimate=lambda: {"input": "streamed"}, out=out)


def resolve_commit(config: CorpusConfig, root: Path) -> str | None:
    """The commit that `config.revision` names now; offline the one it named last time, or None."""
    hub_id, revision = str(config.hub_id), config.revision or "main"
    if _COMMIT.fullmatch(revision):
        return revision
    memo_path, key = root / ".cache" / "hub_commits.json", f"{hub_id}@{revision}"
    try:
        memo: dict[str, str] = json.loads(memo_path.read_text())
    except (OSError, ValueError):
        memo = {}
    try:
        from huggingface_hub import HfApi

        commit = HfApi().dataset_info(hub_id, revision=revision, timeout=20).sha
    except Exception as error:
        if remote.is_transient(error):
            return memo.get(key)
        raise hub_error(error, config) from None
    if commit and memo.get(key) != commit:
        memo_path.parent.mkdir(parents=True, exist_ok=True)
        write_json(memo_path, {**memo, key: commit})
    return commit


def _source(config: CorpusConfig, commit: str | None, folder: Path | None) -> RowSource:
    """The rows of the data set: of its files where we can read them, else streamed by `datasets`."""
    find = listed_files if config.hub_url_list else data_files
    files = find(config, commit, folder)
    if all(format_of(file.name) for file in files):
        return FileRows(files, config)
    return StreamedRows(config, commit, files)


def _is_visible_file(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


class StreamedRows:
    """Rows as `datasets` streams them, for file formats that we do not read ourselves."""

    unit = "rows"
    total: int | None = None

    def __init__(self, config: CorpusConfig, commit: str | None, files: list[InputFile]) -> None:
        self.config, self.commit = config, commit
        self.name = files[0].name if len(files) == 1 else str(config.hub_id)
        self.position = 0
        self.truncated: list[str] = []

    def rows(self, file_number: int = 0, line: int = 0) -> Iterator[Row]:
        """The rows behind row `line`; after a lost connection it goes on behind the last row it gave."""
        failures = 0
        self.position = line
        while True:
            try:
                for values in self._stream(self.position):
                    self.position += 1
                    failures = 0
                    yield Row(0, self.name, self.position, values)
                return
            except ToEditError:
                raise
            except Exception as error:
                failures += 1
                if failures > self.config.retries or not remote.is_transient(error):
                    raise hub_error(error, self.config) from None
                remote.pause(failures - 1, self.name, error, self.config.retries)

    def _stream(self, skip: int) -> Iterator[dict[str, Any]]:
        import datasets

        config = self.config
        chosen = {config.hub_split: config.hub_data_files} if config.hub_data_files else None
        stream = datasets.load_dataset(
            str(config.hub_id),
            config.hub_subset,
            split=config.hub_split,
            data_files=chosen,
            revision=self.commit,
            streaming=True,
        )
        if stream.column_names:
            stream = stream.select_columns(wanted_columns(config, stream.column_names))
        yield from stream.skip(skip)
