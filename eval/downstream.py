"""What a model makes of tasks, by lm-evaluation-harness: `python run.py stage=eval eval=general checkpoint.path=M`.

The harness asks, scores and counts; this module gives it a model and tasks one by one, each committed by itself, so
that a killed run goes on. Answers of a model are never cached outside its own artifact. Writes, into an eval artifact,

    samples/<task>.parquet           one row an example: doc_id, hashes, logprobs of the choices or replies, metrics
    results.json, results.csv        a row a task, of a group one more for all of it, and the mean: model, set, metric,
                                     value, stderr, n, how
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from eval import task_groups, tasks
from eval.code_execution import guards
from eval.task_files import LocalTask, check_parts, find_tasks, plan_files
from eval.task_rows import MEAN, measured_value, result_rows, samples_table
from toedit.artifacts import Artifact, slug
from toedit.config import Config, EvalConfig, ScorerConfig, TaskConfig
from toedit.console import Progress, note, say, table
from toedit.errors import BadConfiguration
from toedit.fingerprints import FileHashes
from toedit.priors import model_folder
from toedit.workspace import Result, Workspace

_SPARSE = ("also", "part_field")
"""Keys of a task that came later: those that never set them keep their address."""
_DRAWING = {"samples": 1, "temperature": None, "top_p": 0.95, "max_new_tokens": None}
_TALKING = ("chat_template", "system_instruction", "fewshot_as_multiturn")
"""Likewise, of a task and of eval."""
Estimate = Callable[[Artifact, Artifact | None], dict[str, str]]


def plan_downstream(config: Config, checkpoint: Artifact, estimate: Estimate) -> Artifact:
    """The eval artifact of `checkpoint` on the tasks of `eval.tasks`, or of `eval.only`."""
    settings, root = config.eval, Path(config.artifacts)
    if config.scorer.kind != "torch":
        raise BadConfiguration(f"scorer.kind={config.scorer.kind}: tasks are answered by torch alone; leave it out")
    names = settings.only or list(settings.tasks)
    if not names:
        raise BadConfiguration(f"eval.tasks: eval={settings.name} names no task; eval=general has some")
    inputs = {"checkpoint": checkpoint}
    if settings.tasks_path:
        inputs["tasks"] = plan_files(Path(settings.tasks_path).expanduser(), names, root, _places(settings))
    model = config.checkpoint.name or checkpoint.name
    identity = {
        "eval": "downstream",
        "model": model,
        "harness": tasks.harness_version(),
        "backend": settings.backend,
        "tasks": [_task_identity(name, settings.tasks[name], root) for name in names],
        **{key: getattr(settings, key) for key in ("max_examples", "dtype", "resamples", "seed")},
        **{key: value for key in _TALKING if (value := getattr(settings, key))},
    }
    if settings.execute_code:
        identity["execution"] = {key: value for key, value in asdict(settings.execution).items() if key != "workers"}
    if settings.trust_remote_code:
        folder = model_folder(checkpoint.path)
        code = FileHashes(root).of(sorted(folder.glob("*.py")))
        identity["code"] = {path.name: digest for path, digest in code.items()}
    return Artifact(
        kind="eval",
        name=f"{settings.name}.{model}",
        identity=identity,
        inputs=inputs,
        root=root,
        out=Path(config.out) if config.out else None,
        build=partial(build, settings=settings, scorer=config.scorer, model=model),
        estimate=partial(estimate, checkpoint, inputs.get("tasks")),
    )


def _task_identity(name: str, asked: TaskConfig, root: Path) -> dict[str, Any]:
    """What decides a task's numbers: not where its rows lie (their hashes count), nor keys that are left alone."""
    known = {key: value for key, value in asdict(asked).items() if key != "folder"}
    known = {key: value for key, value in known.items() if key not in _DRAWING or value != _DRAWING[key]}
    identity = {"name": name, **{key: value for key, value in known.items() if key not in _SPARSE or value}}
    if own := tasks.definition_files(name):
        identity["definition"] = {path.name: digest for path, digest in FileHashes(root).of(own).items()}
    return identity


def _places(settings: EvalConfig) -> dict[str, str | None]:
    return {name: asked.folder for name, asked in settings.tasks.items()}


def build(workspace: Workspace, settings: EvalConfig, scorer: ScorerConfig, model: str) -> Result:
    """Ask what an earlier run has not, then write the results."""
    from eval.results import write_results

    names = settings.only or list(settings.tasks)
    units = {name: task_groups.members(name) for name in names}
    task_groups.check_overlap(units)
    local: dict[str, LocalTask] = {}
    if "tasks" in workspace.inputs:
        local = {task.name: task for task in find_tasks(workspace.inputs["tasks"], names, _places(settings))}
    _quiet_harness()
    ready = _load_tasks(workspace, settings, units, local)
    if ready:
        from eval.harness_model import load_model

        language_model = load_model(model_folder(workspace.inputs["checkpoint"]), settings, scorer)
        with Progress("downstream", None, "examples") as progress:
            for task_name, (name, task, split) in ready.items():
                data = "local" if name in local else str(task.DATASET_PATH)
                how = {"split": split, "data": data}
                _measure(workspace, settings, language_model, task_name, task, settings.tasks[name], how)
                progress.advance(workspace.finished(task_name)["rows"][0]["n"], task_name)  # type: ignore[index]
    records = {task: record for own in units.values() for task in own if (record := workspace.finished(task))}
    rows = result_rows(model, settings, units, records)
    with workspace.shard("results", "results.json", "results.csv") as ((structured, tidy), _):
        write_results(rows, structured, tidy)
    firsts = [record["rows"][0] for record in records.values()]
    result = Result(runtime={"scorer": asdict(scorer)}, seeds={"examples": settings.seed})
    if settings.execute_code:
        result.runtime["execution"] = {**asdict(settings.execution), "guards": list(guards(settings.execution))}
    result.counts = {"tasks": len(names), "examples": sum(row["n"] for row in firsts)}
    result.counts["truncated"] = sum(row["truncated"] for row in firsts)
    result.revisions = {hub_id: commit for record in records.values() for hub_id, commit in record["revisions"].items()}
    result.rows = {"results.csv": len(rows)} | {own["output"]: own["rows"][0]["n"] for own in records.values()}
    return result


def _load_tasks(
    workspace: Workspace, settings: EvalConfig, units: Mapping[str, list[str]], local: Mapping[str, LocalTask]
) -> dict[str, tuple[str, Any, str]]:
    """{task: (key of eval.tasks, the harness's task, split)} of those that no earlier run finished.

    All are looked at before the model is loaded: what is wrong with the last one shows at once.
    """
    ready: dict[str, tuple[str, Any, str]] = {}
    for name, members in units.items():
        asked, group = settings.tasks[name], name if members != [name] else None
        if group is not None:
            task_groups.check_group(name, asked)
        for task_name in members:
            if workspace.finished(task_name) is None:
                execution = settings.execution if settings.execute_code else None
                task, split = tasks.load_task(task_name, asked, local.get(name), settings.seed, group, execution)
                ready[task_name] = (name, task, split)
        if group is not None and name in local:
            parts = [str(ready[task][1].DATASET_NAME or task) for task in members if task in ready]
            if len(parts) == len(members):
                check_parts(local[name], parts, asked.part_field)
    for task_name, (name, task, _) in ready.items():
        tasks.check_answers(name if name == task_name else f"{name}: {task_name}", task, settings.max_examples)
    return ready


def _measure(
    workspace: Workspace,
    settings: EvalConfig,
    language_model: Any,
    name: str,
    task: Any,
    asked: TaskConfig,
    data: dict[str, str],
) -> None:
    """Evaluate one task and commit its samples and its rows, a metric each."""
    from lm_eval.evaluator import evaluate

    from toedit.parquet_files import write_parquet

    _seed_everything(settings.seed)
    language_model.begin(name)
    answered = evaluate(
        language_model,
        {"tasks": {name: task}},
        limit=settings.max_examples,
        bootstrap_iters=settings.resamples,
        cache_requests=False,  # the harness's caches are named for tasks, not for models
        apply_chat_template=settings.chat_template,
        system_instruction=settings.system_instruction,
        fewshot_as_multiturn=settings.fewshot_as_multiturn,
        confirm_run_unsafe_code=settings.execute_code,
    )
    by_filter: dict[str, list[dict[str, Any]]] = {}
    for sample in answered["samples"][name]:
        by_filter.setdefault(sample["filter"], []).append(sample)
    how = {
        "aggregate": False,
        "truncated": language_model.truncated,
        "task_version": str(answered["versions"].get(name)),
        "harness": tasks.harness_version(),
        "backend": settings.backend,
        "backend_version": language_model.version,
        "shots": asked.shots,
        **data,
        "max_length": language_model.max_length,
        "batch_size": settings.batch_size,
        "dtype": settings.dtype,
        "seed": settings.seed,
        **{key: getattr(settings, key) for key in _TALKING},
        "samples": asked.samples,
        "temperature": asked.temperature,
        "group": None,
    }
    rows = [
        {
            "set": name,
            "metric": metric,
            **measured_value(metric, answered["results"][name], by_filter, task, settings),
            **how,
        }
        for metric in (asked.metric, *asked.also)
    ]
    output = f"samples/{slug(name)}.parquet"
    with workspace.shard(name, output) as ((path,), record):
        write_parquet(path, samples_table(by_filter, rows))
        record["output"] = output
        record["revisions"] = {} if data["data"] == "local" else tasks.hub_revision(task)
        record["rows"] = rows


def report_downstream(config: Config, artifact: Artifact) -> dict[str, str]:
    rows = json.loads((artifact.path / "results.json").read_text(encoding="utf-8"))
    first, heads = rows[0], [row for row in rows if row["group"] is None]
    cells = [
        [row["set"], f"{row['n']:,}", "" if row["shots"] is None else str(row["shots"]), row["metric"], _cell(row)]
        for row in heads
    ]
    title = (
        f"{first['model']}, {first['harness']}, {first['backend']}, {first['dtype']}, batches of {first['batch_size']}"
    )
    table(["task", "examples", "shots", "metric", "value"], cells, title=title)
    say("value ± standard error over examples")
    if truncated := artifact.manifest()["counts"]["truncated"]:
        note(f"{truncated} prompts were longer than the model reads and lost their beginning; results.csv says where")
    if inside := len(rows) - len(heads):
        note(f"{inside} tasks of groups have rows of their own in results.csv")
    last = heads[-1]
    return {"tasks": str(len({row["set"] for row in heads} - {MEAN})), "of": last["set"],
            last["metric"]: _cell(last)}  # fmt: skip


def _cell(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "none"
    return f"{row['value']:.4f}" + (f" ± {row['stderr']:.4f}" if row["stderr"] is not None else "")


def _seed_everything(seed: int) -> None:
    """Before each task, so that none depends on those before it."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _quiet_harness() -> None:
    """Its remarks are about other front ends; what matters here (answers, truncation) is checked and counted."""
    import datasets
    from lm_eval.api import task

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    setattr(task, "tqdm", lambda rows, **_: rows)  # noqa: B010 - a bar a task, and MMLU is 57 of them
