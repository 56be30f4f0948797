"""`stage=report`: tables and figures made of finished artifacts; `report` says which. Each kind is a module of its own.

python run.py stage=report report=table1                     one table or figure of the paper, beside its own numbers
python run.py stage=report report=fig3 build_missing=true    what it needs is built first
python run.py stage=report report=all                        every one that there is, and one page of them
python run.py stage=report report=downstream 'report.evals=[eval-a,eval-b]' out=results
"""

from __future__ import annotations

import importlib
from types import ModuleType

from toedit.artifacts import Artifact
from toedit.config import Config

_OWN_MODULES = {"downstream": "analysis.downstream_table", "all": "analysis.reports.everything"}


def plan(config: Config) -> Artifact:
    made: Artifact = _module(config).plan(config)
    return made


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    row: dict[str, str] = _module(config).report(config, artifact)
    return row


def _module(config: Config) -> ModuleType:
    return importlib.import_module(_OWN_MODULES.get(config.report.name, "analysis.reports.one"))
