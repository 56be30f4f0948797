"""What the analyses share: the artifact of a figure, its summary read back, its table shown in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.table_files import Table
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import say, table
from toedit.errors import UnusableInput
from toedit.workspace import Result, Workspace


def plan_figure(
    config: Config,
    name: str,
    of: str,
    identity: Mapping[str, Any],
    inputs: dict[str, Artifact],
    build: Callable[[Workspace], Result],
) -> Artifact:
    """The figure that analysis `name` makes `of` something; `identity`: the settings that its content depends on."""
    return Artifact(
        kind="figure",
        name=f"{of}.{name}",
        identity={"analysis": name, **identity},
        inputs=inputs,
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=build,
    )


def require_inputs(scores: Artifact, *roles: str) -> None:
    """Raise UnusableInput where what the scores were made from is gone: an analysis reads it, too."""
    for role in roles:
        if role not in scores.inputs:
            raise UnusableInput(f"{scores.path}: the {role} it was made from is no longer where its manifest says")


def read_summary(artifact: Artifact) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((artifact.path / "summary.json").read_text(encoding="utf-8"))
    return summary


def show(artifact: Artifact, name: str, tables: Sequence[Table], notes: Sequence[str] = (), files: str = "") -> None:
    """Tables, the sentences below them, and where the picture is; `files` names further files."""
    for shown in tables:
        table(shown.columns, shown.rows, title=shown.title)
    for line in notes:
        say(f"  {line}")
    say(f"picture: {artifact.path / name}.png (also .pdf and .svg){files}")
