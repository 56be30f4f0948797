"""The rate of n-gram counting (`analysis/ngrams/counts.py`) beside `collections.Counter`, on one core.

    .venv/bin/python scripts/benchmark_ngrams.py --text my.jsonl.gz
    .venv/bin/python scripts/benchmark_ngrams.py --repeats 5

Without --text the embedded documentation is read. Texts lie in memory, in the batches that a worker counts. In CPU
seconds, one program after the other in every repeat, each in a process of its own:

    counts       words and bi-grams of the corpus: `Counter.update` of a regular expression's words and their pairs
    features     the same, and hashed uni- and bi-grams of every document: a loop over each document's n-grams with
                 data-selection's hash, SHA-256
    ours         the same in arrays: `Tally`, and then `Hasher` by either hash. How often each document has each
                 n-gram, and in how many documents it is, always come with it
    the stage    all of it from shards on disk to totals of the corpus: reading, counting, writing, merging

What is compiled is compiled before. Writes below --work only.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from analysis.ngrams.counts import Tally, batches, plan_counts, responses
from analysis.ngrams.hashing import Hasher
from analysis.ngrams.merge import merge
from analysis.ngrams.units import Words
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

    def totals(self) -> tuple[Any, ...]:
        return self.one, self.two


class Ours:
    """The same in arrays: totals, and with a `hash` every document's buckets."""

    def __init__(self, hash: str | None) -> None:
        self.tally = Tally(Words())
        self.hasher = Hasher(hash, _BUCKETS) if hash else None

    def __call__(self, batch: Sequence[Document]) -> None:
        _, words, pairs = self.tally.add([document["text"] for document in batch])
        if self.hasher:
            responses(self.tally, self.hasher, words, pairs)

    def totals(self) -> tuple[Any, ...]:
        """Names and counts of words, counts of bi-grams."""
        names = self.tally.splitter.names()
        return names, self.tally.units.totals(len(names)), self.tally.pairs.rows()


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
    size = sum(len(document["text"].encode()) for path in shard_paths(corpus.path) for document in read_documents(path))
    print(f"{size / 1e6:.1f} MB", flush=True)
    found = [{name: in_a_process(name, corpus.path) for name in PROGRAMS} for _ in range(arguments.repeats)]
    for name in PROGRAMS:
        seconds = [row[name] for row in found]
        median, fastest = (size / 1e6 / value for value in (statistics.median(seconds), min(seconds)))
        print(f"  {name:<24} {median:7.2f} MB/s, at best {fastest:.2f}")
    for name in PROGRAMS:
        if name.startswith("ours"):
            loop = "features" if "features" in name else "counts"
            ratios = [row[loop] / row[name] for row in found]
            print(f"{name}: {statistics.median(ratios):.1f} times the loop ({min(ratios):.1f} to {max(ratios):.1f})")

    counts = plan_counts(corpus, AnalysisConfig(), None, 1, work)
    started = time.process_time()
    counts.ensure()
    counted = time.process_time() - started
    totals = merge(counts.path, 40, 40_000_000)
    whole = time.process_time() - started
    stored = sum(item["bytes"] for item in counts.manifest()["outputs"])
    loop_seconds = statistics.median([row["features"] for row in found])
    print(f"the stage (mixed), {len(totals.names):,} different words: {size / whole / 1e6:.1f} MB/s, of which merging "
          f"{whole - counted:.2f} of {whole:.2f} s; {loop_seconds / whole:.1f} times the loop (features); "
          f"counts on disk: {stored / size:.2f} of the text")  # fmt: skip


PROGRAMS: dict[str, Callable[[], Any]] = {
    "counts": lambda: Loop(False),
    "ours, counts": lambda: Ours(None),
    "features": lambda: Loop(True),
    "ours, features (mixed)": lambda: Ours("mixed"),
    "ours, features (sha256)": lambda: Ours("sha256"),
}


def in_a_process(name: str, corpus: Path) -> float:
    """CPU seconds of a program in a process of its own: nobody inherits the memory that another has left in pieces."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, name, corpus).result()


def measure(name: str, corpus: Path) -> float:
    """CPU seconds of a program over all batches, totals included; it has seen one batch before."""
    texts = [batch for path in shard_paths(corpus) for batch in batches(read_documents(path))]
    for part in (texts[:1], texts):
        program = PROGRAMS[name]()
        started = time.process_time()
        for batch in part:
            program(batch)
        program.totals()
    return time.process_time() - started


if __name__ == "__main__":
    main()
