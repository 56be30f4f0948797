"""Tasks of lm-evaluation-harness, from the Hub or from files of this machine, with the harness's own prompts.

Only where the rows come from is another matter; prompts, choices, answers and metrics are the harness's. What the
harness would pass over (an absent field, a null, an answer that is none of the choices) is refused. Tasks of ours are
YAML of the harness's kind in `task_definitions/<group>/`, with their Python beside. Reads those, and the files that
`task_files.py` finds, or the Hub; writes nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata, util
from itertools import islice
from pathlib import Path
from typing import Any

from eval import code_tasks
from eval.task_files import ONE_FILE, LocalTask, divided_by_id, part_of, read_rows
from toedit.config import ExecutionConfig, TaskConfig
from toedit.console import printable
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

DEFINITIONS = Path(__file__).parent / "task_definitions"
_NAMES_OR_TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice")
_TEMPLATES = ("description", "gen_prefix")


def harness_version() -> str:
    """`lm-eval 0.4.13`. Raises MissingInput where it is not installed."""
    if util.find_spec("lm_eval") is None or util.find_spec("accelerate") is None:
        raise MissingInput(
            "eval.kind=downstream: lm-evaluation-harness is not installed here; install it with: "
            "pip install 'lm-eval>=0.4.13,<0.5' 'accelerate>=1.11,<2'"
        )
    return f"lm-eval {metadata.version('lm_eval')}"


def definition_files(name: str) -> list[Path]:
    """What defines a task of ours: the files of its folder. Empty for a task of the harness."""
    return [
        path
        for own in DEFINITIONS.glob(f"*/{name}.yaml")
        for path in sorted(own.parent.iterdir())
        if path.is_file() and path.suffix != ".pyc"
    ]


def load_task(
    name: str,
    asked: TaskConfig,
    local: LocalTask | None,
    seed: int,
    group: str | None = None,
    execution: ExecutionConfig | None = None,
) -> tuple[Any, str]:
    """The harness's task, ready to be evaluated, and the split that is. From the Hub where `local` is None.

    `group` is the key of `eval.tasks` where that names a group which the task is part of; `local` then holds the
    group's rows. `execution` holds the limits of programs, where they may be run. Raises BadConfiguration for what the
    harness does not know, MissingInput for a split or data set that is not there, UnusableInput for rows that are not
    the task's.
    """
    settings = _own_settings(name)
    where = f"eval.tasks.{group or name}"
    if local is not None and group is not None:
        local = part_of(local, settings.get("dataset_name") or name, asked.part_field)
    fixed = settings.get("num_fewshot")
    if fixed == 0 and asked.shots:
        raise BadConfiguration(f"{where}.shots={asked.shots}: the task fixes 0 (its prompt holds examples already)")
    own = code_tasks.changes(name, where, settings, asked, execution)
    known = [entry["metric"] for entry in own.get("metric_list") or settings.get("metric_list") or []]
    for key, metric in (("metric", asked.metric), *(("also", metric) for metric in asked.also)):
        if known and metric.partition(",")[0] not in known:
            raise BadConfiguration(f"{where}.{key}={metric}: the task has {', '.join(map(str, known))}")
    split = asked.split or settings.get("test_split") or settings["validation_split"]
    changes: dict[str, Any] = {"num_fewshot": asked.shots, **own}
    if asked.split:
        changes["test_split"] = asked.split
    if local is not None:
        changes |= _local_settings(settings, asked, split, local)
    member = {"task": name, **changes}
    random.seed(seed)
    try:
        # Named in a group, a task of the harness takes changes; by itself it would be a new task.
        built = manager().load([{"group": "asked", "task": [member]}])
    except (UnusableInput, MissingInput):
        raise
    except Exception as error:  # the Hub's client, the data sets library and the templates have a class for each
        raise _explained(where, local, split, error) from None
    task = built["tasks"][name]
    task.set_fewshot_seed(seed=seed)
    _settle(task, split, seed)
    return task, split


def _settle(task: Any, split: str, seed: int) -> None:
    """Prepare the evaluated rows once. GPQA's choices are shuffled there, and the harness asks for them again and
    again: prompts and answers would come from different shuffles wherever its own cache does not stand between."""
    import datasets

    if task.config.process_docs is None:
        return
    was_cached = datasets.is_caching_enabled()
    datasets.disable_caching()  # a shuffle of an earlier run, of whatever seed
    try:
        random.seed(seed)
        task.dataset = {**task.dataset, split: task.eval_docs}
    finally:
        if was_cached:
            datasets.enable_caching()
    task.config.process_docs = None


def check_answers(name: str, task: Any, examples: int | None) -> None:
    """Refuse a question without a right answer: the harness would count it as wrong and go on."""
    for number, doc in enumerate(islice(task.eval_docs, examples), start=1):
        try:
            text, gold = task.doc_to_text(doc), task.doc_to_target(doc)
            if task.OUTPUT_TYPE != "multiple_choice":
                continue
            choices, gold = task.doc_to_choice(doc), text if task.multiple_input else gold
        except Exception as error:  # templates and Python functions of the task raise what they like
            raise UnusableInput(f"eval.tasks.{name}: example {number} is not as on the Hub: {_reason(error)}") from None
        for answer in gold if isinstance(gold, list) else [gold]:
            if answer not in (choices if isinstance(answer, str) else range(len(choices))):
                raise UnusableInput(
                    f"eval.tasks.{name}: example {number} has the answer {printable(repr(answer))[:80]}, none of its "
                    f"{len(choices)} choices"
                )


def hub_revision(task: Any) -> dict[str, str]:
    """{data set: commit} of a task from the Hub, as the data sets library recorded it; empty where it did not."""
    for part in task.dataset.values():
        for url in getattr(getattr(part, "info", None), "download_checksums", None) or {}:
            if found := re.match(r"hf://datasets/([^@]+)@([0-9a-f]{40})/", url):
                return {found[1]: found[2]}
    return {}


@cache
def manager() -> Any:
    """The index of the harness's tasks and ours: thousands of files, read once."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(DEFINITIONS))


def _own_settings(name: str) -> dict[str, Any]:
    """The task's settings as the harness has them."""
    from lm_eval.tasks._yaml_loader import load_yaml  # the index holds a file without what it includes

    entry = manager().task_index[name]
    try:
        settings: dict[str, Any] = load_yaml(entry.yaml_path)
    except ImportError as error:  # of a package that this task alone needs
        raise MissingInput(f"eval.tasks.{name}: {_reason(error)}") from None
    if "class" in settings or not (settings.get("test_split") or settings.get("validation_split")):
        raise BadConfiguration(f"eval.tasks.{name}: a task that the harness keeps in Python; it cannot be used here")
    return settings


def _local_settings(settings: Mapping[str, Any], asked: TaskConfig, split: str, local: LocalTask) -> dict[str, Any]:
    """What of a task's settings changes where its rows lie on this machine."""
    where = f"eval.tasks.{local.name}"
    if splits := (settings.get("metadata") or {}).get("splits"):
        local = divided_by_id(local, splits)
    files = {part or split: part for part in local.files}
    if split not in files:
        raise MissingInput(
            f"{where}: {local.where} has no split {split}, which is evaluated; "
            + " or ".join(f"{where}.split={part}" for part in files)
            + " takes what is there"
        )
    examples = (settings.get("fewshot_config") or {}).get("split") or settings.get("fewshot_split")
    examples = examples or settings.get("training_split") or settings.get("validation_split")
    if asked.shots and examples not in files:
        raise MissingInput(
            f"{where}.shots={asked.shots}: {local.where} has no split {examples}, where examples are drawn"
        )
    needed, read = _fields(settings), {split, str(examples) if asked.shots else split}

    def rows(**_: Any) -> dict[str, Any]:
        from datasets import Dataset

        found = {part: read_rows(local, files[part]) for part in sorted(read)}
        for part, own in found.items():
            _check_fields(own, needed, local, part)
        return {part: Dataset.from_list(own) for part, own in found.items()}

    absent = {key: None for key in ("training_split", "validation_split") if settings.get(key) not in read}
    absent |= {} if asked.shots else {"fewshot_split": None, "fewshot_config": None}
    return {"custom_dataset": rows, "dataset_kwargs": None, **absent}


def _fields(settings: Mapping[str, Any]) -> set[str] | None:
    """The fields that the task's templates read, and those that a task of ours names; None where Python functions of
    the harness's read some, too."""
    from jinja2 import Environment, meta

    if any(callable(settings.get(key)) for key in ("process_docs", *_NAMES_OR_TEMPLATES)):
        return None
    found: set[str] = set((settings.get("metadata") or {}).get("fields", ()))
    for key in (*_NAMES_OR_TEMPLATES, *_TEMPLATES):
        value = settings.get(key)
        if isinstance(value, str) and value.isidentifier() and key in _NAMES_OR_TEMPLATES:
            found.add(value)
        elif isinstance(value, str):
            found |= meta.find_undeclared_variables(Environment().parse(value))
    return found


def _check_fields(rows: list[dict[str, Any]], needed: set[str] | None, local: LocalTask, split: str) -> None:
    """Every row has the fields that the task reads; where only Python knows which, those of the first row."""
    where = local.files[split if split in local.files else ONE_FILE][0]
    for number, row in enumerate(rows, start=1):
        for field in sorted(rows[0] if needed is None else needed):
            if field not in row or (needed is not None and row[field] is None):
                what = "is null" if field in row else "is missing"
                which = f"row {number}" if local.part is None else f"row {number} of {local.part[1]}"
                raise UnusableInput(f"eval.tasks.{local.name}: {where}: field {field} {what} in {which}")


def _explained(key: str, local: LocalTask | None, split: str, error: Exception) -> Exception:
    """The error of the harness as one of ours, in one line."""
    if local is None:
        return MissingInput(
            f"{key}: its data cannot be had from the Hub ({_reason(error)}); eval.tasks_path=<folder> "
            "reads rows of this machine"
        )
    file = local.files[split if split in local.files else ONE_FILE][0]
    if isinstance(error, KeyError) and error.args:
        return UnusableInput(f"{key}: {file}: field {error.args[0]} is missing")
    return UnusableInput(f"{key}: {file}: its rows are not the task's: {_reason(error)}")


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return printable(f"{type(error).__name__}: {lines[0]}")[:200]
