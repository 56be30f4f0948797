"""Rows of results and tables of samples, from what the harness answered: `downstream.py` writes them.

A row a task and metric; of a group one more for all its tasks; at last the plain mean over tasks and groups. Reads and
writes nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eval import task_groups
from eval.bootstrap import standard_error
from toedit.config import EvalConfig
from toedit.errors import BadConfiguration

MEAN = "mean of tasks"


def result_rows(
    model: str, settings: EvalConfig, units: Mapping[str, list[str]], records: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of results.json: of each task or group, then the tasks of a group, at last the mean."""
    rows: list[dict[str, Any]] = []
    heads = []
    for name, members in units.items():
        own = [[{"model": model, **row} for row in records[task]["rows"]] for task in members]
        if members != [name]:
            metrics = (settings.tasks[name].metric, *settings.tasks[name].also)
            of_group = [task_groups.group_row(name, metric, [task[place] for task in own])
                        for place, metric in enumerate(metrics)]  # fmt: skip
            own = [of_group, *([{**row, "group": name} for row in task] for task in own)]
        heads.append(own[0][0])
        rows += [row for task in own for row in task]
    return [*rows, mean_row(heads)] if len(heads) > 1 else rows


def split_metric(metric: str) -> tuple[str, str]:
    """(metric, filter) of `exact_match,strict-match`."""
    name, _, behind = metric.partition(",")
    return name, behind or "none"


def measured_value(
    metric: str,
    found: Mapping[str, Any],
    by_filter: Mapping[str, list[dict[str, Any]]],
    task: Any,
    settings: EvalConfig,
) -> dict[str, Any]:
    """A metric of all examples, and its standard error: the harness's, or ours where it has none."""
    name, behind = split_metric(metric)
    value = found.get(f"{name},{behind}")
    if value is None:
        there = [key for key in found if "," in key and "_stderr," not in key]
        raise BadConfiguration(f"eval.tasks.{task.task_name}.metric={metric}: the harness gave {' '.join(there)}")
    stderr, by = _finite(found.get(f"{name}_stderr,{behind}")), "harness"
    if stderr is None:
        aggregation, values = task.aggregation().get(name), [sample[name] for sample in by_filter[behind]]
        if aggregation is not None:
            stderr = standard_error(aggregation, values, settings.resamples, settings.seed, task.task_name)
            by = f"bootstrap of {settings.resamples}"
    return {
        "value": _finite(value),
        "stderr": stderr,
        "stderr_by": None if stderr is None else by,
        "n": len(by_filter[behind]),
    }


def samples_table(by_filter: Mapping[str, list[dict[str, Any]]], rows: list[dict[str, Any]]) -> Any:
    """What the harness logged of each example, its text but for hashes left out: data sets keep their licences.

    Metrics behind another filter than the first row's are columns named like `exact_match,flexible-extract`.
    """
    import pyarrow as pa

    first = split_metric(rows[0]["metric"])[1]
    samples = by_filter[first]
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
        if all(hasattr(reply[0], "tokens") for own in replies for reply in own):
            columns["tokens"] = pa.array([[reply[0].tokens for reply in own] for own in replies], pa.list_(pa.int64()))
    else:
        columns["replies"] = pa.array([[str(reply) for reply in own] for own in replies], pa.list_(pa.string()))
    if "pass@1" in samples[0]["metrics"]:
        columns["reasons"] = pa.array([sample["filtered_resps"][0] for sample in samples], pa.list_(pa.string()))
    wanted = {metric: (first, metric) for metric in samples[0]["metrics"]}
    for row in rows[1:]:
        metric, behind = split_metric(row["metric"])
        wanted |= {row["metric"]: (behind, metric)} if behind != first else {}
    for column, (behind, metric) in wanted.items():
        values = [sample[metric] for sample in by_filter[behind]]
        if all(isinstance(value, (bool, int, float)) for value in values):
            columns[column] = pa.array([float(value) for value in values], pa.float64())
        elif all(isinstance(value, tuple) and all(isinstance(part, int) for part in value) for value in values):
            columns[column] = pa.array([list(value) for value in values], pa.list_(pa.int64()))
    return pa.table(columns)


def mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
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


def _finite(value: Any) -> float | None:
    """The number; None where the harness says N/A (the error of a single example)."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
