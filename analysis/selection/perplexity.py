"""Perplexity of every document under the prior, from its scores (Marion et al. 2023 prune by it; the paper's folder
says "hard": the highest).

Reads a corpus and its scores; writes document_values. A document without a scored token has no value.

Shapes: D documents, T tokens of a shard.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from analysis.perplexity.document import mean_nll
from analysis.selection.document_values import ShardValues, build_values
from toedit.artifacts import Artifact
from toedit.config import Config, SelectConfig
from toedit.documents import shard_of
from toedit.errors import UnusableInput
from toedit.scores import read_document_logprobs, scores_path
from toedit.stages import score
from toedit.workspace import Result, Workspace


def plan_values(config: Config, raw: Artifact) -> Artifact:
    """The perplexities of the documents of `raw`. `scores.path` names scores to use; they must be that corpus's."""
    select = config.select
    scores = score.plan_from(config, corpus=raw if config.scores.path is None else None)
    if scores.inputs.get("corpus", raw).fingerprint != raw.fingerprint:
        raise UnusableInput(f"scores.path={config.scores.path}: are the scores of another corpus than {raw.name}")
    return Artifact(
        kind="document_values",
        name=f"{scores.name}.perplexity",
        identity={
            "method": "perplexity",
            "max_tokens": select.max_tokens,
            "skip_first_token": select.skip_first_token,
        },
        inputs={"corpus": raw, "scores": scores},
        root=Path(config.artifacts),
        build=partial(build, select=select),
    )


def build(workspace: Workspace, select: SelectConfig) -> Result:
    def of_shard(shard: Path) -> ShardValues:
        path = scores_path(workspace.inputs["scores"], shard_of(shard))
        ids, token_offset_D1, logprob_T = read_document_logprobs(path)
        _, nll_D = mean_nll(token_offset_D1, logprob_T, select.max_tokens, select.skip_first_token)
        with np.errstate(over="ignore"):
            return ids, np.exp(nll_D)

    return build_values(workspace, "document perplexities", of_shard)
