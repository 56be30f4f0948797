"""The real text of the study: a corpus cut into passages, one part to train on, one held out.

Reads a corpus artifact of any documents; one long .txt file is one document. Writes corpus artifacts of its passages:

    python run.py stage=theory theory=transformer_generations corpus=local corpus.path=my.txt

A passage is short enough for a model to write one within its context, so that documents end by themselves, in real
and in synthetic text alike. Cuts are made behind a line end, else behind the end of a sentence, else behind a space;
nothing is lost but passages that are blank. Held out are whole documents where there are at least 20, else single
passages; which ones, a hash of their ids says. Passages of one document follow each other, so what is held out of a
single text is easier than another text would be; it is the same for all regimes.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact
from toedit.console import Progress
from toedit.documents import Document, ShardWriter, documents_file, read_documents, shard_name, shard_paths
from toedit.errors import UnusableInput
from toedit.workspace import Result, Workspace

PARTS = ("train", "held_out")
_DOCUMENTS_ENOUGH = 20
_SHARD_BYTES = 2_000_000


def plan_passages(
    corpus: Artifact, part: str, characters: int, held_out_share: float, most: int | None, root: Path
) -> Artifact:
    """One of the PARTS of `corpus`, cut into passages; `most` of them at most, chosen by a hash."""
    settings = {"part": part, "characters": characters, "held_out_share": held_out_share, "most": most}
    return Artifact(
        kind="corpus",
        name=f"{part.replace('_', '-')}-passages.{corpus.name}",
        identity={"source": "passages", **settings},
        inputs={"corpus": corpus},
        root=root,
        build=partial(build_passages, part=part, characters=characters, held_out_share=held_out_share, most=most),
    )


def build_passages(workspace: Workspace, part: str, characters: int, held_out_share: float, most: int | None) -> Result:
    """Write the passages of one part, shard by shard."""
    corpus = workspace.inputs["corpus"]
    shards = shard_paths(corpus)
    documents = sum(1 for path in shards for _ in read_documents(path))
    unit = "documents" if documents >= _DOCUMENTS_ENOUGH else "passages"
    counts: dict[str, Any] = {"documents_in": 0, "documents_out": 0, "rejected": 0, "bytes": 0, "characters": 0}
    result = Result(counts={**counts, "held_out_unit": unit})
    blank: list[str] = []
    with Progress(
        f"{part.replace('_', ' ')} passages", sum(path.stat().st_size for path in shards), "bytes"
    ) as progress:
        chosen = _chosen(shards, unit, part == "held_out", characters, held_out_share, progress)
        for number, shard in enumerate(_in_shards(_few(_kept(chosen, blank), most))):
            output = documents_file(shard_name(number))
            with workspace.shard(shard_name(number), output) as ((path,), _), ShardWriter(path) as writer:
                for passage in shard:
                    writer.write(passage)
                    result.counts["bytes"] += len(passage["text"].encode())
                    result.counts["characters"] += len(passage["text"])
            result.rows[output] = len(shard)
            result.counts["documents_out"] += len(shard)
    if not result.counts["documents_out"]:
        raise UnusableInput(
            f"theory.transformer.held_out_share={held_out_share}: nothing is left for {part.replace('_', ' ')}; the "
            f"corpus has {documents} documents; give it more text"
        )
    with workspace.shard("rejected", "rejected.jsonl") as ((path,), _):
        lines = [json.dumps({"file": name, "line": 0, "reason": "passage is blank"}) + "\n" for name in blank]
        path.write_text("".join(lines), encoding="utf-8")
    result.rows["rejected.jsonl"] = result.counts["rejected"] = len(blank)
    result.counts["documents_in"] = result.counts["documents_out"] + len(blank)
    return result


def _chosen(
    shards: list[Path], unit: str, held_out: bool, characters: int, share: float, progress: Progress
) -> Iterator[Document]:
    """The passages of one part, blank ones too."""
    for path in shards:
        for document in read_documents(path):
            for number, text in enumerate(cut(document["text"], characters)):
                name = f"{document['id']}#{number}"
                if is_held_out(document["id"] if unit == "documents" else name, share) == held_out:
                    yield {"id": name, "text": text, "source": document.get("source", path.name)}
        progress.advance(path.stat().st_size)


def _kept(passages: Iterator[Document], blank: list[str]) -> Iterator[Document]:
    for passage in passages:
        if passage["text"].strip():
            yield passage
        else:
            blank.append(passage["id"])


def _few(passages: Iterator[Document], most: int | None) -> Iterator[Document]:
    """The `most` passages with the smallest hashes, in their order."""
    if most is None:
        return passages
    keyed = ((_hash("few", passage["id"]), number, passage) for number, passage in enumerate(passages))
    few = heapq.nsmallest(most, keyed, key=lambda item: item[:2])
    return (passage for _, _, passage in sorted(few, key=lambda item: item[1]))


def _in_shards(passages: Iterator[Document]) -> Iterator[list[Document]]:
    shard: list[Document] = []
    held = 0
    for passage in passages:
        shard.append(passage)
        held += len(passage["text"].encode())
        if held >= _SHARD_BYTES:
            yield shard
            shard, held = [], 0
    if shard:
        yield shard


def is_held_out(name: str, share: float) -> bool:
    """Whether the document or passage of that name is held out: a hash, so that more text moves none of it."""
    return _hash("held out", name) < share


def _hash(purpose: str, name: str) -> float:
    """A number in [0, 1)."""
    digest = hashlib.sha256(f"{purpose}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56  # 56 bits: the quotient is exact and below 1


def cut(text: str, characters: int) -> list[str]:
    """`text` in pieces of at most `characters` characters; joined, they are the text.

    A piece ends behind the last line end of its second half; where there is none, behind the end of a sentence, then
    behind a space; a word longer than that is cut.
    """
    pieces: list[str] = []
    start = 0
    while len(text) - start > characters:
        half, full = start + characters // 2, start + characters
        for mark in ("\n", ". ", " "):
            found = text.rfind(mark, half, full)
            if found >= 0:
                full = found + len(mark)
                break
        pieces.append(text[start:full])
        start = full
    return [*pieces, text[start:]] if start < len(text) else pieces
