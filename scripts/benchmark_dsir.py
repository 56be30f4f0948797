"""DSIR here beside the package data-selection: the same input, one core, the same documents; CPU seconds as a ratio.

    .venv/bin/python -m pip install 'data-selection>=1.0.3,<1.1'
    .venv/bin/python scripts/benchmark_dsir.py --raw synthetic.jsonl.gz --target human.jsonl.gz
    .venv/bin/python scripts/benchmark_dsir.py --documents 300 --repeats 5

Without files the embedded documentation is split in two. Either side reads JSON lines (ours: corpus artifacts) from a
warm disk, fits both distributions, weighs every document and writes a third of them. The package runs with its words as
they are with every NLTK up to 3.9 (NLTK 3.10's are other words, and slower); `num_tokens_to_fit="all"`. The sides take
turns. Compared are whole processes' CPU seconds of each part:

    weights      fitting and weighing: ours from text, by `features.py` and `dsir.py`
    again        drawing and writing, which either side does from its weights (ours with checksums and a manifest)

Prints whether weights and, given the same noise, selections agree. Writes below --work only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from analysis.selection import stage
from analysis.selection.choosing import gumbel
from analysis.selection.document_values import read_values
from toedit.artifacts import Artifact
from toedit.config import Config, CorpusConfig, SelectConfig, TokensConfig
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths

_SHARE, _SHORTEST = 0.33, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", help="the corpus to select from; by default half of the embedded documentation")
    parser.add_argument("--target", help="the corpus to resemble; by default the other half")
    parser.add_argument("--documents", type=int, help="of each corpus the first so many documents")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("outputs") / "benchmarks")
    arguments = parser.parse_args()
    work = arguments.work.resolve() / "dsir"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    parts = {
        "raw": CorpusConfig(kind="local", path=arguments.raw) if arguments.raw else CorpusConfig(split="test"),
        "target": CorpusConfig(kind="local", path=arguments.target)
        if arguments.target
        else CorpusConfig(split="train"),
    }
    if not (arguments.raw and arguments.target):
        for corpus in parts.values():
            corpus.packages = ["python", "numpy", "pandas"]
    for corpus in parts.values():
        corpus.max_documents = arguments.documents
    corpora = {name: plan_corpus(corpus, work) for name, corpus in parts.items()}
    lines = {name: as_lines(corpus, work / f"{name}.jsonl") for name, corpus in corpora.items()}
    size = sum(path.stat().st_size for path in lines.values())
    print(f"{size / 1e6:.1f} MB of JSON lines, both corpora", flush=True)
    seconds: dict[str, list[float]] = {}
    for repeat in range(arguments.repeats):
        ours, weights = timed(seconds, "ours: weights", lambda n=repeat: our_weights(corpora, work / f"ours{n}"))
        theirs, expected = timed(
            seconds, "package: weights", lambda n=repeat: package_weights(lines, work / f"theirs{n}")
        )
        mine = timed(seconds, "ours: again", lambda c=ours: our_draw(c))
        drawn = timed(
            seconds,
            "package: again",
            lambda p=theirs, w=expected, n=repeat: package_draw(p, corpora, w, work / f"drawn{n}"),
        )
    kept = ~np.isnan(weights)
    print(
        f"largest difference of log weights: {np.abs(weights - expected)[kept].max():.2g}, of {kept.sum():,} documents"
    )
    print(f"the same {len(mine):,} documents, given the same noise: {mine == drawn}")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"  {name:<18} {value:7.2f} s CPU")
    print(f"weights: the package takes {median['package: weights'] / median['ours: weights']:.1f} times as long")


def timed(seconds: dict[str, list[float]], name: str, work: Callable[[], Any]) -> Any:
    started = time.process_time()
    found = work()
    seconds.setdefault(name, []).append(time.process_time() - started)
    return found


def as_lines(corpus: Artifact, path: Path) -> Path:
    """A corpus as the package reads it."""
    with path.open("w", encoding="utf-8") as file:
        for shard in shard_paths(corpus.ensure()):
            file.writelines(json.dumps(document) + "\n" for document in read_documents(shard))
    return path


def our_config(corpora: dict[str, Artifact], root: Path, seed: int = 0) -> Config:
    target = CorpusConfig(kind="local", path=str(corpora["target"].path))
    return Config(
        corpus=CorpusConfig(kind="local", path=str(corpora["raw"].path)),
        select=SelectConfig(share=_SHARE, target=target, min_words=_SHORTEST, seed=seed),
        tokens=TokensConfig(processes=1),
        artifacts=str(root),
    )


def our_weights(corpora: dict[str, Artifact], root: Path) -> tuple[Config, np.ndarray]:
    config = our_config(corpora, root)
    values = stage.plan(config).inputs["values"]
    values.ensure()
    return config, np.concatenate([read_values(values.path, shard)[1] for shard in shard_paths(corpora["raw"].path)])


def our_draw(config: Config) -> list[str]:
    corpus = stage.plan(config).ensure()
    return [document["id"] for shard in shard_paths(corpus) for document in read_documents(shard)]


def package_weights(lines: dict[str, Path], cache: Path):
    from data_selection import hashed_ngram_dsir

    hashed_ngram_dsir.wpt._regexp = re.compile(hashed_ngram_dsir.wpt._pattern)
    package = hashed_ngram_dsir.HashedNgramDSIR(
        [str(lines["raw"])], [str(lines["target"])], str(cache), num_proc=1, min_example_length=_SHORTEST
    )
    package.fit_importance_estimator(num_tokens_to_fit="all")
    package.compute_importance_weights()
    return package, np.load(package.log_importance_weights_dir / "0.npy")


def package_draw(package, corpora: dict[str, Artifact], weights: np.ndarray, out: Path) -> list[str]:
    """Its selection, with our noise instead of its own."""
    ids = [document["id"] for shard in shard_paths(corpora["raw"].path) for document in read_documents(shard)]
    lengths = np.load(package.perexample_metadata_dir / "0.npy")
    noise, draw = gumbel(0, ids)[lengths >= _SHORTEST], np.random.gumbel
    np.random.gumbel = lambda size: noise
    try:
        package.resample(str(out), max(int(_SHARE * len(weights) + 0.5), 1), str(out) + "-cache")
    finally:
        np.random.gumbel = draw
    with next(out.rglob("0.jsonl")).open(encoding="utf-8") as file:
        return [json.loads(line)["id"] for line in file]


if __name__ == "__main__":
    main()
