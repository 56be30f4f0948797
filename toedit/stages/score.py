"""`python run.py stage=score`: the prior's pass over a corpus (see `toedit/scoring.py`)."""

from __future__ import annotations

from pathlib import Path

from toedit.artifacts import Artifact, load_artifact
from toedit.config import Config
from toedit.console import duration, human, say
from toedit.corpora import plan_corpus
from toedit.errors import BadConfiguration
from toedit.priors import plan_prior, planned_shape
from toedit.scoring import plan_scores


def plan(config: Config) -> Artifact:
    return plan_from(config, Path(config.out) if config.out else None)


def plan_from(config: Config, out: Path | None = None, corpus: Artifact | None = None) -> Artifact:
    """The scores that `config` names: those at `scores.path`, else those of its prior on its corpus, or on `corpus`."""
    conditioned = config.edit.condition_on_prompt
    if config.scores.path is not None and corpus is None:
        path = Path(config.scores.path)
        scores = load_artifact(path, ("scores",), "scores.path", f"python run.py stage=score out={path}")
        if not conditioned and scores.identity.get("condition_on_prompt", True):
            raise BadConfiguration(f"edit.condition_on_prompt=false: scores.path={path} was scored with the prompts")
        return scores
    root = Path(config.artifacts)
    corpus = corpus or plan_corpus(config.corpus, root)
    prior = plan_prior(config.prior, root, config.seed)
    return plan_scores(corpus, prior, config.score, config.scorer, root, out, planned_shape(config.prior), conditioned)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    manifest = artifact.manifest()
    counts, seconds = manifest["counts"], manifest["timings"]["seconds"]
    share = counts["confident"] / max(counts["tokens"], 1)
    say(
        f"scores {artifact.name}: {counts['documents']:,} documents, {counts['tokens']:,} tokens "
        f"in {duration(seconds)} ({human(counts['tokens'] / max(seconds, 1e-9))} tokens/s with loading); "
        f"P >= {manifest['identity']['min_p']:g} at {share:.2%}"
    )
    return {"tokens": f"{counts['tokens']:,}", "confident": f"{share:.2%}"}
