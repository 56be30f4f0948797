"""`trainer=olmo` on one rank: olmo-core's Trainer, data loader, optimizer, schedule, FSDP and checkpoints, configured.

Runs where ai2-olmo-core is installed (olmo.py finds that Python; launch.py starts the ranks). Reads the `*.npy` of a
tokens artifact as they are. Writes what the other trainers write: `hf/`, `metrics.csv`, and `state/stepN/`, the last
checkpoint, in olmo-core's own format.

Shapes: B sequences, L tokens of a sequence, V rows of the LM head.
"""

from __future__ import annotations

import io
import logging
import re
import shutil
import warnings
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor

from pretrain import export, models, olmo, olmo_model, throughput
from pretrain.base import starting_architecture, starting_model
from pretrain.data import Sequences, TokenSequences, shares
from pretrain.job import OUTCOME, Job
from pretrain.ranks import Ranks, join
from toedit.console import note
from toedit.errors import BadConfiguration
from toedit.tokenizing import load_tokenizer
from toedit.workspace import read_manifest, write_json

# Of torch, about what olmo-core does on purpose.
_WARNINGS = (
    "torch.distributed is disabled",
    "DTensor random operators may not have complete support",
    "called a synchronizing CUDA operation",
)


def run(job: Job) -> None:
    """Train on this process or rank, from the last checkpoint or from scratch, and export the model."""
    olmo.require_package()
    with (
        join(job.config.trainer) as ranks,
        throughput.process_settings(job.config, ranks),
        warnings.catch_warnings(),
    ):
        _prepare(job, ranks)
        training = OlmoTraining(job, ranks)
        training.run()
        training.finish()


def _prepare(job: Job, ranks: Ranks) -> None:
    """What olmo-core wants of a process, and quiet: what it logs, errors included, we say in our own words."""
    from olmo_core.distributed.utils import init_distributed
    from olmo_core.utils import seed_all

    logging.getLogger("olmo_core").setLevel(logging.CRITICAL)
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message, UserWarning)
    seed_all(job.config.recipe.seed % 2**32)  # a checkpoint holds the random states of Python and NumPy, too
    if ranks.count > 1:
        with redirect_stdout(io.StringIO()):  # it prints where it may not log
            init_distributed(backend=torch.distributed.get_backend())  # the group is there: this sets the rest


class OlmoTraining:
    """One training on one rank. Has what export.py asks of a training."""

    def __init__(self, job: Job, ranks: Ranks) -> None:
        self.job, self.ranks, self.recipe, self.trainer = job, ranks, job.config.recipe, job.config.trainer
        tokens = read_manifest(job.tokens)
        self.vocabulary_size = load_tokenizer(job.tokens / "tokenizer").vocabulary_size
        self.eos_id, self.token_dtype = tokens["identity"]["eos_id"], tokens["identity"]["dtype"]
        self.architecture = starting_architecture(job.config, job.base, self.vocabulary_size, self.eos_id)
        models.require_positions(self.architecture, self.recipe)
        olmo.require_expressible(self.architecture)
        length, rows, seed = self.recipe.sequence_length, self.architecture.vocab_size, self.recipe.seed
        # For export.py's probe: olmo-core reads the files itself.
        self.data: Sequences = TokenSequences(job.tokens, tokens, length, seed, rows)
        held_out = job.validation
        self.validation = TokenSequences(held_out, read_manifest(held_out), length, seed, rows) if held_out else None
        self.files = olmo.token_files(job.tokens)
        self.sequences = olmo.count_sequences(job.tokens, self.token_dtype, length)
        self.steps = olmo.total_steps(self.recipe, self.sequences)
        _, self.micro = shares(self.recipe.batch_sequences, ranks.count, self.trainer.micro_batch_sequences)
        self.step_tokens = self.recipe.batch_sequences * length
        self.parameters = models.count_parameters(self.architecture)
        layers, width = self.architecture.num_hidden_layers, self.architecture.hidden_size
        self.token_flops = throughput.training_flops_per_token(self.parameters, layers, width, length)
        self.state = job.folder / "state"
        self.work = self.state / ".olmo"
        if ranks.is_first:
            shutil.rmtree(self.work, ignore_errors=True)  # a killed run may have left half an order of the data
        ranks.wait()
        self.train_module = self._train_module()
        self.weights = _Weights(self)
        self.fit = self._trainer()

    def _train_module(self) -> Any:
        """Model, optimizer and schedule; weights are those that every trainer of this project begins with."""
        from olmo_core.optim import AdamWConfig, CosWithWarmup, OptimGroupOverride
        from olmo_core.train.train_module import TransformerTrainModuleConfig

        recipe, device = self.recipe, self.ranks.device
        embeddings = ["embeddings.weight"]
        if not self.architecture.tie_word_embeddings:
            embeddings.append("lm_head.w_out.weight")
        undecayed = [OptimGroupOverride(params=embeddings, opts={"weight_decay": 0.0})]
        optimizer = AdamWConfig(
            lr=recipe.learning_rate,
            betas=(recipe.betas[0], recipe.betas[1]),
            eps=recipe.epsilon,
            weight_decay=recipe.weight_decay,
            fused=True,
            group_overrides=None if recipe.decay_embeddings else undecayed,
        )
        warmup = recipe.warmup(self.steps)
        schedule = CosWithWarmup(
            warmup=warmup,
            alpha_f=recipe.final_learning_rate_share,
            warmup_min_lr=recipe.learning_rate * recipe.warmup_start_share if warmup else 0.0,
        )
        compiled = throughput.compiles(self.job.config, self.ranks, 0.0)
        if compiled and device.type != "cuda":
            raise BadConfiguration("trainer.compile=true: olmo-core compiles on a GPU only, and this machine has none")
        config = TransformerTrainModuleConfig(
            rank_microbatch_size=self.micro * recipe.sequence_length,
            max_sequence_length=recipe.sequence_length,
            optim=optimizer,
            scheduler=schedule,
            max_grad_norm=recipe.gradient_clip,
            compile_model=compiled,
            **self._precision(),
        )
        model = olmo_model.transformer_config(self.architecture, device, recipe.dtype).build(init_device="meta")
        module = config.build(model, device=device)
        start = starting_model(self.job.config, self.job.base, self.architecture)
        olmo_model.load_weights(module.model, start.state_dict())
        return module

    def _precision(self) -> dict[str, Any]:
        """FSDP2 between ranks, weights in float32 and products in the recipe's type; autocast in one process."""
        from olmo_core.config import DType
        from olmo_core.distributed.parallel import DataParallelType
        from olmo_core.train.train_module import TransformerDataParallelConfig

        dtype = DType(self.recipe.dtype)
        if self.ranks.count == 1:
            return {"autocast_precision": dtype if self.recipe.dtype == "bfloat16" else None}
        fsdp = TransformerDataParallelConfig(DataParallelType.fsdp, param_dtype=dtype, reduce_dtype=DType.float32)
        return {"dp_config": fsdp}

    def _trainer(self) -> Any:
        """olmo-core's Trainer with its data loader; it loads the last checkpoint when it starts."""
        from olmo_core.data import NumpyDataLoaderConfig, NumpyDatasetDType, NumpyFSLDatasetConfig, TokenizerConfig
        from olmo_core.data.collator import DataCollator
        from olmo_core.train import Duration, TrainerConfig
        from olmo_core.train.callbacks import CheckpointerCallback
        from olmo_core.train.callbacks.checkpointer import CheckpointRemovalStrategy
        from olmo_core.train.checkpoint import CheckpointerConfig

        from pretrain.olmo_callback import Reporter

        pad_id = self.architecture.pad_token_id if self.architecture.pad_token_id is not None else self.eos_id
        rows, device = self.architecture.vocab_size, self.ranks.device
        dataset = NumpyFSLDatasetConfig(
            tokenizer=TokenizerConfig(vocab_size=rows, eos_token_id=self.eos_id, pad_token_id=pad_id),
            paths=[str(file) for file in self.files],
            dtype=NumpyDatasetDType(self.token_dtype),
            sequence_length=self.recipe.sequence_length,
            include_instance_metadata=False,
            work_dir=str(self.work),
        ).build()
        loader = NumpyDataLoaderConfig(
            global_batch_size=self.step_tokens,
            seed=self.recipe.seed,
            work_dir=str(self.work),
            target_device_type=device.type,
        ).build(
            dataset, collator=DataCollator(pad_token_id=pad_id), dp_process_group=self.train_module.dp_process_group
        )
        assert len(dataset) == self.sequences
        self.reporter = Reporter(self)
        saves = CheckpointerCallback(
            save_interval=self.trainer.checkpoint_every,
            save_async=False,
            pre_train_checkpoint=False,
            max_checkpoints=None,  # Reporter removes old ones, an earlier run's too
            remove=CheckpointRemovalStrategy.never,
        )
        return TrainerConfig(
            save_folder=str(self.state),
            work_dir=str(self.work),
            checkpointer=CheckpointerConfig(save_thread_count=1),  # with more, bytes would depend on their timing
            save_overwrite=True,  # a killed run may have left the same step half-written
            device=str(device),
            max_duration=Duration.steps(self.steps),
            metrics_collect_interval=self.trainer.log_every,
            async_bookkeeping=False,  # a loss that is no number must stop us before the next checkpoint
            callbacks={"toedit": self.reporter, "checkpointer": saves},
            **self._kept_optimizer(),
        ).build(self.train_module, loader)

    def _kept_optimizer(self) -> dict[str, Any]:
        """Where the first run loads the optimizer's state from: the base's own, without its step and learning rate."""
        base = self.job.base
        if base is None or self.job.config.base.optimizer != "kept":
            return {}
        if any((base / "state").glob("step*/model_and_optim")):
            return {"load_path": str(base / "state"), "load_trainer_state": False, "load_optim_state": True}
        if self.ranks.is_first:
            note(f"base.optimizer=kept: {base} brings no state of olmo-core; AdamW's moments begin at zero")
        return {}

    def run(self) -> None:
        """All steps that are left."""
        from pretrain.olmo_callback import diverged

        try:
            self.fit.fit()
        except RuntimeError as error:
            found = re.search(r"loss encountered at step (\d+)", str(error))
            if found is None:
                raise
            raise diverged(self, int(found[1])) from None

    @torch.no_grad()
    def logits(self, token_BL: Tensor) -> Tensor:
        """`logit_BLV` in float32."""
        self.train_module._set_model_mode("eval")
        logit_BLV: Tensor = self.train_module.model_forward(token_BL)
        return logit_BLV.float()

    def finish(self) -> None:
        """Export the model, check it, say how it went; of the checkpoints only the last stays."""
        from pretrain.olmo_callback import keep_newest

        difference = export.export(self)
        if not self.ranks.is_first:
            return
        keep_newest(self.state, 1)
        shutil.rmtree(self.work, ignore_errors=True)
        counts = {"steps": self.steps, "tokens_seen": self.steps * self.step_tokens}
        counts |= {"parameters": self.parameters, "sequences": self.sequences}
        runtime: dict[str, Any] = {**self.reporter.speed, "export_difference": difference}
        runtime |= {"ai2-olmo-core": olmo.installed_version(), "torch": torch.__version__}
        write_json(self.job.folder / OUTCOME, {"counts": counts, "runtime": runtime})


class _Weights:
    """The trained model as export.py asks for it."""

    def __init__(self, training: OlmoTraining) -> None:
        self.training = training
        self.language_model = self

    def eval(self) -> _Weights:
        return self

    def __call__(self, token_BL: Tensor) -> Tensor:
        return self.training.logits(token_BL)

    def full(self) -> dict[str, Tensor]:
        return olmo_model.whole_weights(self.training.train_module.model)
