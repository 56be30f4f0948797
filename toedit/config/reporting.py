"""Settings of the tables and figures that `stage=report` makes of finished artifacts."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require_one_of

REPORTS = ("downstream",)


@dataclass
class ReportConfig:
    """Which table or figure, and of what."""

    name: str = "downstream"
    """The report, a file of configs/report/."""
    evals: list[str] = field(default_factory=list)
    """downstream: folders of eval artifacts; a pattern (artifacts/eval/general*) stands for all that fit."""

    def __post_init__(self) -> None:
        require_one_of("report.name", self.name, REPORTS)
