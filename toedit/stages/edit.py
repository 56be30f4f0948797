"""`python run.py stage=edit`: the main job; the algorithm is in `toedit/editing.py`."""

from __future__ import annotations

from pathlib import Path

from toedit.artifacts import Artifact
from toedit.budget import plan_unresolved, resolve_budget
from toedit.config import Config, EditConfig
from toedit.console import printable, say
from toedit.edit_corpus import plan_edit
from toedit.stages import score

_SAMPLES = 5


def plan(config: Config) -> Artifact:
    out = Path(config.out) if config.out else None
    scores = score.plan_from(config)
    if config.edit.budget is not None and config.dry_run and scores.state() != "cached":
        return plan_unresolved(scores, config.edit, Path(config.artifacts), out)
    return plan_edit(scores, resolve_budget(scores, config.edit), Path(config.artifacts), out)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    from toedit.document_views import sample_edits

    counts, edit = artifact.manifest()["counts"], EditConfig(**artifact.identity)
    for sample in sample_edits(artifact.path, _SAMPLES):
        say(f"  {printable(sample.left)}{{{printable(sample.old)} → {printable(sample.new)}}}{printable(sample.right)}")
    shares = {key: _share(counts[key], counts["tokens"]) for key in ("eligible", "expected_changed", "changed")}
    rule = f"P {'>' if edit.strict else '>='} {edit.p:g}, k = {edit.k}, temperature {edit.temperature:g}"
    if edit.sampler == "none":
        rule = "no edit"
    say(f"{counts['documents']:,} documents, {counts['tokens']:,} tokens; {rule}")
    say(f"eligible {counts['eligible']:,} = {shares['eligible']} of the tokens: those the prior predicts already")
    say(f"changed  {counts['changed']:,} = {shares['changed']}; expected {shares['expected_changed']}")
    if counts["unspliceable"]:
        say(f"unspliceable {counts['unspliceable']:,}: draws that text cannot carry; these tokens stay")
    return {
        "p": f"{edit.p:g}",
        "k": str(edit.k),
        "temperature": f"{edit.temperature:g}",
        "eligible": shares["eligible"],
        "expected changed": shares["expected_changed"],
        "changed": shares["changed"],
    }


def _share(part: float, whole: int) -> str:
    return f"{part / max(whole, 1):.4%}"
