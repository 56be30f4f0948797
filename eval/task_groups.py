"""Groups of the harness's tasks (MMLU is 57 of them): which tasks, and one number for all of them.

Reads the harness's index of tasks, and rows of `task_rows.py`; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval import tasks
from toedit.config import TaskConfig
from toedit.errors import BadConfiguration


def members(name: str) -> list[str]:
    """The tasks of a group, in its order; of a single task itself. Raises BadConfiguration for an unknown name."""
    manager = tasks.manager()
    entry = manager.task_index.get(name)
    if entry is None:
        raise BadConfiguration(f"eval.tasks.{name}: no task of this lm-eval")
    if name in manager.all_subtasks:
        return [name]
    listed: Sequence[Any] = sorted(entry.tags) if name in manager.all_tags else entry.cfg["task"]
    if not all(isinstance(member, str) for member in listed):
        raise BadConfiguration(
            f"eval.tasks.{name}: the harness gives some of its tasks settings of their own; name them one by one"
        )
    return [task for member in listed for task in members(member)]


def check_group(name: str, asked: TaskConfig) -> None:
    """Raises BadConfiguration where the harness makes no one number of the group's tasks."""
    for metric in (asked.metric, *asked.also):
        _weighting(name, metric)


def check_overlap(units: Mapping[str, Sequence[str]]) -> None:
    """Raises BadConfiguration where a task is asked for twice, by itself and in a group."""
    owner: dict[str, str] = {}
    for name, own in units.items():
        for task in own:
            if task in owner:
                raise BadConfiguration(f"eval.tasks.{name}: {task} is part of eval.tasks.{owner[task]}, too")
            owner[task] = name


def group_row(name: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The row of a group from those of its tasks in one metric: the harness's mean, and its standard error."""
    from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr, unweighted_mean_stderr

    weighted = _weighting(name, metric)
    sizes, values, errors = ([row[key] for row in rows] for key in ("n", "value", "stderr"))
    stderr = None
    if None not in errors:
        stderr = float(pooled_sample_stderr(errors, sizes) if weighted else unweighted_mean_stderr(errors))
    return {
        **{key: rows[0][key] if len({row[key] for row in rows}) == 1 else None for key in rows[0]},
        "set": name,
        "value": None if None in values else float(aggregate_subtask_metrics(values, sizes, weighted)),
        "stderr": stderr,
        "n": sum(sizes),
        "aggregate": True,
        "truncated": sum(row["truncated"] for row in rows),
        "task_version": str((tasks.manager().task_index[name].cfg.get("metadata") or {}).get("version")),
        "group": None,
    }


def _weighting(name: str, metric: str) -> bool:
    """Whether the harness weighs the group's tasks by their size."""
    settings = tasks.manager().task_index[name].cfg or {}
    listed = settings.get("aggregate_metric_list") or []
    for entry in listed if isinstance(listed, list) else [listed]:
        if entry["metric"] == metric.partition(",")[0]:
            return bool(entry.get("weight_by_size", True))
    raise BadConfiguration(
        f"eval.tasks.{name}.metric={metric}: the harness makes no one number of this for the whole group; name its "
        "tasks one by one"
    )
