"""`python run.py stage=synthesize`: a corpus sampled from a causal language model (see `toedit/synthesizing.py`).

python run.py stage=synthesize
python run.py stage=synthesize prior=local prior.path=my-model synthesis.tokens=1000000 synthesis.prompt_tokens=32
"""

from __future__ import annotations

from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import Config, PriorConfig
from toedit.console import duration, human, printable, say
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths
from toedit.errors import naming
from toedit.priors import plan_prior
from toedit.synthesizing import plan_synthesis

_SHOWN = 300


def plan(config: Config) -> Artifact:
    root, out = Path(config.artifacts), Path(config.out) if config.out else None
    corpus = plan_corpus(config.corpus, root) if config.synthesis.prompt_tokens else None
    return plan_synthesis(model_of(config), corpus, config.synthesis, root, out)


def model_of(config: Config) -> Artifact:
    """The model that samples: `synthesis.model`, else the prior."""
    root, choice = Path(config.artifacts), config.synthesis.model
    if choice is None:
        return plan_prior(config.prior, root, config.seed)
    if Path(choice).exists() or choice.count("/") != 1:
        with naming("prior.path", "synthesis.model"):
            return plan_prior(PriorConfig(kind="local", path=choice), root, config.seed)
    with naming("prior.hub_id", "synthesis.model"):
        return plan_prior(PriorConfig(kind="hub", hub_id=choice), root, config.seed)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    manifest = artifact.manifest()
    counts, seconds = manifest["counts"], manifest["timings"]["seconds"]
    sample = next(read_documents(shard_paths(artifact.path)[0]))["text"][:_SHOWN]
    say(f"  {printable(sample)} …")
    say(
        f"{counts['documents_out']:,} documents, {counts['tokens']:,} tokens in {duration(seconds)} "
        f"({human(counts['tokens'] / max(seconds, 1e-9))} tokens/s with loading); {counts['rejected']:,} were empty; "
        f"{counts['ended']:,} ended by themselves"
    )
    return {"documents": f"{counts['documents_out']:,}", "tokens": f"{counts['tokens']:,}"}
