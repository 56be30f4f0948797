"""`python run.py stage=prior`: the prior; trains the tiny one, fetches a hub one (see `toedit/priors.py`)."""

from __future__ import annotations

from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import human, say
from toedit.priors import model_folder, model_shape, plan_prior


def plan(config: Config) -> Artifact:
    return plan_prior(config.prior, Path(config.artifacts), config.seed, Path(config.out) if config.out else None)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    folder = model_folder(artifact.ensure())
    parameters = human(model_shape(folder).parameters or 0)
    say(f"prior {artifact.name}: {parameters} parameters, Hugging Face folder {folder}")
    return {"prior": artifact.name, "parameters": parameters}
