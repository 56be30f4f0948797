"""`stage=score`: one pass of the prior over a corpus, kept so that every edit afterwards is arithmetic.

Reads a corpus artifact and a prior; writes a scores artifact (`toedit/scores.py`), one Parquet file a corpus shard.

    python run.py stage=score corpus=local corpus.path=my.jsonl prior=local prior.path=my-model
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from toedit.artifacts import Artifact
from toedit.config import ScoreConfig, ScorerConfig, ShapeConfig
from toedit.console import Progress, human
from toedit.costs import corpus_tokens, flops_per_token, score_bytes_per_token
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.instructions import holds_instructions
from toedit.passages import passages_of
from toedit.priors import model_folder, model_shape
from toedit.scorers import Scorer, load_scorer
from toedit.scores import SCORES, ShardScores, write_scores
from toedit.tokenizing import PriorTokenizer, load_tokenizer
from toedit.windows import ModelInput, Window, batches, windows
from toedit.workspace import Result, Workspace

# For dry runs only: how much of English text a good prior is sure of.
_CONFIDENT_SHARE = 0.15


def plan_scores(
    corpus: Artifact,
    prior: Artifact,
    score: ScoreConfig,
    scorer: ScorerConfig,
    root: Path,
    out: Path | None = None,
    shape: ShapeConfig | None = None,
    condition_on_prompt: bool = True,
) -> Artifact:
    """The scores of `corpus` under `prior`; `shape` is the prior's size where a dry run should know it.

    `condition_on_prompt` is part of the identity only where it is false: it says nothing about plain text.
    """
    return Artifact(
        kind="scores",
        name=f"{corpus.name}.{prior.name}",
        identity={
            **asdict(score),
            "scorer": scorer.kind,
            **({} if condition_on_prompt else {"condition_on_prompt": False}),
        },
        inputs={"corpus": corpus, "prior": prior},
        root=root,
        out=out,
        build=partial(build_scores, score=score, scorer=scorer, condition_on_prompt=condition_on_prompt),
        estimate=partial(_estimate, corpus, shape or ShapeConfig(), score, scorer),
    )


def build_scores(
    workspace: Workspace, score: ScoreConfig, scorer: ScorerConfig, condition_on_prompt: bool = True
) -> Result:
    """Score every shard that an earlier run has not finished."""
    corpus, prior = workspace.inputs["corpus"], model_folder(workspace.inputs["prior"])
    shards = shard_paths(corpus)
    pass_: PriorPass | None = None  # the model is loaded only if there is something left to score
    result = Result(counts={"documents": 0, "tokens": 0, "scored": 0, "confident": 0})
    instructions = 0
    with Progress("score", sum(path.stat().st_size for path in shards), "bytes read") as progress:
        for path in shards:
            shard = path.name.removesuffix(".jsonl.zst")
            record = workspace.finished(shard)
            if record is None:
                pass_ = pass_ or PriorPass(prior, score, scorer, condition_on_prompt)
                with workspace.shard(shard, f"{SCORES}/{shard}.parquet") as ((output,), record):
                    record.update(pass_.score_shard(path, output, progress))
            else:
                progress.skip(path.stat().st_size)
            for key in result.counts:
                result.counts[key] += record[key]
            instructions += record.get("instructions", 0)
            result.rows[f"{SCORES}/{shard}.parquet"] = record["documents"]
    if instructions:
        result.counts["instructions"] = instructions
    result.runtime = {"scorer": asdict(scorer)}
    if pass_ is not None:
        result.runtime["engine"] = getattr(pass_.scorer, "versions", {})
    return result


class PriorPass:
    """The prior with its tokenizer, ready to score shards."""

    def __init__(self, model: Path, score: ScoreConfig, scorer: ScorerConfig, condition_on_prompt: bool = True) -> None:
        self.condition_on_prompt = condition_on_prompt
        self.tokenizer = load_tokenizer(model)
        shape = model_shape(model)
        if shape.vocabulary_size is not None and self.tokenizer.vocabulary_size > shape.vocabulary_size:
            raise UnusableInput(
                f"{model}: the tokenizer has {self.tokenizer.vocabulary_size} entries, "
                f"the embedding only {shape.vocabulary_size}: they do not belong together"
            )
        self.context_id = context_id(self.tokenizer, score.context_token, model)
        window = min(score.window, shape.context or score.window)
        self.capacity = window - (self.context_id is not None)
        self.min_context = score.min_context if score.min_context is not None else max(window // 4, 1)
        if self.min_context >= self.capacity:
            raise BadConfiguration(
                f"score.min_context={self.min_context}: must be below the prior's window of {window}"
            )
        self.batch_tokens = scorer.batch_tokens
        self.scorer: Scorer = load_scorer(model, score, scorer)
        self.started, self.tokens = time.monotonic(), 0

    def score_shard(self, shard: Path, output: Path, progress: Progress) -> dict[str, int]:
        """Score one corpus shard into `output`; return its counts."""
        documents = list(read_documents(shard))
        instructions = holds_instructions(documents)
        if not (instructions or self.condition_on_prompt):
            raise BadConfiguration(
                f"edit.condition_on_prompt=false: {shard} holds no instruction data; see corpus.layout"
            )
        passages = passages_of(documents, self.condition_on_prompt)
        scores = passages.join(self.score_texts(passages.ids, passages.texts, progress, shard.stat().st_size))
        write_scores(output, scores)
        return {
            "documents": len(documents),
            "instructions": instructions,
            "tokens": len(scores.token_id_T),
            "scored": int((~np.isnan(scores.logprob_T)).sum()),
            "confident": len(scores.candidate_position_N),
        }

    def score_texts(self, ids: list[str], texts: list[str], progress: Progress, weight: float) -> ShardScores:
        """Scores of documents; `weight` is what all of them add to the progress."""
        encoded = self.tokenizer.encode(texts)
        token_offset_D1 = np.cumsum([0, *(len(document.token_ids_T) for document in encoded)])
        token_id_T = np.concatenate([document.token_ids_T for document in encoded])
        logprob_T = np.full(len(token_id_T), np.nan, dtype=np.float32)
        found_tokens, found_ids, found_logprobs = [], [], []

        laid = [
            (int(token_offset_D1[number]), window)
            for number, document in enumerate(encoded)
            for window in windows(
                len(document.token_ids_T), self.capacity, self.min_context, self.context_id is not None
            )
        ]
        lengths = [window.stop - window.start for _, window in laid]
        per_token = weight / max(sum(lengths), 1)
        for batch in batches(lengths, self.batch_tokens):
            inputs = [self._model_input(token_id_T, *laid[index]) for index in batch]
            token_R = np.concatenate([_scored_tokens(*laid[index]) for index in batch])
            scored = self.scorer.score(inputs)
            logprob_T[token_R] = scored.logprob_R
            found_tokens.append(token_R[scored.confident_N])
            found_ids.append(scored.candidate_id_NK)
            found_logprobs.append(scored.candidate_logprob_NK)
            tokens = sum(lengths[index] for index in batch)
            self.tokens += tokens
            rate = self.tokens / max(time.monotonic() - self.started, 1e-9)
            progress.advance(tokens * per_token, f"{human(rate)} tokens/s")

        token_N = np.concatenate([np.empty(0, np.int64), *found_tokens])
        order = np.argsort(token_N)
        token_N = token_N[order]
        candidate_offset_D1 = np.searchsorted(token_N, token_offset_D1)
        document_N = np.repeat(np.arange(len(ids)), np.diff(candidate_offset_D1))
        return ShardScores(
            ids=ids,
            token_offset_D1=token_offset_D1,
            token_id_T=token_id_T,
            span_T2=np.concatenate([document.span_T2 for document in encoded]),
            logprob_T=logprob_T,
            candidate_offset_D1=candidate_offset_D1,
            candidate_position_N=(token_N - token_offset_D1[document_N]).astype(np.int32),
            candidate_id_NK=_stacked(found_ids, order, np.int32),
            candidate_logprob_NK=_stacked(found_logprobs, order, np.float32),
        )

    def _model_input(self, token_id_T: np.ndarray, offset: int, window: Window) -> ModelInput:
        token_ids_L = token_id_T[offset + window.start : offset + window.stop]
        first_scored = window.first_scored - window.start
        if self.context_id is not None:
            token_ids_L = np.concatenate([np.array([self.context_id], np.int32), token_ids_L])
            first_scored += 1
        return ModelInput(token_ids_L, first_scored)


def context_id(tokenizer: PriorTokenizer, choice: str, model: Path) -> int | None:
    """The token that stands before a text: what the first token is conditioned on."""
    known = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "none": None}
    if choice == "auto":
        return known["bos"] if known["bos"] is not None else known["eos"]
    if choice != "none" and known[choice] is None:
        raise BadConfiguration(f"score.context_token={choice}: the tokenizer of {model} has none")
    return known[choice]


def _scored_tokens(offset: int, window: Window) -> np.ndarray:
    return np.arange(offset + window.first_scored, offset + window.stop)


def _stacked(parts: list[np.ndarray], order: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts)[order] if parts else np.empty((0, 1), dtype)


def _estimate(corpus: Artifact, shape: ShapeConfig, score: ScoreConfig, scorer: ScorerConfig) -> dict[str, str]:
    """What the pass would cost, for a dry run."""
    if not shape.parameters:
        return {}
    width = 2 if score.dtype == "bfloat16" else 4
    logits = 4 * scorer.head_rows * (shape.vocabulary_size or 0)
    hidden = width * scorer.batch_tokens * (shape.hidden_size or 0)
    cost = {
        "parameters": human(shape.parameters),
        "memory": f"{human(width * shape.parameters, 'B')} weights, {human(logits + 8 * hidden, 'B')} activations",
    }
    if corpus.state() == "cached":
        tokens, known_by = corpus_tokens(corpus.manifest()["counts"])
        cost["tokens"] = f"about {human(tokens)} ({known_by})"
        cost["FLOPs"] = human(tokens * flops_per_token(shape, min(score.window, shape.context or score.window)))
        cost["disk"] = f"about {human(tokens * score_bytes_per_token(score.top_k, _CONFIDENT_SHARE), 'B')}"
    return cost
