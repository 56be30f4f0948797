"""`trainer=llamafactory`: LLaMA-Factory continues a model on text (stage pt) or on conversations (stage sft).

Reads a base model and a corpus (plain, edited or mixed). Writes a checkpoint artifact: `hf/`, `metrics.csv`, `state/`,
with adapter=lora also `adapter/`, and `llamafactory/`, the framework's own files. What is done here takes seconds; the
training is its own command, in an environment of its own.

    bash scripts/environment_llamafactory.sh
    python run.py stage=continual_pretrain trainer=llamafactory base.path=my-model corpus=local corpus.path=my.jsonl
    python run.py stage=sft trainer=llamafactory adapter=lora base=llama3_8b corpus=oss_instruct
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pretrain import llamafactory_environment as environments
from pretrain import llamafactory_result as results
from pretrain import llamafactory_run as running
from pretrain import llamafactory_tokenizer as tokenizers
from pretrain.data import shares
from pretrain.estimate import shape_of
from pretrain.job import Job
from pretrain.llamafactory_data import Written, write_data
from pretrain.llamafactory_environment import Environment
from pretrain.llamafactory_files import FOLDER, MERGED, OURS, OUTPUT, TOKENIZED, write_settings
from pretrain.tracking import METRICS, Trackers, read_metrics
from toedit.artifacts import Artifact
from toedit.config import Config, TrainerConfig
from toedit.console import human, note, say
from toedit.errors import BadConfiguration, Diverged, UnusableInput
from toedit.priors import model_folder, model_shape
from toedit.workspace import Result, Workspace

METHODS = {"pt": "continual_pretrain", "sft": "sft"}
"""Stages of LLaMA-Factory and what they are called here."""
_PACKED_MULTIPLE = 8
"""It pads sequences to such a length, but not the positions of packed ones, and stops where the two differ."""


def plan(config: Config, method: str, base: Artifact, corpus: Artifact, name: str) -> Artifact:
    """The checkpoint that LLaMA-Factory makes of `base` and `corpus`; `method`: pt or sft."""
    check(config, method)
    if base.state() == "cached":
        check_base(model_folder(base.path), config)
    artifact = Artifact(
        kind="checkpoint",
        name=name,
        identity=_identity(config, method),
        inputs={"base": base, "corpus": corpus},
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build, config=config, method=method, name=name),
        estimate=partial(_estimate, config, base),
    )
    if not config.dry_run and artifact.state() != "cached":
        environments.interpreter(config.trainer)  # before the inputs are made, which may take hours
    return artifact


def _identity(config: Config, method: str) -> dict[str, Any]:
    adapter = asdict(config.adapter) if config.adapter.kind != "none" else {"kind": "none"}
    sft = {key: getattr(config.sft, key) for key in ("template", "packing", "on_long")}
    return {
        "trainer": {"kind": "llamafactory"},
        "method": method,
        "recipe": config.recipe.identity(),
        "adapter": adapter,
        **({"sft": sft} if method == "sft" else {}),
        "settings": config.llamafactory.settings,
    }


def check(config: Config, method: str) -> None:
    """Refuse what LLaMA-Factory cannot do, by its key."""
    recipe, trainer = config.recipe, config.trainer
    shares(recipe.batch_sequences, trainer.nproc, trainer.micro_batch_sequences)
    for key in config.llamafactory.settings:
        if key in OURS:
            own = "" if OURS[key] == "stage" else f"; use {OURS[key]}"
            raise BadConfiguration(f"llamafactory.settings.{key}: follows from this command's own settings{own}")
    if (recipe.warmup_steps or recipe.warmup_share) and recipe.warmup_start_share:
        share = f"{recipe.warmup_start_share:g}"
        raise BadConfiguration(f"recipe.warmup_start_share={share}: LLaMA-Factory's warm-up starts at 0")
    if recipe.warmup_share == 1:
        raise BadConfiguration("recipe.warmup_share=1.0: LLaMA-Factory would take it for one step")
    if config.adapter.kind == "none" and recipe.weight_decay and not recipe.decay_embeddings:
        raise BadConfiguration(
            "recipe.decay_embeddings=false: LLaMA-Factory decays embeddings, too; set true, or recipe.weight_decay=0"
        )
    if trainer.loss_rows != TrainerConfig.loss_rows:
        raise BadConfiguration(
            f"trainer.loss_rows={trainer.loss_rows}: LLaMA-Factory makes the logits of a whole micro batch; "
            "lower trainer.micro_batch_sequences instead"
        )
    if config.validation_tokens.path is not None:
        raise BadConfiguration(
            f"validation_tokens.path={config.validation_tokens.path}: trainer=llamafactory reads no tokens; measure "
            "the result with stage=eval"
        )
    if config.base.optimizer == "kept":
        raise BadConfiguration("base.optimizer=kept: LLaMA-Factory begins with moments at zero; base.optimizer=fresh")
    if method == "sft" and config.sft.validation_split is not None:
        raise BadConfiguration(
            f"sft.validation_split={config.sft.validation_split}: trainer=llamafactory measures no validation; measure "
            "the result with stage=eval"
        )
    if method == "sft" and config.sft.on_long == "drop":
        raise BadConfiguration("sft.on_long=drop: LLaMA-Factory truncates; drop with trainer=fsdp")
    if method == "sft" and config.sft.packing and recipe.sequence_length % _PACKED_MULTIPLE:
        raise BadConfiguration(
            f"recipe.sequence_length={recipe.sequence_length}: with sft.packing, LLaMA-Factory wants a multiple of "
            f"{_PACKED_MULTIPLE}"
        )
    if trainer.device == "cpu":
        _require_gpu(config)


def check_base(folder: Path, config: Config) -> None:
    """Refuse a base that cannot be trained with these settings."""
    context, length = model_shape(folder).context, config.recipe.sequence_length
    if context is not None and length > context and not config.llamafactory.settings.get("rope_scaling"):
        raise BadConfiguration(f"recipe.sequence_length={length}: the base reads at most {context} tokens")
    held = json.loads((folder / "config.json").read_text())
    if "AutoModelForCausalLM" in held.get("auto_map", {}) and not config.base.trust_remote_code:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if held.get("model_type") not in CONFIG_MAPPING_NAMES:
            raise BadConfiguration(
                f"{folder}: its architecture needs Python files that come with the model; base.trust_remote_code=true "
                "allows it"
            )


def build(workspace: Workspace, config: Config, method: str, name: str) -> Result:
    """Write its files, run its command, take the result over; resumes at the last checkpoint."""
    base, folder = model_folder(workspace.inputs["base"]), workspace.path / FOLDER
    check_base(base, config)  # again: at planning time it may not have been there
    environment = environments.find(config.trainer)
    resumed = 0 if results.training_state(folder) else running.last_step(folder)
    _require_environment(config, environment, resumed)
    end = tokenizers.end_of_text(base, config, method, environment)
    seconds = 0.0
    if workspace.finished("result") is None:
        folder.mkdir(parents=True, exist_ok=True)
        written = write_data(workspace, method, config.corpus.on_bad_row)
        write_settings(folder, base, config, method, _on_cpu(config.trainer))
        variables = running.environment_variables(environment, folder, config)
        if results.training_state(folder) is None:
            seconds += _train(workspace, config, method, name, environment, variables, resumed)
        with workspace.shard("result") as (_, record):
            record["counts"] = _counts(workspace, config, method, written)
            source = folder / OUTPUT
            if config.adapter.kind == "lora":
                record["counts"]["trained_parameters"] = results.take_adapter(workspace.path)
                note("LLaMA-Factory merges the adapter")
                seconds += running.export(environment, folder, variables)
                source = folder / MERGED
            changes = results.TokenizerChanges(tokenizers.adds_tokens(config), method == "sft", end)
            card = results.model_card(name, method, config, record["counts"], environment.versions)
            record["counts"]["parameters"] = results.take_model(workspace.path, source, base, changes, card)
    counts = (workspace.finished("result") or {})["counts"]
    results.keep_state(workspace.path)
    own = {"versions": environment.versions, "sharding": config.llamafactory.sharding, "seconds": round(seconds, 3)}
    return Result(
        counts={"trained_parameters": counts["parameters"], **counts},
        seeds={METHODS[method]: config.recipe.seed},
        runtime={"trainer": asdict(config.trainer), "llamafactory": own},
    )


def _train(
    workspace: Workspace,
    config: Config,
    method: str,
    name: str,
    environment: Environment,
    variables: dict[str, str],
    resumed: int,
) -> float:
    folder = workspace.path / FOLDER
    if not results.is_tokenised(folder):
        shutil.rmtree(folder / TOKENIZED, ignore_errors=True)
    note(
        f"LLaMA-Factory {'resumes at step ' + f'{resumed:,}' if resumed else 'starts'}; its log: {folder / running.LOG}"
    )
    job = Job(config, workspace.path, name, workspace.inputs["corpus"], None)
    trackers = Trackers(job, resumed)
    data: list[results.TokenisedData] = []

    def log(row: running.Row) -> None:
        if not data:  # there by now, as the training has begun
            data.append(_tokenised(workspace, config, method))
        values = {"tokens": data[0].tokens * row["epoch"], "loss": row["loss"], "learning_rate": row["lr"]}
        trackers.log(row["current_steps"], values)

    try:
        return running.train(environment, folder, variables, log)
    finally:
        trackers.close()


def _tokenised(workspace: Workspace, config: Config, method: str) -> results.TokenisedData:
    length, packed = config.recipe.sequence_length, config.sft.packing
    return results.read_tokenised(workspace.path / FOLDER, method, length, packed)


def _counts(workspace: Workspace, config: Config, method: str, written: Written) -> dict[str, Any]:
    """What was trained on; writes metrics.csv. Raises UnusableInput without a result, Diverged with a useless one."""
    folder = workspace.path / FOLDER
    state, data, log = results.training_state(folder), _tokenised(workspace, config, method), folder / running.LOG
    if state is None:
        raise UnusableInput(f"LLaMA-Factory ended without a result; its log: {log}")
    rows = results.loss_rows(state["log_history"], data)
    if rows and not math.isfinite(float(rows[-1].get("gradient_norm", 0))):
        raise Diverged(
            f"LLaMA-Factory: the gradient is no number any more at step {rows[-1]['step']:,}; its log: {log}"
        )
    results.write_metrics(workspace.path / METRICS, rows)
    seen = round(data.tokens * state["epoch"])
    counts = {"steps": state["global_step"], "tokens_seen": seen, "rows": written.rows, "sequences": data.sequences}
    if method == "sft":
        dropped = written.left_out + written.rows - data.examples
        counts |= {"examples": data.examples, "truncated": data.filled, "dropped": dropped}
    return counts


# --- what it needs ----------------------------------------------------------------------------------------------------


def _require_gpu(config: Config) -> None:
    if config.llamafactory.sharding != "none":
        raise BadConfiguration(
            f"llamafactory.sharding={config.llamafactory.sharding}: without a GPU, LLaMA-Factory shards nothing; none"
        )


def _require_environment(config: Config, environment: Environment, resumed: int) -> None:
    """Refuse what this machine and this environment cannot do; `resumed`: the step of the last checkpoint, or 0."""
    trainer = config.trainer
    if _on_cpu(trainer):
        _require_gpu(config)
        if resumed and trainer.nproc > 1:
            raise BadConfiguration(
                f"trainer.nproc={trainer.nproc}: without a GPU, LLaMA-Factory resumes on one rank only; "
                f"trainer.nproc=1 goes on at step {resumed:,}"
            )
    if config.llamafactory.sharding == "deepspeed" and "deepspeed" not in environment.versions:
        raise BadConfiguration(
            f"llamafactory.sharding=deepspeed: the environment has no deepspeed; {environment.python} -m pip install "
            "deepspeed, or llamafactory.sharding=fsdp"
        )


def _on_cpu(trainer: TrainerConfig) -> bool:
    """Whether the training runs without a GPU; nothing is imported to find out."""
    has_gpu = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    return trainer.device == "cpu" or (trainer.device == "auto" and (hidden or not has_gpu))


# --- what is said -----------------------------------------------------------------------------------------------------


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    """Say what the checkpoint is; its numbers for a table."""
    counts, rows = artifact.manifest()["counts"], read_metrics(artifact.path / METRICS)
    loss = f"{float(rows[-1]['loss']):.4f}" if rows else ""
    trained = (
        ""
        if counts["trained_parameters"] == counts["parameters"]
        else (f" ({human(counts['trained_parameters'])} of them trained beside it)")
    )
    say(
        f"checkpoint {artifact.name}: {human(counts['parameters'])} parameters{trained}, {counts['steps']:,} steps, "
        f"{human(counts['tokens_seen'])} tokens seen; loss {loss}"
    )
    if counts.get("truncated") or counts.get("dropped"):
        learnt, cut = f"{counts['examples']:,}", f"{counts['truncated']:,}"
        say(f"conversations: {learnt}, {cut} of them truncated; dropped: {counts['dropped']:,}")
    say(f"Hugging Face folder: {artifact.path / 'hf'}")
    say(f"LLaMA-Factory's own files: {artifact.path / FOLDER}")
    return {"parameters": human(counts["parameters"]), "tokens": human(counts["tokens_seen"]), "loss": loss}


def _estimate(config: Config, base: Artifact) -> dict[str, str]:
    from pretrain.throughput import training_flops_per_token

    shape, recipe = shape_of(config, None, base), config.recipe
    if shape is None or shape.parameters is None:
        return {"parameters": "known when the base is there"}
    parameters, share = shape.parameters, 1 if config.adapter.kind == "none" else 0
    length, tokens = recipe.sequence_length, recipe.batch_sequences * recipe.sequence_length
    flops = training_flops_per_token(parameters, shape.layers or 0, shape.hidden_size or 0, length)
    # All weights: float32 with gradient and two moments. Beside LoRA's they stay as they are, in two bytes, and two of
    # three products remain.
    flops *= 1 if share else 2 / 3
    return {
        "parameters": human(parameters),
        "steps": f"{recipe.steps:,}" if recipe.steps else f"epochs: {recipe.epochs:g}",
        "tokens": human(recipe.steps * tokens) if recipe.steps else f"{human(tokens)} a step",
        "FLOPs": f"{human(flops)} a token",
        "memory": f"{human(parameters * (16 if share else 2), 'B')}, and activations",
        "disk": human(parameters * 4 * (2 + 3 * share * (config.trainer.checkpoints_kept + 1)), "B"),
    }
