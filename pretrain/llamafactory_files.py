"""LLaMA-Factory's own files: data, dataset_info.json, train.yaml and what it names, export.yaml.

Reads a corpus artifact (plain, edited or mixed). Writes into `<checkpoint>/llamafactory/`

    data.jsonl           the texts (stage pt), or the instruction rows in their layout (stage sft)
    dataset_info.json    how they are read
    train.yaml           `llamafactory-cli train train.yaml`; paths in it are absolute, so it works from anywhere
    ds_z3.json           DeepSpeed's settings, with llamafactory.sharding=deepspeed
    export.yaml          `llamafactory-cli export export.yaml` merges the adapter, with adapter=lora
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pretrain.data import shares
from toedit.config import AdapterConfig, Config, RecipeConfig
from toedit.console import Progress
from toedit.documents import Document, read_documents, shard_paths
from toedit.errors import UnusableInput
from toedit.instruction_files import common_layout, row_line
from toedit.instructions import Record, record_of
from toedit.workspace import Workspace, write_json

FOLDER, OUTPUT, MERGED = "llamafactory", "output", "merged"
DATA, DATASET_INFO, DATASET = "data.jsonl", "dataset_info.json", "corpus"
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


# --- data -------------------------------------------------------------------------------------------------------------


def write_data(workspace: Workspace, method: str) -> int:
    """Write data.jsonl and dataset_info.json unless an earlier run did; return the number of rows.

    Raises UnusableInput where stage sft finds no instruction rows.
    """
    corpus, name = workspace.inputs["corpus"], f"{FOLDER}/{DATA}"
    if (done := workspace.finished("data")) is not None:
        return int(done["rows"])
    with workspace.shard("data", name) as ((path,), record):
        layout, first = ({}, None) if method == "pt" else _layout_of(corpus)
        count = 0
        with path.open("wb") as file, Progress("data for LLaMA-Factory", None, "documents") as progress:
            for row in _texts(corpus) if method == "pt" else _rows(corpus, layout, first):
                file.write(row_line(row))
                count += 1
                progress.advance(1)
        if not count:
            raise UnusableInput(
                f"{corpus}: holds no instruction rows; stage=sft wants corpus.layout=alpaca, sharegpt or messages"
                if method == "sft"
                else f"{corpus}: holds no documents"
            )
        described = {"columns": {"prompt": "text"}} if method == "pt" else layout
        write_json(workspace.path / FOLDER / DATASET_INFO, {DATASET: {"file_name": DATA, **described}})
        record["rows"] = count
    return count


def _documents(corpus: Path) -> Iterator[Document]:
    for shard in shard_paths(corpus):
        yield from read_documents(shard)


def _texts(corpus: Path) -> Iterator[dict[str, Any]]:
    for document in _documents(corpus):
        yield {"text": document["text"]}


def _layout_of(corpus: Path) -> tuple[dict[str, Any], Record | None]:
    """(the layout that all rows have in common, the first row with earlier turns)."""
    layout: dict[str, Any] = {}
    first = None
    for document in _documents(corpus):
        if (record := record_of(document)) is not None:
            layout = common_layout(layout, record.layout)
            history = record.layout["columns"].get("history")
            if first is None and history and record.row.get(history):
                first = record
    return layout, first


def _rows(corpus: Path, layout: Mapping[str, Any], first: Record | None) -> Iterator[dict[str, Any]]:
    """The rows, `first` before the others: the framework takes a column's type from the first rows of a file."""
    if first is not None:
        yield read_columns(first.row, layout)
    waiting = first
    for document in _documents(corpus):
        record = record_of(document)
        if waiting is not None and record == waiting:
            waiting = None
        elif record is not None:
            yield read_columns(record.row, layout)


def read_columns(row: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, Any]:
    """Of a row, the columns that LLaMA-Factory reads, each with one type in all rows: it stops at anything else."""
    tags = layout.get("tags", {})
    kept: dict[str, Any] = {}
    for column, name in layout["columns"].items():
        value = row.get(name)
        if column == "messages":
            role, content = tags["role_tag"], tags["content_tag"]
            kept[name] = [{role: turn[role], content: turn[content] or ""} for turn in value or []]
        elif column == "history":
            kept[name] = [[text or "" for text in pair] for pair in value or []]
        elif isinstance(value, (list, dict)):  # tools: it wants them as JSON
            kept[name] = json.dumps(value, ensure_ascii=False) if value else ""
        else:
            kept[name] = value or ""
    return kept


# --- settings ---------------------------------------------------------------------------------------------------------


def write_settings(folder: Path, base: Path, config: Config, method: str, use_cpu: bool) -> None:
    """Write train.yaml, and ds_z3.json or export.yaml where asked."""
    folder = folder.resolve()
    if config.llamafactory.sharding == "deepspeed":
        write_json(folder / DEEPSPEED, _DEEPSPEED_SETTINGS)
    settings = train_settings(folder, base.resolve(), config, method, use_cpu)
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


def train_settings(folder: Path, base: Path, config: Config, method: str, use_cpu: bool) -> dict[str, Any]:
    """What train.yaml holds; `folder` is the checkpoint's own for LLaMA-Factory."""
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
        **({"ddp_backend": "gloo"} if use_cpu and needs_torchrun(config) else {}),
        **({"torch_compile": True} if trainer.compile else {}),
        **({"full_determinism": True} if trainer.deterministic else {}),
        "save_strategy": "steps",
        "save_steps": trainer.checkpoint_every,
        "save_total_limit": trainer.checkpoints_kept,
        "logging_strategy": "steps",
        "logging_steps": trainer.log_every,
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


def _dtype_of(base: Path) -> str:
    held = json.loads((base / "config.json").read_text())
    dtype = held.get("dtype") or held.get("torch_dtype") or "float32"
    return dtype if dtype in ("float32", "bfloat16", "float16") else "float32"


def _write_yaml(path: Path, head: str, settings: Mapping[str, Any]) -> None:
    from omegaconf import OmegaConf

    # The framework reads it with OmegaConf, too: what it writes comes back as it was, `$` in a path included.
    escaped = {key: value.replace("${", "\\${") if isinstance(value, str) else value for key, value in settings.items()}
    path.write_text(f"{head}\n{OmegaConf.to_yaml(OmegaConf.create(escaped))}", encoding="utf-8")
