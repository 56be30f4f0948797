"""DSIR (Xie et al. 2023, "Data Selection for Language Models via Importance Resampling"): log importance weights.

A document is a bag of hashed uni- and bi-grams. Its weight is the likelihood of that bag under the target corpus's
distribution over buckets, divided by that under the corpus's own:

    log w(document) = sum over buckets b of count_b (log(p_target_b + 1e-8) - log(p_raw_b + 1e-8))

The weights are those of the package data-selection with `num_tokens_to_fit="all"`, to rounding. (By default it stops
fitting the raw distribution at 100,000 n-grams a bucket, a billion; smaller corpora are read whole either way.)

Reads the features of both corpora. Writes document_values; none for documents of fewer than `select.min_words` words.

Shapes: D documents, B buckets, E different (document, bucket).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.selection.document_values import ShardValues, build_values
from analysis.selection.features import FEATURES, Features, plan_features, read_feature_file, read_features
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.corpora import plan_corpus
from toedit.errors import BadConfiguration, UnusableInput, naming
from toedit.workspace import Result, Workspace

_FLOOR = 1e-8
"""Added to probabilities, as in data-selection: a bucket that one corpus lacks weighs much, not infinitely much."""


def plan_values(config: Config, raw: Artifact) -> Artifact:
    """The log importance weights of the documents of `raw`. Raises BadConfiguration where no target is named."""
    select, root, processes = config.select, Path(config.artifacts), config.tokens.processes
    if not select.has_target:
        raise BadConfiguration(
            "select.target.path: select.method=dsir needs the corpus that the selection is to resemble "
            "(any kind: corpus@select.target=dolma_v1_6_sample)"
        )
    with naming("corpus.", "select.target."):
        target = plan_corpus(select.target, root)
    return Artifact(
        kind="document_values",
        name=f"{raw.name}.dsir.{target.name}",
        identity={"method": "dsir", "min_words": select.min_words},
        inputs={
            "corpus": raw,
            "features": plan_features(raw, select.buckets, processes, root),
            "target_features": plan_features(target, select.buckets, processes, root),
        },
        root=root,
        build=partial(build, buckets=select.buckets, min_words=select.min_words),
    )


def build(workspace: Workspace, buckets: int, min_words: int) -> Result:
    """Fit both distributions, then weigh every document."""
    raw_B, target_B = (bucket_totals(workspace.inputs[role], buckets) for role in ("features", "target_features"))
    if not target_B.any():
        raise UnusableInput("select.target: holds no word, so there is no distribution to resemble")
    if not raw_B.any():
        raise UnusableInput(f"{workspace.inputs['corpus']}: holds no word, so select.method=dsir cannot weigh it")
    log_ratio_B = log_ratio(raw_B, target_B)
    features = workspace.inputs["features"]

    def of_shard(shard: Path) -> ShardValues:
        ids: list[str] = []
        values = [np.zeros(0)]
        for batch in read_features(features, shard):
            ids += batch.ids
            values.append(np.where(batch.words_D >= min_words, log_weights(batch, log_ratio_B), np.nan))
        return ids, np.concatenate(values)

    return build_values(workspace, "weigh documents", of_shard)


def bucket_totals(features: Path, buckets: int) -> NDArray[np.int64]:
    """`total_B`: how often each bucket comes up in a whole corpus."""
    total_B = np.zeros(buckets)
    for path in sorted((features / FEATURES).glob("*.parquet")):
        for batch in read_feature_file(path):
            total_B += np.bincount(batch.bucket_E, batch.count_E, minlength=buckets)  # exact: far below 2**53
    return total_B.astype(np.int64)


def log_ratio(raw_B: NDArray[np.integer], target_B: NDArray[np.integer]) -> NDArray[np.float64]:
    """log of target by raw probability of each bucket."""
    probability_raw_B, probability_target_B = raw_B / raw_B.sum(), target_B / target_B.sum()
    return np.log(probability_target_B + _FLOOR) - np.log(probability_raw_B + _FLOOR)


def log_weights(batch: Features, log_ratio_B: NDArray[np.float64]) -> NDArray[np.float64]:
    """`log_weight_D` of a batch."""
    weighed_E = log_ratio_B[batch.bucket_E] * batch.count_E
    weight_D = np.bincount(batch.document_E, weighed_E, minlength=len(batch.ids)).astype(np.float64)
    return weight_D
