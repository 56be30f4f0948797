"""`python run.py stage=corpus`: read documents into a corpus artifact (see `toedit/corpora/`)."""

from __future__ import annotations

from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import human, say
from toedit.corpora import plan_corpus


def plan(config: Config) -> Artifact:
    return plan_corpus(config.corpus, Path(config.artifacts), _out(config))


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    counts = artifact.manifest()["counts"]
    documents, rejected, size = counts["documents_out"], counts["rejected"], counts.get("bytes", 0)
    say(f"corpus {artifact.name}: {documents:,} documents, {human(size, 'B')} of text, {rejected:,} rows rejected")
    return {"documents": f"{documents:,}", "rejected": f"{rejected:,}", "text": human(size, "B")}


def _out(config: Config) -> Path | None:
    return Path(config.out) if config.out else None
