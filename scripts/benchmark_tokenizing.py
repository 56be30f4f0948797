"""The rate of `stage=tokenize` beside that of the `tokenizers` library alone, on the same text in the same run.

    .venv/bin/python scripts/benchmark_tokenizing.py --text my.jsonl.gz --tokenizer my-model
    .venv/bin/python scripts/benchmark_tokenizing.py --processes 2 --repeats 5

Without --text the embedded documentation is read, without --tokenizer a tokenizer is trained on it. The library's side
is `encode_batch` of texts that lie in memory; nothing is read or written. Ours reads shards, tokenises, writes token
files and checksums: first one worker, taking turns with the library on every shard (CPU seconds), then the whole stage
with its processes, beside the library with as many threads (seconds). Writes below --work only. Prints what
docs/findings.md quotes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import CorpusConfig
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths
from toedit.named_tokenizers import NamedTokenizer, find_tokenizer
from toedit.tiny_prior import train_tokenizer
from toedit.token_files import dtype_for
from toedit.tokenize_corpus import TokenizeShard, plan_tokens
from toedit.tokenizing import plain_tokenizer
from toedit.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="files or a corpus artifact; by default the embedded documentation")
    parser.add_argument("--tokenizer", help="folder or hub id; by default one is trained on the text")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("outputs") / "benchmarks")
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.processes)  # the library's threads, before it starts them
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    local = CorpusConfig(kind="local", path=arguments.text)
    embedded = CorpusConfig(packages=["python", "numpy", "pandas", "transformers"])
    corpus = plan_corpus(local if arguments.text else embedded, work)
    corpus.ensure()
    choice = arguments.tokenizer
    if choice is None:
        (work / "tokenizer").mkdir(exist_ok=True)
        tokenizer = train_tokenizer(corpus.path, 32_000)
        tokenizer.add_special_tokens(["<|endoftext|>"])
        tokenizer.save(str(work / "tokenizer" / "tokenizer.json"))
        choice = str(work / "tokenizer")
    named = find_tokenizer(choice, "--tokenizer")
    texts = [document["text"] for path in shard_paths(corpus.path) for document in read_documents(path)]
    size = sum(len(text.encode()) for text in texts)
    print(f"{size / 1e6:.1f} MB, {len(texts)} documents, {arguments.processes} processes", flush=True)

    shard_by_shard(corpus.path, named, work, arguments.repeats)
    whole_stage(corpus, named, texts, work, arguments.processes, arguments.repeats)


def shard_by_shard(corpus: Path, named: NamedTokenizer, work: Path, repeats: int) -> None:
    """One thread: the library and our worker take turns on every shard, so that both see the same noise."""
    shutil.rmtree(work / "shards", ignore_errors=True)
    Workspace(work / "shards", {})
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    library, worker = plain_tokenizer(named.definition), TokenizeShard(named.definition)
    ratios = []
    for _ in range(repeats):
        alone = ours = 0.0
        for shard in shard_paths(corpus):
            texts = [document["text"] for document in read_documents(shard)]
            started = time.process_time()
            library.encode_batch(texts, add_special_tokens=False)
            between = time.process_time()
            worker(work / "shards", shard, dtype_for(named.vocabulary_size), named.end(None))
            alone, ours = alone + between - started, ours + time.process_time() - between
        ratios.append(alone / ours)
    del os.environ["TOKENIZERS_PARALLELISM"]
    print(
        f"one thread, in turns: a worker has {statistics.median(ratios):.2f} of the rate of encode_batch "
        f"(median of {repeats}; {min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def whole_stage(
    corpus: Artifact, named: NamedTokenizer, texts: list[str], work: Path, processes: int, repeats: int
) -> None:
    """The whole stage, its start-up included, beside the library with as many threads."""
    size = sum(len(text.encode()) for text in texts)
    alone, ours = [], []
    for _ in range(repeats):
        library = plain_tokenizer(named.definition)
        started = time.perf_counter()
        encodings = library.encode_batch(texts, add_special_tokens=False)
        alone.append(time.perf_counter() - started)
        tokens = sum(map(len, encodings))
        del encodings
        shutil.rmtree(work / "tokens", ignore_errors=True)
        artifact = plan_tokens(corpus, named, None, processes, work, work / "tokens")
        started = time.perf_counter()
        artifact.ensure()
        ours.append(time.perf_counter() - started)
        assert artifact.manifest()["counts"]["tokens"] == tokens + len(texts)
        print(f"  encode_batch {size / alone[-1] / 1e6:.2f} MB/s, stage=tokenize {size / ours[-1] / 1e6:.2f} MB/s")
    ratio = statistics.median(alone) / statistics.median(ours)
    print(f"{processes} processes: stage=tokenize has {ratio:.2f} of the rate of encode_batch (medians of {repeats})")


if __name__ == "__main__":
    main()
