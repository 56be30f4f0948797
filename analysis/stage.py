"""`stage=analyze`: what a corpus, or a pair of them, looks like; `analysis` says which statistic. One module each.

python run.py stage=analyze analysis=token_probability
python run.py stage=analyze analysis=perplexity_distribution analysis.other.path=my-other-corpus
python run.py stage=analyze analysis=ngrams analysis.other.path=my-other-corpus
python run.py stage=analyze analysis=density analysis.other.path=my-other-corpus
python run.py stage=analyze analysis=embeddings analysis.other.path=my-other-corpus
python run.py stage=analyze analysis=calibration score.min_p=0
python run.py stage=analyze analysis=eligible_overlap prior@analysis.other_prior=local analysis.other_prior.path=M
python run.py stage=analyze analysis=probability_strip
"""

from __future__ import annotations

import importlib
from types import ModuleType

from toedit.artifacts import Artifact
from toedit.config import Config

_MODULES = {
    "token_probability": "analysis.token_probability",
    "perplexity_distribution": "analysis.perplexity.stage",
    "ngrams": "analysis.ngrams.stage",
    "density": "analysis.selection.responses",
    "embeddings": "analysis.embeddings.comparison",
    "calibration": "analysis.prior_quality.calibration",
    "eligible_overlap": "analysis.prior_quality.eligible_overlap",
    "probability_strip": "analysis.prior_quality.probability_strip",
}


def plan(config: Config) -> Artifact:
    made: Artifact = _module(config).plan(config)
    return made


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    row: dict[str, str] = _module(config).report(config, artifact)
    return row


def _module(config: Config) -> ModuleType:
    return importlib.import_module(_MODULES[config.analysis.name])
