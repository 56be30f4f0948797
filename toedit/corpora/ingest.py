"""Rows to a corpus artifact: documents in shards, bad rows in a list, everything counted.

Writes `documents/00000.jsonl.zst`, … and `rejected.jsonl` (one `{"file", "line", "reason"}` a rejected row).

After a kill the same command goes on behind the last finished shard: a shard's record says which row it ended with,
which ids it took and how long `rejected.jsonl` was, so the result has the same bytes as an uninterrupted run's.

Counts: `documents_in = documents_out + rejected`. Rows that belong to another split are in neither, but in `left_out`;
rows behind `max_documents` or `max_tokens` are not read at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from io import BytesIO
from itertools import chain
from typing import Any, BinaryIO, Protocol

from toedit.config import CorpusConfig
from toedit.console import Progress, note, printable
from toedit.corpora.ids import UniqueIds, content_id
from toedit.corpora.parts import TokenCounter, part_of
from toedit.corpora.rows import BadRow, Row, document_of
from toedit.documents import Document, ShardWriter, documents_file, shard_name
from toedit.errors import UnusableInput
from toedit.workspace import Result, Workspace

REJECTED = "rejected.jsonl"
_MOST_SHARDS = 100_000  # shard names have five digits, and their order is the order of their names


class RowSource(Protocol):
    """Rows in a fixed order, from any place on; `position` of `total` says how far, for the progress line."""

    unit: str
    position: int
    truncated: list[str]

    @property
    def total(self) -> int | None: ...

    def rows(self, file_number: int = 0, line: int = 0) -> Iterator[Row]:
        """The rows behind line `line` of file number `file_number`."""
        ...


@dataclass
class _State:
    """What is known after a row; with every finished shard it is committed."""

    documents: int = 0
    rejected: int = 0
    left_out: int = 0
    bytes: int = 0
    tokens: int = 0
    missing_ids: int = 0
    repeated_ids: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    first_rejection: str = ""
    truncated: list[str] = field(default_factory=list)
    file_number: int = 0
    line: int = 0
    rejected_bytes: int = 0
    rejected_sha256: str = ""


def ingest(
    workspace: Workspace, source: RowSource, config: CorpusConfig, what: str, default_source: str = ""
) -> Result:
    """Write the documents of `source` into `workspace`; `what` names the input in messages.

    A row without a source gets `default_source`, or else the name of its file.

    Raises UnusableInput where no document comes of it, and at the first bad row with `corpus.on_bad_row=stop`.
    """
    run = _Ingest(workspace, source, config, what)
    run.default_source = default_source
    with run.rejected, Progress(f"reading {what}", source.total, source.unit) as progress:
        run.write_shards(progress)
    return run.result()


class _Ingest:
    def __init__(self, workspace: Workspace, source: RowSource, config: CorpusConfig, what: str) -> None:
        self.workspace, self.source, self.config, self.what = workspace, source, config, what
        self.default_source = ""
        self.ids = UniqueIds()
        self.shards: dict[str, int] = {}
        self.counter = TokenCounter(config.tokenizer) if config.max_tokens and config.tokenizer else None
        self.listed = hashlib.sha256()
        """Of rejected.jsonl as far as it goes."""
        self.state = self._resume()
        self.rejected = self._open_rejected()

    def _resume(self) -> _State:
        """The state behind the last shard that an earlier run finished."""
        state, rejected = _State(), self.workspace.path / REJECTED
        with rejected.open("rb") if rejected.exists() else BytesIO() as listed:
            while record := self.workspace.finished(shard_name(len(self.shards))):
                further = record["state"]["rejected_bytes"] - state.rejected_bytes
                after = self.listed.copy()
                after.update(listed.read(further))
                if after.hexdigest() != record["state"]["rejected_sha256"]:  # the list was damaged: anew from here
                    break
                self.ids.restore(record["ids"])
                self.shards[_shard_path(len(self.shards))] = record["rows"]
                state, self.listed = _State(**record["state"]), after
        if self.shards:
            note(f"{self.what}: goes on behind {state.documents} documents of an earlier run")
        self.source.truncated[:] = state.truncated
        return state

    def _open_rejected(self) -> BinaryIO:
        path = self.workspace.path / REJECTED
        path.touch()
        file = path.open("r+b")
        file.truncate(self.state.rejected_bytes)
        file.seek(self.state.rejected_bytes)
        return file

    def write_shards(self, progress: Progress) -> None:
        documents = self._documents(progress)
        for first in documents:  # a shard is begun only where there is a document for it
            number = len(self.shards)
            if number >= _MOST_SHARDS:
                raise UnusableInput(f"{self.what}: more than {_MOST_SHARDS} shards; raise corpus.shard_bytes")
            path = _shard_path(number)
            begun = self.state.bytes
            with self.workspace.shard(shard_name(number), path) as (temporary, record):
                with ShardWriter(temporary[0]) as writer:
                    for document, size, tokens in chain([first], documents):
                        writer.write(document)
                        self.state.documents += 1
                        self.state.bytes += size
                        self.state.tokens += tokens
                        if self.state.bytes - begun >= self.config.shard_bytes:
                            break
                self.rejected.flush()
                self.state.truncated = list(self.source.truncated)
                self.state.rejected_sha256 = self.listed.hexdigest()
                record.update(rows=writer.documents, ids=self.ids.flush(), state=asdict(self.state))
            self.shards[path] = writer.documents

    def _documents(self, progress: Progress) -> Iterator[tuple[Document, int, int]]:
        """The documents of this corpus with their sizes in bytes and tokens, up to the limits."""
        state, config = self.state, self.config
        shown = None
        if self._is_full():
            return
        for row in self.source.rows(state.file_number, state.line):
            state.file_number, state.line = row.file_number, row.line
            if shown is None:
                shown = self.source.position
                progress.skip(shown)
            if self.source.position != shown:
                progress.advance(self.source.position - shown, f"{state.documents} documents")
                shown = self.source.position
            try:
                document, size = document_of(row, config, self.default_source)
            except BadRow as problem:
                self._reject(row, problem)
                continue
            self._name(document)
            if config.split is not None and part_of(document, config) != config.split:
                state.left_out += 1
                continue
            yield document, size, self.counter.count(document["text"]) if self.counter else 0
            if self._is_full():
                return
        progress.advance(self.source.position - (shown or 0))

    def _is_full(self) -> bool:
        most = self.config.max_documents
        if most is not None and self.state.documents >= most:
            return True
        return self.config.max_tokens is not None and self.state.tokens >= self.config.max_tokens

    def _name(self, document: Document) -> None:
        if not document["id"]:
            self.state.missing_ids += 1
            document["id"] = content_id(document["source"], document["text"])
        wanted = document["id"]
        document["id"] = self.ids.claim(wanted)
        self.state.repeated_ids += document["id"] != wanted

    def _reject(self, row: Row, problem: BadRow) -> None:
        state, reason = self.state, str(problem)
        if self.config.on_bad_row == "stop":
            raise UnusableInput(
                printable(f"{row.file} line {row.line}: {reason}; corpus.on_bad_row=reject lists such rows and goes on")
            )
        entry = json.dumps({"file": row.file, "line": row.line, "reason": reason}).encode("ascii") + b"\n"
        self.rejected.write(entry)
        self.listed.update(entry)
        state.rejected += 1
        state.rejected_bytes += len(entry)
        state.reasons[problem.kind] = state.reasons.get(problem.kind, 0) + 1
        state.first_rejection = state.first_rejection or printable(f"{reason} ({row.file} line {row.line})")

    def result(self) -> Result:
        state = self.state
        listed = self.workspace.path / REJECTED
        if not state.documents:
            raise UnusableInput(self._why_empty())
        if state.rejected:
            kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(state.reasons.items()))
            note(f"{self.what}: {state.rejected} rows were rejected ({kinds}); they are listed in {listed}")
        if self.source.truncated:
            names = ", ".join(self.source.truncated[:5])
            note(f"{self.what}: {len(self.source.truncated)} files end too early or are damaged: {names}")
        counts: dict[str, Any] = {
            "documents_in": state.documents + state.rejected,
            "documents_out": state.documents,
            "rejected": state.rejected,
            "left_out": state.left_out,
            "bytes": state.bytes,
            "missing_ids": state.missing_ids,
            "repeated_ids": state.repeated_ids,
            "truncated_files": list(self.source.truncated),
            "reasons": dict(sorted(state.reasons.items())),
        }
        if self.counter:
            counts["tokens"] = state.tokens
        seeds = {"split": self.config.split_seed} if self.config.split else {}
        return Result(counts=counts, seeds=seeds, rows={**self.shards, REJECTED: state.rejected})

    def _why_empty(self) -> str:
        state = self.state
        if state.left_out:
            return f"{self.what}: none of {state.left_out} documents falls into corpus.split={self.config.split}"
        if state.rejected:
            return f"{self.what}: no usable row; {state.rejected} were rejected, the first: {state.first_rejection}"
        return f"{self.what}: holds no rows"


def _shard_path(number: int) -> str:
    return documents_file(shard_name(number))
