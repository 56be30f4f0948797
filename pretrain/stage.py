"""`python run.py stage=pretrain`: a language model from scratch.

Reads tokens (those at `tokens.path`, else those that `stage=tokenize` makes of the same settings), and others for
validation where `validation_tokens.path` names them. Writes a checkpoint artifact: `hf/` (an ordinary Hugging Face
folder), `metrics.csv`, and `state/`, the last checkpoint. (`trainer=olmo_legacy` writes a configuration instead.)

    python run.py stage=pretrain model=gpt2_124m trainer.nproc=8 tokens.path=my-tokens
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pretrain.estimate import estimate
from pretrain.job import OUTCOME, Job
from toedit.artifacts import Artifact, load_artifact
from toedit.config import Config
from toedit.console import human, say
from toedit.errors import BadConfiguration, UnusableInput
from toedit.stages import tokenize
from toedit.workspace import Result, Workspace, read_manifest


def plan(config: Config) -> Artifact:
    return plan_training(config, tokenize.plan_from(config))


def plan_training(
    config: Config, data: Artifact, base: Artifact | None = None, validation: Artifact | None = None
) -> Artifact:
    """A training on `data` (tokens, or the examples of a fine-tuning), planned; from `base` where there is one."""
    inputs = {data.kind: data} | ({"base": base} if base else {}) | ({"validation": validation} if validation else {})
    if config.validation_tokens.path is not None:
        path = Path(config.validation_tokens.path)
        command = f"python run.py stage=tokenize out={path}"
        inputs["validation"] = load_artifact(path, ("tokens",), "validation_tokens.path", command)
    if config.trainer.kind == "llamafactory":
        raise BadConfiguration("trainer=llamafactory: starts from a base; see stage=continual_pretrain and stage=sft")
    if config.adapter.kind != "none":
        raise BadConfiguration(
            f"adapter.kind={config.adapter.kind}: trainer={config.trainer.kind} trains all weights; LoRA is "
            "trainer=llamafactory's"
        )
    if config.trainer.kind == "olmo" and base is None:
        from pretrain import olmo

        olmo.require_kind(config.model.kind)
    check(config, {role: source.path for role, source in inputs.items() if source.state() == "cached"})
    name = f"{(config.base.name or base.name) if base else config.model.name}.{data.name}"
    start = {"optimizer": config.base.optimizer} if base else asdict(config.model)
    identity: dict[str, Any] = {
        "base" if base else "model": {key: start[key] for key in start if key not in ("name", "tokenizer")},
        "recipe": config.recipe.identity(),
    }
    if data.kind == "examples":
        identity["packing"] = config.sft.packing
    if config.trainer.kind == "olmo_legacy":
        from pretrain import olmo_legacy

        return olmo_legacy.plan(config, data, identity, name)
    if config.trainer.kind == "olmo":  # orders the data otherwise; what our loop makes keeps its fingerprint
        identity["trainer"] = {"kind": config.trainer.kind}
    checkpoint = Artifact(
        kind="checkpoint",
        name=name,
        identity=identity,
        inputs=inputs,
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build, config=config, name=name),
        estimate=partial(estimate, config, data, base),
    )
    if config.trainer.node == 0:
        return checkpoint
    from pretrain.nodes import joined

    return joined(checkpoint, config.trainer)


def check(config: Config, folders: Mapping[str, Path]) -> None:
    """Refuse tokens that are not the model's, and settings that do not fit; `folders` of finished inputs by role."""
    from pretrain import olmo
    from pretrain.base import require_tokenizer, starting_architecture
    from pretrain.data import shares
    from pretrain.models import require_positions
    from toedit.tokenizing import load_tokenizer

    is_olmo = config.trainer.kind == "olmo"
    if is_olmo:
        olmo.check(config)
    # The legacy package's last micro batch may be smaller.
    micro = 1 if config.trainer.kind == "olmo_legacy" else config.trainer.micro_batch_sequences
    shares(config.recipe.batch_sequences, config.trainer.ranks, micro)
    found, base = {}, folders.get("base")
    for role, folder in folders.items():
        if role == "base":
            continue
        key = "tokens.path" if role == "tokens" else "validation_tokens.path"
        manifest = read_manifest(folder)
        identity, is_tokens = manifest["identity"], manifest["kind"] != "examples"
        eos_id = identity.get("eos_id", None if is_tokens else 0)
        if is_tokens and (identity.get("dtype") not in ("uint16", "uint32") or eos_id is None):
            raise UnusableInput(f"{key}={folder}: its manifest names no dtype (uint16, uint32) or no eos_id")
        found[role] = {"vocabulary_size": load_tokenizer(folder / "tokenizer").vocabulary_size, "eos_id": eos_id}
        if base is not None:
            require_tokenizer(folder, base, key)
        for what, value in found[role].items():
            wanted = getattr(config.model, what) if base is None else None
            if wanted is not None and wanted != value:
                raise UnusableInput(
                    f"{key}={folder}: made with another tokenizer than the model's ({what} is {value}, "
                    f"model.{what}={wanted})"
                )
    if len({tuple(facts.values()) for facts in found.values()}) > 1:
        raise UnusableInput(f"validation_tokens.path={folders['validation']}: another tokenizer than the tokens'")
    for size, eos_id in {tuple(facts.values()) for facts in found.values()}:
        rows = config.model.embedding_rows
        if base is None and rows is not None and rows < size:
            raise BadConfiguration(f"model.embedding_rows={rows}: the tokenizer has {size} entries")
        shape = starting_architecture(config, base, size, eos_id)
        require_positions(shape, config.recipe)
        if is_olmo:
            olmo.require_expressible(shape)
    if is_olmo and "tokens" in folders:
        olmo.planned_steps(folders["tokens"], config.recipe)


def build(workspace: Workspace, config: Config, name: str) -> Result:
    """Train; resumes from `state/`."""
    from pretrain.launch import launch

    check(config, workspace.inputs)  # again: at planning time the tokens may not have been there
    inputs = workspace.inputs
    data = inputs.get("examples") or inputs["tokens"]
    launch(Job(config, workspace.path, name, data, inputs.get("validation"), inputs.get("base")))
    outcome = json.loads((workspace.path / OUTCOME).read_text())
    (workspace.path / OUTCOME).unlink()
    made = "sft" if "examples" in inputs else "continual_pretrain" if "base" in inputs else "pretrain"
    runtime = {"trainer": asdict(config.trainer), **outcome["runtime"]}
    return Result(counts=outcome["counts"], seeds={made: config.recipe.seed}, runtime=runtime)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    if config.trainer.kind == "olmo_legacy":
        from pretrain import olmo_legacy

        return olmo_legacy.report(config, artifact)
    from pretrain.tracking import METRICS, read_metrics

    manifest = artifact.manifest()
    counts, last = manifest["counts"], read_metrics(artifact.path / METRICS)[-1]
    say(
        f"checkpoint {artifact.name}: {human(counts['parameters'])} parameters, {counts['steps']:,} steps, "
        f"{human(counts['tokens_seen'])} tokens seen; loss {float(last['loss']):.4f}"
        + (f", validation perplexity {float(last['validation_perplexity']):.2f}" if last["validation_loss"] else "")
    )
    say(f"Hugging Face folder: {artifact.path / 'hf'}")
    return {
        "parameters": human(counts["parameters"]),
        "tokens": human(counts["tokens_seen"]),
        "loss": f"{float(last['loss']):.4f}",
        "validation perplexity": f"{float(last['validation_perplexity']):.2f}" if last["validation_loss"] else "",
    }
