"""`python run.py stage=eval`: what a model is worth. Perplexity on text sets (`measuring.py`), tasks (`downstream.py`).

python run.py stage=eval eval=perplexity checkpoint.path=my-model eval.sets=my-sets
python run.py stage=eval eval=paloma checkpoint.path=my-model eval.mode=paper
python run.py stage=eval eval=general checkpoint.path=my-model
python run.py stage=eval checkpoint.stage=pretrain tokens.source=mix eval.sets=my-sets     trains the model first
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from eval.downstream import plan_downstream, report_downstream
from eval.hub_sets import plan_sets
from eval.sets import HELD_OUT
from toedit import command
from toedit.artifacts import Artifact
from toedit.bases import plan_base
from toedit.config import Config, EvalConfig, ScorerConfig
from toedit.config.evaluation import TASK_KEYS
from toedit.console import human, note, say, table
from toedit.errors import BadConfiguration
from toedit.priors import model_folder, model_shape, plan_model
from toedit.stages import mix
from toedit.workspace import Result, Workspace

_PAPER_ONLY, _ROLLING_ONLY = ("max_tokens", "batch_documents", "cap"), ("window", "min_context", "context_token")
_NOT_IDENTITY = ("name", "kind", "sets", "held_out", "held_out_split", "held_out_documents", "revision", "expected")


def plan(config: Config) -> Artifact:
    settings, root = config.eval, Path(config.artifacts)
    if settings.kind == "downstream":
        return plan_downstream(config, plan_checkpoint(config), _estimate)
    if not settings.sets and not settings.held_out:
        raise BadConfiguration("eval.sets: names a folder of text sets, one file, or a hub data set")
    held_out = {f"{HELD_OUT}{side}": plan_held_out(config, side) for side in settings.held_out}
    checkpoint = plan_checkpoint(config)
    model = config.checkpoint.name or checkpoint.name
    sets = ({"sets": plan_sets(settings, root)} if settings.sets else {}) | held_out
    return Artifact(
        kind="eval",
        name=f"{settings.name}.{next(iter(sets.values())).name}.{model}",
        identity=identity_of(settings, config.scorer, model),
        inputs={"checkpoint": checkpoint, **sets},
        root=root,
        out=Path(config.out) if config.out else None,
        build=partial(build, settings=settings, scorer=config.scorer, model=model),
        estimate=partial(_estimate, checkpoint, sets.get("sets")),
    )


def plan_checkpoint(config: Config) -> Artifact:
    """The model at `checkpoint.path`, or the one that `checkpoint.stage` names: made by that stage, or the base."""
    asked = config.checkpoint
    if asked.stage == "base":
        return plan_base(config)
    if asked.stage is not None:
        made: Artifact = command.stage_module(asked.stage).plan(replace(config, out=None))
        return made
    if not asked.path:
        raise BadConfiguration(
            "checkpoint.path: names the model to evaluate: an artifact folder, any Hugging Face folder, or a hub id"
        )
    return plan_model(asked.path, "checkpoint.path", Path(config.artifacts), asked.name, asked.revision)


def plan_held_out(config: Config, side: str) -> Artifact:
    """Another split of one side of the mixture than the model may have read."""
    section, split = getattr(config.mix, side), config.eval.held_out_split
    if section.split in (None, split):
        raise BadConfiguration(
            f"eval.held_out={side}: mix.{side}.split={section.split or 'null'} holds nothing back for "
            f"eval.held_out_split={split}; set mix.{side}.split to another split, train say (mix.{side}.split_key and "
            "split_shares say which documents that is)"
        )
    held_out = replace(section, split=split, max_documents=config.eval.held_out_documents, max_tokens=None)
    return mix.plan_side(replace(config, mix=replace(config.mix, **{side: held_out})), side, changed=False)


def identity_of(settings: EvalConfig, scorer: ScorerConfig, model: str) -> dict[str, Any]:
    """What decides the results: not where the sets lie (their files count), nor keys that the mode does not read."""
    unread = _ROLLING_ONLY if settings.mode == "paper" else _PAPER_ONLY
    kept = {key: value for key, value in asdict(settings).items() if key not in (*_NOT_IDENTITY, *TASK_KEYS, *unread)}
    return {"eval": "perplexity", "model": model, "scorer": scorer.kind, **kept}


def build(workspace: Workspace, settings: EvalConfig, scorer: ScorerConfig, model: str) -> Result:
    from eval.measuring import build_eval

    return build_eval(workspace, settings, scorer, model)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    if config.eval.kind == "downstream":
        return report_downstream(config, artifact)
    counts = artifact.manifest()["counts"]
    rows = json.loads((artifact.path / "results.json").read_text(encoding="utf-8"))
    by_set: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_set.setdefault(row["set"], row | {"metrics": {}})["metrics"][row["metric"]] = _cell(row)
    metrics = list(next(iter(by_set.values()))["metrics"])
    columns = ["set", "documents", "tokens", *(metric.replace("_", " ") for metric in metrics)]
    cells = [
        [name, f"{row['n']:,}", f"{row['scored']:,}", *(row["metrics"][metric] for metric in metrics)]
        for name, row in by_set.items()
    ]
    first = rows[0]
    table(columns, cells, title=f"{first['model']}, {first['mode']} perplexity in windows of {first['window']} tokens")
    say("value ± standard error; a document or origin is resampled whole")
    for key, line in (("absent_sets", "not found"), ("unexpected_sets", "found beside those expected")):
        if counts[key]:
            note(f"eval={config.eval.name}: {line}: {', '.join(counts[key])}")
    last = by_set[list(by_set)[-1]]
    return {"sets": str(counts["sets"]), "of": str(last["set"]), **dict(zip(columns[3:], cells[-1][3:], strict=True))}


def _cell(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "beyond range"
    return f"{row['value']:.4g}" + (f" ± {row['stderr']:.2g}" if row["stderr"] is not None else "")


def _estimate(checkpoint: Artifact, sets: Artifact | None) -> dict[str, str]:
    """What is known beforehand, for a dry run."""
    known: dict[str, str] = {}
    if sets is not None and "bytes" in sets.identity:
        known["input"] = f"{len(sets.identity['files'])} files, {human(sets.identity['bytes'], 'B')} as they are stored"
    folder = model_folder(checkpoint.path)
    if (folder / "config.json").is_file() and (parameters := model_shape(folder).parameters):
        known |= {"parameters": human(parameters), "FLOPs": f"{human(2 * parameters)} a token"}
    return known
