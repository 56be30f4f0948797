"""`stage=report`: a table or figure made of finished artifacts; `report` says which. Each is a module of its own.

python run.py stage=report report=downstream 'report.evals=[eval-a,eval-b]' out=results
"""

from __future__ import annotations

import importlib
from types import ModuleType

from toedit.artifacts import Artifact
from toedit.config import Config

_MODULES = {"downstream": "analysis.downstream_table"}


def plan(config: Config) -> Artifact:
    made: Artifact = _module(config).plan(config)
    return made


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    row: dict[str, str] = _module(config).report(config, artifact)
    return row


def _module(config: Config) -> ModuleType:
    return importlib.import_module(_MODULES[config.report.name])
