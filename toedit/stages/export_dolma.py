"""`python run.py stage=export_dolma edited.path=…`: a ledger for the Dolma toolkit (see `toedit/dolma_export.py`)."""

from __future__ import annotations

import shlex
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import note, say
from toedit.dolma_export import INEXACT, MIXER, plan_export
from toedit.stages.revert import edited_corpus


def plan(config: Config) -> Artifact:
    out = Path(config.out) if config.out else None
    return plan_export(edited_corpus(config), Path(config.artifacts), out)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    counts = artifact.manifest()["counts"]
    row = {key: f"{counts[key]:,}" for key in ("documents", "changed", "spans", "rules")}
    say(f"{row['documents']} documents, {row['changed']} changed tokens: {row['spans']} spans, {row['rules']} rules")
    if counts["inexact"]:
        note(f"{counts['inexact']:,} documents come out otherwise: {artifact.path / INEXACT} says which and why")
    say(f"apply it: cd {shlex.quote(str(artifact.path))} && dolma -c {MIXER} mix")
    return row
