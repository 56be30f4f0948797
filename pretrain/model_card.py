"""README.md of an exported model: what it is, what it learnt from, how."""

from __future__ import annotations

import json

from pretrain.job import Job
from pretrain.tracking import METRICS, read_metrics
from toedit.priors import model_folder
from toedit.workspace import read_manifest


def model_card(job: Job, parameters: int, steps: int, step_tokens: int) -> str:
    """The card of the checkpoint that `job` makes; reads its metrics."""
    recipe, last = job.config.recipe, read_metrics(job.folder / METRICS)[-1]
    held_out, loss = last["validation_loss"], f"{float(last['loss']):.4f}"
    validation = f" Perplexity on held-out text: {float(last['validation_perplexity']):.2f}." if held_out else ""
    warmup, end = f"{recipe.warmup(steps)} steps of warm-up", f"cosine to {recipe.final_learning_rate_share:.0%}"
    decay = f"epsilon {recipe.epsilon:g}, weight decay {recipe.weight_decay:g}"
    kind = "" if job.base else f", {job.config.model.kind}"
    learnt = "the texts named above alone" if job.base is None else "those texts after what its base had learnt"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [toedit{kind}]
---

# {job.name}

{_origin(job, parameters)}

| | |
|---|---|
{_architecture(job)}| steps | {steps:,} of {recipe.batch_sequences} sequences of {recipe.sequence_length} tokens |
| places for tokens in them, repetitions and padding counted | {steps * step_tokens:,} |
| peak learning rate | {recipe.learning_rate:g}, {warmup}, {end} |
| AdamW | betas {recipe.betas[0]:g} and {recipe.betas[1]:g}, {decay} |
| precision | {recipe.dtype} with float32 weights |
| seed | {recipe.seed} |

Training loss at the end: {loss} nats a token.{validation}
The whole curve is in `metrics.csv` beside this folder.

It learnt from {learnt}, with what is wrong in them, and was neither aligned nor evaluated for use.
"""


def _origin(job: Job, parameters: int) -> str:
    """A sentence: which model, made by what, from what."""
    data, kind = read_manifest(job.tokens), job.config.trainer.kind
    counts, trainer = data["counts"], "" if kind == "fsdp" else f" trainer={kind}"
    if data["kind"] == "examples":
        read = f"the responses of `{data['name']}` ({counts['examples']:,} conversations, {counts['tokens']:,} tokens)"
    else:
        read = f"the tokens `{data['name']}` ({counts['tokens']:,} tokens of {counts['documents']:,} documents)"
    if job.base is None:
        model = job.config.model
        return (
            f"A `{model.kind}` of {parameters:,} parameters, trained from scratch by "
            f"`python run.py stage=pretrain model={model.name}{trainer}` on {read}."
        )
    stage = "sft" if data["kind"] == "examples" else "continual_pretrain"
    asked = job.config.base.path or job.config.base.stage
    base = asked if not asked or "/" not in asked or asked.count("/") == 1 else model_folder(job.base).resolve().name
    return (
        f"A model of {parameters:,} parameters: `{base}`, trained further by `python run.py stage={stage}{trainer}` on "
        f"{read}."
    )


def _architecture(job: Job) -> str:
    if job.base is not None:
        return ""
    return f"| settings | `{json.dumps(job.config.model.settings, sort_keys=True)}` |\n"
