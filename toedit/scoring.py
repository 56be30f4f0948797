"""`stage=score`: one pass of the prior over a corpus, kept so that every edit afterwards is arithmetic.

Reads a corpus artifact and a prior; writes a scores artifact (`toedit/scores.py`), one Parquet file a corpus shard.

    python run.py stage=score corpus=local corpus.path=my.jsonl prior=local prior.path=my-model
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from toedit import executors
from toedit.artifacts import Artifact
from toedit.config import ScoreConfig, ScorerConfig, ShapeConfig
from toedit.console import Progress, human
from toedit.costs import BYTES_PER_TOKEN, corpus_tokens, flops_per_token, pass_memory, score_bytes_per_token
from toedit.documents import read_documents, shard_of, shard_paths
from toedit.errors import BadConfiguration
from toedit.instructions import holds_instructions
from toedit.passages import Passages, passages_of
from toedit.prior_pass import PreparedShard, PriorPass
from toedit.priors import model_folder, model_shape
from toedit.scorers import Scorer
from toedit.scores import SCORES, ShardScores, write_scores
from toedit.workspace import Result, Workspace

Prepared = tuple[int, Passages, PreparedShard]
"""Of a shard: how many of its documents are instruction data, what of each is read, and the tokens of that."""

# What Python, torch and the documents of a shard take in a process, about; measured at 0.5 GB on a CPU.
_PROCESS_BYTES = 0.7e9
# Text against its zstd file, about.
_COMPRESSION = 3
# For estimates only: how much of English text a good prior is sure of.
_CONFIDENT_SHARE = 0.15
_COUNTS = ("documents", "instructions", "tokens", "scored", "confident", "cut_documents", "cut_tokens")


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
        identity=score_identity(score, scorer) | ({} if condition_on_prompt else {"condition_on_prompt": False}),
        inputs={"corpus": corpus, "prior": prior},
        root=root,
        out=out,
        build=partial(build_scores, score=score, scorer=scorer, condition_on_prompt=condition_on_prompt),
        estimate=partial(_estimate, corpus, shape or ShapeConfig(), score, scorer),
    )


def score_identity(score: ScoreConfig, scorer: ScorerConfig) -> dict[str, Any]:
    """What decides the numbers. What only decides whether to begin stays out, and what is off."""
    identity = {**asdict(score), "scorer": scorer.kind}
    del identity["on_short_context"]
    if not score.truncate:
        del identity["truncate"], identity["max_length"]
    return identity


def build_scores(
    workspace: Workspace, score: ScoreConfig, scorer: ScorerConfig, condition_on_prompt: bool = True
) -> Result:
    """Score every shard that an earlier run has not finished."""
    corpus, prior = workspace.inputs["corpus"], workspace.inputs["prior"]
    shards = shard_paths(corpus)
    todo = [path for path in shards if workspace.finished(shard_of(path)) is None]
    result = Result(counts=dict.fromkeys(_COUNTS, 0), runtime={"scorer": asdict(scorer)})
    with Progress("score", sum(path.stat().st_size for path in todo), "bytes read") as progress:
        arguments = (prior, score, scorer, condition_on_prompt)
        if executors.current().kind == "local" and todo:  # else no model is loaded
            scoring = ScoreShard(*arguments)
            result.runtime |= scoring.facts
            _score_shards(todo, workspace, scoring, progress)
        elif todo:
            work = executors.ShardWork("score", ScoreShard, arguments, _need(prior, score, scorer, todo))
            for number, facts in executors.over_shards(workspace, work, [(workspace.path, path) for path in todo], 1):
                result.runtime |= facts
                progress.advance(todo[number].stat().st_size, todo[number].name)
    for path in shards:
        record = workspace.finished(shard_of(path)) or {}
        for key in result.counts:
            result.counts[key] += record.get(key, 0)
        result.rows[f"{SCORES}/{shard_of(path)}.parquet"] = record["documents"]
    if not score.truncate:
        del result.counts["cut_documents"], result.counts["cut_tokens"]
    if not result.counts["instructions"]:
        del result.counts["instructions"]
    return result


class ScoreShard:
    """Scores one shard after another, in three steps that may overlap: read, score, write."""

    def __init__(self, prior: Path, score: ScoreConfig, scorer: ScorerConfig, condition_on_prompt: bool) -> None:
        self.prior = PriorPass(model_folder(prior), score, scorer)
        self.condition_on_prompt = condition_on_prompt
        self.facts: dict[str, Any] = {"engine": self.prior.scorers[0].versions, "window": self.prior.window}
        self._idle: queue.SimpleQueue[Scorer] = queue.SimpleQueue()
        for engine in self.prior.scorers:
            self._idle.put(engine)

    def __call__(self, folder: Path, shard: Path) -> dict[str, Any]:
        """Write the scores of `shard` below `folder`; return what the manifest says of the engine."""
        prepared = self.read(shard)
        self.write(Workspace(folder, {}), shard, prepared, self.score(shard, prepared, Progress("score", None)))
        return self.facts

    def many(self, tasks: Sequence[tuple[Path, Path]]) -> list[dict[str, Any]]:
        """The same for several, the steps of one overlapping with those of the next."""
        _score_shards([shard for _, shard in tasks], Workspace(tasks[0][0], {}), self, Progress("score", None))
        return [self.facts] * len(tasks)

    def read(self, path: Path) -> Prepared:
        """The documents of a shard, tokenised."""
        documents = list(read_documents(path))
        instructions = holds_instructions(documents)
        if not (instructions or self.condition_on_prompt):
            raise BadConfiguration(
                f"edit.condition_on_prompt=false: {path} holds no instruction data; see corpus.layout"
            )
        passages = passages_of(documents, self.condition_on_prompt)
        return instructions, passages, self.prior.prepare(passages.ids, passages.texts)

    def score(self, path: Path, prepared: Prepared, progress: Progress) -> ShardScores:
        """The prior's pass, by the first engine that is idle."""
        (_, passages, waiting), engine = prepared, self._idle.get()
        try:
            return passages.join(self.prior.run(waiting, engine, progress, path.stat().st_size))
        finally:
            self._idle.put(engine)

    def write(self, workspace: Workspace, path: Path, prepared: Prepared, scores: ShardScores) -> None:
        """Commit the scores of a shard."""
        instructions, passages, waiting = prepared
        cut_D = passages.add_up(waiting.cut_D)
        shard = shard_of(path)
        with workspace.shard(shard, f"{SCORES}/{shard}.parquet") as ((output,), record):
            write_scores(output, scores)
            record.update(
                documents=len(scores.ids),
                instructions=instructions,
                tokens=len(scores.token_id_T),
                scored=int((~np.isnan(scores.logprob_T)).sum()),
                confident=len(scores.candidate_position_N),
                cut_documents=int((cut_D > 0).sum()),
                cut_tokens=int(cut_D.sum()),
            )


def _score_shards(shards: list[Path], workspace: Workspace, scoring: ScoreShard, progress: Progress) -> None:
    """Read ahead, score, write behind: three steps at once, and as many shards being scored as there are engines.

    Only a few shards are in memory at a time. Each is committed by itself, as soon as it is scored.
    """

    def score(path: Path, prepared: Future[Prepared]) -> ShardScores:
        return scoring.score(path, prepared.result(), progress)

    def write(path: Path, prepared: Future[Prepared], scored: Future[ShardScores]) -> None:
        scoring.write(workspace, path, prepared.result(), scored.result())

    engines = len(scoring.prior.scorers)
    readers, writers = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    scorers = ThreadPoolExecutor(engines) if engines > 1 else _InThisThread()
    coming = iter(shards)
    ahead = deque((path, readers.submit(scoring.read, path)) for path in islice(coming, engines + 1))
    unwritten: deque[Future[None]] = deque()
    try:
        while ahead:
            path, prepared = ahead.popleft()
            if (following := next(coming, None)) is not None:
                ahead.append((following, readers.submit(scoring.read, following)))
            scored = scorers.submit(score, path, prepared)
            unwritten.append(writers.submit(write, path, prepared, scored))
            while len(unwritten) > engines + 1:
                unwritten.popleft().result()
        for written in unwritten:
            written.result()
    except BaseException:
        scoring.prior.stop.set()  # after an error or Ctrl-C nothing more is begun
        raise
    finally:
        for pool in (readers, scorers, writers):
            pool.shutdown(cancel_futures=True)


class _InThisThread(Executor):
    """Does at once what it is given. A single engine works here: torch is slower in any thread but the first."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments, **named))
        return done


def _need(prior: Path, score: ScoreConfig, scorer: ScorerConfig, todo: list[Path]) -> executors.Need:
    """What one worker needs: the prior, and the largest shard with its scores (twice, while they are written)."""
    folder = model_folder(prior)
    weights, activations = pass_memory(model_shape(folder), score, scorer)
    text = _COMPRESSION * max((path.stat().st_size for path in todo), default=0)
    shard = 2 * text * (1 + score_bytes_per_token(score.top_k, _CONFIDENT_SHARE) / BYTES_PER_TOKEN)
    return executors.Need(_PROCESS_BYTES + weights + activations + shard, f"prior.path={folder}", gpu=True)


def _estimate(corpus: Artifact, shape: ShapeConfig, score: ScoreConfig, scorer: ScorerConfig) -> dict[str, str]:
    """What the pass would cost, for a dry run."""
    if not shape.parameters:
        return {}
    weights, activations = pass_memory(shape, score, scorer)
    cost = {
        "parameters": human(shape.parameters),
        "memory": f"{human(weights, 'B')} weights, {human(activations, 'B')} activations",
    }
    if corpus.state() == "cached":
        tokens, known_by = corpus_tokens(corpus.manifest()["counts"])
        cost["tokens"] = f"about {human(tokens)} ({known_by})"
        cost["FLOPs"] = human(tokens * flops_per_token(shape, min(score.window, shape.context or score.window)))
        cost["disk"] = f"about {human(tokens * score_bytes_per_token(score.top_k, _CONFIDENT_SHARE), 'B')}"
    return cost
