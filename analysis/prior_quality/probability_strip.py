"""`analysis=probability_strip`: the probability of each token along a document, 50 tokens a row, as the paper plots it.

Reads a scores artifact and its corpus: of the first documents, or of `analysis.strip.ids`, tokens from
`analysis.strip.first_token` on. Writes

    probability_strip.png, .pdf, .svg    a row of tokens a panel, P above, the tokens below
    tokens.csv                           document, position, start, end, text, logprob, probability, kind
    summary.json                         what the terminal shows

    python run.py stage=analyze analysis=probability_strip 'analysis.strip.ids=[my-document]'

`kind` is eligible (P at or above the upper line), unlikely (P below the lower one), between, or unscored (the first
token where the prior has no context for it).

Shapes: T tokens of a document.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_artifact import plan_figure, read_summary, require_inputs
from analysis.figure_files import FORMATS
from analysis.table_files import write_csv
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config, StripConfig
from toedit.console import printable, say, table
from toedit.documents import Document, read_documents, shard_name, shard_of, shard_paths
from toedit.editing import is_eligible
from toedit.errors import BadConfiguration, UnusableInput
from toedit.scores import SpannedLogprobs, read_spanned_logprobs, scores_path
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "probability_strip"
KINDS = ("unlikely", "between", "eligible", "unscored")


def plan(config: Config) -> Artifact:
    from toedit.stages.score import plan_from

    scores = plan_from(config)
    require_inputs(scores, "corpus")
    return plan_figure(
        config,
        NAME,
        scores.name,
        {**asdict(config.analysis.strip)},
        {"scores": scores, "corpus": scores.inputs["corpus"]},
        partial(build, analysis=config.analysis),
    )


def build(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    """Find the documents, write their tokens and the picture."""
    from analysis.prior_quality.probability_strip_figure import draw

    strip = analysis.strip
    manifest = read_manifest(workspace.inputs["scores"])
    found = find_documents(workspace.inputs["scores"], workspace.inputs["corpus"], strip)
    rows = [row for document, tokens, place in found for row in token_rows(document, tokens, place, strip)]
    summary = {
        "prior": printable(manifest["inputs"]["prior"]["name"]) if "prior" in manifest["inputs"] else "",
        "lines": strip.lines,
        "documents": [
            {
                "id": document["id"],
                "tokens": int(np.diff(tokens.token_offset_D1)[place]),
                "rows": counted(rows, document),
            }
            for document, tokens, place in found
        ],
    }
    outputs = ("tokens.csv", "summary.json", *(f"{NAME}.{extension}" for extension in FORMATS))
    with workspace.shard(shard_name(0), *outputs) as ((data, described, *pictures), _):
        write_csv(data, rows)
        write_json(described, summary)
        draw(rows, summary, strip, dict(zip(FORMATS, pictures, strict=True)))
    return Result(counts={"documents": len(found), "tokens": len(rows)}, rows={"tokens.csv": len(rows)})


def find_documents(scores: Path, corpus: Path, strip: StripConfig) -> list[tuple[Document, SpannedLogprobs, int]]:
    """`(document, its shard's scores, its place there)`, in the order asked for. Reads no further than it must."""
    wanted = list(dict.fromkeys(strip.ids))
    found: dict[str, tuple[Document, SpannedLogprobs, int]] = {}
    for shard in shard_paths(corpus):
        path = scores_path(scores, shard_of(shard))
        tokens: SpannedLogprobs | None = None
        for place, document in enumerate(read_documents(shard)):
            if document["id"] in wanted if wanted else len(found) < strip.documents:
                tokens = tokens or read_spanned_logprobs(path)
                if place >= len(tokens.ids) or tokens.ids[place] != document["id"]:
                    raise UnusableInput(f"{path}: its documents are not those of {shard}")
                found[document["id"]] = (document, tokens, place)
        if len(found) >= (len(wanted) or strip.documents):
            break
    if missing := [own for own in wanted if own not in found]:
        raise BadConfiguration(f"analysis.strip.ids={printable(missing[0])}: no such document in {corpus}")
    if not found:
        raise UnusableInput(f"{corpus}: holds no document")
    return [found[own] for own in wanted] if wanted else list(found.values())


def token_rows(document: Document, tokens: SpannedLogprobs, place: int, strip: StripConfig) -> list[dict[str, Any]]:
    """A row a shown token. Raises BadConfiguration where the document ends before the first of them."""
    begin, end = tokens.token_offset_D1[place : place + 2].tolist()
    if strip.first_token >= end - begin:
        raise BadConfiguration(
            f"analysis.strip.first_token={strip.first_token}: document {printable(document['id'])} has "
            f"{end - begin:,} tokens"
        )
    text = document["text"].encode()
    rows = []
    for token in range(begin + strip.first_token, min(begin + strip.first_token + strip.tokens, end)):
        start, stop = tokens.span_T2[token].tolist()
        logprob_1 = tokens.logprob_T[token : token + 1]
        is_scored = not np.isnan(logprob_1[0])
        rows.append(
            {
                "document": printable(document["id"]),
                "position": token - begin,
                "start": start,
                "end": stop,
                "text": shown_bytes(text[start:stop]),
                "logprob": float(logprob_1[0]) if is_scored else None,
                "probability": float(np.exp(min(logprob_1[0].astype(np.float64), 0.0))) if is_scored else None,
                "kind": _kind(logprob_1, strip) if is_scored else "unscored",
            }
        )
    return rows


def _kind(logprob_1: np.ndarray[Any, Any], strip: StripConfig) -> str:
    if is_eligible(logprob_1, strip.lines[1])[0]:
        return "eligible"
    return "between" if is_eligible(logprob_1, strip.lines[0])[0] else "unlikely"


def shown_bytes(piece: bytes) -> str:
    """A token's bytes as one visible line: spaces as U+2423, control characters escaped, parts of characters in hex."""
    text = piece.decode("utf-8", "backslashreplace")
    return printable(text.replace(" ", "\N{OPEN BOX}"))


def counted(rows: list[dict[str, Any]], document: Document) -> dict[str, int]:
    kinds = [row["kind"] for row in rows if row["document"] == printable(document["id"])]
    return {kind: kinds.count(kind) for kind in KINDS}


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = read_summary(artifact)
    low, high = summary["lines"]
    columns = ["document", "tokens", "shown", f"P < {low:g}", f"P >= {high:g}"]
    rows = [
        [entry["id"], f"{entry['tokens']:,}", str(sum(entry["rows"].values())), str(entry["rows"]["unlikely"]),
         str(entry["rows"]["eligible"])]
        for entry in summary["documents"]
    ]  # fmt: skip
    table(columns, rows, title=f"Token probabilities under {summary['prior']}")
    say(f"picture: {artifact.path / NAME}.png (also .pdf and .svg); tokens: tokens.csv")
    return {
        "documents": str(len(rows)),
        f"P >= {high:g}": str(sum(entry["rows"]["eligible"] for entry in summary["documents"])),
    }
