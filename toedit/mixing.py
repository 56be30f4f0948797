"""`stage=mix`: a mixture of a human and a synthetic corpus that has exactly the tokens that were asked for.

Reads two corpus artifacts and their token counts (`toedit/token_counts.py`). Writes a corpus artifact; each document's
`metadata.mix` names its side and, where it was cut, how many tokens are left. Which documents are taken
stands in `toedit/mixing_order.py` and `toedit/mixing_choice.py`, how one is cut in `toedit/cutting.py`.

    python run.py stage=mix mix.human.path=H mix.synthetic.path=S mix.synthetic_ratio=0.25 mix.tokens=1000000

Tokens are the text's own; `stage=tokenize` puts one document end more after each document. The budget is met exactly
when the mixture is tokenised again: a side ends with one cut document or, where no cut of it has the right number (one
character can be several tokens), with that one a little shorter and a piece of the next. The manifest compares asked
and achieved; `counts.mix.<side>.missing` is 0 unless even that failed.

Mixtures of one seed are nested by ids, whenever their budgets differ by more than a document.

Memory: about a hundred bytes a document, and one 256th of the mixture's text. Documents go to that many unsorted files
first, each of which is then sorted in memory; the files are gone when the mixture is finished.

Shapes: S documents that a side gives, P documents of a partition, F shards of a corpus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from toedit.artifacts import Artifact
from toedit.config import MixConfig
from toedit.console import Progress, human
from toedit.corpora.ids import UniqueIds
from toedit.documents import Document, ShardWriter, document_line, documents_file, read_documents, shard_name
from toedit.errors import UnusableInput
from toedit.mixing_choice import Choice, Side, choose, describe_choice
from toedit.mixing_order import Int64s, budgets, merge, shards_of
from toedit.named_tokenizers import NamedTokenizer
from toedit.token_counts import plan_counts, read_counts
from toedit.tokenizing import plain_tokenizer
from toedit.workspace import PROGRESS, Result, Workspace

SIDES = ("human", "synthetic")
METADATA_KEY = "mix"
_PARTITIONS = 256


def plan_mix(
    corpora: dict[str, Artifact],
    mix: MixConfig,
    tokenizer: NamedTokenizer,
    processes: int | None,
    root: Path,
    out: Path | None = None,
) -> Artifact:
    """The mixture of `corpora` (by side; a side that gives nothing may be missing)."""
    assert mix.tokens is not None
    counts = plan_counts(corpora, tokenizer, processes, root)
    return Artifact(
        kind="corpus",
        name=f"{'+'.join(corpus.name for corpus in corpora.values())}.{describe(mix)}",
        identity={
            "source": "mix",
            "mode": mix.mode,
            "tokenizer": tokenizer.fingerprint,
            "tokens": mix.tokens,
            "synthetic_ratio": mix.synthetic_ratio,
            "allow_repeat": mix.allow_repeat,
            "seed": mix.seed,
            "shard_bytes": mix.shard_bytes,
        },
        inputs={**corpora, **counts},
        root=root,
        out=out,
        build=partial(build_mix, mix=mix, tokenizer=tokenizer),
        estimate=lambda: {"tokens": f"{mix.tokens:,}, {mix.synthetic_ratio:.4g} of them synthetic"},
    )


def describe(mix: MixConfig) -> str:
    """`25pct-1Mtokens`, for addresses."""
    parts = [f"{100 * mix.synthetic_ratio:g}pct", f"{human(mix.tokens)}tokens" if mix.tokens else "files"]
    return "-".join([*parts, f"seed{mix.seed}"] if mix.seed else parts)


def build_mix(workspace: Workspace, mix: MixConfig, tokenizer: NamedTokenizer) -> Result:
    """Choose, scatter into unsorted files, sort each of them into shards."""
    assert mix.tokens is not None
    asked = dict(zip(SIDES, budgets(mix.tokens, mix.synthetic_ratio), strict=True))
    sides = [Side(workspace, name, mix.seed) for name in SIDES if name in workspace.inputs]
    for side in sides:
        side.refuse_shortage(asked[side.name], mix)
    plain = plain_tokenizer(tokenizer.definition)
    choices = [choose(side, asked[side.name], mix.allow_repeat, plain) for side in sides]
    if not any(len(choice.document_S) for choice in choices):
        raise UnusableInput(f"mix.tokens={mix.tokens}: no document can be cut to so few tokens; ask for more")
    places = merge([len(choice.document_S) for choice in choices])
    bytes_by_place = np.empty(sum(map(len, places)), np.int64)
    for choice, place_S in zip(choices, places, strict=True):
        bytes_by_place[place_S] = choice.bytes_S
    layout = Layout(shards_of(bytes_by_place, mix.shard_bytes))
    result = write_mixture(workspace, sides, choices, places, layout)
    tokens = {side.name: int(choice.tokens_S.sum()) for side, choice in zip(sides, choices, strict=True)}
    result.counts |= {
        "tokens": sum(tokens.values()),
        "mix": {
            "tokens": {"asked": mix.tokens, "achieved": sum(tokens.values())},
            "synthetic_ratio": {
                "asked": mix.synthetic_ratio,
                "achieved": tokens.get("synthetic", 0) / max(sum(tokens.values()), 1),
            },
            **{
                side.name: describe_choice(side, choice, asked[side.name])
                for side, choice in zip(sides, choices, strict=True)
            },
        },
    }
    result.seeds, result.revisions = {"mix": mix.seed}, tokenizer.revisions
    return result


class Layout:
    """Shards of the merged order, and the files that its documents wait in until they are sorted."""

    def __init__(self, shard_by_place: Int64s) -> None:
        self.shard_by_place = shard_by_place
        self.shards = int(shard_by_place[-1]) + 1 if len(shard_by_place) else 0
        self.partitions = min(self.shards, _PARTITIONS)
        self.partition_by_place = shard_by_place * self.partitions // max(self.shards, 1)

    def waiting(self) -> list[str]:
        """Where documents wait: removed with the other traces of building."""
        return [f"{PROGRESS}/waiting-{partition:03d}.jsonl" for partition in range(self.partitions)]


def write_mixture(
    workspace: Workspace, sides: Sequence[Side], choices: Sequence[Choice], places: Sequence[Int64s], layout: Layout
) -> Result:
    """Write the documents of both sides in the merged order."""
    by_corpus = [np.lexsort((choice.round_S, choice.document_S)) for choice in choices]
    arrival = np.concatenate([place_S[order] for place_S, order in zip(places, by_corpus, strict=True)])
    if workspace.finished("scattered") is None:
        with workspace.shard("scattered", *layout.waiting()) as (paths, record):
            record["renamed"] = scatter(sides, choices, by_corpus, places, layout, paths)
    scattered = workspace.finished("scattered")
    assert scattered is not None
    counts = {"documents_in": len(arrival), "documents_out": len(arrival), "rejected": 0, "bytes": 0}
    result = Result(counts={**counts, "renamed": scattered["renamed"]})
    with Progress("mix", layout.partitions, "parts") as progress:
        for partition, waiting in enumerate(layout.waiting()):
            place_P = arrival[layout.partition_by_place[arrival] == partition]
            if workspace.finished(f"part-{partition:03d}") is None:
                write_partition(workspace, f"part-{partition:03d}", workspace.path / waiting, place_P, layout)
            written = workspace.finished(f"part-{partition:03d}")
            assert written is not None
            result.rows |= written["rows"]
            result.counts["bytes"] += written["bytes"]
            progress.advance(1)
    return result


def scatter(
    sides: Sequence[Side],
    choices: Sequence[Choice],
    by_corpus: Sequence[Int64s],
    places: Sequence[Int64s],
    layout: Layout,
    paths: Sequence[Path],
) -> int:
    """Read both corpora once and write each chosen document into the file of its partition; return the new ids.

    An id that both corpora hold stays with the human document; the synthetic one gets `--2`, whatever is chosen.
    """
    ids, renamed = UniqueIds(), 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb", 1 << 17)) for path in paths]
        for side, choice, order, place_S in zip(sides, choices, by_corpus, places, strict=True):
            begin_F1 = np.searchsorted(choice.document_S[order], side.first_F1)
            for f, shard in enumerate(side.shards):
                names = read_counts(side.counts, shard)["id"].to_pylist()
                claimed = [ids.claim(name) for name in names]
                chosen = order[begin_F1[f] : begin_F1[f + 1]]
                row_C = choice.document_S[chosen] - side.first_F1[f]
                for c, document in documents_at(shard, row_C):
                    s, name = int(chosen[c]), claimed[row_C[c]]
                    facts: dict[str, int] = {}
                    if s in choice.cut_text:
                        document["text"], facts["cut_to_tokens"] = choice.cut_text[s], int(choice.tokens_S[s])
                    if choice.round_S[s]:
                        name, facts["round"] = ids.claim(name), int(choice.round_S[s]) + 1
                    renamed += name != document["id"]
                    document["id"] = name
                    mark(document, side.name, **facts)
                    files[layout.partition_by_place[place_S[s]]].write(document_line(document))
    return renamed


def documents_at(shard: Path, row_C: Int64s) -> Iterator[tuple[int, Document]]:
    """(c, the document at row `row_C[c]`) for rows that increase, or come again: then there is a copy for each."""
    c = 0
    if not len(row_C):
        return
    for row, document in enumerate(read_documents(shard)):
        while c < len(row_C) and row_C[c] == row:
            yield c, dict(document)
            c += 1


def write_partition(workspace: Workspace, unit: str, waiting: Path, place_P: Int64s, layout: Layout) -> None:
    """Sort the documents of one partition, which arrived at `place_P`, into its shards."""
    with waiting.open("rb") as lines:
        line_P = list(lines)
    order_P = np.argsort(place_P)
    shard_P = layout.shard_by_place[place_P[order_P]]
    shards = np.unique(shard_P)
    outputs = [documents_file(shard_name(int(shard))) for shard in shards]
    with workspace.shard(unit, *outputs) as (paths, record):
        record.update(rows={}, bytes=0)
        for shard, output, path in zip(shards, outputs, paths, strict=True):
            with ShardWriter(path) as writer:
                for p in order_P[shard_P == shard]:
                    document = json.loads(line_P[p])
                    writer.write(document)
                    record["bytes"] += len(document["text"].encode())
            record["rows"][output] = writer.documents


def mark(document: Document, side: str, **facts: Any) -> None:
    """Name the side in the document's metadata; what an earlier mixture noted stays inside."""
    metadata = dict(document.get("metadata", {}))
    earlier = {"before": metadata[METADATA_KEY]} if METADATA_KEY in metadata else {}
    metadata[METADATA_KEY] = {"side": side, **facts, **earlier}
    document["metadata"] = metadata
