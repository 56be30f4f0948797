"""What a rank of a training with the legacy `olmo` package runs; copied beside every `olmo.yaml` as `train.py`.

The wheel of ai2-olmo holds the trainer, not the script that starts it: this is that script. It runs in the environment
of that package, so it imports nothing of this project.

Reads `olmo.yaml`, whose paths are relative to its folder; resumes from the newest checkpoint in `save_folder`, a
folder that is relative to the current one. Writes there:
    step500/, step2003-unsharded/   checkpoints, sharded and (the last) whole
    metrics.csv                     loss, learning rate, norm of the gradient
    hf/                             at the end: the model as Transformers' OlmoForCausalLM, with the tokenizer

    bash train.sh my-run [key=value ...]                              keys of olmo.yaml, e.g. model.flash_attention=true
    python train.py olmo.yaml --export my-run/step2003-unsharded out   a whole checkpoint as a Hugging Face folder

Shapes: B sequences, L tokens of a sequence.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from olmo.config import CheckpointType, TrainConfig
from olmo.data import build_train_dataloader
from olmo.eval import build_evaluators
from olmo.model import OLMo
from olmo.optim import build_optimizer, build_scheduler
from olmo.torch_util import get_global_rank, get_local_rank, get_world_size, seed_all
from olmo.train import Trainer
from olmo.util import clean_opt, find_latest_checkpoint, prepare_cli_environment
from torch.distributed.fsdp import FullyShardedDataParallel as Fsdp

COLUMNS = {
    "step": None,
    "tokens": None,
    "loss": "train/CrossEntropyLoss",
    "learning_rate": "optim/learning_rate_group0",
    "gradient_norm": "optim/total_grad_norm",
}
_WRITES = {"attn_out": "self_attn.o_proj", "ff_out": "mlp.down_proj"}


class RecordingTrainer(Trainer):
    """The package's trainer; what it logs to the screen goes into metrics.csv, too."""

    def log_metrics_to_console(self, prefix: str, metrics: dict[str, float]) -> None:
        super().log_metrics_to_console(prefix, metrics)
        if "train/CrossEntropyLoss" in metrics:
            row = {"step": self.global_step, "tokens": self.global_train_tokens_seen}
            row |= {column: f"{metrics[key]:.9g}" for column, key in COLUMNS.items() if key in metrics}
            with self.metrics_file().open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)

    def metrics_file(self) -> Path:
        return Path(self.cfg.save_folder) / "metrics.csv"

    def begin_metrics(self) -> None:
        """Keep the rows up to the step from which the training goes on."""
        kept: list[dict[str, str]] = []
        if self.metrics_file().is_file():
            with self.metrics_file().open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= self.global_step]
        with self.metrics_file().open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)


# --- a training -------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> None:
    path = Path(arguments[0]).resolve()
    if arguments[1:2] == ["--export"]:
        export(load(path, []), Path(arguments[2]), Path(arguments[3]))
        return
    end_with_parent()
    is_cuda = torch.cuda.is_available()
    if is_cuda:
        torch.cuda.set_device(get_local_rank())
    dist.init_process_group("nccl" if is_cuda else "gloo")
    prepare_cli_environment()
    warnings.filterwarnings("ignore", category=FutureWarning)  # hundreds: FSDP as the package uses it is an old one
    try:
        train(load(path, arguments[1:]), torch.device("cuda", get_local_rank()) if is_cuda else torch.device("cpu"))
    finally:
        dist.destroy_process_group()


def end_with_parent() -> None:
    """A launcher that was killed must not leave ranks behind that write into the folder which the next one resumes."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(75)

    threading.Thread(target=watch, daemon=True).start()


def load(path: Path, overrides: list[str]) -> TrainConfig:
    """The configuration, its paths made absolute."""
    config = TrainConfig.load(path, [clean_opt(override) for override in overrides])
    config.data.paths = [str(path.parent / file) for file in config.data.paths]
    missing = [file for file in config.data.paths if not Path(file).is_file()]
    if missing:
        raise SystemExit(f"{missing[0]}: does not exist; {path.name} names token files relative to its own folder")
    config.tokenizer.identifier = str(path.parent / config.tokenizer.identifier)
    config.model.precision = config.precision
    return config


def train(config: TrainConfig, device: torch.device) -> None:
    """Build what the package's own functions build, resume, train, export."""
    if config.reset_optimizer_state or config.compile is not None:
        raise SystemExit("reset_optimizer_state and compile: not supported by this script")
    folder = Path(config.save_folder).resolve()
    config.save_folder = str(folder)
    if get_global_rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
    dist.barrier()
    config.device_train_batch_size, rest = divmod(config.global_train_batch_size, get_world_size())
    if rest:
        raise SystemExit(f"global_train_batch_size={config.global_train_batch_size}: not a multiple of the ranks")
    if device.type == "cpu":
        # A checkpoint holds the state of CUDA's random generator, asked for in any case; nothing draws from it here.
        cuda: Any = torch.cuda
        cuda.get_rng_state, cuda.set_rng_state = torch.random.get_rng_state, lambda state: None
        if get_world_size() > 1:
            config.save_interval_unsharded = None  # gathering a whole one ends in a segmentation fault there
    seed_all(config.seed)
    loader = build_train_dataloader(config)
    evaluators = build_evaluators(config, device)
    model = OLMo(config.model)  # on the CPU, the same on every rank: the seed is
    sharded = shard(model, config, device)
    with RecordingTrainer(
        cfg=config,
        epoch=config.epoch,
        model=model,
        dist_model=sharded,
        optim=build_optimizer(config, sharded),
        scheduler=build_scheduler(config),
        train_loader=loader,
        device=device,
        evaluators=evaluators,
    ) as trainer:
        restore(trainer, config)
        if get_global_rank() == 0:
            trainer.begin_metrics()
        if trainer.global_step < trainer.max_steps:
            trainer.fit()
    # Not as a full state_dict: with that, several ranks on CPUs die of a segmentation fault.
    with Fsdp.summon_full_params(sharded, writeback=False):
        if get_global_rank() == 0:
            weights = {name: weight.detach().cpu().clone() for name, weight in model.named_parameters()}
    if get_global_rank() == 0:
        write_hugging_face(weights, config, folder / "hf")
    dist.barrier()


def shard(model: OLMo, config: TrainConfig, device: torch.device) -> Fsdp:
    """The model under FSDP, as the configuration says."""
    model.set_activation_checkpointing(config.activation_checkpointing)
    return Fsdp(
        model,
        sharding_strategy=config.fsdp.sharding_strategy,
        mixed_precision=config.fsdp_precision,
        auto_wrap_policy=model.get_fsdp_wrap_policy(config.fsdp.wrapping_strategy),
        use_orig_params=config.fsdp.use_orig_params,
        limit_all_gathers=True,
        device_id=device,
    )


def restore(trainer: Trainer, config: TrainConfig) -> None:
    """Go on from the newest checkpoint of this run, else start from `load_path`, where that is given."""
    newest = find_latest_checkpoint(config.save_folder) if config.try_load_latest_save else None
    source = newest or config.load_path
    if source is not None:
        is_whole = str(source).rstrip("/").endswith("-unsharded")
        trainer.restore_checkpoint(
            source,
            checkpoint_type=CheckpointType.unsharded if is_whole else CheckpointType.sharded,
            load_trainer_state=newest is not None or not config.reset_trainer_state,
        )


# --- the model as a Hugging Face folder -------------------------------------------------------------------------------


def export(config: TrainConfig, checkpoint: Path, out: Path) -> None:
    """Write the whole checkpoint `checkpoint` as a Hugging Face folder."""
    if not (checkpoint / "model.pt").is_file():
        raise SystemExit(f"{checkpoint}: no model.pt: only whole checkpoints (step…-unsharded) can be exported")
    weights = torch.load(checkpoint / "model.pt", map_location="cpu", weights_only=True)
    write_hugging_face(weights, config, out)


def write_hugging_face(weights: dict[str, torch.Tensor], config: TrainConfig, out: Path) -> None:
    """The same model in Transformers, checked against this one, and its tokenizer."""
    from transformers import OlmoConfig, OlmoForCausalLM

    old = config.model
    shape = OlmoConfig(
        vocab_size=old.embedding_size or old.vocab_size,
        hidden_size=old.d_model,
        intermediate_size=(old.mlp_hidden_size or old.mlp_ratio * old.d_model) // 2,
        num_hidden_layers=old.n_layers,
        num_attention_heads=old.n_heads,
        num_key_value_heads=old.effective_n_kv_heads,
        max_position_embeddings=old.max_sequence_length,
        tie_word_embeddings=old.weight_tying,
        clip_qkv=old.clip_qkv,
        attention_dropout=old.attention_dropout,
        bos_token_id=None,
        eos_token_id=old.eos_token_id,
        pad_token_id=old.pad_token_id,
    )
    model = OlmoForCausalLM(shape).float().eval()
    model.load_state_dict(renamed(weights, shape), strict=not old.weight_tying)
    model.tie_weights()
    require_same_logits(weights, config, model)
    model.save_pretrained(out)
    shutil.copytree(Path(config.tokenizer.identifier).parent, out, dirs_exist_ok=True)


def renamed(weights: dict[str, torch.Tensor], shape: Any) -> dict[str, torch.Tensor]:
    """The weights under Transformers' names: what `olmo` keeps in one matrix is taken apart."""
    size = shape.hidden_size // shape.num_attention_heads
    parts = [shape.hidden_size, size * shape.num_key_value_heads, size * shape.num_key_value_heads]
    found = {"model.embed_tokens.weight": weights["transformer.wte.weight"]}
    if "transformer.ff_out.weight" in weights:
        found["lm_head.weight"] = weights["transformer.ff_out.weight"]
    for name, weight in weights.items():
        match = re.fullmatch(r"transformer\.blocks\.(\d+)\.(\w+)\.weight", name)
        if match is None:
            continue
        layer = f"model.layers.{match[1]}"
        if match[2] == "att_proj":
            for letter, part in zip("qkv", weight.split(parts), strict=True):
                found[f"{layer}.self_attn.{letter}_proj.weight"] = part
        elif match[2] == "ff_proj":  # SwiGLU's gate is the second half
            found[f"{layer}.mlp.up_proj.weight"], found[f"{layer}.mlp.gate_proj.weight"] = weight.chunk(2)
        else:
            found[f"{layer}.{_WRITES[match[2]]}.weight"] = weight
    return {name: weight.float() for name, weight in found.items()}


def require_same_logits(weights: dict[str, torch.Tensor], config: TrainConfig, model: Any) -> None:
    """Refuse an export whose logits are not the trained model's."""
    original = OLMo(config.model, init_params=False).eval()
    original.load_state_dict(weights)
    length = min(config.model.max_sequence_length, 64)
    token_BL = torch.randint(0, config.model.vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (original(token_BL).logits - model(token_BL).logits).abs().max().item()
    if not difference < 1e-3:
        raise SystemExit(f"the exported model's logits differ from the trained one's by {difference:g}")


if __name__ == "__main__":
    # The package's checkpoints hold more than tensors; torch reads such files only when told to.
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    main(sys.argv[1:])
