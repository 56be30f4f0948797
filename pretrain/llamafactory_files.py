"""LLaMA-Factory's settings: train.yaml and what it names, export.yaml.

Reads the configuration. Writes into `<checkpoint>/llamafactory/`, beside the data (llamafactory_data.py)

    train.yaml           `llamafactory-cli train train.yaml`; paths in it are absolute, so it works from anywhere
    ds_z3.json           DeepSpeed's settings, with llamafactory.sharding=deepspeed
    export.yaml          `llamafactory-cli export export.yaml` merges the adapter, with adapter=lora
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrain.data import shares
from toedit.config import AdapterConfig, Config, RecipeConfig
from toedit.workspace import write_json

FOLDER, OUTPUT, MERGED = "llamafactory", "output", "merged"
DATA, DATASET = "data.jsonl", "corpus"
"""What dataset_info.json calls the data."""
TRAIN, EXPORT, DEEPSPEED, TOKENIZED = "train.yaml", "export.yaml", "ds_z3.json", "tokenized"

OURS = {
    "stage": "stage",
    "do_train": "stage",
    "model_name_or_path": "base.path",
    "trust_remote_code": "base.trust_remote_code",
    "finetuning_type": "adapter",
    "lora_rank": "adapter.rank",
    "lora_alpha": "adapter.alpha",
    "lora_dropout": "adapter.dropout",
    "lora_target": "adapter.targets",
    "adapter_name_or_path": "base.path",
    "dataset": "corpus",
    "dataset_dir": "corpus",
    "tokenized_path": "out",
    "streaming": "corpus",
    "template": "sft.template",
    "cutoff_len": "recipe.sequence_length",
    "packing": "sft.packing",
    "neat_packing": "sft.packing",
    "output_dir": "out",
    "overwrite_output_dir": "out",
    "resume_from_checkpoint": "out",
    "per_device_train_batch_size": "trainer.micro_batch_sequences",
    "gradient_accumulation_steps": "recipe.batch_sequences",
    "max_steps": "recipe.steps",
    "num_train_epochs": "recipe.epochs",
    "learning_rate": "recipe.learning_rate",
    "lr_scheduler_type": "recipe.final_learning_rate_share",
    "lr_scheduler_kwargs": "recipe.final_learning_rate_share",
    "warmup_steps": "recipe.warmup_steps",
    "warmup_ratio": "recipe.warmup_share",
    "weight_decay": "recipe.weight_decay",
    "adam_beta1": "recipe.betas",
    "adam_beta2": "recipe.betas",
    "adam_epsilon": "recipe.epsilon",
    "max_grad_norm": "recipe.gradient_clip",
    "seed": "recipe.seed",
    "bf16": "recipe.dtype",
    "fp16": "recipe.dtype",
    "use_cpu": "trainer.device",
    "ddp_backend": "trainer.device",
    "torch_compile": "trainer.compile",
    "full_determinism": "trainer.deterministic",
    "save_strategy": "trainer.checkpoint_every",
    "save_steps": "trainer.checkpoint_every",
    "save_total_limit": "trainer.checkpoints_kept",
    "save_only_model": "trainer.checkpoint_every",
    "logging_strategy": "trainer.log_every",
    "logging_steps": "trainer.log_every",
    "report_to": "tracker",
    "deepspeed": "llamafactory.sharding",
    "fsdp": "llamafactory.sharding",
    "fsdp_config": "llamafactory.sharding",
}
"""Keys of LLaMA-Factory's YAML that follow from ours."""

_BYTES_A_TOKEN, _SHORT_TRAINING = 4, 20
_DEEPSPEED_SETTINGS = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "zero_allow_untested_optimizer": True,
    "bf16": {"enabled": "auto"},
    "zero_optimization": {
        "stage": 3,
        "overlap_comm": False,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_param_persistence_threshold": "auto",
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}
"""ZeRO-3; `auto` is what train.yaml says."""
_FSDP_SETTINGS = {"version": 2, "reshard_after_forward": True, "state_dict_type": "FULL_STATE_DICT"}


def write_settings(folder: Path, base: Path, config: Config, method: str, use_cpu: bool) -> None:
    """Write train.yaml, and ds_z3.json or export.yaml where asked."""
    folder = folder.resolve()
    if config.llamafactory.sharding == "deepspeed":
        write_json(folder / DEEPSPEED, _DEEPSPEED_SETTINGS)
    data_bytes = data.stat().st_size if (data := folder / DATA).is_file() else 0
    settings = train_settings(folder, base.resolve(), config, method, use_cpu, data_bytes)
    ranks = f"FORCE_TORCHRUN=1 NPROC_PER_NODE={config.trainer.nproc} " if needs_torchrun(config) else ""
    stage = {"pt": "continual_pretrain", "sft": "sft"}[method]
    head = (
        f"# Written by: python run.py stage={stage} trainer=llamafactory\n# Run it with: {ranks}llamafactory-cli train"
    )
    _write_yaml(folder / TRAIN, f"{head} {folder / TRAIN}", settings)
    if config.adapter.kind == "lora":
        head = f"# Merges the adapter: llamafactory-cli export {folder / EXPORT}"
        _write_yaml(folder / EXPORT, head, export_settings(folder, base.resolve(), config, method))


def needs_torchrun(config: Config) -> bool:
    return config.trainer.nproc > 1 or config.llamafactory.sharding != "none"


def train_settings(
    folder: Path, base: Path, config: Config, method: str, use_cpu: bool, data_bytes: int
) -> dict[str, Any]:
    """What train.yaml holds; `folder` is the checkpoint's own for LLaMA-Factory, `data_bytes` the size of the data."""
    recipe, trainer = config.recipe, config.trainer
    share, micro = shares(recipe.batch_sequences, trainer.nproc, trainer.micro_batch_sequences)
    settings: dict[str, Any] = {
        "stage": method,
        "do_train": True,
        "model_name_or_path": str(base),
        "trust_remote_code": config.base.trust_remote_code,
        **_adapter_settings(config.adapter),
        "dataset_dir": str(folder),
        "dataset": DATASET,
        "tokenized_path": str(folder / TOKENIZED),
        **_data_settings(config, method),
        "cutoff_len": recipe.sequence_length,
        "output_dir": str(folder / OUTPUT),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        **_recipe_settings(recipe),
        "bf16": recipe.dtype == "bfloat16",
        "use_cpu": use_cpu,
        **({"ddp_backend": "gloo"} if use_cpu and trainer.nproc > 1 else {}),
        **({"torch_compile": True} if trainer.compile else {}),
        **({"full_determinism": True} if trainer.deterministic else {}),
        "save_strategy": "steps",
        "save_steps": trainer.checkpoint_every,
        "save_total_limit": trainer.checkpoints_kept,
        "logging_strategy": "steps",
        "logging_steps": _log_every(config, data_bytes),
        "report_to": "none",  # the command that starts it draws the curves
    }
    if config.llamafactory.sharding == "deepspeed":
        settings["deepspeed"] = str(folder / DEEPSPEED)
    elif config.llamafactory.sharding == "fsdp":
        settings |= {"fsdp": "full_shard auto_wrap", "fsdp_config": dict(_FSDP_SETTINGS)}
    return {**settings, **config.llamafactory.settings}


def export_settings(folder: Path, base: Path, config: Config, method: str) -> dict[str, Any]:
    """What export.yaml holds: the base's own precision, as `auto` would make bfloat16 of float32."""
    settings = config.llamafactory.settings
    return {
        "model_name_or_path": str(base),
        "adapter_name_or_path": str(folder.parent / "adapter"),
        "trust_remote_code": config.base.trust_remote_code,
        "finetuning_type": "lora",
        **_template(config, method),
        **{key: settings[key] for key in ("resize_vocab", "add_tokens", "add_special_tokens") if key in settings},
        "infer_dtype": _dtype_of(base),
        "export_dir": str(folder / MERGED),
        "export_device": "cpu",
        "export_size": 5,
    }


def _adapter_settings(adapter: AdapterConfig) -> dict[str, Any]:
    if adapter.kind == "none":
        return {"finetuning_type": "full"}
    return {
        "finetuning_type": "lora",
        "lora_rank": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": adapter.dropout,
        "lora_target": ",".join(adapter.targets),
    }


def _data_settings(config: Config, method: str) -> dict[str, Any]:
    """Stage pt packs by itself, to exactly cutoff_len; asked for it by key, it would lose a token a sequence.

    Of the two ways to pack conversations, `neat_packing` keeps them from seeing each other.
    """
    if method == "pt":
        return _template(config, method)
    return {**_template(config, method), "packing": config.sft.packing, "neat_packing": config.sft.packing}


def _template(config: Config, method: str) -> dict[str, Any]:
    """Stage pt writes no turns; without a name, the framework would read the tokenizer's own template and may fail."""
    if method == "pt":
        return {"template": "empty"}
    return {} if config.sft.template == "chat" else {"template": config.sft.template}


def _recipe_settings(recipe: RecipeConfig) -> dict[str, Any]:
    share = recipe.final_learning_rate_share
    return {
        **({"num_train_epochs": recipe.epochs} if recipe.steps is None else {"max_steps": recipe.steps}),
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine_with_min_lr" if share else "cosine",
        **({"lr_scheduler_kwargs": {"min_lr_rate": share}} if share else {}),
        # Below 1, a share of all steps.
        "warmup_steps": recipe.warmup_steps if recipe.warmup_share is None else recipe.warmup_share,
        "weight_decay": recipe.weight_decay,
        "adam_beta1": recipe.betas[0],
        "adam_beta2": recipe.betas[1],
        "adam_epsilon": recipe.epsilon,
        "max_grad_norm": recipe.gradient_clip,
        "seed": recipe.seed,
    }


def _log_every(config: Config, data_bytes: int) -> int:
    """Steps between losses: 1 in a short training, as the framework does not log the last step by itself."""
    recipe, every = config.recipe, config.trainer.log_every
    a_step = recipe.sequence_length * recipe.batch_sequences
    steps = recipe.steps or recipe.epochs * data_bytes / _BYTES_A_TOKEN / a_step
    return 1 if steps < _SHORT_TRAINING * every else every


def _dtype_of(base: Path) -> str:
    held = json.loads((base / "config.json").read_text())
    dtype = held.get("dtype") or held.get("torch_dtype") or "float32"
    return dtype if dtype in ("float32", "bfloat16", "float16") else "float32"


def _write_yaml(path: Path, head: str, settings: Mapping[str, Any]) -> None:
    from omegaconf import OmegaConf

    # The framework reads it with OmegaConf, too: what it writes comes back as it was, `$` in a path included.
    escaped = {key: value.replace("${", "\\${") if isinstance(value, str) else value for key, value in settings.items()}
    path.write_text(f"{head}\n{OmegaConf.to_yaml(OmegaConf.create(escaped))}", encoding="utf-8")
