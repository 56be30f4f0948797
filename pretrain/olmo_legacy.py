"""`trainer=olmo_legacy`: the YAML of the `olmo` package that the paper used (ai2-olmo 0.6.0), and what runs it.

Reads tokens, as every pre-training. Writes a `trainer_config` artifact: `olmo.yaml`, with paths relative to its folder,
`train.py` (`pretrain/olmo_legacy_train.py`, which needs nothing of this project) and `train.sh`, which runs it in the
environment that `scripts/environment_olmo_legacy.sh` makes. What that package does differently: docs/olmo_legacy.md.

    python run.py stage=pretrain model=olmo_237m trainer=olmo_legacy trainer.nproc=8 tokens.path=my-tokens out=legacy
    bash legacy/train.sh my-run
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pretrain.data import total_steps
from pretrain.models import architecture, count_parameters
from toedit.artifacts import Artifact
from toedit.config import Config, ModelConfig, RecipeConfig, TrainerConfig
from toedit.console import human, say
from toedit.errors import BadConfiguration
from toedit.token_files import TOKENIZER
from toedit.tokenizing import load_tokenizer
from toedit.workspace import Result, Workspace, read_manifest

KIND = "trainer_config"
ENVIRONMENT = ".venv-olmo-legacy"
_MAKES_IT = "bash scripts/environment_olmo_legacy.sh"
_DRIVER = Path(__file__).with_name("olmo_legacy_train.py")

_EXPRESSIBLE = {
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "max_position_embeddings",
    "tie_word_embeddings",
    "attention_bias",
    "attention_dropout",
    "clip_qkv",
    "pad_token_id",
}
"""Settings of Transformers' OLMo that the package has, too."""

_USED = {"kind", "nproc", "micro_batch_sequences", "checkpoint_every", "checkpoints_kept", "log_every"}
"""Keys of the trainer that reach its YAML."""

_TRAIN_SH = """\
#!/usr/bin/env bash
# Trains olmo.yaml with ai2-olmo 0.6.0 and writes checkpoints and hf/ to a folder; started again, it goes on there.
#     bash train.sh my-run [key=value ...]       keys of olmo.yaml, e.g. model.flash_attention=true
# Needs the environment {environment} (or $TOEDIT_OLMO_LEGACY_VENV) that {makes_it} of toedit makes.
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
python=${{TOEDIT_OLMO_LEGACY_VENV:-{environment}}}/bin/python
if (($# == 0)); then
  echo "error: name the folder of the training: bash train.sh my-run" >&2
  exit 2
elif [[ ! -x $python ]]; then
  echo "error: $python does not exist; make it with: {makes_it} (or set TOEDIT_OLMO_LEGACY_VENV)" >&2
  exit 3
fi
exec "$python" -m torch.distributed.run --standalone --nproc-per-node={nproc} \\
  "$here/train.py" "$here/olmo.yaml" "save_folder=$1" "${{@:2}}"
"""


# --- the artifact -----------------------------------------------------------------------------------------------------


def plan(config: Config, tokens: Artifact, identity: Mapping[str, Any], name: str) -> Artifact:
    """The YAML of a training; `identity` is that of the checkpoint that `trainer=fsdp` would make of the same keys."""
    refuse(config)
    trainer = {key: value for key, value in asdict(config.trainer).items() if key in _USED}
    return Artifact(
        kind=KIND,
        name=f"{name}.olmo_legacy",
        identity={**identity, "trainer": trainer},
        inputs={"tokens": tokens},
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build, config=config, name=name),
    )


def refuse(config: Config) -> None:
    """Raise BadConfiguration for what the package does not have."""
    model, recipe, trainer = config.model, config.recipe, config.trainer
    if model.kind != "olmo":
        raise BadConfiguration(f"model.kind={model.kind}: trainer=olmo_legacy trains OLMo only, e.g. model=olmo_237m")
    for key, value in model.settings.items():
        if key not in _EXPRESSIBLE:
            raise BadConfiguration(f"model.settings.{key}={value}: trainer=olmo_legacy has no such setting")
    if model.settings.get("attention_bias"):
        raise BadConfiguration("model.settings.attention_bias=true: trainer=olmo_legacy has biases everywhere or none")
    if recipe.warmup_start_share >= 1:
        raise BadConfiguration("recipe.warmup_start_share=1: trainer=olmo_legacy warms up from below the peak")
    defaults = TrainerConfig()
    for key, value in asdict(trainer).items():
        if key not in _USED and value != getattr(defaults, key):
            raise BadConfiguration(f"trainer.{key}={value}: trainer=olmo_legacy has no such setting")
    if config.validation_tokens.path is not None:
        raise BadConfiguration("validation_tokens.path: trainer=olmo_legacy does not validate; use stage=eval")
    if config.tracker.kinds:
        raise BadConfiguration(f"tracker.kinds={config.tracker.kinds}: trainer=olmo_legacy writes metrics.csv alone")


def build(workspace: Workspace, config: Config, name: str) -> Result:
    from omegaconf import OmegaConf

    from pretrain.stage import check

    check(config, workspace.inputs)
    tokens = workspace.inputs["tokens"]
    identity = read_manifest(tokens)["identity"]
    size = load_tokenizer(tokens / TOKENIZER).vocabulary_size
    shape = architecture(config.model, size, identity["eos_id"])
    sequences, files = _sequences(tokens, identity["dtype"], config.recipe.sequence_length)
    recipe = config.recipe
    if sequences < recipe.batch_sequences:
        raise BadConfiguration(
            f"recipe.batch_sequences={recipe.batch_sequences}: the tokens hold only {sequences} sequences of "
            f"recipe.sequence_length={recipe.sequence_length}"
        )
    if _in_epochs(recipe):  # each drops what does not fill a batch
        steps = int(recipe.epochs) * (sequences // recipe.batch_sequences)
    else:
        steps = total_steps(recipe.steps, recipe.epochs, recipe.batch_sequences, sequences)
    held = {
        "run_name": name,
        "seed": config.recipe.seed,
        "model": model_settings(config.model, recipe, shape, size),
        **recipe_settings(recipe, steps),
        **trainer_settings(config.trainer, steps),
        "data": data_settings(files, identity["dtype"], workspace.path),
        "tokenizer": {"identifier": _relative(tokens / TOKENIZER / "tokenizer.json", workspace.path)},
    }
    OmegaConf.save(OmegaConf.create(held), workspace.path / "olmo.yaml")
    (workspace.path / "train.py").write_bytes(_DRIVER.read_bytes())
    script = _TRAIN_SH.format(environment=ENVIRONMENT, makes_it=_MAKES_IT, nproc=config.trainer.nproc)
    (workspace.path / "train.sh").write_text(script, encoding="utf-8")
    seen = steps * recipe.batch_sequences * recipe.sequence_length
    counts = {"parameters": count_parameters(shape), "sequences": sequences, "steps": steps, "tokens_seen": seen}
    return Result(counts=counts, seeds={"pretrain": config.recipe.seed})


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    counts = artifact.manifest()["counts"]
    parameters, seen = human(counts["parameters"]), human(counts["tokens_seen"])
    say(f"olmo.yaml: {parameters} parameters, {counts['steps']:,} steps, {seen} tokens")
    if not (Path(os.environ.get("TOEDIT_OLMO_LEGACY_VENV", ENVIRONMENT)) / "bin" / "python").exists():
        say(f"the package's environment, once: {_MAKES_IT}")
    say(f"train: bash {artifact.path / 'train.sh'} my-run")
    return {"parameters": parameters, "steps": f"{counts['steps']:,}", "tokens": seen}


# --- the sections of olmo.yaml ----------------------------------------------------------------------------------------


def model_settings(model: ModelConfig, recipe: RecipeConfig, shape: Any, vocabulary_size: int) -> dict[str, Any]:
    """OLMo's architecture under the package's names; `shape` is Transformers' configuration of it."""
    ratio, rest = divmod(2 * shape.intermediate_size, shape.hidden_size)  # it halves again, for SwiGLU
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    return {
        "d_model": shape.hidden_size,
        "n_heads": heads,
        "n_kv_heads": None if kv_heads == heads else kv_heads,
        "n_layers": shape.num_hidden_layers,
        **({"mlp_ratio": ratio} if not rest else {"mlp_hidden_size": 2 * shape.intermediate_size}),
        "activation_type": "swiglu",
        "block_type": "sequential",
        "rope": True,
        "flash_attention": False,
        "attention_dropout": shape.attention_dropout,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
        "clip_qkv": shape.clip_qkv,
        "layer_norm_type": "default",
        "layer_norm_with_affine": False,
        "bias_for_layer_norm": False,
        "attention_layer_norm": False,
        "attention_layer_norm_with_affine": False,
        "include_bias": False,
        "weight_tying": shape.tie_word_embeddings,
        "scale_logits": False,
        "max_sequence_length": recipe.sequence_length,  # the length of its sequences; positions are rotary
        "vocab_size": vocabulary_size,
        "embedding_size": shape.vocab_size,
        "eos_token_id": shape.eos_token_id,
        "pad_token_id": shape.pad_token_id,
        "init_device": "cpu",
        **({"init_fn": "mitchell"} if model.initialisation == "mitchell" else {"init_fn": "normal", "init_std": 0.02}),
    }


def recipe_settings(recipe: RecipeConfig, steps: int) -> dict[str, Any]:
    """Optimizer, schedule, batch, duration."""
    starts = None if recipe.warmup_start_share == 0.1 else recipe.warmup_start_share * recipe.learning_rate
    return {
        "optimizer": {
            "name": "adamw",
            "learning_rate": recipe.learning_rate,
            "weight_decay": recipe.weight_decay,
            "betas": list(recipe.betas),
            "eps": recipe.epsilon,
            "decay_norm_and_bias": False,
            "decay_embeddings": recipe.decay_embeddings,
        },
        "scheduler": {
            "name": "cosine_with_warmup",
            "units": "steps",
            "t_warmup": recipe.warmup(steps),
            "alpha_f": recipe.final_learning_rate_share,
            "warmup_min_lr": starts,  # null: a tenth of the peak
        },
        "max_duration": f"{int(recipe.epochs)}ep" if _in_epochs(recipe) else steps,
        "stop_at": steps,  # without it, the trainer takes up to ten steps more than max_duration
        "global_train_batch_size": recipe.batch_sequences,
        "max_grad_norm": recipe.gradient_clip,
        "precision": "amp_bf16" if recipe.dtype == "bfloat16" else "fp32",
        "softmax_auxiliary_loss": False,
    }


def trainer_settings(trainer: TrainerConfig, steps: int) -> dict[str, Any]:
    """Micro batches, FSDP, checkpoints."""
    return {
        "device_train_microbatch_size": trainer.micro_batch_sequences,
        "distributed_strategy": "fsdp",
        "fsdp": {"wrapping_strategy": None, "precision": "mixed", "use_orig_params": True},
        "evaluators": [],
        "eval_interval": steps + 1,
        "save_folder": "run",
        "save_overwrite": True,
        "try_load_latest_save": True,
        "save_data_indices": False,
        "save_interval": trainer.checkpoint_every,
        "save_num_checkpoints_to_keep": trainer.checkpoints_kept,
        "save_interval_unsharded": steps,  # once, at the end
        "save_num_unsharded_checkpoints_to_keep": 1,
        "console_log_interval": trainer.log_every,
    }


def data_settings(files: list[Path], dtype: str, folder: Path) -> dict[str, Any]:
    """The token files as they are."""
    return {
        "paths": [_relative(file, folder) for file in files],
        "memmap_dtype": dtype,
        "pad_direction": "right",
        "drop_last": True,
        "num_workers": 0,
    }


def _in_epochs(recipe: RecipeConfig) -> bool:
    """Whether the package itself can be told the epochs: it counts whole ones."""
    return recipe.steps is None and recipe.epochs == int(recipe.epochs)


def _sequences(tokens: Path, dtype: str, length: int) -> tuple[int, list[Path]]:
    """(sequences of all files, the files that hold any); the package's last target is a sequence's own last token."""
    width = {"uint16": 2, "uint32": 4}[dtype]
    counts = {file: file.stat().st_size // width // length for file in sorted(tokens.glob("*.npy"))}
    return sum(counts.values()), [file for file, count in counts.items() if count]


def _relative(target: Path, start: Path) -> str:
    return Path(os.path.relpath(target.resolve(), start.resolve())).as_posix()
