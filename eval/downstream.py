"""What a model makes of tasks, by lm-evaluation-harness: `python run.py stage=eval eval=general checkpoint.path=M`.

The harness asks, scores and counts; this module gives it a model and tasks one by one, each committed by itself, so
that a killed run goes on. Answers of a model are never cached outside its own artifact. Writes, into an eval artifact,

    samples/<task>.parquet           one row an example: doc_id, hashes, logprobs of the choices or replies, metrics
    results.json, results.csv        a row a task, and the mean of them: model, set, metric, value, stderr, n, how
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from eval import tasks
from eval.task_files import LocalTask, find_tasks, plan_files
from toedit.artifacts import Artifact, slug
from toedit.config import Config, EvalConfig, ScorerConfig
from toedit.console import Progress, note, say, table
from toedit.errors import BadConfiguration
from toedit.fingerprints import FileHashes
from toedit.priors import model_folder
from toedit.workspace import Result, Workspace

MEAN = "mean of tasks"
BACKEND = "hf"
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
        inputs["tasks"] = plan_files(Path(settings.tasks_path).expanduser(), names, root)
    model = config.checkpoint.name or checkpoint.name
    identity = {
        "eval": "downstream",
        "model": model,
        "harness": tasks.harness_version(),
        "backend": BACKEND,
        "tasks": [{"name": name, **asdict(settings.tasks[name])} for name in names],
        **{key: getattr(settings, key) for key in ("max_examples", "dtype", "resamples", "seed")},
    }
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


def build(workspace: Workspace, settings: EvalConfig, scorer: ScorerConfig, model: str) -> Result:
    """Ask what an earlier run has not, then write the results."""
    from eval.results import write_results

    names = settings.only or list(settings.tasks)
    local: dict[str, LocalTask] = {}
    if "tasks" in workspace.inputs:
        local = {task.name: task for task in find_tasks(workspace.inputs["tasks"], names)}
    unfinished = [name for name in names if workspace.finished(name) is None]
    _quiet_harness()
    # All tasks are looked at before the model is loaded: what is wrong with the last one shows at once.
    ready = {name: tasks.load_task(name, settings.tasks[name], local.get(name), settings.seed) for name in unfinished}
    for name, (task, _) in ready.items():
        tasks.check_answers(name, task, settings.max_examples)
    if ready:
        from eval.harness_model import load_model

        language_model = load_model(model_folder(workspace.inputs["checkpoint"]), settings, scorer)
        with Progress("downstream", None, "examples") as progress:
            for name, (task, split) in ready.items():
                data = "local" if name in local else str(task.DATASET_PATH)
                _measure(workspace, settings, language_model, name, task, {"split": split, "data": data})
                progress.advance(workspace.finished(name)["row"]["n"], name)  # type: ignore[index]
    records = [record for name in names if (record := workspace.finished(name)) is not None]
    rows = [{"model": model, **record["row"]} for record in records]
    if len(rows) > 1:
        rows.append(_mean(rows))
    with workspace.shard("results", "results.json", "results.csv") as ((structured, tidy), _):
        write_results(rows, structured, tidy)
    result = Result(runtime={"scorer": asdict(scorer)}, seeds={"examples": settings.seed})
    result.counts = {"tasks": len(records), "examples": sum(record["row"]["n"] for record in records)}
    result.counts["truncated"] = sum(record["row"]["truncated"] for record in records)
    result.revisions = {hub_id: commit for record in records for hub_id, commit in record["revisions"].items()}
    result.rows = {"results.csv": len(rows)} | {record["output"]: record["row"]["n"] for record in records}
    return result


def _measure(
    workspace: Workspace, settings: EvalConfig, language_model: Any, name: str, task: Any, data: dict[str, str]
) -> None:
    """Evaluate one task and commit its samples and its row."""
    import pyarrow.parquet as pq
    from lm_eval.evaluator import evaluate

    asked = settings.tasks[name]
    _seed_everything(settings.seed)
    language_model.begin(name)
    answered = evaluate(
        language_model,
        {"tasks": {name: task}},
        limit=settings.max_examples,
        bootstrap_iters=settings.resamples,
        cache_requests=False,  # the harness's caches are named for tasks, not for models
    )
    metric, _, behind = asked.metric.partition(",")
    behind = behind or "none"
    found = answered["results"][name]
    value = found.get(f"{metric},{behind}")
    if value is None:
        there = [key for key in found if "," in key and "_stderr," not in key]
        raise BadConfiguration(f"eval.tasks.{name}.metric={asked.metric}: the harness gave {' '.join(there)}")
    samples = [sample for sample in answered["samples"][name] if sample["filter"] == behind]
    output = f"samples/{slug(name)}.parquet"
    with workspace.shard(name, output) as ((path,), record):
        pq.write_table(_table(samples), path, compression="zstd")
        record["output"] = output
        record["revisions"] = {} if data["data"] == "local" else tasks.hub_revision(task)
        record["row"] = {
            "set": name,
            "metric": asked.metric,
            "value": _finite(value),
            "stderr": _finite(found.get(f"{metric}_stderr,{behind}")),
            "n": len(samples),
            "aggregate": False,
            "truncated": language_model.truncated,
            "task_version": str(answered["versions"].get(name)),
            "harness": tasks.harness_version(),
            "backend": BACKEND,
            "shots": asked.shots,
            **data,
            "max_length": language_model.max_length,
            "batch_size": settings.batch_size,
            "dtype": settings.dtype,
            "seed": settings.seed,
        }


def _table(samples: list[dict[str, Any]]) -> Any:
    """What the harness logged of each example, its text but for hashes left out: data sets keep their licences."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        key: pa.array([str(sample[key]) if key != "doc_id" else sample[key] for sample in samples])
        for key in ("doc_id", "doc_hash", "prompt_hash", "target_hash")
    }
    targets = [sample["target"] for sample in samples]
    if all(isinstance(target, int) for target in targets):
        columns["target"] = pa.array(targets, pa.int64())
    replies = [[reply for request in sample["resps"] for reply in request] for sample in samples]
    if all(isinstance(reply, tuple) for own in replies for reply in own):  # (log-likelihood, whether it is greedy)
        columns["logprobs"] = pa.array([[float(reply[0]) for reply in own] for own in replies], pa.list_(pa.float64()))
        columns["greedy"] = pa.array([[bool(reply[1]) for reply in own] for own in replies], pa.list_(pa.bool_()))
    else:
        columns["replies"] = pa.array([[str(reply) for reply in own] for own in replies], pa.list_(pa.string()))
    for metric in samples[0]["metrics"]:
        values = [sample[metric] for sample in samples]
        if all(isinstance(value, (bool, int, float)) for value in values):
            columns[metric] = pa.array([float(value) for value in values], pa.float64())
    return pa.table(columns)


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The unweighted mean over tasks, as the paper averages; the tasks' errors are independent."""
    values, errors = [row["value"] for row in rows], [row["stderr"] for row in rows]

    def common(key: str) -> Any:
        return rows[0][key] if len({row[key] for row in rows}) == 1 else None

    return {
        **{key: common(key) for key in rows[0]},
        "set": MEAN,
        "metric": common("metric") or "mixed",
        "value": None if None in values else math.fsum(values) / len(rows),
        "stderr": None if None in errors else math.hypot(*errors) / len(rows),
        "n": sum(row["n"] for row in rows),
        "truncated": sum(row["truncated"] for row in rows),
        "aggregate": True,
    }


def report_downstream(config: Config, artifact: Artifact) -> dict[str, str]:
    rows = json.loads((artifact.path / "results.json").read_text(encoding="utf-8"))
    first = rows[0]
    cells = [
        [row["set"], f"{row['n']:,}", "" if row["shots"] is None else str(row["shots"]), row["metric"], _cell(row)]
        for row in rows
    ]
    title = f"{first['model']}, {first['harness']}, {first['dtype']}, batches of {first['batch_size']}"
    table(["task", "examples", "shots", "metric", "value"], cells, title=title)
    say("value ± standard error over examples")
    if truncated := artifact.manifest()["counts"]["truncated"]:
        note(f"{truncated} prompts were longer than the model reads and lost their beginning; results.csv says where")
    last = rows[-1]
    return {"tasks": str(len({row["set"] for row in rows if not row["aggregate"]})), "of": last["set"],
            last["metric"]: _cell(last)}  # fmt: skip


def _cell(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "none"
    return f"{row['value']:.4f}" + (f" ± {row['stderr']:.4f}" if row["stderr"] is not None else "")


def _finite(value: Any) -> float | None:
    """The number; None where the harness says N/A (the error of a single example)."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


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

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
