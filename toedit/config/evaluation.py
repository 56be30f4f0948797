"""Settings of what is measured on a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from toedit.config.checks import require, require_one_of
from toedit.config.execution import ExecutionConfig
from toedit.errors import BadConfiguration, naming

KINDS = ("perplexity", "downstream")
MODES = ("rolling", "paper")
BACKENDS = ("hf", "vllm")
TRAINING = ("pretrain", "continual_pretrain", "sft", "base")
"""Stages that make a model, and the base that the latter two start from."""
SIDES = ("human", "synthetic")
TASK_KEYS = ("tasks", "only", "tasks_path", "max_examples", "batch_size", "trust_remote_code", "backend", "python",
             "chat_template", "system_instruction", "fewshot_as_multiturn", "execute_code", "execution")  # fmt: skip
"""Keys of EvalConfig that kind=downstream alone reads."""
SHARED_KEYS = ("name", "kind", "dtype", "resamples", "seed")
"""Those that both kinds read."""


@dataclass
class CheckpointConfig:
    """The model that is evaluated."""

    path: str | None = None
    """An artifact folder, its hf/, any Hugging Face folder, or a hub id."""
    stage: str | None = None
    """pretrain, continual_pretrain, sft: what it makes of the same command; base: what the latter two start from."""
    name: str | None = None
    """Name in results and addresses; by default made from the path or id."""
    revision: str | None = None
    """Of a hub id: commit, tag or branch; resolved to a commit and recorded."""

    def __post_init__(self) -> None:
        if self.stage is not None:
            require_one_of("checkpoint.stage", self.stage, TRAINING)
            for key in ("path", "revision"):
                value = getattr(self, key)
                require(value is None, f"checkpoint.{key}", value, f"checkpoint.stage={self.stage} makes the model")


@dataclass
class TaskConfig:
    """One task, or group of tasks, of lm-evaluation-harness, by the name it has there."""

    shots: int = 0
    """Solved examples before each question."""
    metric: str = "acc"
    """The harness's metric that is reported; one behind a filter is written `exact_match,strict-match`."""
    split: str | None = None
    """The split that is evaluated; null: the task's own (test where it has one)."""
    also: list[str] = field(default_factory=list)
    """Further metrics, each a row of its own; the mean over tasks takes `metric` alone."""
    folder: str | None = None
    """Its folder or file below eval.tasks_path, where that is not named for the task."""
    part_field: str | None = None
    """Of a group whose local rows lie in one file: the field that says which of its tasks a row belongs to."""
    samples: int = 1
    """Of a task whose replies are programs: replies to each question; pass@k takes at least k."""
    temperature: float | None = None
    """Of such a task: replies are drawn at this temperature; null: the most probable one."""
    top_p: float = 0.95
    """Of such a task, where replies are drawn: from the most probable tokens with this mass."""
    max_new_tokens: int | None = None
    """Of such a task: tokens of a reply at most; null: the task's own number."""

    def __post_init__(self) -> None:
        require(type(self.shots) is int and self.shots >= 0, "task.shots", self.shots, "must be a number, not negative")
        is_name = isinstance(self.metric, str) and bool(self.metric)
        require(is_name, "task.metric", self.metric, "must name a metric of the harness")
        require(
            self.split is None or isinstance(self.split, str), "task.split", self.split, "must name a split, or null"
        )
        for metric in self.also:
            further = isinstance(metric, str) and bool(metric) and metric != self.metric
            require(further, "task.also", metric, "must name further metrics of the harness")
        for key, what in (("folder", "a folder or file"), ("part_field", "a field")):
            value = getattr(self, key)
            require(
                value is None or (isinstance(value, str) and value != ""), f"task.{key}", value, f"must name {what}"
            )
        for key in ("samples", "max_new_tokens"):
            count = getattr(self, key)
            counts = (type(count) is int and count >= 1) or (count is None and key == "max_new_tokens")
            require(counts, f"task.{key}", count, "must be at least 1")
        heat = self.temperature
        is_heat = heat is None or (isinstance(heat, (int, float)) and heat > 0)
        require(is_heat, "task.temperature", heat, "must be positive, or null")
        is_mass = isinstance(self.top_p, (int, float)) and 0 < self.top_p <= 1
        require(is_mass, "task.top_p", self.top_p, "must lie in (0, 1]")


def _task(name: str, section: TaskConfig | Mapping[str, Any] | None) -> TaskConfig:
    """The section as it came from the command line: Hydra would not add a typed one there."""
    if isinstance(section, TaskConfig):
        return section
    known = [item.name for item in fields(TaskConfig)]
    if section is not None and not isinstance(section, Mapping):
        raise BadConfiguration(f"eval.tasks.{name}={section}: must be a mapping with any of {', '.join(known)}")
    for key in section or {}:
        require(key in known, f"eval.tasks.{name}.{key}", (section or {})[key], f"no such key; {', '.join(known)}")
    with naming("task.", f"eval.tasks.{name}."):
        return TaskConfig(**(section or {}))


@dataclass
class EvalConfig:
    """What `stage=eval` measures, and how."""

    name: str = "perplexity"
    """The preset, a file of configs/eval/."""
    kind: str = "perplexity"
    """perplexity (on text sets) or downstream (tasks of lm-evaluation-harness)."""
    tasks: dict[str, Any] = field(default_factory=dict)
    """kind=downstream: the tasks, by the harness's names; each a TaskConfig."""
    only: list[str] = field(default_factory=list)
    """kind=downstream: run these of the tasks; empty: all of them."""
    tasks_path: str | None = None
    """kind=downstream: a folder with a folder or file a task, rows as on the Hub; nothing is asked of the Hub then."""
    max_examples: int | None = None
    """kind=downstream: the first examples of each task alone, to try something; null: all."""
    batch_size: int = 16
    """kind=downstream: requests in a batch. No part of the identity; it stands in the results."""
    trust_remote_code: bool = False
    """kind=downstream: run Python files that come with the model, for architectures that Transformers does not know."""
    backend: str = "hf"
    """kind=downstream: hf (Transformers, in this process) or vllm (in its own environment): lm-eval's models of these
    names."""
    python: str | None = None
    """backend=vllm: the Python that has it; null: this one, or that of scripts/environment_vllm.sh."""
    chat_template: bool = False
    """kind=downstream: put questions as the tokenizer's chat template writes a user's turn."""
    system_instruction: str | None = None
    """kind=downstream: text before everything else; with a chat template the system's turn."""
    fewshot_as_multiturn: bool = False
    """kind=downstream, chat_template: examples are turns of their own, answered by the assistant."""
    execute_code: bool = False
    """kind=downstream: run the programs that the model writes, which nobody has read, on this machine (HumanEval,
    MBPP). Each is kept from the network, other files and other processes as well as this machine can."""
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    """execute_code: what such a program may use."""
    sets: str | None = None
    """A folder of text sets (one a sub-folder, or one a file), a file, a corpus artifact, or a hub data set's id."""
    revision: str | None = None
    """Of a hub data set: commit, tag or branch; resolved to a commit and recorded."""
    held_out: list[str] = field(default_factory=list)
    """Any of human and synthetic: sets of what the mixture's corpora, each one split of a whole, keep back."""
    held_out_split: str = "test"
    """The split that is kept back: another one than mix.human.split (mix.synthetic.split)."""
    held_out_documents: int = 2000
    """Documents of such a set at most, the first ones."""
    split: str | None = "val"
    """The split that is read where a set has several (val, test, train); null reads every file."""
    expected: list[str] = field(default_factory=list)
    """Names of the sets that belong to the suite; what is missing is said, not refused."""
    text_fields: list[str] = field(default_factory=lambda: ["text"])
    """The fields that make up a document's text; dotted paths reach inside."""
    set_fields: list[str] = field(default_factory=list)
    """The first of these fields that a row has names its set; without one, folder or file does."""
    unit_fields: list[str] = field(default_factory=lambda: ["metadata.origin", "metadata.origin_path"])
    """The first of these fields that a row has names its origin: documents of one origin are resampled together."""
    on_bad_row: str = "reject"
    """reject (list it in rejected.jsonl, count it, go on) or stop."""
    mode: str = "rolling"
    """rolling: every token once, in windows; paper: the first tokens of a document, mean of batch means, capped."""
    window: int | None = None
    """mode=rolling: tokens that the model reads at once; null: all it takes (2048 where it names no limit)."""
    min_context: int = 1
    """mode=rolling: tokens before the first one that a later window predicts; the stride follows from it."""
    context_token: str = "auto"
    """mode=rolling: what the first token is conditioned on: bos, eos, none (it stays out), or auto: bos, else eos."""
    max_tokens: int = 1024
    """mode=paper: tokens of a document that count."""
    batch_documents: int = 64
    """mode=paper: documents of a batch; the result is the mean of the batches' means, so it depends on this."""
    cap: float = 20.0
    """mode=paper: the mean loss is cut off here before it becomes a perplexity."""
    dtype: str = "float32"
    """float32 or bfloat16 operands; log-probabilities come from float32 logits either way."""
    resamples: int = 1000
    """Bootstrap resamples behind a standard error; 0 leaves standard errors out."""
    seed: int = 0
    """Seed of the resampling."""

    def __post_init__(self) -> None:
        require_one_of("eval.kind", self.kind, KINDS)
        require_one_of("eval.mode", self.mode, MODES)
        self.tasks = {name: _task(name, section) for name, section in self.tasks.items()}
        self._refuse_keys_of_the_other_kind()
        for name in self.only:
            require(name in self.tasks, "eval.only", name, f"must be some of {', '.join(self.tasks)}")
        examples = self.max_examples
        require(examples is None or examples >= 1, "eval.max_examples", examples, "must be at least 1, or null")
        require(self.batch_size >= 1, "eval.batch_size", self.batch_size, "must be at least 1")
        require_one_of("eval.backend", self.backend, BACKENDS)
        is_read = self.python is None or self.backend == "vllm"
        require(is_read, "eval.python", self.python, "is read with eval.backend=vllm alone")
        turns = self.chat_template or not self.fewshot_as_multiturn
        require(turns, "eval.fewshot_as_multiturn", True, "takes eval.chat_template=true")
        require(self.held_out_documents >= 1, "eval.held_out_documents", self.held_out_documents, "must be at least 1")
        require_one_of("eval.held_out_split", self.held_out_split, ("train", "validation", "test"))
        for side in self.held_out:
            require_one_of("eval.held_out", side, SIDES)
        require_one_of("eval.on_bad_row", self.on_bad_row, ("reject", "stop"))
        require_one_of("eval.dtype", self.dtype, ("float32", "bfloat16"))
        require_one_of("eval.context_token", self.context_token, ("auto", "bos", "eos", "none"))
        require(bool(self.text_fields), "eval.text_fields", self.text_fields, "must name at least one field")
        window = self.window
        require(window is None or window >= 3, "eval.window", window, "must be at least 3, or null")
        require(self.min_context >= 1, "eval.min_context", self.min_context, "must be at least 1")
        require(self.max_tokens >= 2, "eval.max_tokens", self.max_tokens, "must be at least 2")
        require(self.batch_documents >= 1, "eval.batch_documents", self.batch_documents, "must be at least 1")
        require(self.cap > 0, "eval.cap", self.cap, "must be positive")
        require(self.resamples == 0 or self.resamples >= 2, "eval.resamples", self.resamples, "must be 0 or at least 2")
        require(self.seed >= 0, "eval.seed", self.seed, "must not be negative")
        if self.mode == "paper" and (window is not None or self.min_context != 1):
            raise BadConfiguration(
                f"eval.mode=paper with eval.window={window} eval.min_context={self.min_context}: this mode has no "
                "windows; it reads the first eval.max_tokens of a document"
            )

    def _refuse_keys_of_the_other_kind(self) -> None:
        """A key that would do nothing is a mistake."""
        for item in fields(self):
            unread = (
                item.name in TASK_KEYS if self.kind == "perplexity" else item.name not in (*SHARED_KEYS, *TASK_KEYS)
            )
            default = item.default if item.default_factory is MISSING else item.default_factory()
            value = getattr(self, item.name)
            if unread and value != default:
                raise BadConfiguration(
                    f"eval.{item.name}={value}: eval={self.name} (eval.kind={self.kind}) reads no such key"
                )
