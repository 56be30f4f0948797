"""Documents as a person looks at them: the original text, its tokens with their probabilities, and the edits.

Reads an edited corpus artifact (documents and ledger) and the scores it was made from, shard by shard: memory holds
one shard and the chosen documents, whatever the corpus. The original text comes from the ledger applied backwards.
Writes nothing; `diff_terminal` and `diff_page` show what is made here.

Shapes: T tokens of one document, 2 = (start, end) in bytes of its original text.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from toedit.artifacts import load_input
from toedit.documents import documents_file, read_documents, shard_of, shard_paths
from toedit.edit_corpus import EDITS, LEDGER_SCHEMA, METADATA_KEY
from toedit.errors import UnusableInput
from toedit.instructions import replace_text, response_ranges
from toedit.parquet_files import count_rows, read_parquet
from toedit.protection import changeable
from toedit.reverting import taken_back
from toedit.scores import SCORES_SCHEMA, scores_path
from toedit.splicing import LedgerRow, unsplice
from toedit.workspace import read_manifest

_CONTEXT = 40  # characters left and right of a sampled edit


@dataclass(frozen=True)
class Edit:
    """A row of the ledger: one changed token."""

    position: int
    start: int
    end: int
    old_id: int
    new_id: int
    old_text: str
    new_text: str
    old_logprob: float
    new_logprob: float
    """NaN where the prior's was not kept: a deleted token has none."""


@dataclass(frozen=True)
class Run:
    """Tokens first to last (inclusive) that together are whole characters; `edit` where it is one changed token.

    `logprob` is the sum over the tokens, the log-probability of the whole run; NaN where one of them is unscored.
    """

    text: str
    first: int
    last: int
    logprob: float
    edit: Edit | None = None


@dataclass(frozen=True)
class DocumentView:
    """One document with its scores and edits. `text` is the original; spans are in bytes of its UTF-8."""

    id: str
    source: str
    text: str
    tokens: int
    eligible: int
    span_T2: NDArray[np.integer]
    logprob_T: NDArray[np.floating]
    """NaN where nothing was scored."""
    edits: dict[int, Edit]
    """By position, in order."""
    changeable_T: NDArray[np.bool_] | None = None
    """Tokens that may change at all: no prompt's, none that `edit.protect` names; None for all of them."""

    def runs(self) -> Iterator[Run | str]:
        """The whole original text in order: runs of tokens, and as plain strings what no token stands for.

        Byte-level pieces of one character make one run, and so do tokens that share a span; a token that stands for
        no byte of the text (a dummy space) is in none.
        """
        document = self.text.encode()
        shown = 0  # bytes given out already; always the start of a character
        first: int | None = None  # first token of the run that is open: it ends inside a character
        for position, (start, end) in enumerate(self.span_T2.tolist()):
            if end <= shown:
                continue
            if position in self.edits and start > shown:  # whatever was open: an edit stands alone
                yield document[shown:start].decode()
                shown, first = start, None
            if first is None:
                first = position
                while start > shown and not _starts_character(document, start):
                    start -= 1
                if start > shown:
                    yield document[shown:start].decode()
                    shown = start
            if _starts_character(document, end):
                logprob = float(self.logprob_T[first : position + 1].sum())
                yield Run(document[shown:end].decode(), first, position, logprob, self.edits.get(position))
                shown, first = end, None
        if shown < len(document):
            yield document[shown:].decode()


@dataclass(frozen=True)
class EditSample:
    """One edit with a little of the original text around it: `left` `old` -> `new` `right`."""

    id: str
    left: str
    old: str
    new: str
    right: str
    old_logprob: float
    new_logprob: float


def load_views(edited: Path, ids: list[str], most_edited: int) -> list[DocumentView]:
    """The documents `ids`, in that order; where none are named, the `most_edited` with the most edits.

    Raises UnusableInput where the corpus lacks one of the ids, and where ledger, scores and documents disagree.
    """
    scores = load_input(edited, read_manifest(edited), "scores").path
    places = _places_of(edited, scores, ids) if ids else _most_edited(edited, scores, most_edited)
    views: dict[tuple[str, int], DocumentView] = {}
    for shard in sorted({shard for shard, _ in places}):
        rows = {row for other, row in places if other == shard}
        views |= {(shard, row): view for row, view in _views_of_shard(edited, scores, shard, rows)}
    return [views[place] for place in places]


def sample_edits(edited: Path, count: int) -> list[EditSample]:
    """At most `count` edits, evenly spread over the ledger: the same ones every time."""
    shards = [shard_of(path) for path in shard_paths(edited)]
    sizes = [count_rows(_ledger_path(edited, shard)) for shard in shards]
    total = sum(sizes)
    count = min(count, total)
    wanted = [(2 * number + 1) * total // (2 * count) for number in range(count)]
    samples: list[EditSample] = []
    for shard, size, before in zip(shards, sizes, accumulate(sizes, initial=0), strict=False):
        chosen = [index - before for index in wanted if before <= index < before + size]
        if chosen:
            samples += _samples_of_shard(edited, shard, chosen)
    return samples


# --- which documents --------------------------------------------------------------------------------------------------


def _most_edited(edited: Path, scores: Path, count: int) -> list[tuple[str, int]]:
    """(shard, row) of the documents with the most edits, ties and unedited documents in the corpus's order."""

    def candidates() -> Iterator[tuple[int, str, int]]:
        for shard, ids in _document_ids(edited, scores):
            changed = Counter(read_parquet(_ledger_path(edited, shard), LEDGER_SCHEMA, ["id"]).column("id").to_pylist())
            yield from ((-changed[document_id], shard, row) for row, document_id in enumerate(ids))

    return [(shard, row) for _, shard, row in heapq.nsmallest(count, candidates())]


def _places_of(edited: Path, scores: Path, ids: list[str]) -> list[tuple[str, int]]:
    wanted = list(dict.fromkeys(ids))
    missing = set(wanted)
    found: dict[str, tuple[str, int]] = {}
    for shard, shard_ids in _document_ids(edited, scores):
        for row, document_id in enumerate(shard_ids):
            if document_id in missing:
                found[document_id] = (shard, row)
                missing.remove(document_id)
        if not missing:
            return [found[document_id] for document_id in wanted]
    unknown = next(document_id for document_id in wanted if document_id in missing)
    raise UnusableInput(f"diff.ids: {edited} holds no document {unknown!r}")


def _document_ids(edited: Path, scores: Path) -> Iterator[tuple[str, list[str]]]:
    """(shard, its documents' ids in order), from the scores: a column is read faster than the documents."""
    for path in shard_paths(edited):
        shard = shard_of(path)
        yield shard, read_parquet(scores_path(scores, shard), SCORES_SCHEMA, ["id"]).column("id").to_pylist()


# --- their contents ---------------------------------------------------------------------------------------------------


def _views_of_shard(edited: Path, scores: Path, shard: str, rows: set[int]) -> Iterator[tuple[int, DocumentView]]:
    """(row, view) of the documents in `rows` of one shard. Candidates, the bulk of the scores, are not read."""
    table = read_parquet(scores_path(scores, shard), SCORES_SCHEMA, ["id", "spans", "logprobs"])
    documents_path, protect = _documents_path(edited, shard), read_manifest(edited)["identity"].get("protect", [])
    ids = {table["id"][row].as_py() for row in rows}
    ledger = _ledger_of(edited, shard, ids)
    for row, document in _chosen_documents(documents_path, rows):
        if document["id"] != table["id"][row].as_py():
            raise UnusableInput(f"{documents_path}: document {row + 1} is not the one that was scored")
        ledger_rows = ledger[document["id"]]
        span_T2 = table["spans"][row].values.flatten().to_numpy().reshape(-1, 2)
        logprob_T = table["logprobs"][row].values.to_numpy(zero_copy_only=False)  # null becomes NaN
        text = _original(documents_path, document, ledger_rows)
        yield (
            row,
            DocumentView(
                id=document["id"],
                source=document.get("source", ""),
                text=text,
                tokens=len(span_T2),
                eligible=document["metadata"][METADATA_KEY]["eligible"],
                span_T2=span_T2,
                logprob_T=logprob_T.astype(np.float64),
                edits={row["position"]: _edit(row) for row in ledger_rows},
                changeable_T=changeable(span_T2, text, response_ranges(document), protect),
            ),
        )


def _samples_of_shard(edited: Path, shard: str, chosen: list[int]) -> list[EditSample]:
    """The edits `chosen` (row numbers of the shard's ledger), in order."""
    ledger_ids = read_parquet(_ledger_path(edited, shard), LEDGER_SCHEMA, ["id"]).column("id")
    ids = {ledger_ids[index].as_py() for index in chosen}
    ledger = _ledger_of(edited, shard, ids)
    path = _documents_path(edited, shard)
    originals: dict[str, bytes] = {}
    for document in read_documents(path):
        if document["id"] in ids:
            originals[document["id"]] = _original(path, document, ledger[document["id"]]).encode()
        if len(originals) == len(ids):
            break
    # The rows of a document are together in the ledger, so a row's place in it follows from the first of them.
    samples = []
    for index in chosen:
        document_id = ledger_ids[index].as_py()
        row = ledger[document_id][index - ledger_ids.index(document_id).as_py()]
        original = originals[document_id]
        # A character has at most four bytes: decode no more than is shown. What is cut in two at the far end goes.
        left = original[max(row["start"] - 4 * _CONTEXT, 0) : row["start"]].decode(errors="ignore")
        right = original[row["end"] : row["end"] + 4 * _CONTEXT].decode(errors="ignore")
        samples.append(
            EditSample(
                id=document_id,
                left=left[-_CONTEXT:],
                old=row["old_text"],
                new=row["new_text"],
                right=right[:_CONTEXT],
                old_logprob=row["old_logprob"],
                new_logprob=_known(row["new_logprob"]),
            )
        )
    return samples


def _ledger_of(edited: Path, shard: str, ids: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The ledger's rows of the documents `ids`, in order of position."""
    table = read_parquet(_ledger_path(edited, shard), LEDGER_SCHEMA)
    table = table.filter(pc.is_in(table["id"], pa.array(sorted(ids), pa.string())))
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in table.to_pylist():
        rows[row["id"]].append(row)
    return rows


def _chosen_documents(path: Path, rows: set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    remaining = len(rows)
    for row, document in enumerate(read_documents(path)):
        if row in rows:
            yield row, document
            remaining -= 1
        if not remaining:
            return
    raise UnusableInput(f"{path}: holds fewer documents than were scored")


def _original(path: Path, document: dict[str, Any], ledger_rows: Iterable[dict[str, Any]]) -> str:
    """The original text; `document` becomes the original one."""
    rows = [LedgerRow(*(row[field] for field in LedgerRow._fields)) for row in ledger_rows]
    try:
        replace_text(document, unsplice(document["text"].encode(), rows).decode(), taken_back(rows))
    except UnusableInput as error:
        raise UnusableInput(f"{path}: document {document['id']!r}: {error}") from None
    return str(document["text"])


def _edit(row: dict[str, Any]) -> Edit:
    values = {field: row[field] for field in Edit.__dataclass_fields__}
    return Edit(**values | {"new_logprob": _known(row["new_logprob"])})


def _known(logprob: float | None) -> float:
    return np.nan if logprob is None else logprob


def _starts_character(document: bytes, place: int) -> bool:
    """Is `place` a boundary between characters? The end of the document is one."""
    return place >= len(document) or document[place] & 0xC0 != 0x80


def _documents_path(edited: Path, shard: str) -> Path:
    return edited / documents_file(shard)


def _ledger_path(edited: Path, shard: str) -> Path:
    return edited / EDITS / f"{shard}.parquet"
