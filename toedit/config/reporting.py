"""Settings of the tables and figures that `stage=report` makes of finished artifacts."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of


@dataclass
class StatementConfig:
    """A sentence of the paper as a comparison of one measure with a bound."""

    says: str = ""
    """The sentence, in our words."""
    setting: str | None = None
    """The setting of the experiment that it is read from; null: its only or its first one."""
    measure: str = ""
    """A measure of that setting (`second.within_95`); analysis/measures.py lists them."""
    minus: str | None = None
    """A setting whose value is subtracted, seed by seed."""
    side: str = "below"
    """below or above: where the measure lies if the sentence holds."""
    bound: float = 0.0
    """What it lies below or above of."""
    scales: list[str] = field(default_factory=list)
    """Scales at which it means something (a tiny prior is confident of little); empty: all of them."""

    def __post_init__(self) -> None:
        require_one_of("statement.side", self.side, ("below", "above"))


@dataclass
class PartConfig:
    """One experiment that a table or figure is made of."""

    experiment: str | None = None
    """`paper/mix_ratio`; null: published numbers alone."""
    overrides: list[str] = field(default_factory=list)
    """What is added to its command."""
    scales: list[str] = field(default_factory=list)
    """Scales at which it can be run; empty: all of them."""
    input: str | None = None
    """Measure this input of each point (`checkpoint`) instead of the point itself."""
    published: str | None = None
    """A table of the published numbers; null: the experiment's own, where it has one."""
    rows: dict[str, str] = field(default_factory=dict)
    """{setting: row of that table}; empty: as in the experiment."""
    columns: dict[str, list[str]] = field(default_factory=dict)
    """{column of that table: measures, the first that there is counts}; what is not named here is found by its name."""
    left_out: list[str] = field(default_factory=list)
    """Columns of that table that nothing of ours stands beside; patterns (`*`) too."""
    baseline: str | None = None
    """The setting that others are compared with; null: as in the experiment."""
    noise: float = 0.0
    """How far two published runs on the same data may differ: smaller published differences have no sign."""
    statements: dict[str, StatementConfig] = field(default_factory=dict)
    """Sentences about it, by a short name."""
    picture: str | None = "figure"
    """Which picture stands in the report, by its stem; null: none."""
    curves: str | None = None
    """A column of metrics.csv (`loss`): the picture is that over the tokens seen, a line a setting."""
    picture_of: str | None = None
    """The setting whose artifact has that picture; null: the experiment itself."""


@dataclass
class ReportConfig:
    """Which table or figure, and of what."""

    name: str = "downstream"
    """The report, a file of configs/report/."""
    place: str = ""
    """Where it stands in the paper (`Table 1`)."""
    title: str = ""
    """What it shows."""
    kind: str = "table"
    """table or figure."""
    parts: dict[str, PartConfig] = field(default_factory=dict)
    """The experiments it is made of, by name; the name is empty or `main` where there is one."""
    tolerance: float = 0.05
    """At scale=paper: how far a number without an interval may be from the published one, relative to it."""
    notes: list[str] = field(default_factory=list)
    """Sentences below."""
    evals: list[str] = field(default_factory=list)
    """downstream: folders of eval artifacts; a pattern (artifacts/eval/general*) stands for all that fit."""
    only: list[str] = field(default_factory=list)
    """all: these reports; empty: every one."""

    def __post_init__(self) -> None:
        require_one_of("report.kind", self.kind, ("table", "figure", "page"))
        require(self.tolerance > 0, "report.tolerance", self.tolerance, "must be positive")
