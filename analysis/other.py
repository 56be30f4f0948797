"""The corpora that an analysis compares with `corpus`: `analysis.other`, `analysis.third`."""

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


def plan_other(config: Config, key: str = "other") -> Artifact:
    """The corpus that `analysis.<key>` names; kind=synthesized: what `stage=synthesize` makes of this command."""
    section, root = getattr(config.analysis, key), Path(config.artifacts)
    if section.kind != SYNTHESIZED:
        with naming("corpus.", f"analysis.{key}."):
            return plan_corpus(section, root)
    from toedit.stages import synthesize

    whole = synthesize.plan(replace(config, out=None))
    return plan_part(section, whole, root, None) if asks_for_part(section) else whole
