"""`python run.py stage=edit`: the main job; the algorithm is in `toedit/editing.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.budget import plan_unresolved, resolve_budget
from toedit.config import Config
from toedit.console import printable, say
from toedit.edit_corpus import plan_edit
from toedit.editors import find_editor, rule, settings_of
from toedit.instruction_files import DATASET_INFO, INSTRUCTIONS
from toedit.stages import score

_SAMPLES = 5


_SEEDS_APART = 1_000_003
"""Between the seeds of two generations, so that none draws with the uniforms of another."""


def plan(config: Config) -> Artifact:
    out = Path(config.out) if config.out else None
    scores = score.plan_from(config)
    for generation in range(1, config.edit.generation):
        scores = score.plan_from(config, corpus=_plan_generation(config, scores, generation, None))
    return _plan_generation(config, scores, config.edit.generation, out)


def _plan_generation(config: Config, scores: Artifact, generation: int, out: Path | None) -> Artifact:
    """One edit of the scored text."""
    settings = replace(config.edit, generation=1, seed=config.edit.seed + _SEEDS_APART * (generation - 1))
    if settings.budget is not None and config.dry_run and scores.state() != "cached":
        return plan_unresolved(scores, settings, Path(config.artifacts), out)
    return plan_edit(scores, resolve_budget(scores, settings), Path(config.artifacts), out)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    from toedit.document_views import sample_edits

    counts, edit = artifact.manifest()["counts"], settings_of(artifact.identity)
    for sample in sample_edits(artifact.path, _SAMPLES):
        new = printable(sample.new) or "(deleted)"
        say(f"  {printable(sample.left)}{{{printable(sample.old)} → {new}}}{printable(sample.right)}")
    shares = {key: _share(counts[key], counts["tokens"]) for key in ("eligible", "expected_changed", "changed")}
    say(f"{counts['documents']:,} documents, {counts['tokens']:,} tokens; {rule(edit)}")
    say(f"eligible {counts['eligible']:,} = {shares['eligible']} of the tokens: those the rule may change")
    say(f"changed  {counts['changed']:,} = {shares['changed']}; expected {shares['expected_changed']}")
    if counts.get("protected") or edit.protect:
        reasons = ["prompts"] if "instructions" in counts else []
        reasons += [f"edit.protect={','.join(edit.protect)}"] if edit.protect else []
        say(f"protected {counts['protected']:,}: confident tokens that stay whatever is drawn ({'; '.join(reasons)})")
    if counts["unspliceable"]:
        say(f"unspliceable {counts['unspliceable']:,}: draws that text cannot carry; these tokens stay")
    keys = find_editor(edit.sampler).keys
    if "instructions" in counts:
        say(f"instructions {counts['instructions']:,}: rows in {artifact.path / INSTRUCTIONS}, beside {DATASET_INFO}")
    return {
        **{key: f"{getattr(edit, key):g}" if key in keys else "" for key in ("p", "k", "temperature")},
        "eligible": shares["eligible"],
        "expected changed": shares["expected_changed"],
        "changed": shares["changed"],
    }


def _share(part: float, whole: int) -> str:
    return f"{part / max(whole, 1):.4%}"
