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

from pretrain.job import OUTCOME, Job
from toedit.artifacts import Artifact, load_artifact
from toedit.config import Config
from toedit.console import human, say
from toedit.errors import BadConfiguration, UnusableInput
from toedit.stages import tokenize
from toedit.workspace import Result, Workspace, read_manifest


def plan(config: Config) -> Artifact:
    tokens = tokenize.plan_from(config)
    inputs = {"tokens": tokens}
    if config.validation_tokens.path is not None:
        path = Path(config.validation_tokens.path)
        command = f"python run.py stage=tokenize out={path}"
        inputs["validation"] = load_artifact(path, ("tokens",), "validation_tokens.path", command)
    check(config, {role: source.path for role, source in inputs.items() if source.state() == "cached"})
    model, name = asdict(config.model), f"{config.model.name}.{tokens.name}"
    identity = {
        "model": {key: value for key, value in model.items() if key not in ("name", "tokenizer")},
        "recipe": config.recipe.identity(),
    }
    if config.trainer.kind == "olmo_legacy":
        from pretrain import olmo_legacy

        return olmo_legacy.plan(config, tokens, identity, name)
    if config.trainer.kind == "olmo":  # orders the data otherwise; what our loop makes keeps its fingerprint
        identity["trainer"] = {"kind": config.trainer.kind}
    return Artifact(
        kind="checkpoint",
        name=name,
        identity=identity,
        inputs=inputs,
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build, config=config, name=name),
        estimate=partial(_estimate, config, tokens),
    )


def check(config: Config, folders: Mapping[str, Path]) -> None:
    """Refuse tokens that are not the model's, and settings that do not fit; `folders` of finished tokens by role."""
    from pretrain import olmo
    from pretrain.data import shares
    from pretrain.models import architecture, require_positions
    from toedit.tokenizing import load_tokenizer

    is_olmo = config.trainer.kind == "olmo"
    if is_olmo:
        olmo.check(config)
    # The legacy package's last micro batch may be smaller.
    micro = 1 if config.trainer.kind == "olmo_legacy" else config.trainer.micro_batch_sequences
    shares(config.recipe.batch_sequences, config.trainer.nproc, micro)
    found = {}
    for role, folder in folders.items():
        key = "tokens.path" if role == "tokens" else "validation_tokens.path"
        identity = read_manifest(folder)["identity"]
        eos_id = identity.get("eos_id")
        if identity.get("dtype") not in ("uint16", "uint32") or eos_id is None:
            raise UnusableInput(f"{key}={folder}: its manifest names no dtype (uint16, uint32) or no eos_id")
        found[role] = {"vocabulary_size": load_tokenizer(folder / "tokenizer").vocabulary_size, "eos_id": eos_id}
        for what, value in found[role].items():
            wanted = getattr(config.model, what)
            if wanted is not None and wanted != value:
                raise UnusableInput(
                    f"{key}={folder}: made with another tokenizer than the model's ({what} is {value}, "
                    f"model.{what}={wanted})"
                )
    if len({tuple(facts.values()) for facts in found.values()}) > 1:
        raise UnusableInput(f"validation_tokens.path={folders['validation']}: another tokenizer than the tokens'")
    for size, eos_id in {tuple(facts.values()) for facts in found.values()}:
        rows = config.model.embedding_rows
        if rows is not None and rows < size:
            raise BadConfiguration(f"model.embedding_rows={rows}: the tokenizer has {size} entries")
        shape = architecture(config.model, size, eos_id)
        require_positions(shape, config.recipe)
        if is_olmo:
            olmo.require_expressible(shape)
    if is_olmo and "tokens" in folders:
        olmo.planned_steps(folders["tokens"], config.recipe)


def build(workspace: Workspace, config: Config, name: str) -> Result:
    """Train; resumes from `state/`."""
    from pretrain.launch import launch

    check(config, workspace.inputs)  # again: at planning time the tokens may not have been there
    launch(Job(config, workspace.path, name, workspace.inputs["tokens"], workspace.inputs.get("validation")))
    outcome = json.loads((workspace.path / OUTCOME).read_text())
    (workspace.path / OUTCOME).unlink()
    runtime = {"trainer": asdict(config.trainer), **outcome["runtime"]}
    return Result(counts=outcome["counts"], seeds={"pretrain": config.recipe.seed}, runtime=runtime)


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


def _estimate(config: Config, tokens: Artifact) -> dict[str, str]:
    from pretrain import olmo
    from pretrain.data import TokenSequences, total_steps
    from pretrain.models import architecture, count_parameters
    from pretrain.throughput import training_flops_per_token
    from toedit.tokenizing import load_tokenizer

    recipe, model = config.recipe, config.model
    if tokens.state() == "cached":
        size, eos_id = load_tokenizer(tokens.path / "tokenizer").vocabulary_size, tokens.identity["eos_id"]
        shape = architecture(model, size, eos_id)
        data = TokenSequences(tokens.path, tokens.manifest(), recipe.sequence_length, recipe.seed, shape.vocab_size)
        sequences = len(data)
    elif model.vocabulary_size is None or (recipe.steps is None and config.tokens.source != "mix"):
        return {"tokens": "known when the tokens are there"}
    else:  # near enough: document ends are left out
        shape = architecture(model, model.vocabulary_size, model.eos_id or 0)
        sequences = (config.mix.tokens or 0) // recipe.sequence_length
    if config.trainer.kind == "olmo" and tokens.state() == "cached":
        steps = olmo.planned_steps(tokens.path, recipe)
    else:
        steps = total_steps(recipe.steps, recipe.epochs, recipe.batch_sequences, sequences)
    seen, parameters = steps * recipe.batch_sequences * recipe.sequence_length, count_parameters(shape)
    text = shape.get_text_config()
    token_flops = training_flops_per_token(parameters, text.num_hidden_layers, text.hidden_size, recipe.sequence_length)
    # Weights, gradient and two moments in float32, copies in the compute type; activations come on top.
    return {
        "parameters": human(parameters),
        "steps": f"{steps:,}",
        "tokens": human(seen),
        "FLOPs": human(seen * token_flops),
        "memory": f"{human(18 * parameters / config.trainer.nproc, 'B')} a rank, and activations",
        "disk": human(parameters * (4 + 12 * (config.trainer.checkpoints_kept + 1)), "B"),
    }
