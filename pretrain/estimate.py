"""What a training would cost, for a dry run: as much of it as is known before its inputs are there."""

from __future__ import annotations

from toedit.artifacts import Artifact
from toedit.config import Config, ShapeConfig, TrainerConfig
from toedit.console import human
from toedit.priors import model_folder, planned_shape


def estimate(config: Config, data: Artifact, base: Artifact | None) -> dict[str, str]:
    """Parameters, steps, tokens, FLOPs, memory and disk of a training on `data`, from `base` where there is one."""
    from pretrain.throughput import training_flops_per_token

    shape, recipe = shape_of(config, data, base), config.recipe
    if shape is None or shape.parameters is None:
        return {"model": "known when its tokenizer is there"}
    parameters = shape.parameters
    token_flops = training_flops_per_token(
        parameters, shape.layers or 0, shape.hidden_size or 0, recipe.sequence_length
    )
    # Weights, gradient and two moments in float32, copies in the compute type; activations come on top.
    needs = {
        "memory": f"{human(18 * parameters / _shards(config.trainer), 'B')} a rank, and activations",
        "disk": human(parameters * (4 + 12 * (config.trainer.checkpoints_kept + 1)), "B"),
    }
    steps = _steps(config, data, shape)
    if steps is None:
        return {"parameters": human(parameters), "FLOPs": f"{human(token_flops)} a token", **needs}
    seen = steps * recipe.batch_sequences * recipe.sequence_length
    return {
        "parameters": human(parameters),
        "steps": f"{steps:,}",
        "tokens": human(seen),
        "FLOPs": human(seen * token_flops),
        **needs,
    }


def shape_of(config: Config, data: Artifact | None, base: Artifact | None) -> ShapeConfig | None:
    """Size of the model; None while nobody knows it. Of a base that is not on this machine, what `base.shape` says."""
    from pretrain.base import base_architecture
    from pretrain.models import architecture, count_parameters
    from toedit.tokenizing import load_tokenizer

    model = config.model
    if base is not None:
        folder = model_folder(base.path)
        if not (folder / "config.json").is_file():
            return planned_shape(config.prior) if config.base.stage else config.base.shape
        found = base_architecture(folder, config.base)
    elif data is not None and data.state() == "cached":
        size = load_tokenizer(data.path / "tokenizer").vocabulary_size
        found = architecture(model, size, data.identity["eos_id"])
    elif model.vocabulary_size is not None:
        found = architecture(model, model.vocabulary_size, model.eos_id or 0)
    else:
        return None
    text = found.get_text_config()
    return ShapeConfig(
        parameters=count_parameters(found),
        vocabulary_size=text.vocab_size,
        hidden_size=text.hidden_size,
        layers=text.num_hidden_layers,
    )


def _steps(config: Config, data: Artifact, shape: ShapeConfig) -> int | None:
    """Optimizer steps; of a mixture that is not there yet near enough: document ends are left out."""
    from pretrain import olmo
    from pretrain.data import TokenSequences, total_steps

    recipe = config.recipe
    if data.kind == "tokens" and data.state() == "cached":
        if config.trainer.kind == "olmo":
            return olmo.planned_steps(data.path, recipe)
        rows = shape.vocabulary_size or 0
        sequences = len(TokenSequences(data.path, data.manifest(), recipe.sequence_length, recipe.seed, rows))
    elif data.kind != "examples" and config.tokens.source == "mix" and config.tokens.path is None:
        sequences = (config.mix.tokens or 0) // recipe.sequence_length
    elif recipe.steps is None:
        return None
    else:
        sequences = 0
    return total_steps(recipe.steps, recipe.epochs, recipe.batch_sequences, sequences)


def _shards(trainer: TrainerConfig) -> int:
    """Ranks that the weights are spread over."""
    return trainer.nproc if trainer.sharding == "hybrid" else trainer.ranks
