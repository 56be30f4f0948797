"""`stage=theory`: what the statistics of model collapse say; `theory` names the study, one module each.

    python run.py stage=theory theory=bound theory.d=10 theory.T=200 theory.masks=fresh theory.share=0.125

Each module has a `STUDY` (`analysis.theory.study`).
"""

from __future__ import annotations

import importlib

from analysis.theory.study import Study, plan_study, report_study
from toedit.artifacts import Artifact
from toedit.config import Config

_MODULES = {
    "bound": "analysis.theory.regression.bound",
    "regression_generations": "analysis.theory.regression.generations",
    "regression_one_edit": "analysis.theory.regression.one_edit",
    "regression_map": "analysis.theory.regression.map",
    "regression_sweep": "analysis.theory.regression.sweep",
    "simplex": "analysis.theory.next_token.simplex",
    "collapse_time": "analysis.theory.next_token.collapse_time",
    "partially_synthetic": "analysis.theory.next_token.partially_synthetic",
    "windows": "analysis.theory.next_token.windows",
    "dirac_probability": "analysis.theory.next_token.dirac_probability",
    "safe_amount": "analysis.theory.next_token.safe_amount",
    "token_editing": "analysis.theory.next_token.token_editing",
    "safe_mix": "analysis.theory.safe_mix.stage",
    "generations": "analysis.theory.generations.stage",
    "transformer_generations": "analysis.theory.transformer.stage",
    "collapse_threshold": "analysis.theory.threshold.stage",
    "phase_diagram": "analysis.theory.threshold.phase_diagram",
    "beyond_text": "analysis.theory.beyond_text.stage",
}


def plan(config: Config) -> Artifact:
    return plan_study(_study(config), config)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    return report_study(_study(config), artifact)


def _study(config: Config) -> Study:
    study: Study = importlib.import_module(_MODULES[config.theory.name]).STUDY
    return study
