"""From what LLaMA-Factory leaves to a checkpoint artifact: `hf/`, `adapter/`, `metrics.csv`, `state/`, and its counts.

Reads `<checkpoint>/llamafactory/output/` and the tokenised data; every step can be repeated after a kill.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.llamafactory_files import FOLDER, MERGED, OUTPUT, TOKENIZED
from pretrain.llamafactory_run import CACHE, RUNNING, STATE, TRAINER_LOG
from pretrain.tracking import COLUMNS
from toedit.config import Config
from toedit.errors import UnusableInput
from toedit.priors import model_shape
from toedit.workspace import write_json

_TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja",
)  # fmt: skip
_MODEL = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "*.py")


@dataclass(frozen=True)
class TokenisedData:
    """What the framework made of the rows."""

    examples: int
    """Documents or conversations; of documents, which are cut into sequences, the number is not known: 0."""
    sequences: int
    tokens: int
    """Without padding."""
    filled: int
    """Conversations that are as long as a sequence may be: those that were cut."""


def is_tokenised(folder: Path) -> bool:
    """Whether the tokenised data are complete; the framework would read half of them without a word."""
    return (folder / TOKENIZED / "train" / "dataset_info.json").is_file()


def read_tokenised(folder: Path, method: str, length: int, packed: bool) -> TokenisedData:
    """Count the tokenised data below `folder` (`llamafactory/`); `length`: tokens of a sequence."""
    import pyarrow as pa
    import pyarrow.compute as pc

    examples = sequences = tokens = filled = 0
    capacity = length - 1 if method == "sft" and packed else length  # it keeps one place of a packed sequence free
    for file in sorted((folder / TOKENIZED / "train").glob("data-*.arrow")):
        for batch in pa.ipc.open_stream(pa.memory_map(str(file))):
            sequences += batch.num_rows
            if method == "sft" and packed:
                bounds = batch.column("packing_params").field("sequence_boundaries").to_pylist()
                # The last part of each sequence is padding.
                lengths = np.concatenate([np.diff(row)[:-1] for row in bounds] or [np.zeros(0, int)])
            else:
                lengths = pc.list_value_length(batch.column("input_ids")).to_numpy(zero_copy_only=False)
            tokens += int(lengths.sum())
            if method == "sft":
                examples += len(lengths)
                filled += int((lengths >= capacity).sum())
    return TokenisedData(examples, sequences, tokens, filled)


def training_state(folder: Path) -> dict[str, Any] | None:
    """What the framework says of a finished training; None before that."""
    try:
        state: dict[str, Any] = json.loads((folder / OUTPUT / STATE).read_text())
    except (OSError, ValueError):
        return None
    return state


def loss_rows(history: Iterable[Mapping[str, Any]], data: TokenisedData) -> list[dict[str, Any]]:
    """The rows of metrics.csv."""
    rows = []
    for entry in history:
        if "loss" in entry:
            values = {
                "tokens": round(data.tokens * entry["epoch"]),
                "loss": entry["loss"],
                "learning_rate": entry["learning_rate"],
                "gradient_norm": entry.get("grad_norm"),
            }
            written = {key: f"{value:.9g}" for key, value in values.items() if value is not None}
            rows.append({"step": entry["step"], **written})
    return rows


def write_metrics(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def take_adapter(checkpoint: Path) -> int:
    """Put the adapter into `adapter/`; return its number of weights."""
    output, folder = checkpoint / FOLDER / OUTPUT, checkpoint / "adapter"
    _fill(folder, [output / "adapter_config.json", *output.glob("adapter_model*")])
    return _weights(folder, "adapter_model.safetensors")


@dataclass(frozen=True)
class TokenizerChanges:
    """What the training did to the tokenizer."""

    adds_tokens: bool
    """It has entries that the base's lacks."""
    template: bool
    """Turns are written by a template, which belongs to the model from now on."""
    end: str | None
    """The token that the template made the end of a text."""


def take_model(checkpoint: Path, source: Path, base: Path, changes: TokenizerChanges, card: str) -> int:
    """Put the model of `source` into `hf/`; return its number of weights.

    Its tokenizer is the base's, file for file, where no tokens came to it: Transformers 5 saves tokenizers under class
    names that other versions do not know.
    """
    folder = checkpoint / "hf"
    temporary = checkpoint / ".hf.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    _fill(temporary, [file for pattern in _MODEL for file in sorted(source.glob(pattern))])
    tokenizer = source if changes.adds_tokens else base
    files = [tokenizer / name for name in _TOKENIZER]
    if changes.template:
        files.append(source / "chat_template.jinja")
    for file in files:
        if file.is_file():
            shutil.copyfile(file, temporary / file.name)
    # For training it turns the cache of generation off, and saves that.
    config, own = (json.loads((folder / "config.json").read_text()) for folder in (temporary, base))
    (temporary / "config.json").unlink()
    write_json(temporary / "config.json", {**config, "use_cache": own.get("use_cache", True)})
    if changes.end is not None:
        _end_with(temporary, changes.end)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    parameters = model_shape(temporary).parameters
    if not parameters:
        raise UnusableInput(f"{source}: LLaMA-Factory left no weights")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    return parameters


def keep_state(checkpoint: Path) -> None:
    """The last checkpoint goes to `state/`, the log of losses beside train.log; everything else of the output goes."""
    folder = checkpoint / FOLDER
    output = folder / OUTPUT
    found = sorted(output.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    if found:
        (checkpoint / "state").mkdir(exist_ok=True)
        found[-1].replace(checkpoint / "state" / found[-1].name)
    if (output / TRAINER_LOG).is_file():
        (output / TRAINER_LOG).replace(folder / TRAINER_LOG)
    for name in (OUTPUT, TOKENIZED, MERGED, CACHE):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / RUNNING).unlink(missing_ok=True)


def _fill(folder: Path, files: Iterable[Path]) -> None:
    """The framework's files, as links where the file system has them: a copy of a big model costs minutes."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / file.name
        target.unlink(missing_ok=True)
        try:
            os.link(file.resolve(), target)
        except OSError:
            shutil.copy2(file, target)


def _weights(folder: Path, name: str) -> int:
    from safetensors import safe_open

    with safe_open(folder / name, "numpy") as held:
        return sum(int(np.prod(held.get_slice(key).get_shape())) for key in held.keys())  # noqa: SIM118


def _end_with(folder: Path, end: str) -> None:
    """Make `end` the tokenizer's end of a text, and where generation stops."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            held = json.loads((folder / name).read_text(encoding="utf-8"))
            write_json(folder / name, {**held, "eos_token": end})
    path = folder / "generation_config.json"
    if path.is_file():
        import transformers

        loaded = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        write_json(path, {**json.loads(path.read_text()), "eos_token_id": loaded.convert_tokens_to_ids(end)})


def model_card(name: str, method: str, config: Config, counts: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """README.md of the folder."""
    recipe, adapter = config.recipe, config.adapter
    trained = (
        "all weights"
        if adapter.kind == "none"
        else f"LoRA (rank {adapter.rank}, alpha {adapter.alpha}, {', '.join(adapter.targets)}), merged"
    )
    stage, what = {
        "pt": ("continual_pretrain", "text"),
        "sft": ("sft", f"conversations, written by the template `{config.sft.template}`"),
    }[method]
    warmup = (
        f"{recipe.warmup_steps} steps" if recipe.warmup_share is None else f"{recipe.warmup_share:.0%} of the steps"
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [toedit, llama-factory]
---

# {name}

A model that LLaMA-Factory {versions["llamafactory"]} trained further, by
`python run.py stage={stage} trainer=llamafactory`, on {counts["rows"]:,} rows of {what}.

| | |
|---|---|
| trained | {trained} |
| steps | {counts["steps"]:,} of {recipe.batch_sequences} sequences of {recipe.sequence_length} tokens |
| tokens seen, repetitions counted | {counts["tokens_seen"]:,} |
| peak learning rate | {recipe.learning_rate:g}, warm-up {warmup}, cosine to {recipe.final_learning_rate_share:.0%} |
| precision | {recipe.dtype} |
| seed | {recipe.seed} |

Base and corpus stand in `manifest.json` beside this folder, the whole curve in `metrics.csv`. The licence of the base
holds on.
"""
