"""`stage=export_dolma`: the ledger of an edited corpus as attributes of the original documents, for the Dolma toolkit.

Reads an edited corpus and the corpus it was made from. Writes a folder in which `dolma -c mixer.yaml mix` makes the
edited text out of the original one (docs/dolma_toolkit.md):
    original/documents/*.jsonl.zst            links to the original documents
    original/attributes/toedit/*.jsonl.zst    parallel to them: spans, in characters, and what they become
    mixer.yaml                                the rules: the n-th span of a document becomes its n-th text
    inexact.jsonl                             documents that come out otherwise, and why; absent where there are none

Every document is compared with the edited one before it is written.

    python run.py stage=export_dolma edited.path=my-edited-corpus out=for-dolma
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import zstandard

from toedit.artifacts import Artifact
from toedit.console import Progress
from toedit.documents import DOCUMENTS, Document, ShardWriter, read_documents, shard_of, shard_paths
from toedit.dolma_spans import Change, as_spans, rewrite
from toedit.edit_corpus import EDITS, LEDGER_SCHEMA
from toedit.errors import MissingInput, UnusableInput
from toedit.parquet_files import read_parquet
from toedit.workspace import Result, Workspace, read_manifest

ATTRIBUTE, NEW_TEXT = "toedit", "toedit_text"
"""[[start, end, n], ...] and [what the n-th span becomes, ...]."""
MIXER = "mixer.yaml"
INEXACT = "inexact.jsonl"
_COUNTS = ("documents", "changed", "spans")


def plan_export(edited: Artifact, root: Path, out: Path | None = None) -> Artifact:
    """The export of `edited`. Raises MissingInput where the original documents are gone."""
    if "corpus" not in edited.inputs:
        raise MissingInput(
            f"{edited.path}: the corpus it was made from is no longer where its manifest says; put it back, or build "
            f"it again by the command that `toedit why {edited.path}` shows"
        )
    return Artifact(
        kind="dolma_export",
        name=f"{edited.name}.dolma",
        identity={"attribute": ATTRIBUTE},
        inputs={"edited": edited, "corpus": edited.inputs["corpus"]},
        root=root,
        out=out,
        build=build_export,
    )


def build_export(workspace: Workspace) -> Result:
    """Export every shard that an earlier run has not finished; then the rules for all of them."""
    corpus, edited = workspace.inputs["corpus"], workspace.inputs["edited"]
    known = {output["path"]: output["sha256"] for output in read_manifest(corpus)["outputs"]}
    result = Result(counts=dict.fromkeys(_COUNTS, 0))
    rules, inexact = 1, []
    with Progress("export", None, "documents") as progress:
        for path in shard_paths(corpus):
            shard = shard_of(path)
            outputs = [f"original/{DOCUMENTS}/{path.name}", f"original/attributes/{ATTRIBUTE}/{path.name}"]
            record = workspace.finished(shard)
            if record is None:
                ledger = edited / EDITS / f"{shard}.parquet"
                with workspace.shard(shard, *outputs) as (paths, record):
                    record.update(export_shard(path, edited / DOCUMENTS / path.name, ledger, *paths))
                    if paths[0].is_symlink():  # no need to read it once more
                        record["sha256"] = {outputs[0]: known[f"{DOCUMENTS}/{path.name}"]}
                progress.advance(record["documents"])
            for key in _COUNTS:
                result.counts[key] += record[key]
            rules = max(rules, record["most_spans"])
            inexact += record["inexact"]
            result.rows |= dict.fromkeys(outputs, record["documents"])
    result.counts |= {"rules": rules, "inexact": len(inexact)}
    (workspace.path / INEXACT).unlink(missing_ok=True)
    if inexact:
        _write_lines(workspace.path / INEXACT, inexact)
        result.rows[INEXACT] = len(inexact)
    (workspace.path / MIXER).write_text(mixer_configuration(rules), encoding="ascii")
    return result


def export_shard(
    corpus_shard: Path, edited_shard: Path, ledger_path: Path, documents_path: Path, attributes_path: Path
) -> dict[str, Any]:
    """Write the attributes of one shard and a link to its documents; return the counts, and what is inexact."""
    ledger = read_parquet(ledger_path, LEDGER_SCHEMA, ["id", "start", "end", "new_text"]).to_pylist()
    by_document = groupby(ledger, key=lambda row: row["id"])
    pending_id, pending_rows = next(by_document, (None, iter(())))
    inexact: list[dict[str, str]] = []
    unreadable: dict[str, str] = {}
    record: dict[str, Any] = {"documents": 0, "changed": len(ledger), "spans": 0, "most_spans": 0}
    with zstandard.ZstdCompressor().stream_writer(attributes_path.open("wb"), closefd=True) as lines:
        for original, edited in _pairs(corpus_shard, edited_shard):
            attributes: dict[str, list[Any]] = {}
            if original["id"] == pending_id:
                rows = list(pending_rows)
                pending_id, pending_rows = next(by_document, (None, iter(())))
                where = f"{edited_shard}: document {original['id']!r}"
                spans = _spans(original["text"], edited["text"], rows, where)
                if spans is None:
                    reason = "keeps its original text: too short for the braces of the new one"
                    inexact.append({"id": original["id"], "shard": corpus_shard.name, "reason": reason})
                else:
                    attributes[ATTRIBUTE] = [[start, end, number] for number, (start, end, _) in enumerate(spans)]
                    attributes[NEW_TEXT] = [new for _, _, new in spans]
                    record["spans"] += len(spans)
                    record["most_spans"] = max(record["most_spans"], len(spans))
            elif original["text"] != edited["text"]:
                raise UnusableInput(f"{ledger_path}: lacks the changes of document {original['id']!r}")
            if trouble := _unreadable(original):
                unreadable[original["id"]] = trouble
            lines.write(json.dumps({"id": original["id"], "attributes": attributes}).encode() + b"\n")
            record["documents"] += 1
    if pending_id is not None:
        raise UnusableInput(f"{ledger_path}: names document {pending_id!r}, which {edited_shard.name} lacks there")
    documents_path.unlink(missing_ok=True)  # a killed run's link: to write there would be to write the original
    if unreadable:
        _copy_without_metadata(corpus_shard, documents_path, unreadable)
        inexact += [{"id": one, "shard": corpus_shard.name, "reason": reason} for one, reason in unreadable.items()]
    else:
        documents_path.symlink_to(os.path.relpath(corpus_shard.resolve(), documents_path.parent.resolve()))
    return {**record, "inexact": inexact}


def _pairs(corpus_shard: Path, edited_shard: Path) -> Iterator[tuple[Document, Document]]:
    """Original and edited documents of a shard, side by side."""
    try:
        for original, edited in zip(read_documents(corpus_shard), read_documents(edited_shard), strict=True):
            if original["id"] != edited["id"]:
                raise UnusableInput(f"{edited_shard}: has {edited['id']!r} where the original has {original['id']!r}")
            yield original, edited
    except ValueError:
        raise UnusableInput(f"{edited_shard}: holds not as many documents as {corpus_shard}") from None


def _spans(old: str, new: str, rows: list[dict[str, Any]], where: str) -> list[Change] | None:
    """The ledger's `rows` as spans of characters. Raises UnusableInput where they do not make `new` out of `old`."""
    content, changes = old.encode(), []
    characters = read = 0
    for row in rows:
        try:
            characters += len(content[read : row["start"]].decode())
            end = characters + len(content[row["start"] : row["end"]].decode())
        except UnicodeDecodeError:
            raise UnusableInput(
                f"{where}: its ledger cuts a character at bytes {row['start']} to {row['end']}"
            ) from None
        changes.append(Change(characters, end, row["new_text"]))
        characters, read = end, row["end"]
    spans = as_spans(old, changes)
    if rewrite(old, changes if spans is None else spans) != new:
        raise UnusableInput(f"{where}: its ledger does not make the edited text out of the original one")
    return spans


# --- documents as the mixer reads them --------------------------------------------------------------------------------


def _unreadable(document: Document) -> str | None:
    """Why the mixer, which is stricter about JSON than Python, would stop at this document's metadata."""
    metadata = document.get("metadata")
    if metadata is None:
        return None
    try:
        json.dumps(metadata, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "its metadata is left out: it holds half of a character (a lone surrogate)"
    return "its metadata is left out: it holds a number that is too large" if _is_too_large(metadata) else None


def _is_too_large(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_is_too_large, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and abs(value) > sys.float_info.max


def _copy_without_metadata(corpus_shard: Path, documents_path: Path, ids: Iterable[str]) -> None:
    left_out = set(ids)
    with ShardWriter(documents_path) as writer:
        for document in read_documents(corpus_shard):
            if document["id"] in left_out:
                del document["metadata"]
            writer.write(document)


# --- the mixer's configuration ----------------------------------------------------------------------------------------


def mixer_configuration(rules: int) -> str:
    """`mixer.yaml`, for documents of at most so many spans."""
    return (
        "# What `toedit export-dolma` wrote. In this folder: dolma -c mixer.yaml mix\n"
        "# Paths are relative: the mixer replaces every /documents/ of a path when it looks for attributes.\n"
        "processes: 1\n"
        "shuffle: false  # each file of documents has its own of the same name below mixed/documents\n"
        "streams:\n"
        f"  - name: {ATTRIBUTE}\n"
        f"    documents: [original/{DOCUMENTS}/*.jsonl.zst]\n"
        f"    attributes: [{ATTRIBUTE}]\n"
        "    output: {path: mixed, discard_fields: [attributes]}\n"
        "    span_replacement:  # a replacement that begins with $ is looked up in the document\n"
        + "".join(
            f"      - {{span: $.attributes.{ATTRIBUTE}, min_score: {number}, max_score: {number + 1}, "
            f'replacement: "$.attributes.{NEW_TEXT}[{number}]"}}\n'
            for number in range(rules)
        )
    )


def _write_lines(path: Path, rows: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
