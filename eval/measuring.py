"""Measure every set with the model: chunk by chunk, each committed by itself, so that a killed run goes on.

Reads the files of the sets and a model folder; writes, into an eval artifact,

    samples/<set>-<chunk>.parquet    one row a document: set, id, unit, tokens, scored, words, bytes, nll
    results.json, results.csv        see `results.py`
    rejected.jsonl                   rows that are no documents: file, line, reason
"""

from __future__ import annotations

import json
import queue
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from eval.perplexity import Measured, PerplexityPass
from eval.results import MEASURES, SAMPLES, SAMPLES_SCHEMA, result_rows, write_results
from eval.set_documents import RejectedRow, SetDocument, has_documents, read_set
from eval.sets import HELD_OUT, TextSet, find_sets, held_out_set, unmatched
from toedit.artifacts import slug
from toedit.config import EvalConfig, ScorerConfig
from toedit.console import Progress, note
from toedit.errors import UnusableInput
from toedit.parquet_files import write_parquet
from toedit.prior_pass import PreparedShard
from toedit.priors import model_folder
from toedit.scorers import Scorer
from toedit.workspace import Result, Workspace

_CHUNK_BYTES = 2_000_000
REJECTED, RESULTS = "rejected.jsonl", ("results.json", "results.csv")
_SUMS = ("documents", "tokens", "scored", "cut_documents", "cut_tokens", "rejected")


@dataclass
class Chunk:
    """Part of a set that is measured as one, and where in the set's files it ends."""

    name: str
    output: str
    documents: list[SetDocument] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    end: tuple[int, int] = (0, 0)
    is_last: bool = True

    @property
    def bytes(self) -> int:
        return sum(len(document.text) for document in self.documents)


def build_eval(workspace: Workspace, settings: EvalConfig, scorer: ScorerConfig, model: str) -> Result:
    """Measure what an earlier run has not, then write the results; `model` is its name in them."""
    found = _sets(workspace, settings)
    for text_set in found:
        if not has_documents(text_set, settings):
            where = text_set.root
            raise UnusableInput(f"eval.sets={where}: set {text_set.name} is empty: not one usable row in its files")
    result = Result(runtime={"scorer": asdict(scorer)}, seeds={"resampling": settings.seed})
    todo = _unfinished(workspace, found, settings)
    if (first := next(todo, None)) is not None:  # else no model is loaded
        pass_ = PerplexityPass(model_folder(workspace.inputs["checkpoint"]), settings, scorer)
        result.runtime["engine"] = pass_.scorers[0].versions
        _measure(first, todo, workspace, pass_)
    records = _records(workspace, found)
    rows = result_rows(workspace.path, model, settings, records[0]["measured_by"])
    _write(workspace, rows, records)
    result.counts = {key: sum(record[key] for record in records) for key in _SUMS}
    names = list(dict.fromkeys(row["set"] for row in rows if not row["aggregate"]))
    given = [name for name in names if not name.startswith(HELD_OUT)]
    absent, unexpected = unmatched(settings.expected, given) if settings.expected else ([], [])
    result.counts |= {"sets": len(names), "absent_sets": absent, "unexpected_sets": unexpected}
    result.rows = {"results.csv": len(rows), REJECTED: result.counts["rejected"]}
    result.rows |= {record["output"]: record["documents"] for record in records}
    return result


def _sets(workspace: Workspace, settings: EvalConfig) -> list[TextSet]:
    """The sets at `eval.sets`, then what was held out of corpora."""
    sets: list[TextSet] = []
    if "sets" in workspace.inputs:
        root = workspace.inputs["sets"]
        found = find_sets(root, settings.split)
        for line in found.left_out:
            note(f"eval.sets={root}: left out: {line}")
        sets += found.sets
    return sets + [held_out_set(role, path) for role, path in workspace.inputs.items() if role.startswith(HELD_OUT)]


def _unfinished(workspace: Workspace, found: list[TextSet], settings: EvalConfig) -> Iterator[Chunk]:
    """The chunks that are still to be measured. They end where they would have ended in an uninterrupted run."""
    for number, text_set in enumerate(found):
        position, chunk_number, is_last = (0, 0), 0, False
        rows: Iterator[SetDocument | RejectedRow] | None = None
        while not is_last:
            chunk = _named_chunk(number, text_set, chunk_number)
            if record := workspace.finished(chunk.name):
                position, is_last, rows = tuple(record["end"]), record["is_last"], None
            else:
                rows = rows or read_set(text_set, settings, *position)
                _fill(chunk, rows)
                is_last = chunk.is_last
                position = chunk.end
                yield chunk
            chunk_number += 1


def _named_chunk(number: int, text_set: TextSet, chunk_number: int) -> Chunk:
    part = f"{chunk_number:05d}"
    return Chunk(f"{number:05d}-{part}", f"{SAMPLES}/{number:05d}-{slug(text_set.name)}-{part}.parquet")


def _fill(chunk: Chunk, rows: Iterator[SetDocument | RejectedRow]) -> None:
    """Take rows until the chunk is full or the set at its end."""
    size = 0
    for row in rows:
        if isinstance(row, RejectedRow):
            chunk.rejected.append(row)
            continue
        chunk.documents.append(row)
        chunk.end = row.file_number, row.line
        size += len(row.text)
        if size >= _CHUNK_BYTES:
            chunk.is_last = False
            return


def _measure(first: Chunk, further: Iterator[Chunk], workspace: Workspace, pass_: PerplexityPass) -> None:
    """Tokenise ahead, and measure as many chunks at a time as there are engines."""
    idle: queue.SimpleQueue[Scorer] = queue.SimpleQueue()
    for scorer in pass_.scorers:
        idle.put(scorer)

    def measure(chunk: Chunk, prepared: PreparedShard | None, progress: Progress) -> None:
        with workspace.shard(chunk.name, chunk.output) as ((path,), record):
            measured = None
            if prepared is not None:
                scorer = idle.get()
                try:
                    texts = [document.text for document in chunk.documents]
                    measured = pass_.measure(prepared, texts, scorer, progress, chunk.bytes)
                finally:
                    idle.put(scorer)
            write_parquet(path, _table(chunk, measured))
            record.update(_record(chunk, measured, prepared), measured_by=_measured_by(pass_))

    pool = ThreadPoolExecutor(len(pass_.scorers))
    running: deque[Future[None]] = deque()
    chunk: Chunk | None = first
    try:
        with Progress("perplexity", None, "characters") as progress:
            while chunk is not None:
                ids = [document.id for document in chunk.documents]
                prepared = pass_.prepare(ids, [document.text for document in chunk.documents]) if ids else None
                running.append(pool.submit(measure, chunk, prepared, progress))
                while len(running) > len(pass_.scorers):
                    running.popleft().result()
                chunk = next(further, None)
            for future in running:
                future.result()
    finally:
        pass_.stop.set()  # after an error or Ctrl-C nothing more is begun
        pool.shutdown(cancel_futures=True)


def _table(chunk: Chunk, measured: Measured | None) -> pa.Table:
    columns: dict[str, Any] = {
        "set": [document.set_name for document in chunk.documents],
        "id": [document.id for document in chunk.documents],
        "unit": [document.unit for document in chunk.documents],
    }
    for name in MEASURES:
        columns[name] = [] if measured is None else getattr(measured, f"{name}_D")
    return pa.table(columns, SAMPLES_SCHEMA)


def _record(chunk: Chunk, measured: Measured | None, prepared: PreparedShard | None) -> dict[str, Any]:
    return {
        "output": chunk.output,
        "end": chunk.end,
        "is_last": chunk.is_last,
        "documents": len(chunk.documents),
        "tokens": int(measured.tokens_D.sum()) if measured else 0,
        "scored": int(measured.scored_D.sum()) if measured else 0,
        "cut_documents": int((prepared.cut_D > 0).sum()) if prepared else 0,
        "cut_tokens": int(prepared.cut_D.sum()) if prepared else 0,
        "rejected": len(chunk.rejected),
        "rejected_rows": [asdict(row) for row in chunk.rejected],
    }


def _measured_by(pass_: PerplexityPass) -> dict[str, Any]:
    """What only the model knows of how it was measured; every row of the results says it."""
    prefix = pass_.context_id
    return {
        "window": pass_.window,
        "stride": pass_.stride,
        "context_token": None if prefix is None else pass_.tokenizer.piece_text(prefix),
    }


def _records(workspace: Workspace, found: list[TextSet]) -> list[dict[str, Any]]:
    """The records of all chunks, in order."""
    records = []
    for number, text_set in enumerate(found):
        chunk_number, is_last = 0, False
        while not is_last:
            record = workspace.finished(_named_chunk(number, text_set, chunk_number).name)
            assert record is not None
            records.append(record)
            is_last, chunk_number = record["is_last"], chunk_number + 1
    return records


def _write(workspace: Workspace, rows: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
    rejected = [row for record in records for row in record["rejected_rows"]]
    if rejected:
        note(f"{len(rejected)} rows were rejected, the first: {rejected[0]['file']} line {rejected[0]['line']}: "
             f"{rejected[0]['reason']}; all of them are listed in {workspace.path / REJECTED}")  # fmt: skip
    with workspace.shard("results", *RESULTS, REJECTED) as ((structured, tidy, listed), _):
        write_results(rows, structured, tidy)
        listed.write_text("".join(json.dumps(row) + "\n" for row in rejected), encoding="ascii")
