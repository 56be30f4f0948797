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


def changes(
    name: str, key: str, settings: Mapping[str, Any], asked: TaskConfig, execution: ExecutionConfig | None
) -> dict[str, Any]:
    """What of a task's settings follows from what is asked: samples, how they are drawn, metrics, how they are run.

    Nothing for a task without programs. `key` is what messages call the task. Raises BadConfiguration where programs
    may not be run, and for samples that do not fit the metric.
    """
    if not settings.get("unsafe_code"):
        for own in ("samples", "temperature", "max_new_tokens"):
            if (value := getattr(asked, own)) != getattr(TaskConfig, own):
                raise BadConfiguration(f"{key}.{own}={value}: is read for tasks whose replies are programs alone")
        return {}
    marks = settings.get("metadata") or {}
    if "reply_continues_prompt" not in marks:
        raise BadConfiguration(f"{key}: the harness would run what the model writes in its own process; eval=code has "
                               "humaneval and mbpp, whose programs run apart")  # fmt: skip
    if execution is None:
        raise BadConfiguration(f"{key}: its score comes from running what the model writes, programs that nobody has "
                               "read, on this machine; eval.execute_code=true allows it")  # fmt: skip
    if asked.shots > marks.get("examples", 0):
        raise BadConfiguration(f"{key}.shots={asked.shots}: the task has {marks.get('examples', 0)} examples")
    run = partial(
        run_replies, tests=settings["doc_to_target"], continues=marks["reply_continues_prompt"], limits=execution
    )
    ks = _ks(key, asked)
    return {
        "repeats": asked.samples,
        "generation_kwargs": {**settings["generation_kwargs"], **_drawing(asked)},
        "metric_list": [{"metric": f"pass@{k}", "aggregation": "mean", "higher_is_better": True} for k in ks],
        "process_results": partial(count, ks=ks),
        # `none` is what the harness calls replies that no filter was named for.
        "filter_list": [{"name": "none", "filter": [{"function": "custom", "filter_fn": run}]}],
    }


def _ks(key: str, asked: TaskConfig) -> list[int]:
    """The k of every pass@k that is asked for, and 1."""
    if asked.samples > 1 and asked.temperature is None:
        raise BadConfiguration(f"{key}.samples={asked.samples}: all would be the same; set {key}.temperature, 0.8 say")
    found = {1: None}
    for metric in (asked.metric, *asked.also):
        match = _METRIC.fullmatch(metric)
        if match is None:
            raise BadConfiguration(f"{key}.metric={metric}: the task has pass@1, and pass@k of k samples and more")
        if asked.samples < int(match[1]):
            raise BadConfiguration(f"{key}.metric={metric}: takes as many samples; {key}.samples is {asked.samples}")
        found[int(match[1])] = None
    return list(found)


def _drawing(asked: TaskConfig) -> dict[str, Any]:
    """Settings of the generation."""
    drawn: dict[str, Any] = {}
    if asked.temperature is not None:
        drawn |= {"do_sample": True, "temperature": asked.temperature, "top_p": asked.top_p}
    if asked.max_new_tokens is not None:
        drawn["max_gen_toks"] = asked.max_new_tokens
    return drawn


def run_replies(
    replies: Sequence[Sequence[str]],
    docs: Sequence[Mapping[str, Any]],
    tests: str,
    continues: bool,
    limits: ExecutionConfig,
) -> list[list[str]]:
    """The harness's filter: of each sample of each example, what became of it (`passed`, or why not)."""
    from lm_eval.utils import apply_template

    programs, shape = [], []
    for own, doc in zip(replies, docs, strict=True):
        start, checks = doc["prompt"] if continues else "", apply_template(tests, doc)
        programs += [f"{start}{reply}\n{checks}\n" for reply in own]
        shape.append(len(own))
    reasons = iter([verdict.reason for verdict in run_programs(programs, limits)])
    return [[next(reasons) for _ in range(count)] for count in shape]


def count(doc: Mapping[str, Any], results: Sequence[Sequence[str]], ks: Sequence[int]) -> dict[str, float]:
    """The metrics of one example from what became of its samples."""
    (reasons,) = results
    passed = sum(reason == "passed" for reason in reasons)
    return {f"pass@{k}": estimate(len(reasons), passed, k) for k in ks}
