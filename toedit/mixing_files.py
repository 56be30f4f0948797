"""`stage=mix mix=files`: whole shards of both corpora, as the released code mixed its files.

Of each side int(share x files) files, drawn without replacement, in one shuffled list; a file is a shard of the corpus
artifact. Unlike the released code, the draw has a seed. Tokens are not counted unless `mix.tokenizer` is given, so that
asked and achieved can be compared: files differ in size, and nobody promises the ratio.

    python run.py stage=mix mix=files mix.human.path=H mix.synthetic.path=S mix.synthetic_ratio=0.25

Reads two corpus artifacts. Writes a corpus artifact with one shard a file, in the order of the list.
"""

from __future__ import annotations

import random
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact
from toedit.config import MixConfig
from toedit.corpora.ids import UniqueIds
from toedit.documents import ShardWriter, documents_file, read_documents, shard_name, shard_paths
from toedit.errors import UnusableInput
from toedit.mixing import SIDES, describe, mark
from toedit.named_tokenizers import NamedTokenizer
from toedit.token_counts import plan_counts, read_counts
from toedit.workspace import Result, Workspace


def plan_file_mix(
    corpora: dict[str, Artifact],
    mix: MixConfig,
    tokenizer: NamedTokenizer | None,
    processes: int | None,
    root: Path,
    out: Path | None = None,
) -> Artifact:
    """The mixture of whole shards; counted where there is a tokenizer."""
    counts = plan_counts(corpora, tokenizer, processes, root) if tokenizer else {}
    return Artifact(
        kind="corpus",
        name=f"{'+'.join(corpus.name for corpus in corpora.values())}.{describe(mix)}",
        identity={"source": "mix", "mode": mix.mode, "synthetic_ratio": mix.synthetic_ratio, "seed": mix.seed},
        inputs={**corpora, **counts},
        root=root,
        out=out,
        build=partial(build_file_mix, mix=mix),
    )


def draw_files(files: dict[str, int], synthetic_ratio: float, seed: int) -> list[tuple[str, int]]:
    """The shuffled list of (side, number of the file), from so many files a side.

    The product is that of the decimal number that was written: a tenth of 10 files is 1, for 1 - 0.9 as well.
    """
    generator = random.Random(seed)
    share = {"synthetic": Decimal(str(synthetic_ratio)), "human": 1 - Decimal(str(synthetic_ratio))}
    drawn = [
        (side, number)
        for side, there in files.items()
        for number in sorted(generator.sample(range(there), int(share[side] * there)))
    ]
    generator.shuffle(drawn)
    return drawn


def build_file_mix(workspace: Workspace, mix: MixConfig) -> Result:
    """Copy the drawn shards, each document marked with its side."""
    shards = {side: shard_paths(workspace.inputs[side]) for side in SIDES if side in workspace.inputs}
    drawn = draw_files({side: len(paths) for side, paths in shards.items()}, mix.synthetic_ratio, mix.seed)
    for side, paths in shards.items():
        if not any(side == name for name, _ in drawn):
            raise UnusableInput(
                f"mix.synthetic_ratio={mix.synthetic_ratio:g}: no file of the {side} corpus, which has {len(paths)}; "
                f"a smaller mix.{side}.shard_bytes gives more of them"
            )
    counts: dict[str, Any] = {"documents_in": 0, "documents_out": 0, "rejected": 0, "bytes": 0, "renamed": 0}
    result = Result(counts=counts, seeds={"mix": mix.seed})
    by_side = {side: {"files": 0, "documents": 0, "bytes": 0} for side in shards}
    ids = UniqueIds()
    for number, (side, file) in enumerate(drawn):
        output = documents_file(shard_name(number))
        record = workspace.finished(shard_name(number))
        if record is None:
            with workspace.shard(shard_name(number), output) as ((path,), record):
                record.update(copy_shard(shards[side][file], path, side, ids), ids=ids.flush())
        else:
            ids.restore(record["ids"])
        counts["documents_in"] += record["documents"]
        counts["documents_out"] += record["documents"]
        counts["bytes"] += record["bytes"]
        counts["renamed"] += record["renamed"]
        by_side[side]["files"] += 1
        by_side[side]["documents"] += record["documents"]
        by_side[side]["bytes"] += record["bytes"]
        result.rows[output] = record["documents"]
    counts["mix"] = compare(workspace, shards, drawn, by_side, mix)
    return result


def copy_shard(shard: Path, path: Path, side: str, ids: UniqueIds) -> dict[str, int]:
    """Write the documents of `shard` with their side; return the counts."""
    size = renamed = 0
    with ShardWriter(path) as writer:
        for document in read_documents(shard):
            name = ids.claim(document["id"])
            renamed += name != document["id"]
            document["id"] = name
            mark(document, side)
            writer.write(document)
            size += len(document["text"].encode())
    return {"documents": writer.documents, "bytes": size, "renamed": renamed}


def compare(
    workspace: Workspace,
    shards: dict[str, list[Path]],
    drawn: list[tuple[str, int]],
    by_side: dict[str, dict[str, int]],
    mix: MixConfig,
) -> dict[str, Any]:
    """Asked and achieved shares: of bytes, and of tokens where they were counted."""
    unit = "bytes"
    if f"{next(iter(shards))}_counts" in workspace.inputs:
        unit = "tokens"
        for side, paths in shards.items():
            tables = [read_counts(workspace.inputs[f"{side}_counts"], paths[n]) for name, n in drawn if name == side]
            by_side[side]["tokens"] = sum(int(table["tokens"].to_numpy().sum()) for table in tables)
    total = sum(facts[unit] for facts in by_side.values())
    achieved = by_side.get("synthetic", {unit: 0})[unit] / max(total, 1)
    ratio = {"asked": mix.synthetic_ratio, "achieved": achieved, "measured_in": unit}
    return {"synthetic_ratio": ratio, **by_side}
