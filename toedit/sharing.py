"""Upload an edited corpus, or a model, to the Hugging Face hub; only where a command names the place.

    toedit push edited owner/name                   # private; needs a login (`hf auth login`, or HF_TOKEN)
    toedit push edited owner/name --public --license odc-by

An edited corpus goes with its ledger, manifest and data-set card; a checkpoint with what is in its `hf/`, model card
included. Manifests are uploaded without what says something about this machine.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from toedit.corpora.remote import is_transient, one_line
from toedit.data_card import data_card
from toedit.errors import BadConfiguration, ToEditError, UnusableInput
from toedit.workspace import MANIFEST, read_manifest

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PARTS = {"edited_corpus": ("documents", "edits", "instructions", "dataset_info.json"), "checkpoint": ("hf",)}


def push(path: Path, name: str, is_public: bool = False, licence: str | None = None) -> str:
    """Upload the artifact in `path` as `owner/name`; return its address.

    Raises BadConfiguration where `name` is none, UnusableInput where the folder cannot be shared, ToEditError in one
    line where the hub refuses.
    """
    if not _NAME.fullmatch(name):
        raise BadConfiguration(f"{name}: where to push is written owner/name")
    manifest = read_manifest(path)
    kind = manifest["kind"]
    if kind not in _PARTS:
        raise UnusableInput(f"{path}: holds a {kind} artifact; only {' and '.join(_PARTS)} can be pushed")
    files = _files(path, kind)
    if not files:
        raise UnusableInput(f"{path}: there is nothing to push in it; it may have been pushed and downloaded already")
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    repo_type = "dataset" if kind == "edited_corpus" else "model"
    operations = [CommitOperationAdd(where, str(file)) for where, file in files]
    operations.append(CommitOperationAdd(MANIFEST, json.dumps(_shared(manifest), indent=1).encode()))
    if kind == "edited_corpus":
        operations.append(CommitOperationAdd("README.md", data_card(path, name, licence).encode()))
    api = HfApi()
    try:
        made = api.create_repo(name, repo_type=repo_type, private=not is_public, exist_ok=True)
        message = f"toedit {kind} {manifest['fingerprint'][:16]}"
        api.create_commit(name, operations, commit_message=message, repo_type=repo_type)
    except LocalTokenNotFoundError:
        raise ToEditError(f"{name}: the hub wants a login; run `hf auth login`, or set HF_TOKEN") from None
    except Exception as error:
        if not isinstance(error, HfHubHTTPError) and not is_transient(error):
            raise
        raise ToEditError(f"{name}: the hub did not take it: {one_line(error)}") from None
    return str(made)


def _files(path: Path, kind: str) -> list[tuple[str, Path]]:
    """(place in the repository, file here). A checkpoint's hf/ becomes the repository's root."""
    found = []
    for part in _PARTS[kind]:
        source = path / part
        files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
        base = source if kind == "checkpoint" else path
        found += [(file.relative_to(base).as_posix(), file) for file in files]
    return found


def _shared(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest without machine and paths, which are nobody else's business, of the files that are uploaded."""
    public = ("kind", "name", "fingerprint")
    inputs = {role: {key: one[key] for key in public} for role, one in manifest["inputs"].items()}
    kept = {key: value for key, value in manifest.items() if key not in ("runtime", "timings")}
    parts = _PARTS[manifest["kind"]]
    outputs = [one for one in manifest["outputs"] if one["path"].split("/")[0] in parts]
    if manifest["kind"] == "checkpoint":
        outputs = [{**one, "path": one["path"].partition("/")[2]} for one in outputs]
    return {**kept, "inputs": inputs, "outputs": outputs}
