"""`stage=select`: a part of a corpus, chosen by a method (the paper's Section 3, Figure 4A, Table 14).

Reads a corpus artifact, the method's value of each document (`document_values.py`) and, where `select.tokens` says how
much, token counts. Writes a corpus artifact: the chosen documents, in their order, with

    metadata.selection = {method, score, rank}

score is the value (log importance weight, perplexity, density, the classifier's), rank the place among the chosen, from
1. `counts.selection` says how many documents there were, and how many could not be taken.

    python run.py stage=select corpus=local corpus.path=S select.method=dsir select.target.path=H select.share=0.33
    python run.py stage=tokenize tokens.source=select corpus=local corpus.path=S select.method=random select.share=0.1
    python run.py stage=mix mix.select_synthetic=true mix.synthetic.path=S select.method=density select.share=0.33

Memory: a few numbers a document, and its id while they are ranked.

Shapes: D documents of the corpus, S documents that are taken, F shards of the corpus.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.selection.choosing import draws, keys, ranked, take
from analysis.selection.document_values import read_values
from toedit.artifacts import Artifact
from toedit.config import Config, SelectConfig
from toedit.console import Progress, human, say, table
from toedit.corpora import plan_corpus
from toedit.documents import Document, ShardWriter, documents_file, read_documents, shard_name, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.named_tokenizers import plan_unnamed, tokenizer_or_prior
from toedit.token_counts import plan_token_counts, read_counts
from toedit.workspace import Result, Workspace

METADATA_KEY = "selection"
_VALUES = {name: f"analysis.selection.{name}" for name in ("dsir", "perplexity", "density", "classifier")}
"""The module of each method that has values: its `plan_values(config, corpus)`."""
_READ = {
    "dsir": ("noise", "buckets", "min_words"),
    "density": ("noise", "buckets"),
    "perplexity": ("keep",),
}
"""Keys of `select`, beyond those of its values, that a method reads."""
_SHOWN = 3


def plan(config: Config) -> Artifact:
    raw = plan_corpus(config.corpus, Path(config.artifacts))
    return plan_from(config, raw, Path(config.out) if config.out else None)


def plan_from(config: Config, raw: Artifact, out: Path | None = None) -> Artifact:
    """The selection from `raw` that `config` asks for. Raises BadConfiguration where it says not how much."""
    select, root = config.select, Path(config.artifacts)
    size = next((key for key in ("documents", "tokens", "share") if getattr(select, key) is not None), None)
    if size is None:
        raise BadConfiguration("select.share: say how much to take, by select.share, select.documents or select.tokens")
    inputs = {"corpus": raw}
    if select.method in _VALUES:
        inputs["values"] = importlib.import_module(_VALUES[select.method]).plan_values(config, raw)
    identity = {
        "source": "select",
        "method": select.method,
        size: getattr(select, size),
        **{key: getattr(select, key) for key in _READ.get(select.method, ())},
        **({"seed": select.seed} if draws(select) else {}),
    }
    if select.tokens is not None:
        tokenizer = tokenizer_or_prior(
            select.tokenizer, "select.tokenizer", config.prior, root, config.seed, config.dry_run
        )
        if isinstance(tokenizer, Artifact):
            return plan_unnamed("corpus", inputs, tokenizer, root, out, identity)
        inputs["counts"] = plan_token_counts(raw, tokenizer, config.tokens.processes, root)
    return Artifact(
        kind="corpus",
        name=f"{raw.name}.{describe(select)}",
        identity=identity,
        inputs=inputs,
        root=root,
        out=out,
        build=partial(build, select=select),
    )


def describe(select: SelectConfig) -> str:
    """`dsir-10pct`, for addresses."""
    if select.documents is not None:
        size = f"{human(select.documents)}docs"
    else:
        size = f"{human(select.tokens)}tokens" if select.tokens is not None else f"{100 * (select.share or 0):.4g}pct"
    kept = f"-{select.keep}" if select.method == "perplexity" else ""
    return f"{select.method}{kept}-{size}" + (f"-seed{select.seed}" if select.seed and draws(select) else "")


@dataclass(frozen=True)
class Choice:
    """What is taken."""

    first_F1: NDArray[np.int64]
    """The number of each shard's first document, and of all documents."""
    value_D: NDArray[np.float64]
    rank_D: NDArray[np.int64]
    """From 1; 0 where a document is not taken."""
    usable: int
    """Documents that could have been taken."""


def choose(workspace: Workspace, select: SelectConfig) -> Choice:
    """Rank all documents, take the first. Raises UnusableInput where there are too few."""
    corpus = workspace.inputs["corpus"]
    ids: list[str] = []
    values, tokens, lengths = [np.zeros(0)], [np.zeros(0, np.int64)], []
    for path in shard_paths(corpus):
        if "values" in workspace.inputs:
            shard_ids, value_D = read_values(workspace.inputs["values"], path)
        else:
            shard_ids = [document["id"] for document in read_documents(path)]
            value_D = np.zeros(len(shard_ids))
        if "counts" in workspace.inputs:
            tokens.append(read_counts(workspace.inputs["counts"], path)["tokens"].to_numpy().astype(np.int64))
        ids += shard_ids
        values.append(value_D)
        lengths.append(len(shard_ids))
    if not ids:
        raise UnusableInput(f"{corpus}: holds no document, so there is nothing to select from")
    value_D = np.concatenate(values)
    ranked_S = ranked(keys(select, ids, value_D))
    taken = take(select, ranked_S, np.concatenate(tokens) if select.tokens is not None else None, len(ids))
    rank_D = np.zeros(len(ids), np.int64)
    rank_D[ranked_S[:taken]] = np.arange(1, taken + 1)
    return Choice(np.cumsum([0, *lengths]), value_D, rank_D, len(ranked_S))


def build(workspace: Workspace, select: SelectConfig) -> Result:
    """Choose, then write what an earlier run has not finished."""
    choice = choose(workspace, select)
    shards = shard_paths(workspace.inputs["corpus"])
    sizes = [path.stat().st_size for path in shards]
    groups = list(shard_groups(choice, shards))
    taken = int((choice.rank_D > 0).sum())
    result = Result(counts={"documents_in": taken, "documents_out": taken, "rejected": 0, "bytes": 0})
    with Progress("select", sum(sizes), "bytes read") as progress:
        for number, group in enumerate(groups):
            name = shard_name(number)
            output = documents_file(name)
            if workspace.finished(name) is None:
                with workspace.shard(name, output) as ((path,), record):
                    record.update(write_group(path, group, shards, choice, select.method))
            record = workspace.finished(name) or {}
            result.rows[output] = record["documents"]
            result.counts["bytes"] += record["bytes"]
            progress.advance(sum(sizes[f] for f in group))
    result.counts["selection"] = {
        "method": select.method,
        "of_documents": len(choice.rank_D),
        "usable_documents": choice.usable,
    }
    result.seeds = {"select": select.seed} if draws(select) else {}
    return result


def shard_groups(choice: Choice, shards: Sequence[Path]) -> Iterator[list[int]]:
    """Consecutive shards of the corpus that make one shard of the selection: about as full as theirs.

    Shards of which nothing is taken are left out.
    """
    group: list[int] = []
    held = 0.0
    for f in range(len(shards)):
        rank = choice.rank_D[choice.first_F1[f] : choice.first_F1[f + 1]]
        if not rank.any():
            continue
        group.append(f)
        held += float((rank > 0).mean())
        if held >= 1:
            yield group
            group, held = [], 0.0
    if group:
        yield group


def write_group(
    path: Path, group: Sequence[int], shards: Sequence[Path], choice: Choice, method: str
) -> dict[str, int]:
    """Write the chosen documents of some shards into one file."""
    size = 0
    with ShardWriter(path) as writer:
        for f in group:
            for d, document in enumerate(read_documents(shards[f]), start=int(choice.first_F1[f])):
                if choice.rank_D[d]:
                    mark(document, method, float(choice.value_D[d]), int(choice.rank_D[d]))
                    writer.write(document)
                    size += len(document["text"].encode())
    return {"documents": writer.documents, "bytes": size}


def mark(document: Document, method: str, score: float, rank: int) -> None:
    """Say in the document's metadata why it is here; what an earlier selection said stays inside."""
    metadata = dict(document.get("metadata", {}))
    earlier: dict[str, Any] = {"before": metadata[METADATA_KEY]} if METADATA_KEY in metadata else {}
    found = {"score": score} if method != "random" and math.isfinite(score) else {}
    metadata[METADATA_KEY] = {"method": method, **found, "rank": rank, **earlier}
    document["metadata"] = metadata


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    counts = artifact.manifest()["counts"]
    selection = counts["selection"]
    first = [document for path in shard_paths(artifact.path)[:1] for document in read_documents(path)][:_SHOWN]
    rows = [
        [document["id"][:40], str(mark_of["rank"]), f"{mark_of['score']:.5g}" if "score" in mark_of else ""]
        for document in first
        for mark_of in [document["metadata"][METADATA_KEY]]
    ]
    table(["document", "rank", "score"], rows, title=f"{selection['method']}: the first documents of the selection")
    share = counts["documents_out"] / selection["of_documents"]
    say(
        f"{counts['documents_out']:,} of {selection['of_documents']:,} documents ({share:.2%}), "
        f"{human(counts['bytes'], 'B')} of text; {selection['usable_documents']:,} could have been taken"
    )
    return {
        "method": selection["method"],
        "documents": f"{counts['documents_out']:,}",
        "share": f"{share:.2%}",
    }
