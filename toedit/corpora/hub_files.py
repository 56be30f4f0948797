"""Which files make up a data set on the hub, or in a folder laid out like one, and how to open them."""

from __future__ import annotations

import io
import urllib.parse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from toedit.config import CorpusConfig
from toedit.corpora import remote
from toedit.corpora.files import InputFile
from toedit.corpora.local import input_file
from toedit.errors import MissingInput, ToEditError, UnusableInput


def data_files(config: CorpusConfig, commit: str | None, folder: Path | None) -> list[InputFile]:
    """The files of the subset and split that `config` names, as `datasets` resolves them.

    Raises MissingInput, UnusableInput.
    """
    import datasets

    chosen = {config.hub_split: config.hub_data_files} if config.hub_data_files else None

    def look_up() -> Any:
        return datasets.load_dataset_builder(str(config.hub_id), config.hub_subset, data_files=chosen, revision=commit)

    try:
        builder = remote.with_retries(look_up, config.retries, f"corpus.hub_id={config.hub_id}")
    except Exception as error:
        raise hub_error(error, config) from None
    splits = {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}
    if config.hub_split not in splits:
        known = ", ".join(splits) or "none"
        raise UnusableInput(f"corpus.hub_split={config.hub_split}: {config.hub_id} has no such split, only {known}")
    return [_file(entry, config, commit, folder) for entry in splits[config.hub_split]]


def listed_files(config: CorpusConfig, commit: str | None, folder: Path | None) -> list[InputFile]:
    """The files that the text file `hub_url_list` names: URLs, or paths in the data set, one a line."""
    name = str(config.hub_url_list)
    if folder is not None:
        path = folder / name
        if not path.is_file():
            raise MissingInput(f"corpus.hub_url_list={name}: no such file in {folder}")
    else:
        path = _download(config, name, commit)
    entries = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    entries = [entry for entry in entries if entry and not entry.startswith("#")]
    if not entries:
        raise UnusableInput(f"corpus.hub_url_list={name}: names no files")
    return [_file(entry, config, commit, folder) for entry in entries]


def _download(config: CorpusConfig, name: str, commit: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    def fetch() -> str:
        return str(hf_hub_download(str(config.hub_id), name, repo_type="dataset", revision=commit))

    try:
        return Path(remote.with_retries(fetch, config.retries, f"corpus.hub_url_list={name}"))
    except Exception as error:
        raise hub_error(error, config) from None


def _file(entry: str, config: CorpusConfig, commit: str | None, folder: Path | None) -> InputFile:
    """`entry` (a path, `hf://…` or a URL) by a name that says nothing about this machine."""
    scheme, _, rest = entry.partition("://")
    if rest and scheme in ("http", "https"):
        return _remote_file(urllib.parse.urlsplit(entry).path.lstrip("/"), partial(remote.open_url, entry), config)
    if rest and scheme == "hf":
        name = rest.partition("@")[2].partition("/")[2] or rest
        return _remote_file(name, partial(_open_on_hub, entry), config)
    if rest and scheme != "file":
        raise UnusableInput(f"corpus.hub_id={config.hub_id}: {entry} is no kind of address that can be read")
    if folder is None and scheme != "file":
        return _file(f"hf://datasets/{config.hub_id}@{commit}/{entry}", config, commit, folder)
    path = Path(urllib.parse.unquote(rest)) if rest else (folder or Path()) / entry
    if not path.is_file():
        raise MissingInput(f"corpus.hub_id={config.hub_id}: names the file {entry}, which does not exist")
    inside = folder is not None and path.resolve().is_relative_to(folder.resolve())
    name = path.resolve().relative_to(folder.resolve()).as_posix() if inside and folder is not None else path.name
    return input_file(name, path)


def _remote_file(name: str, open_at: Callable[[int], tuple[Any, int | None]], config: CorpusConfig) -> InputFile:
    def open_file() -> io.RawIOBase:
        return remote.RemoteFile(name, open_at, config.retries)

    return InputFile(name, open_file)


def _open_on_hub(address: str, position: int) -> tuple[Any, int | None]:
    from huggingface_hub import HfFileSystem

    stream = HfFileSystem().open(address.removeprefix("hf://"), "rb")
    stream.seek(position)
    return stream, stream.size


def hub_error(error: Exception, config: CorpusConfig) -> ToEditError:
    """What went wrong with the hub, in one line that says what to do."""
    what, reason, kind = f"corpus.hub_id={config.hub_id}", remote.one_line(error), type(error).__name__
    if isinstance(error, ToEditError):
        return error
    if kind == "GatedRepoError" or "gated" in reason.lower():
        return MissingInput(
            f"{what}: is gated; accept its terms at https://huggingface.co/datasets/{config.hub_id}, "
            "then log in with `hf auth login`"
        )
    if kind in ("RepositoryNotFoundError", "DatasetNotFoundError"):
        return MissingInput(f"{what}: no such data set on the hub, or a private one; check the id, or `hf auth login`")
    if kind in ("RevisionNotFoundError", "EntryNotFoundError", "RemoteEntryNotFoundError"):
        return MissingInput(f"{what}: {reason}; check corpus.revision={config.revision} and the file names")
    if isinstance(error, FileNotFoundError):
        return MissingInput(f"{what}: {reason}; check corpus.hub_data_files={config.hub_data_files}")
    if remote.is_transient(error):
        return MissingInput(f"{what}: cannot be reached ({reason}); run the same command again to go on")
    return UnusableInput(f"{what}: cannot be read ({kind}: {reason}); check corpus.hub_subset={config.hub_subset}")
