"""The second corpus of an analysis that compares two: `analysis.other`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.config.corpus import SYNTHESIZED
from toedit.corpora import plan_corpus
from toedit.corpora.derived import plan_part
from toedit.corpora.parts import asks_for_part
from toedit.errors import naming


def plan_other(config: Config) -> Artifact:
    """The corpus that `analysis.other` names; kind=synthesized: what `stage=synthesize` makes of this command."""
    other, root = config.analysis.other, Path(config.artifacts)
    if other.kind != SYNTHESIZED:
        with naming("corpus.", "analysis.other."):
            return plan_corpus(other, root)
    from toedit.stages import synthesize

    whole = synthesize.plan(replace(config, out=None))
    return plan_part(other, whole, root, None) if asks_for_part(other) else whole
