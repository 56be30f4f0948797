"""Where text sets come from: a folder or file of this machine, or a data set of the Hugging Face Hub.

A hub data set is downloaded into the Hub's own cache, the asked split alone, and read from there like a folder.
"""

from __future__ import annotations

from pathlib import Path

from eval.sets import SPLITS, all_files, find_sets
from toedit.artifacts import Artifact, external_folder
from toedit.config import CorpusConfig, EvalConfig
from toedit.corpora.hub import resolve_commit
from toedit.errors import MissingInput, ToEditError
from toedit.fingerprints import FileHashes, hash_json

KIND = "sets"


def plan_sets(settings: EvalConfig, root: Path) -> Artifact:
    """The sets at `eval.sets`, as an input of others. Raises MissingInput, UnusableInput in one line."""
    asked = str(settings.sets)
    where = Path(asked).expanduser()
    if not where.exists() and asked.count("/") == 1 and not asked.startswith((".", "/", "~")):
        return _hub_sets(settings, asked, root)
    found = find_sets(where, settings.split)
    hashes = FileHashes(root).of(all_files(found))
    files = [
        [text_set.name, file.relative_to(where).as_posix() if file != where else file.name, hashes[file]]
        for text_set in found.sets
        for file in text_set.files
    ]
    identity = {"files": files, "bytes": sum(file.stat().st_size for file in hashes)}
    return external_folder(KIND, where.resolve().name, identity, root, where, hash_json(identity))


class HubSets(Artifact):
    """A data set of the Hub; `ensure` downloads the asked split into the Hub's cache."""

    def _is_complete(self) -> bool:
        return False  # the Hub's client knows which files are there; it asks no network where all are

    def ensure(self) -> Path:
        from huggingface_hub import snapshot_download

        hub_id, revision, split = (self.identity[key] for key in ("hub_id", "revision", "split"))
        key = f"eval.sets={hub_id}"
        try:
            folder = snapshot_download(hub_id, repo_type="dataset", revision=revision, allow_patterns=_patterns(split))
        except Exception as error:  # gated, offline, misspelt: the Hub's client has a class for each
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise MissingInput(
                f"{key}: no such folder, and it cannot be had from the Hub ({reason}); gated data sets need `hf auth "
                f"login`; on a machine with network `hf download {hub_id} --repo-type dataset --local-dir D`, then "
                "eval.sets=D"
            ) from None
        return Path(folder)


def _hub_sets(settings: EvalConfig, hub_id: str, root: Path) -> Artifact:
    from huggingface_hub import constants

    try:
        asked = CorpusConfig(kind="hub", hub_id=hub_id, revision=settings.revision)
        commit = resolve_commit(asked, root)
    except ToEditError as error:
        raise type(error)(str(error).replace("corpus.hub_id", "eval.sets").replace("corpus.", "eval.")) from None
    revision = commit or settings.revision or "main"
    identity = {"hub_id": hub_id, "revision": revision, "split": settings.split}
    cache = Path(constants.HF_HUB_CACHE) / f"datasets--{hub_id.replace('/', '--')}" / "snapshots"
    return HubSets(
        kind=KIND,
        name=hub_id.split("/")[-1],
        identity=identity,
        root=root,
        out=cache / revision,
        stored_fingerprint=hash_json(identity),
    )


def _patterns(split: str | None) -> list[str] | None:
    """Files of the split, in a folder or named for it; None for all."""
    if split is None:
        return None
    aliases = next((names for names in SPLITS.values() if split in names), (split,))
    return [pattern for name in aliases for pattern in (f"{name}/*", f"*/{name}/*", f"{name}.*", f"*/{name}.*")]
