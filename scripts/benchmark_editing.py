"""Benchmarks of reading, scoring and editing. Prints what docs/findings.md quotes; writes below --work only.

    .venv/bin/python scripts/benchmark_editing.py resampling                tokens a second from the cache, one core
    .venv/bin/python scripts/benchmark_editing.py streaming --gigabytes 1   peak memory over a large corpus
    .venv/bin/python scripts/benchmark_editing.py sweep                     nine points against one cold edit

`streaming` replaces the model by a constant-time stand-in, because reading, windows, scores and edits are what it
measures. Everything else is the code that `run.py` runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

import toedit.scoring
from toedit.config import CorpusConfig, EditConfig, PriorConfig, ScoreConfig, ScorerConfig, TrainingConfig
from toedit.scorers import BatchScores
from toedit.windows import ModelInput

REPOSITORY = Path(__file__).resolve().parents[1]


class StandIn:
    """A scorer of constant time: every eighth token is confident, its candidates are itself and its neighbours."""

    versions: ClassVar[dict[str, str]] = {}
    batch_tokens = 4096

    def __init__(self, top_k: int, vocabulary_size: int) -> None:
        self.top_k, self.vocabulary_size = top_k, vocabulary_size
        self.logprob_K = np.log(np.array([0.992] + [0.008 / top_k] * (top_k - 1))).astype(np.float32)

    def score(self, batch: list[ModelInput]) -> BatchScores:
        target_R = np.concatenate([sequence.token_ids_L[sequence.first_scored :] for sequence in batch])
        confident_N = np.arange(0, len(target_R), 8)
        logprob_R = np.full(len(target_R), -2.0, np.float32)
        logprob_R[confident_N] = self.logprob_K[0]
        candidate_id_NK = (target_R[confident_N, None] + np.arange(self.top_k)) % self.vocabulary_size
        candidate_logprob_NK = np.broadcast_to(self.logprob_K, candidate_id_NK.shape)
        return BatchScores(logprob_R, confident_N, candidate_id_NK.astype(np.int32), candidate_logprob_NK)


def resampling(work: Path, repeats: int = 7) -> None:
    """The paper's editor on scores of millions of tokens: an eighth of them confident (as on web text), then all."""
    from toedit.editors import find_editor
    from toedit.scores import ShardScores

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    generator = np.random.default_rng(0)
    for title, tokens, every in (("an eighth confident", 8_000_000, 8), ("all confident", 1_000_000, 1)):
        count, documents, candidates = tokens // every, tokens // 1000, 64
        mass_NK = np.full((count, candidates), 0.008 / 63, np.float32)
        mass_NK[:, 0] = generator.uniform(0.98, 0.9999, count)
        candidate_id_NK = generator.integers(0, 50_000, (count, candidates), dtype=np.int32)
        logprob_T = np.full(tokens, -2.0, np.float32)
        logprob_T[::every] = np.log(mass_NK[:, 0])
        token_id_T = np.zeros(tokens, np.int32)
        token_id_T[::every] = candidate_id_NK[:, 0]
        scores = ShardScores(
            ids=[str(number) for number in range(documents)],
            token_offset_D1=np.arange(documents + 1) * 1000,
            token_id_T=token_id_T,
            span_T2=np.zeros((0, 2), np.int32),
            logprob_T=logprob_T,
            candidate_offset_D1=np.arange(documents + 1) * (1000 // every),
            candidate_position_N=np.tile(np.arange(0, 1000, every, dtype=np.int32), documents),
            candidate_id_NK=candidate_id_NK,
            candidate_logprob_NK=np.log(mass_NK),
        )
        seconds = []
        for _ in range(repeats):
            scores.__dict__.pop("document_N", None), scores.__dict__.pop("token_N", None)
            started = time.perf_counter()
            draws = find_editor("top_k").draw(scores, None, EditConfig(p=0.99, k=8))  # it asks no tokenizer
            seconds.append(time.perf_counter() - started)
        rate = tokens / np.median(seconds) / 1e6
        spread = f"{tokens / max(seconds) / 1e6:.1f} to {tokens / min(seconds) / 1e6:.1f}"
        print(
            f"resampling, {title}: {rate:.1f} M tokens/s (median of {repeats}; {spread}), {len(draws.index_E)} eligible"
        )


def streaming(work: Path, gigabytes: float) -> None:
    """Read, window, score (stand-in) and edit a corpus of that size; report rates and the peak resident memory."""
    from toedit.corpora import plan_corpus
    from toedit.edit_corpus import plan_edit
    from toedit.priors import plan_prior
    from toedit.scoring import plan_scores

    source = work / "large.jsonl"
    pydocs = plan_corpus(CorpusConfig(packages=["python", "numpy", "pandas", "matplotlib"]), work)
    pydocs.ensure()
    written, copy = 0, 0
    with source.open("w", encoding="utf-8") as file:
        while written < gigabytes * 1e9:
            for document in _documents(pydocs.path):
                line = json.dumps({**document, "id": f"{copy}/{document['id']}"}, ensure_ascii=False) + "\n"
                written += file.write(line)
            copy += 1
    untrained = TrainingConfig(steps=10, vocabulary_size=8192)  # its tokenizer and window are all that is used
    prior = plan_prior(PriorConfig(corpus=CorpusConfig(packages=["python"]), training=untrained), work, 0)
    prior.ensure()
    before = _resident()
    loaded = toedit.prior_pass.load_scorers
    toedit.prior_pass.load_scorers = lambda model, score, scorer: [StandIn(score.top_k, 8000)]
    try:
        corpus = plan_corpus(CorpusConfig(kind="local", path=str(source)), work)
        scores = plan_scores(corpus, prior, ScoreConfig(top_k=16), ScorerConfig(), work)
        edited = plan_edit(scores, EditConfig(), work)
        for artifact in (corpus, scores, edited):
            started = time.perf_counter()
            artifact.ensure()
            seconds = time.perf_counter() - started
            print(
                f"{artifact.kind}: {written / seconds / 1e6:.1f} MB/s, peak {_resident():.0f} MB resident", flush=True
            )
    finally:
        toedit.prior_pass.load_scorers = loaded
    print(f"streamed {written / 1e9:.2f} GB; resident before {before:.0f} MB, peak {_resident():.0f} MB")


def sweep(work: Path) -> None:
    """One cold edit, then nine points, as whole commands on the embedded default."""
    shutil.rmtree(work / "sweep", ignore_errors=True)
    cold = _timed(["stage=edit"], work)
    warm = _timed(["stage=edit"], work)
    points = _timed(["-m", "stage=edit", "edit.p=0.9,0.99,0.999", "edit.k=4,8,64"], work)
    print(
        f"cold edit {cold:.1f} s; the same again {warm:.1f} s; nine points {points:.1f} s = {points / cold:.1%} of it"
    )


def _timed(arguments: list[str], work: Path) -> float:
    command = [sys.executable, str(REPOSITORY / "run.py"), *arguments, f"artifacts={work / 'sweep'}"]
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=work, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _documents(corpus: Path) -> list[dict[str, object]]:
    from toedit.documents import read_documents, shard_paths

    return [document for path in shard_paths(corpus) for document in read_documents(path)]


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("resampling", "streaming", "sweep"))
    parser.add_argument("--work", type=Path, default=Path("outputs") / "benchmarks")
    parser.add_argument("--gigabytes", type=float, default=1.0)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if arguments.benchmark == "resampling":
        resampling(work)
    elif arguments.benchmark == "streaming":
        streaming(work, arguments.gigabytes)
    else:
        sweep(work)


if __name__ == "__main__":
    main()
