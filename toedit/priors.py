"""The prior language model: trained here (`prior=tiny`), a local Hugging Face folder, or a hub id.

Each is an artifact with a fingerprint, so that scores know exactly which model made them.

    python run.py stage=prior                                   trains the embedded one
    python run.py stage=score prior=local prior.path=my-model   uses yours
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact, external_folder, load_artifact
from toedit.config import PriorConfig, ShapeConfig
from toedit.corpora import plan_corpus
from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import FileHashes, hash_json
from toedit.workspace import MANIFEST, read_manifest

# What decides a model's output. Other files of a folder (README, optimizer states, other formats) do not.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_CONFIG_FILES = ("config.json", "generation_config.json")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_HUB_FILES = [*_TOKENIZER_FILES, *_CONFIG_FILES, "chat_template.jinja", "*.safetensors", "*.safetensors.index.json"]


def plan_prior(config: PriorConfig, root: Path, seed: int, out: Path | None = None) -> Artifact:
    """The prior that `config` names, planned."""
    if config.kind == "local":
        assert config.path is not None
        return _local_model(Path(config.path), config.name, root)
    if config.kind == "hub":
        return plan_hub_model(config, root)
    from toedit.tiny_prior import plan_tiny_prior

    return plan_tiny_prior(plan_corpus(config.corpus, root), config, root, seed, out)


def plan_model(asked: str, key: str, root: Path, name: str | None = None, revision: str | None = None) -> Artifact:
    """The model that `asked` names: an artifact folder, its hf/, any Hugging Face folder, or a hub id.

    `key` is what messages call it. Raises MissingInput, UnusableInput.
    """
    path = Path(asked).expanduser()
    if path.name == "hf" and (path.parent / MANIFEST).is_file():
        path = path.parent
    if not path.exists() and asked.count("/") == 1 and not asked.startswith((".", "/", "~")):
        return plan_hub_model(PriorConfig(kind="hub", hub_id=asked, name=name, revision=revision), root, key)
    return _local_model(path, name, root, key)


def planned_shape(config: PriorConfig) -> ShapeConfig:
    """Size of the prior that `config` names, without loading, training or downloading it."""
    if config.kind == "local":
        assert config.path is not None
        return model_shape(model_folder(Path(config.path)))
    if config.kind == "hub":
        return config.shape
    training = config.training
    return ShapeConfig(
        parameters=training.parameters,
        vocabulary_size=training.vocabulary_size,
        hidden_size=training.hidden_size,
        layers=training.layers,
        context=training.context,
    )


def model_folder(path: Path) -> Path:
    """The Hugging Face folder of a prior: `hf/` of a checkpoint artifact, else the folder itself."""
    return path / "hf" if (path / "hf").is_dir() else path


def model_shape(folder: Path) -> ShapeConfig:
    """Size of the model in a Hugging Face folder, from its config and the headers of its weights; loads nothing."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except OSError:
        raise UnusableInput(f"{folder}: no config.json; not a Hugging Face model folder") from None
    except ValueError:
        raise UnusableInput(f"{folder / 'config.json'}: not JSON") from None
    config = {**config, **config.get("text_config", {})}

    def first(*keys: str) -> int | None:
        return next((int(config[key]) for key in keys if isinstance(config.get(key), int)), None)

    return ShapeConfig(
        parameters=_parameters(folder),
        vocabulary_size=first("vocab_size"),
        hidden_size=first("hidden_size", "n_embd", "d_model"),
        layers=first("num_hidden_layers", "n_layer", "num_layers"),
        context=first("max_position_embeddings", "n_positions", "max_sequence_length"),
    )


def _parameters(folder: Path) -> int | None:
    """Number of weights by the safetensors headers; None for other formats."""
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as handle:
            try:
                header: dict[str, Any] = json.loads(handle.read(struct.unpack("<Q", handle.read(8))[0]))
            except (struct.error, ValueError, MemoryError, OverflowError):
                raise UnusableInput(f"{file}: not a safetensors file, or cut short") from None
        for name, tensor in header.items():
            if name != "__metadata__":
                count = 1
                for size in tensor["shape"]:
                    count *= size
                total += count
    return total or None


def _local_model(path: Path, name: str | None, root: Path, key: str = "prior.path") -> Artifact:
    if not path.exists():
        raise MissingInput(
            f"{key}={path}: does not exist; train a prior there with: python run.py stage=prior out={path}"
        )
    if (path / MANIFEST).is_file() and read_manifest(path)["kind"] == "checkpoint":
        return load_artifact(path, ("checkpoint",), key, f"python run.py stage=prior out={path}")
    if not path.is_dir():
        raise UnusableInput(f"{key}={path}: is a file; name the Hugging Face folder that holds the model")
    model_shape(path)  # refuses what is not a model folder
    weights = sorted({file.name for pattern in _WEIGHTS for file in path.glob(pattern)})
    if not weights:
        raise UnusableInput(f"{key}={path}: holds no weights (*.safetensors)")
    files = FileHashes(root).of_folder(path, [*_CONFIG_FILES, *_TOKENIZER_FILES, *weights])
    if not any(tokenizer in files for tokenizer in (*_TOKENIZER_FILES[:3], "vocab.txt")):
        raise UnusableInput(f"{key}={path}: holds no tokenizer (tokenizer.json)")
    identity = {"files": files}
    return external_folder("model", name or path.resolve().name, identity, root, path, hash_json(identity))


class HubModel(Artifact):
    """A model of the Hugging Face Hub; `ensure` downloads it into the Hub's own cache."""

    key = "prior.hub_id"
    """What messages call it."""
    patterns: Sequence[str] = tuple(_HUB_FILES)
    """The files that are downloaded."""

    def _is_complete(self) -> bool:
        from huggingface_hub import try_to_load_from_cache

        revision = self.identity["revision"]
        return isinstance(
            try_to_load_from_cache(self.identity["hub_id"], "config.json", revision=revision), str
        ) and bool(list(self.path.glob("*.safetensors")))

    def ensure(self) -> Path:
        from huggingface_hub import snapshot_download

        hub_id, revision = self.identity["hub_id"], self.identity["revision"]
        try:
            folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(self.patterns)))
        except Exception as error:  # gated, offline, misspelt: the Hub's client has a class for each
            raise MissingInput(_hub_message(self.key, hub_id, error)) from None
        return folder


def plan_hub_model(
    config: PriorConfig, root: Path, key: str = HubModel.key, kind: type[HubModel] = HubModel
) -> Artifact:
    """The model of the Hub that `config` names, at the commit that its revision is now."""
    assert config.hub_id is not None
    from huggingface_hub import constants

    revision = _resolve_revision(config.hub_id, config.revision or "main")
    identity = {"hub_id": config.hub_id, "revision": revision}
    cache = Path(constants.HF_HUB_CACHE) / f"models--{config.hub_id.replace('/', '--')}" / "snapshots" / revision
    model = kind(
        kind="model",
        name=config.name or config.hub_id.split("/")[-1],
        identity=identity,
        root=root,
        out=cache,
        stored_fingerprint=hash_json(identity),
    )
    model.key = key
    return model


def _resolve_revision(hub_id: str, revision: str) -> str:
    """The commit behind a branch or tag: from the Hub's cache, else from the Hub; itself where neither answers."""
    if len(revision) == 40 and all(character in "0123456789abcdef" for character in revision):
        return revision
    from huggingface_hub import HfApi, constants

    reference = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}" / "refs" / revision
    offline = bool(os.environ.get("HF_HUB_OFFLINE"))
    if not offline:
        try:
            return str(HfApi().model_info(hub_id, revision=revision, timeout=10).sha)
        except Exception:  # offline: `ensure` says so in one line, a dry run needs no network
            pass
    return reference.read_text().strip() if reference.is_file() else revision


def _hub_message(key: str, hub_id: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    instead = "prior=local prior.path=<folder>" if key == HubModel.key else f"{key}=<a folder that exists>"
    return (
        f"{key}={hub_id}: cannot be had from the Hub ({reason}); gated models need `hf auth login`, "
        f"offline machines {instead}"
    )
