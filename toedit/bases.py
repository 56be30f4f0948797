"""The model that continual_pretrain and sft start from, found: planned like any other artifact.

An artifact folder, its hf/, any Hugging Face folder, or a hub id (`base.path`), or the prior of the same command
(`base.stage=prior`). `pretrain/base.py` loads it.
"""

from __future__ import annotations

import json
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.errors import BadConfiguration, UnusableInput
from toedit.priors import model_folder, plan_model, plan_prior


def plan_base(config: Config) -> Artifact:
    """The base that `config` names, planned. Raises BadConfiguration, MissingInput, UnusableInput."""
    asked, root = config.base, Path(config.artifacts)
    if asked.stage is not None:
        return plan_prior(config.prior, root, config.seed)
    if not asked.path:
        raise BadConfiguration(
            f"base.path: stage={config.stage.name} starts from a model: an artifact folder, any Hugging Face folder, "
            "or a hub id"
        )
    refuse_adapter(Path(asked.path).expanduser(), "base.path")
    return plan_model(asked.path, "base.path", root, asked.name, asked.revision)


def refuse_adapter(folder: Path, key: str) -> None:
    """A folder that holds an adapter alone is no model: say of which one it is."""
    file = model_folder(folder) / "adapter_config.json"
    if file.is_file() and not (file.parent / "config.json").is_file():
        try:
            of = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
        except ValueError:
            of = None
        raise UnusableInput(
            f"{key}={folder}: is an adapter of another model ({of or 'it does not say which'}); merge it into that "
            "one, and name the result"
        )
