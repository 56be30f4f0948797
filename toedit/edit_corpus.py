"""`stage=edit`: apply an editor (`toedit/editors`; by default the algorithm, `toedit/editing.py`) to a scored corpus.

Reads a scores artifact and the corpus it belongs to. Writes an edited corpus: the documents, each with
`metadata.toedit = {tokens, eligible, changed}`, and the ledger `edits/*.parquet`, one row a changed token, from which
`revert` restores every byte. Of instruction data also the rows with the edited responses, `instructions/*.jsonl` and
`dataset_info.json` (`toedit/instructions.py`). Needs no model: milliseconds a document.

    python run.py stage=edit edit.p=0.99 edit.k=8
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from toedit.artifacts import Artifact
from toedit.config import EditConfig
from toedit.console import Progress
from toedit.documents import DOCUMENTS, Document, ShardWriter, read_documents, shard_of, shard_paths
from toedit.editing import Draws
from toedit.editors import Editor, find_editor, identity_of, refuse_unread_keys
from toedit.errors import BadConfiguration, UnusableInput
from toedit.executors import ShardWork, over_shards
from toedit.instruction_files import InstructionFiles, instruction_outputs, write_rows
from toedit.instructions import Replaced, replace_text, response_ranges
from toedit.parquet_files import write_parquet
from toedit.priors import model_folder
from toedit.protection import restrict
from toedit.scores import ShardScores, read_scores, scores_path
from toedit.splicing import splice
from toedit.tokenizing import PriorTokenizer, load_tokenizer
from toedit.workspace import Result, Workspace

EDITS = "edits"
LEDGER_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("position", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("old_id", pa.int32()),
        ("new_id", pa.int32()),
        ("old_text", pa.string()),
        ("new_text", pa.string()),
        ("old_logprob", pa.float32()),
        ("new_logprob", pa.float32()),
    ]
)
_COUNTS = ("documents", "tokens", "eligible", "changed", "unspliceable", "expected_changed", "protected")
METADATA_KEY, HISTORY_KEY, _NOT_OURS = "toedit", "toedit_history", "not_an_edit"


def plan_edit(scores: Artifact, edit: EditConfig, root: Path, out: Path | None = None) -> Artifact:
    """The edit of the scored corpus. Raises BadConfiguration where the scores hold too little for it."""
    editor = find_editor(edit.sampler)
    refuse_unread_keys(edit, editor)
    _refuse_what_scores_lack(scores, edit, editor)
    for role in ("corpus", "prior"):
        if role not in scores.inputs:
            raise UnusableInput(f"{scores.path}: the {role} it was made from is no longer where its manifest says")
    return Artifact(
        kind="edited_corpus",
        name=f"{scores.name}.{describe(edit)}",
        identity=identity_of(edit, editor),
        inputs={"corpus": scores.inputs["corpus"], "scores": scores, "prior": scores.inputs["prior"]},
        root=root,
        out=out,
        build=partial(build_edit, edit=edit),
    )


def describe(edit: EditConfig) -> str:
    """`p0.99-k8`, with temperature, strictness and seed where they are not the paper's; other editors by name."""
    if edit.sampler == "none":
        return "none"
    keys = find_editor(edit.sampler).keys
    parts = [edit.sampler] if edit.sampler != "top_k" else []
    parts += [f"below{edit.delete_below:g}"] if edit.delete_below > 0 else []
    parts += [f"above{edit.delete_above:g}"] if edit.delete_above < 1 else []
    parts += [
        f"{short}{getattr(edit, key):g}"
        for key, short in {"p": "p", "k": "k", "top_p": "mass", "tries": "tries"}.items()
        if key in keys
    ]
    parts += [f"t{edit.temperature:g}"] if edit.temperature != 1 else []
    parts += ["strict"] if edit.strict else []
    parts += ["protect", *sorted(set(edit.protect))] if edit.protect else []
    parts += [f"seed{edit.seed}"] if edit.seed and "seed" in keys else []
    return "-".join(parts)


def _refuse_what_scores_lack(scores: Artifact, edit: EditConfig, editor: Editor) -> None:
    if edit.sampler == "none":
        return
    min_p, top_k = scores.identity["min_p"], scores.identity["top_k"]
    if editor.every_position and min_p > 0:
        raise BadConfiguration(
            f"edit.sampler={edit.sampler}: needs candidates at every token; the scores keep them for P >= {min_p:g} "
            "only; add score.min_p=0"
        )
    if "p" in editor.keys and edit.p < min_p:
        raise BadConfiguration(
            f"edit.p={edit.p:g}: the scores keep candidates for P >= {min_p:g} only; add score.min_p={edit.p:g}"
        )
    if "k" in editor.keys and edit.k > top_k:
        raise BadConfiguration(f"edit.k={edit.k}: the scores keep {top_k} candidates; add score.top_k={edit.k}")


def build_edit(workspace: Workspace, edit: EditConfig) -> Result:
    """Edit every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    tasks = [(workspace.path, path) for path in shards if workspace.finished(shard_of(path)) is None]
    with Progress("edit", None, "tokens") as progress:
        work = ShardWork("edit", EditShard, (workspace.inputs["scores"], workspace.inputs["prior"], edit))
        for _, tokens in over_shards(workspace, work, tasks, processes=1):  # to begin a process takes longer than most
            progress.advance(tokens)
    totals: Counter[str] = Counter()
    result = Result(seeds={"edit": edit.seed})
    instructions = InstructionFiles()
    for path in shards:
        record = workspace.finished(shard_of(path))
        assert record is not None
        totals.update({key: record.get(key, 0) for key in _COUNTS})
        documents, ledger = _outputs(path)
        result.rows |= {documents: record["documents"], ledger: record["changed"]}
        instructions.add(shard_of(path), record)
    result.counts |= {key: totals[key] for key in _COUNTS}
    instructions.finish(workspace, result)
    result.counts["expected_changed"] = round(result.counts["expected_changed"], 3)
    return result


class EditShard:
    """Edits one shard after another."""

    def __init__(self, scores: Path, prior: Path, edit: EditConfig) -> None:
        self.scores, self.edit = scores, edit
        self.tokenizer = load_tokenizer(model_folder(prior))

    def __call__(self, folder: Path, shard: Path) -> int:
        """Write the edited `shard` and its ledger below `folder`; return its tokens."""
        name, originals = shard_of(shard), list(read_documents(shard))
        outputs = [*_outputs(shard), *instruction_outputs(name, originals)]
        with Workspace(folder, {}).shard(name, *outputs) as (paths, record):
            scores = read_scores(scores_path(self.scores, name))
            record.update(edit_shard(shard, originals, scores, self.tokenizer, self.edit, *paths))
        return int(record["tokens"])


def _outputs(shard: Path) -> tuple[str, str]:
    """Documents and ledger of a corpus shard, inside the artifact."""
    return f"{DOCUMENTS}/{shard.name}", f"{EDITS}/{shard_of(shard)}.parquet"


def edit_shard(
    corpus_shard: Path,
    documents: list[Document],
    scores: ShardScores,
    tokenizer: PriorTokenizer,
    edit: EditConfig,
    documents_path: Path,
    ledger_path: Path,
    rows_path: Path | None = None,
) -> dict[str, Any]:
    """Edit the `documents` of one shard; write them, their ledger, the rows of instruction data; return the counts."""
    if scores.ids != [document["id"] for document in documents]:
        raise UnusableInput(f"{corpus_shard}: its documents are not those that the scores of its name were made of")
    restricted, protected = restrict(scores, documents, edit.protect, corpus_shard)
    draws = draw(restricted, tokenizer, edit)
    eligible_D = np.diff(np.searchsorted(draws.index_E, scores.token_offset_D1))
    changed_C = draws.index_E[draws.changed_E]
    first_change_D1 = np.searchsorted(changed_C, scores.token_offset_D1)
    new_id_C, new_logprob_C = draws.new_id_E[draws.changed_E], draws.new_logprob_E[draws.changed_E]

    ledger: list[dict[str, Any]] = []
    unspliceable = 0
    with ShardWriter(documents_path) as writer:
        for d, document in enumerate(documents):
            tokens = slice(scores.token_offset_D1[d], scores.token_offset_D1[d + 1])
            changes = slice(first_change_D1[d], first_change_D1[d + 1])
            rows_before = len(ledger)
            if changes.start < changes.stop:
                position_C = changed_C[changes] - tokens.start
                spliced = splice(
                    document["text"].encode(),
                    scores.span_T2[tokens],
                    scores.token_id_T[tokens],
                    position_C,
                    new_id_C[changes],
                    tokenizer,
                    response_ranges(document),
                )
                replaced = [
                    Replaced(row.start, row.end - row.start, len(row.new_text.encode())) for row in spliced.rows
                ]
                replace_text(document, spliced.text.decode(), replaced)
                unspliceable += spliced.unspliceable
                old_logprob_C = scores.logprob_T[tokens][position_C[spliced.written_C]]
                logprobs = zip(old_logprob_C, new_logprob_C[changes][spliced.written_C], strict=True)
                for row, (old_logprob, new_logprob) in zip(spliced.rows, logprobs, strict=True):
                    known = None if np.isnan(new_logprob) else new_logprob
                    ledger.append(
                        {"id": document["id"], **row._asdict(), "old_logprob": old_logprob, "new_logprob": known}
                    )
            record_edit(document, tokens.stop - tokens.start, eligible_D[d], len(ledger) - rows_before)
            writer.write(document)
    write_parquet(ledger_path, pa.Table.from_pylist(ledger, LEDGER_SCHEMA))
    return {
        "documents": len(documents),
        "tokens": len(scores.token_id_T),
        "eligible": len(draws.index_E),
        "changed": len(ledger),
        "unspliceable": unspliceable,
        "expected_changed": draws.expected_changed,
        "protected": protected,
        **(write_rows(rows_path, documents) if rows_path else {}),
    }


def draw(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """The draws of one shard. Raises BadConfiguration where an installed editor breaks its contract."""
    draws = find_editor(edit.sampler).draw(scores, tokenizer, edit)
    index_E = draws.index_E
    if len(index_E) and (index_E[0] < 0 or index_E[-1] >= len(scores.token_id_T) or (np.diff(index_E) <= 0).any()):
        raise BadConfiguration(
            f"edit.sampler={edit.sampler}: its index_E must increase strictly and lie in [0, {len(scores.token_id_T)})"
        )
    return draws


def record_edit(document: Document, tokens: int, eligible: int, changed: int) -> None:
    """Note the edit in the document's metadata; an earlier edit's note moves to the history.

    Whatever else somebody keeps under the two names moves there, too, as one entry that says so.
    """
    metadata = dict(document.get("metadata", {}))
    held = {key: metadata.pop(key) for key in (METADATA_KEY, HISTORY_KEY) if key in metadata}
    if _is_note(held.get(METADATA_KEY)) and _is_history(held.get(HISTORY_KEY, [None])):
        metadata[HISTORY_KEY] = [*held.get(HISTORY_KEY, []), held[METADATA_KEY]]
    elif held:
        metadata[HISTORY_KEY] = [{_NOT_OURS: held}]
    metadata[METADATA_KEY] = {"tokens": int(tokens), "eligible": int(eligible), "changed": int(changed)}
    document["metadata"] = metadata


def forget_edit(document: Document) -> None:
    """Undo `record_edit`."""
    metadata = document["metadata"]
    metadata.pop(METADATA_KEY)
    if history := metadata.pop(HISTORY_KEY, []):
        last = history[-1]
        if _NOT_OURS in last:
            metadata.update(last[_NOT_OURS])
            return
        metadata[METADATA_KEY] = last
        if history[:-1]:
            metadata[HISTORY_KEY] = history[:-1]


def _is_note(value: Any) -> bool:
    """Whether `record_edit` may have written `value`."""
    return isinstance(value, dict) and _NOT_OURS not in value


def _is_history(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0
