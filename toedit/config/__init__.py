"""Every setting of the library, typed, documented and validated.

The values live in `configs/`; these classes say which keys exist, what they mean and what they may be. `run.py`
composes the YAML with Hydra, and `toedit.command.build_config` turns the result into these classes and refuses, in one
line that names the key, whatever does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.corpus import CorpusConfig
from toedit.config.editing import EditConfig, ScoreConfig, ScorerConfig
from toedit.config.evaluation import CheckpointConfig, EvalConfig
from toedit.config.looking import AnalysisConfig, DiffConfig
from toedit.config.planning import DeviceConfig, PlanConfig
from toedit.config.prior import PriorConfig, ShapeConfig, TrainingConfig

__all__ = [
    "AnalysisConfig",
    "ArtifactConfig",
    "CheckpointConfig",
    "Config",
    "CorpusConfig",
    "DeviceConfig",
    "DiffConfig",
    "EditConfig",
    "EvalConfig",
    "PlanConfig",
    "PriorConfig",
    "ScoreConfig",
    "ScorerConfig",
    "ShapeConfig",
    "StageConfig",
    "TrainingConfig",
]


@dataclass
class StageConfig:
    """Which stage to run (`stage=edit`)."""

    name: str | None = None
    """The stage; `python run.py` lists them."""


@dataclass
class ArtifactConfig:
    """An artifact of an earlier stage, named by its folder."""

    path: str | None = None
    """The folder; null means: build it from the other settings."""


@dataclass
class Config:
    """The whole configuration of one command."""

    stage: StageConfig = field(default_factory=StageConfig)
    """What to do."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """The documents."""
    prior: PriorConfig = field(default_factory=PriorConfig)
    """The prior language model."""
    scorer: ScorerConfig = field(default_factory=ScorerConfig)
    """The engine that runs the prior."""
    score: ScoreConfig = field(default_factory=ScoreConfig)
    """What the scores hold."""
    edit: EditConfig = field(default_factory=EditConfig)
    """How tokens are edited."""
    scores: ArtifactConfig = field(default_factory=ArtifactConfig)
    """Scores to edit from, instead of those the other settings name."""
    edited: ArtifactConfig = field(default_factory=ArtifactConfig)
    """The edited corpus that revert and diff read."""
    diff: DiffConfig = field(default_factory=DiffConfig)
    """What diff shows."""
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)
    """What analyze computes."""
    plan: PlanConfig = field(default_factory=PlanConfig)
    """What plan assumes, and what forecast computes."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """The model that is evaluated."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """What eval measures."""
    seed: int = 0
    """Root of every seed."""
    artifacts: str = "artifacts"
    """Folder below which artifacts get readable addresses."""
    out: str | None = None
    """Put the stage's artifact exactly here."""
    dry_run: bool = False
    """Print the resolved plan and stop."""
