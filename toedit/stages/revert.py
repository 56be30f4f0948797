"""`python run.py stage=revert edited.path=…`: take an edit back (see `toedit/reverting.py`)."""

from __future__ import annotations

from pathlib import Path

from toedit.artifacts import Artifact, load_artifact
from toedit.config import Config
from toedit.console import say
from toedit.reverting import plan_revert
from toedit.stages import edit


def plan(config: Config) -> Artifact:
    out = Path(config.out) if config.out else None
    return plan_revert(edited_corpus(config), Path(config.artifacts), out)


def edited_corpus(config: Config) -> Artifact:
    """The edited corpus at `edited.path`, else the one of the other settings."""
    if config.edited.path is None:
        from dataclasses import replace

        return edit.plan(replace(config, out=None))
    path = Path(config.edited.path)
    return load_artifact(path, ("edited_corpus",), "edited.path", f"python run.py stage=edit out={path}")


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    counts = artifact.manifest()["counts"]
    say(f"{counts['documents_out']:,} documents, {counts['reverted']:,} tokens put back: the original bytes")
    return {"documents": f"{counts['documents_out']:,}", "reverted": f"{counts['reverted']:,}"}
