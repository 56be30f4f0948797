"""The rate of `stage=tokenize` beside that of the `tokenizers` library alone, on the same text in the same run.

    .venv/bin/python scripts/benchmark_tokenizing.py --text my.jsonl.gz --tokenizer my-model
    .venv/bin/python scripts/benchmark_tokenizing.py --processes 2 --repeats 5

Without --text the embedded documentation is read, without --tokenizer a tokenizer is trained on it. The library's side
is one `encode_batch` of all texts, which lie in memory, with its own threads on the same cores; nothing is read or
written. Ours is the whole stage: reading shards, tokenising, writing token files, checksums, the manifest. Writes below
--work only. Prints what docs/findings.md quotes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

from toedit.config import CorpusConfig
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths
from toedit.named_tokenizers import find_tokenizer
from toedit.tiny_prior import train_tokenizer
from toedit.tokenize_corpus import plan_tokens
from toedit.tokenizing import plain_tokenizer


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

    alone, ours, tokens = [], [], 0
    for _ in range(arguments.repeats):
        library = plain_tokenizer(named.definition)
        started = time.perf_counter()
        encodings = library.encode_batch(texts, add_special_tokens=False)
        alone.append(time.perf_counter() - started)
        tokens = sum(map(len, encodings))
        del encodings
        shutil.rmtree(work / "tokens", ignore_errors=True)
        artifact = plan_tokens(corpus, named, None, arguments.processes, work, work / "tokens")
        started = time.perf_counter()
        artifact.ensure()
        ours.append(time.perf_counter() - started)
        assert artifact.manifest()["counts"]["tokens"] == tokens + len(texts)
        print(f"  encode_batch {size / alone[-1] / 1e6:.2f} MB/s, stage=tokenize {size / ours[-1] / 1e6:.2f} MB/s")
    ratio = statistics.median(alone) / statistics.median(ours)
    print(f"{tokens} tokens; stage=tokenize at {ratio:.2f} of the library's rate (medians of {arguments.repeats})")


if __name__ == "__main__":
    main()
