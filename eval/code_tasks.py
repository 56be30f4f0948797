"""HumanEval and MBPP: from what a model wrote to pass@k.

The harness's own tasks load their metric from the Hub when they are read, and run programs beside the model. Ours
(`task_definitions/code/`) have its prompts, stop sequences and tests; the programs run in `code_execution.py`, once
`eval.execute_code=true` allows it. A task brings its tests as `doc_to_target`.

pass@k is the chance that at least one of k samples passes, estimated without bias from the n >= k that were drawn
(Chen et al. 2021, arXiv 2107.03374, Equation 1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from eval.code_execution import run_programs
from toedit.config import ExecutionConfig, TaskConfig
from toedit.errors import BadConfiguration

_METRIC = re.compile(r"pass@([1-9]\d*)")


def estimate(samples: int, passed: int, k: int) -> float:
    """pass@k: 1 - C(samples - passed, k) / C(samples, k)."""
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def changes(name: str, settings: Mapping[str, Any], asked: TaskConfig, execution: ExecutionConfig) -> dict[str, Any]:
    """What of a task's settings follows from what is asked: samples, how they are drawn, the metric, how they are run.

    Raises BadConfiguration where fewer samples are drawn than the metric takes, or several that would all be the same.
    """
    key, metric = f"eval.tasks.{name}", asked.metric.partition(",")[0]
    found = _METRIC.fullmatch(metric)
    if found is None:
        raise BadConfiguration(f"{key}.metric={asked.metric}: the task has pass@1, pass@k for eval.tasks.{name}.samples=k")
    k = int(found[1])
    if asked.samples < k:
        raise BadConfiguration(f"{key}.metric={metric}: takes at least {k} samples; {key}.samples is {asked.samples}")
    if asked.samples > 1 and not asked.temperature:
        raise BadConfiguration(f"{key}.samples={asked.samples}: all would be the same; set {key}.temperature, 0.8 say")
    drawn = {"do_sample": bool(asked.temperature)}
    if asked.temperature:
        drawn |= {"temperature": asked.temperature, "top_p": asked.top_p}
    if asked.max_new_tokens is not None:
        drawn["max_gen_toks"] = asked.max_new_tokens
    metrics = dict.fromkeys(("pass@1", metric))
    run = partial(run_replies, tests=settings["doc_to_target"], begins_with_prompt=_is_continued(settings), limits=execution)
    return {
        "repeats": asked.samples,
        "generation_kwargs": {**settings["generation_kwargs"], **drawn},
        "metric_list": [{"metric": key, "aggregation": "mean", "higher_is_better": True} for key in metrics],
        "process_results": partial(count, ks=[int(key.partition("@")[2]) for key in metrics]),
        # `none` is what the harness calls replies that no filter was named for.
        "filter_list": [{"name": "none", "filter": [{"function": "custom", "filter_fn": run}]}],
    }


def _is_continued(settings: Mapping[str, Any]) -> bool:
    """Whether a reply goes on where the prompt ended (HumanEval), or is a program by itself (MBPP)."""
    return bool((settings.get("metadata") or {})["reply_continues_prompt"])


def run_replies(
    replies: Sequence[Sequence[str]], docs: Sequence[Mapping[str, Any]], tests: str, begins_with_prompt: bool, limits: ExecutionConfig
) -> list[list[str]]:
    """The harness's filter: of each sample of each example, what became of it (`passed`, or why not)."""
    from lm_eval.utils import apply_template

    programs, shape = [], []
    for own, doc in zip(replies, docs, strict=True):
        start, checks = doc["prompt"] if begins_with_prompt else "", apply_template(tests, doc)
        programs += [f"{start}{reply}\n{checks}\n" for reply in own]
        shape.append(len(own))
    reasons = iter([verdict.reason for verdict in run_programs(programs, limits)])
    return [[next(reasons) for _ in range(count)] for count in shape]


def count(doc: Mapping[str, Any], results: Sequence[Sequence[str]], ks: Sequence[int]) -> dict[str, float]:
    """The metrics of one example from what became of its samples."""
    (reasons,) = results
    passed = sum(reason == "passed" for reason in reasons)
    return {f"pass@{k}": estimate(len(reasons), passed, k) for k in ks}
