"""`stage=revert`: the original corpus back from an edited one and its ledger, byte for byte.

Reads an edited corpus artifact; needs neither the scores nor the prior. Writes a corpus artifact, and of instruction
data the original rows as well.

    python run.py stage=revert edited.path=my-edited-corpus out=original
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from toedit.artifacts import Artifact
from toedit.console import Progress
from toedit.documents import DOCUMENTS, Document, ShardWriter, read_documents, shard_of, shard_paths
from toedit.edit_corpus import EDITS, LEDGER_SCHEMA, METADATA_KEY, forget_edit
from toedit.errors import UnusableInput
from toedit.instruction_files import InstructionFiles, instruction_outputs, write_rows
from toedit.instructions import Replaced, replace_text
from toedit.parquet_files import read_parquet
from toedit.splicing import LedgerRow, unsplice
from toedit.workspace import Result, Workspace


def plan_revert(edited: Artifact, root: Path, out: Path | None = None) -> Artifact:
    """The corpus that `edited` was made from."""
    return Artifact(
        kind="corpus",
        name=f"{edited.name}.reverted",
        identity={"reverted": True},
        inputs={"edited": edited},
        root=root,
        out=out,
        build=partial(build_revert),
    )


def build_revert(workspace: Workspace) -> Result:
    """Revert every shard that an earlier run has not finished."""
    edited = workspace.inputs["edited"]
    result = Result(counts={"documents_in": 0, "documents_out": 0, "rejected": 0, "reverted": 0, "bytes": 0})
    instructions = InstructionFiles()
    with Progress("revert", None, "documents") as progress:
        for path in shard_paths(edited):
            shard = shard_of(path)
            output = f"{DOCUMENTS}/{path.name}"
            record = workspace.finished(shard)
            if record is None:
                documents = list(read_documents(path))
                with workspace.shard(shard, output, *instruction_outputs(shard, documents)) as (paths, record):
                    record.update(revert_shard(path, documents, edited / EDITS / f"{shard}.parquet", *paths))
                progress.advance(record["documents"])
            result.counts["documents_in"] += record["documents"]
            result.counts["documents_out"] += record["documents"]
            result.counts["reverted"] += record["reverted"]
            result.counts["bytes"] += record["bytes"]
            result.rows[output] = record["documents"]
            instructions.add(shard, record)
    instructions.finish(workspace, result)
    return result


def revert_shard(
    edited_shard: Path,
    documents: list[Document],
    ledger_path: Path,
    documents_path: Path,
    rows_path: Path | None = None,
) -> dict[str, Any]:
    """Revert the `documents` of one shard; write them, and the rows of instruction data; return the counts."""
    ledger = read_parquet(ledger_path, LEDGER_SCHEMA).to_pylist()
    by_document = groupby(ledger, key=lambda row: row["id"])
    pending_id, pending_rows = next(by_document, (None, iter(())))
    size = 0
    with ShardWriter(documents_path) as writer:
        for document in documents:
            if document["id"] == pending_id:
                rows = [LedgerRow(*(row[field] for field in LedgerRow._fields)) for row in pending_rows]
                try:
                    replace_text(document, unsplice(document["text"].encode(), rows).decode(), taken_back(rows))
                except UnusableInput as error:
                    raise UnusableInput(f"{edited_shard}: document {document['id']!r}: {error}") from None
                pending_id, pending_rows = next(by_document, (None, iter(())))
            else:
                rows = []
            if len(rows) != (changed := document["metadata"][METADATA_KEY]["changed"]):
                raise UnusableInput(
                    f"{ledger_path}: holds {len(rows)} edits of document {document['id']!r}, which has {changed}"
                )
            forget_edit(document)
            writer.write(document)
            size += len(document["text"].encode())
    if pending_id is not None:
        raise UnusableInput(
            f"{ledger_path}: names document {pending_id!r}, which {edited_shard.name} lacks at that place"
        )
    counts = {"documents": len(documents), "reverted": len(ledger), "bytes": size}
    return counts | (write_rows(rows_path, documents) if rows_path else {})


def taken_back(rows: Sequence[LedgerRow]) -> list[Replaced]:
    """The ledger backwards, as replacements in the edited text."""
    replaced, shift = [], 0
    for row in rows:
        old, new = row.end - row.start, len(row.new_text.encode())
        replaced.append(Replaced(row.start + shift, new, old))
        shift += new - old
    return replaced
