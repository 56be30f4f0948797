"""Every setting of the library, typed, documented and validated.

The values live in `configs/`; these classes say which keys exist, what they mean and what they may be. `run.py`
composes the YAML with Hydra, and `toedit.command.build_config` turns the result into these classes and refuses, in one
line that names the key, whatever does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.corpus import CorpusConfig
from toedit.config.editing import EditConfig, ScoreConfig, ScorerConfig
from toedit.config.embeddings import EmbeddingsConfig
from toedit.config.evaluation import CheckpointConfig, EvalConfig, TaskConfig
from toedit.config.execution import ExecutionConfig
from toedit.config.executor import ExecutorConfig
from toedit.config.experiment import ExperimentConfig, PublishedConfig, ScaleConfig
from toedit.config.instruction import ColumnsConfig, TagsConfig
from toedit.config.looking import AnalysisConfig, DiffConfig
from toedit.config.mixing import MixConfig
from toedit.config.ngrams import NgramsConfig
from toedit.config.planning import DeviceConfig, PlanConfig
from toedit.config.prior import PriorConfig, ShapeConfig, TrainingConfig
from toedit.config.prior_quality import PriorQualityConfig, StripConfig
from toedit.config.reporting import PartConfig, ReportConfig, StatementConfig
from toedit.config.selecting import ClassifierConfig, DensityConfig, SelectConfig
from toedit.config.starting import AdapterConfig, BaseConfig, LlamaFactoryConfig, SftConfig, TemplateConfig
from toedit.config.synthesis import SynthesisConfig
from toedit.config.theory import TheoryConfig
from toedit.config.theory_generations import GenerationsConfig
from toedit.config.theory_next_token import NextTokenConfig
from toedit.config.theory_safe_mix import SafeMixConfig
from toedit.config.theory_sequences import BeyondTextConfig
from toedit.config.theory_threshold import ThresholdConfig
from toedit.config.theory_transformer import TransformerStudyConfig
from toedit.config.tokens import TokensConfig
from toedit.config.training import ModelConfig, RecipeConfig, TrackerConfig, TrainerConfig

__all__ = [
    "AdapterConfig",
    "AnalysisConfig",
    "ArtifactConfig",
    "BaseConfig",
    "BeyondTextConfig",
    "CheckpointConfig",
    "ClassifierConfig",
    "ColumnsConfig",
    "Config",
    "CorpusConfig",
    "DensityConfig",
    "DeviceConfig",
    "DiffConfig",
    "EditConfig",
    "EmbeddingsConfig",
    "EvalConfig",
    "ExecutionConfig",
    "ExecutorConfig",
    "ExperimentConfig",
    "GenerationsConfig",
    "LlamaFactoryConfig",
    "MixConfig",
    "ModelConfig",
    "NextTokenConfig",
    "NgramsConfig",
    "PartConfig",
    "PlanConfig",
    "PriorConfig",
    "PriorQualityConfig",
    "PublishedConfig",
    "RecipeConfig",
    "ReportConfig",
    "SafeMixConfig",
    "ScaleConfig",
    "ScoreConfig",
    "ScorerConfig",
    "SelectConfig",
    "SftConfig",
    "ShapeConfig",
    "StageConfig",
    "StatementConfig",
    "StripConfig",
    "SynthesisConfig",
    "TagsConfig",
    "TaskConfig",
    "TemplateConfig",
    "TheoryConfig",
    "ThresholdConfig",
    "TokensConfig",
    "TrackerConfig",
    "TrainerConfig",
    "TrainingConfig",
    "TransformerStudyConfig",
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
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    """Where shards are worked on."""
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
    mix: MixConfig = field(default_factory=MixConfig)
    """How a human and a synthetic corpus are mixed."""
    select: SelectConfig = field(default_factory=SelectConfig)
    """Which part of a corpus is taken."""
    tokens: TokensConfig = field(default_factory=TokensConfig)
    """How text becomes token files."""
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    """How a synthetic corpus is sampled."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """A whole experiment instead of one stage."""
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    """How big the experiment is."""
    validation_tokens: ArtifactConfig = field(default_factory=ArtifactConfig)
    """Tokens whose loss pretrain measures on the way; null: none."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The architecture that pretrain trains."""
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    """How it is trained."""
    base: BaseConfig = field(default_factory=BaseConfig)
    """The model that continual_pretrain and sft start from."""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    """Which of its weights they train."""
    sft: SftConfig = field(default_factory=SftConfig)
    """What sft reads."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """How the training is run here."""
    llamafactory: LlamaFactoryConfig = field(default_factory=LlamaFactoryConfig)
    """trainer=llamafactory: what is its own."""
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    """Where its curves go."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """The model that is evaluated."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """What eval measures."""
    report: ReportConfig = field(default_factory=ReportConfig)
    """Which table or figure report makes, and of what."""
    theory: TheoryConfig = field(default_factory=TheoryConfig)
    """What theory computes."""
    seed: int = 0
    """Root of every seed."""
    artifacts: str = "artifacts"
    """Folder below which artifacts get readable addresses."""
    out: str | None = None
    """Put the stage's artifact exactly here."""
    build_missing: bool = False
    """report: build the experiments that are not there."""
    dry_run: bool = False
    """Print the resolved plan and stop."""
