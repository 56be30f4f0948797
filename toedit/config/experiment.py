"""Settings of whole experiments (`experiment=`) and of their size (`scale=`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require


@dataclass
class PublishedConfig:
    """Published numbers to stand beside ours."""

    table: str | None = None
    """A table of analysis/published.yaml; null: there is none to compare with."""
    rows: dict[str, str] = field(default_factory=dict)
    """{setting of this experiment: row of that table}."""
    columns: list[str] = field(default_factory=list)
    """Columns of that table; empty: all."""
    drawn: list[str] = field(default_factory=list)
    """Those of them that belong into the figure; without experiment.x they must be per cent of the tokens."""
    panels: list[str] = field(default_factory=list)
    """Those of them that have a panel of their own in a figure without experiment.x: numbers of any kind."""


@dataclass
class ExperimentConfig:
    """A whole experiment: its points are arms x grid x seeds, each of them one ordinary command."""

    name: str | None = None
    """`paper/ablation_p`; null: no experiment."""
    title: str = ""
    """What the table says on top."""
    stage: str = "edit"
    """The stage that each point ends in; everything before it is built as needed."""
    arms: dict[str, list[str]] = field(default_factory=dict)
    """Settings by name, each a list of overrides (`edit=rejection`); empty: the command's own setting alone."""
    grid: list[str] = field(default_factory=list)
    """Sweeps as after `-m` (`edit.p=0.9,0.99`): every arm runs with every combination."""
    hub_arms: list[str] = field(default_factory=list)
    """Arms that need a model of the hub: left out where the scale downloads nothing (scale.downloads)."""
    seeds: list[int] | None = None
    """Every setting runs once with each, so that differences are paired; null: those of the scale."""
    seed_keys: list[str] = field(default_factory=lambda: ["seed"])
    """The keys that take the seed; `edit.seed` where a new prior each time is not wanted."""
    columns: dict[str, str] = field(default_factory=dict)
    """{measure of a point: its name in the table}, from left to right; `*` stands for any text in both of them."""
    x: str | None = None
    """A key of the grid with numbers: the figure draws the measures against it, a line each; null: dots by setting."""
    y: str = ""
    """What these lines measure: the name of the axis."""
    figure: list[str] = field(default_factory=list)
    """Measures in the figure; empty: all columns."""
    baseline: str | None = None
    """A setting: table.csv then also holds the other settings' differences from it, seed by seed."""
    published: PublishedConfig = field(default_factory=PublishedConfig)
    """Published numbers to stand beside ours."""
    planned: dict[str, str] = field(default_factory=dict)
    """{column: what will fill it}: shown as not run, so that nobody takes a published number for ours."""
    notes: list[str] = field(default_factory=list)
    """Sentences below the table."""
    jobs: int = 1
    """Points built at the same time, each in a process of its own; what they share is built once before."""

    def __post_init__(self) -> None:
        require(self.jobs >= 1, "experiment.jobs", self.jobs, "must be at least 1")
        if self.seeds is not None:
            require_different("experiment.seeds", self.seeds)
        if self.name is None:
            return
        require(bool(self.seed_keys), "experiment.seed_keys", self.seed_keys, "must name at least one key")
        require(bool(self.columns), "experiment.columns", self.columns, "must name at least one measure")
        for name in self.figure:
            require(name in self.columns, "experiment.figure", name, "is not among experiment.columns")
        for arm in self.hub_arms:
            require(arm in self.arms, "experiment.hub_arms", arm, "is not among experiment.arms")
        swept = [sweep.partition("=")[0] for sweep in self.grid]
        require(self.x is None or self.x in swept, "experiment.x", self.x, "must be a key of experiment.grid")
        named = self.published.table is not None
        require(named or not self.published.panels, "experiment.published.panels", self.published.panels, "of no table")
        for key in ("drawn", "panels") if self.published.columns else ():
            for name in getattr(self.published, key):
                require(name in self.published.columns, f"experiment.published.{key}", name, "is not among its columns")
        written = {f"experiment.arms.{arm}": overrides for arm, overrides in self.arms.items()}
        for key, overrides in (written | {"experiment.grid": self.grid}).items():
            for override in overrides:
                require("=" in override, key, override, "is no override (key=value)")


@dataclass
class ScaleConfig:
    """How big an experiment is."""

    name: str = "tiny"
    """tiny (this machine, no download), small (one GPU) or paper (the published size)."""
    sample_documents: int = 2000
    """Documents where an experiment needs a sample of the corpus only."""
    mix_tokens: int = 40_000
    """Tokens of a mixture."""
    held_out_documents: int = 100
    """Documents of a held-out set at most."""
    edited_tokens: int = 40_000
    """Tokens of a training on edited text alone."""
    continual_tokens: int = 40_000
    """Tokens on which a base is trained further."""
    synthesis_tokens: int = 50_000
    """Tokens that the prior writes where there is no synthetic corpus: enough for a mixture and what is held out."""
    pool_tokens: int = 200_000
    """The same where a part of it is then selected."""
    held_out: list[str] = field(default_factory=list)
    """What an experiment on tasks measures perplexity on at scale=tiny, which has no tasks: human, synthetic."""
    downloads: bool = False
    """Whether arms that need a model of the hub are run."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """The seeds of an experiment that does not name its own."""

    def __post_init__(self) -> None:
        require_different("scale.seeds", self.seeds)
        tokens = ("mix_tokens", "edited_tokens", "continual_tokens", "synthesis_tokens", "pool_tokens")
        for key in ("sample_documents", "held_out_documents", *tokens):
            require(getattr(self, key) >= 1, f"scale.{key}", getattr(self, key), "must be at least 1")


def require_different(key: str, values: list[int]) -> None:
    require(0 < len(values) == len(set(values)), key, values, "must be a list of different values")
