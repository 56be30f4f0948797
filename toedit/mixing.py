"""`stage=mix`: a mixture of a human and a synthetic corpus that has exactly the tokens that were asked for.

Reads two corpus artifacts and their token counts (`toedit/token_counts.py`). Writes a corpus artifact; each document's
`metadata.mix` names its side and, where it was cut, how many tokens are left of how many. Which documents are taken
stands in `toedit/mixing_order.py`, how one is cut in `toedit/cutting.py`.

    python run.py stage=mix mix.human.path=H mix.synthetic.path=S mix.synthetic_ratio=0.25 mix.tokens=1000000

Tokens are the text's own; `stage=tokenize` puts one document end more after each document. The budget is met exactly
when the mixture is tokenised again: a side ends with one cut document or, where no cut of it has the right number (one
character can be several tokens), with that one a little shorter and a piece of the next. The manifest compares asked
and achieved; `counts.mix.<side>.missing` is 0 unless even that failed.

Mixtures of one seed are nested by ids, whenever their budgets differ by more than a document.

Constant memory: 40 bytes a document, and one 256th of the mixture. Documents go to that many unsorted files first,
each of which is then sorted in memory; the files are gone when the mixture is finished.

Shapes: D documents of a corpus, S documents that are taken, O documents in the order they are taken, F shards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from toedit.artifacts import Artifact
from toedit.config import MixConfig
from toedit.console import Progress, human, note
from toedit.corpora.ids import UniqueIds
from toedit.cutting import cut
from toedit.documents import DOCUMENTS, Document, ShardWriter, document_line, read_documents, shard_name, shard_paths
from toedit.errors import UnusableInput
from toedit.mixing_order import Int64s, budgets, merge, order_of, shards_of, take
from toedit.named_tokenizers import NamedTokenizer
from toedit.token_counts import plan_counts, read_counts
from toedit.tokenizing import plain_tokenizer
from toedit.uniforms import document_keys
from toedit.workspace import PROGRESS, Result, Workspace

SIDES = ("human", "synthetic")
METADATA_KEY = "mix"
_PARTITIONS = 256
_MOST_CUTS = 1000


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


# --- what is taken ----------------------------------------------------------------------------------------------------


class Side:
    """A corpus with its counts, and the order in which its documents are taken."""

    def __init__(self, workspace: Workspace, name: str, seed: int) -> None:
        self.name, self.corpus, self.counts = name, workspace.inputs[name], workspace.inputs[f"{name}_counts"]
        self.shards = shard_paths(self.corpus)
        tables = [read_counts(self.counts, shard) for shard in self.shards]
        self.first_F1 = np.cumsum([0, *(len(table) for table in tables)])
        self.tokens_D = np.concatenate([table["tokens"].to_numpy() for table in tables]).astype(np.int64)
        self.bytes_D = np.concatenate([table["bytes"].to_numpy() for table in tables]).astype(np.int64)
        self.order_O = order_of(np.concatenate([document_keys(seed, table["id"].to_pylist()) for table in tables]))

    def refuse_shortage(self, asked: int, mix: MixConfig) -> None:
        there = int(self.tokens_D.sum())
        if asked <= there or (mix.allow_repeat and there):
            return
        raise UnusableInput(
            f"mix.tokens={mix.tokens}: {asked} of them are to be {self.name}, and the corpus {self.corpus} has {there} "
            "tokens; ask for fewer, or add mix.allow_repeat=true to take documents again"
        )

    def text(self, document: int) -> str:
        """The text of one document."""
        shard = int(np.searchsorted(self.first_F1, document, "right")) - 1
        row = document - int(self.first_F1[shard])
        return str(next(islice(read_documents(self.shards[shard]), row, None))["text"])


@dataclass(frozen=True)
class Choice:
    """What a side gives, in the order of its hashes."""

    document_S: Int64s
    round_S: Int64s
    """0 the first time a document is taken, 1 the second."""
    tokens_S: Int64s
    bytes_S: Int64s
    cut_text: dict[int, str]
    """What is left of a cut document, by its place in this choice."""


def choose(side: Side, asked: int, allow_repeat: bool, tokenizer: Tokenizer) -> Choice:
    """The documents that make up `asked` tokens."""
    taken = take(side.tokens_D[side.order_O], asked)
    count, rest = len(side.order_O), taken.rest
    place_S: list[int] = []
    tokens: list[int] = []
    cut_text: dict[int, str] = {}
    end = taken.whole + _MOST_CUTS if allow_repeat else min(taken.whole + _MOST_CUTS, count)
    for place in range(taken.whole, end):
        if not rest:
            break
        document = int(side.order_O[place % count])
        got = int(side.tokens_D[document])
        if got > rest:
            text, got = cut(tokenizer, side.text(document), rest)
            if not text:
                continue
            cut_text[taken.whole + len(place_S)] = text
        place_S.append(place)
        tokens.append(got)
        rest -= got
    all_S = np.concatenate([np.arange(taken.whole), np.array(place_S, np.int64)])
    document_S = side.order_O[all_S % count]
    tokens_S, bytes_S = side.tokens_D[document_S], side.bytes_D[document_S]
    tokens_S[taken.whole :] = tokens
    for place, text in cut_text.items():
        bytes_S[place] = len(text.encode())
    return Choice(document_S, all_S // count, tokens_S, bytes_S, cut_text)


def describe_choice(side: Side, choice: Choice, asked: int) -> dict[str, Any]:
    """Asked and achieved, for the manifest."""
    achieved = int(choice.tokens_S.sum())
    if achieved != asked:
        note(f"mix: {asked - achieved} {side.name} tokens are missing: no cut has the right number of tokens")
    return {
        "asked": asked,
        "achieved": achieved,
        "missing": asked - achieved,
        "documents": len(choice.document_S),
        "documents_cut": len(choice.cut_text),
        "documents_repeated": int((choice.round_S > 0).sum()),
        "corpus_documents": len(side.tokens_D),
        "corpus_tokens": int(side.tokens_D.sum()),
    }


# --- writing ----------------------------------------------------------------------------------------------------------


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
                if not len(chosen):
                    continue
                row_C = choice.document_S[chosen] - side.first_F1[f]
                cursor = 0
                for row, document in enumerate(read_documents(shard)):
                    while cursor < len(chosen) and row_C[cursor] == row:
                        s = int(chosen[cursor])
                        again = int(choice.round_S[s])
                        name = ids.claim(claimed[row]) if again else claimed[row]
                        renamed += name != names[row]
                        written = {**document, "id": name, "text": choice.cut_text.get(s, document["text"])}
                        facts = {"cut_to_tokens": int(choice.tokens_S[s])} if s in choice.cut_text else {}
                        mark(written, side.name, **facts, **({"round": again + 1} if again else {}))
                        files[layout.partition_by_place[place_S[s]]].write(document_line(written))
                        cursor += 1
    return renamed


def write_partition(workspace: Workspace, unit: str, waiting: Path, place_P: Int64s, layout: Layout) -> None:
    """Sort the documents of one partition, which arrived at `place_P`, into its shards."""
    with waiting.open("rb") as lines:
        line_P = list(lines)
    order_P = np.argsort(place_P)
    shard_P = layout.shard_by_place[place_P[order_P]]
    shards = np.unique(shard_P)
    outputs = [f"{DOCUMENTS}/{shard_name(int(shard))}.jsonl.zst" for shard in shards]
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
