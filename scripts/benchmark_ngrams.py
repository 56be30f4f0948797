"""The rate of n-gram counting (`analysis/ngrams/counts.py`) beside `collections.Counter`, on one core.

    .venv/bin/python scripts/benchmark_ngrams.py --text my.jsonl.gz
    .venv/bin/python scripts/benchmark_ngrams.py --repeats 5

Without --text the embedded documentation is read. Texts lie in memory, in the batches that a worker counts. Compared in
CPU seconds, in turns on every batch:

    counts       words and bi-grams of the corpus: `Counter.update` of a regular expression's words and their pairs
    features     the same, and hashed uni- and bi-grams of every document: a loop over each document's n-grams with
                 data-selection's hash, SHA-256
    ours         all of that, and in how many documents each n-gram is, by either hash; merging is timed apart

Writes below --work only.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from analysis.ngrams.counts import CountShard, Rules, batches, plan_counts
from analysis.ngrams.merge import merge
from toedit.config import AnalysisConfig, CorpusConfig
from toedit.corpora import plan_corpus
from toedit.documents import Document, read_documents, shard_paths

_WORD = re.compile(r"\w+|[^\w\s]+")
_BUCKETS = 10_000


class Loop:
    """What a plain program does."""

    def __init__(self, has_features: bool) -> None:
        self.has_features = has_features
        self.one: Counter[str] = Counter()
        self.two: Counter[tuple[str, str]] = Counter()

    def __call__(self, batch: Sequence[Document]) -> None:
        for document in batch:
            words = _WORD.findall(document["text"].lower())
            self.one.update(words)
            self.two.update(pairwise(words))
            if self.has_features:
                responses: Counter[int] = Counter()
                for gram in [*words, *map(" ".join, pairwise(words))]:
                    responses[int(sha256(gram.encode()).hexdigest(), 16) % _BUCKETS] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="files or a corpus artifact; by default the embedded documentation")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("outputs") / "benchmarks")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    local = CorpusConfig(kind="local", path=arguments.text)
    corpus = plan_corpus(local if arguments.text else CorpusConfig(), work)
    corpus.ensure()
    texts = [batch for path in shard_paths(corpus.path) for batch in batches(read_documents(path))]
    size = sum(len(document["text"].encode()) for batch in texts for document in batch)
    print(f"{size / 1e6:.1f} MB in {len(texts)} batches", flush=True)
    found: dict[str, list[float]] = {}
    for _ in range(arguments.repeats):
        ours = {kind: CountShard(Rules(None, kind, _BUCKETS, ())).count for kind in ("mixed", "sha256")}
        loops = {"counts": Loop(False), "features": Loop(True)}
        for name, seconds in in_turns({**loops, **ours}, texts).items():
            found.setdefault(name, []).append(seconds)
    median = {name: statistics.median(values) for name, values in found.items()}
    for name, seconds in median.items():
        print(f"  {name:<9} {size / seconds / 1e6:6.2f} MB/s")
    for loop in ("counts", "features"):
        for kind in ("mixed", "sha256"):
            print(f"ours ({kind}) has {median[loop] / median[kind]:.1f} times the rate of the loop ({loop})")

    counts = plan_counts(corpus, AnalysisConfig(), None, 1, work)
    counts.ensure()
    started = time.process_time()
    totals = merge(counts.path, 40, 40_000_000)
    stored = sum(item["bytes"] for item in counts.manifest()["outputs"])
    print(f"merging {len(totals.names):,} different words: {size / (time.process_time() - started) / 1e6:.1f} MB/s; "
          f"counts on disk: {stored / size:.2f} of the text")  # fmt: skip


def in_turns(workers: dict[str, Callable[[Sequence[Document]], Any]], texts: Sequence[Any]) -> dict[str, float]:
    """CPU seconds of each worker over all batches; each batch goes from one to the next, so all see the same noise."""
    for worker in workers.values():
        worker([{"id": "", "text": "prepared"}])
    seconds = dict.fromkeys(workers, 0.0)
    for batch in texts:
        for name, worker in workers.items():
            started = time.process_time()
            worker(batch)
            seconds[name] += time.process_time() - started
    return seconds


if __name__ == "__main__":
    main()
