"""What olmo-core's Trainer calls on our behalf: metrics.csv and the trackers, progress, validation, old checkpoints.

Shapes: B sequences, L tokens of a sequence.
"""

from __future__ import annotations

import math
import pickle
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from olmo_core.train.callbacks import Callback
from olmo_core.train.common import OPTIM_GRAD_NORM_METRIC, TRAIN_CE_LOSS_METRIC

from pretrain import olmo, throughput
from pretrain.loop import random_seed
from pretrain.tracking import Trackers
from toedit.console import Progress, human, note
from toedit.errors import Diverged

if TYPE_CHECKING:
    from pretrain.olmo_run import OlmoTraining

_VALIDATION = "validation loss"
_RATE = "optim/LR (group 0)"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Reporter(Callback):
    """One for a training; every rank has its own, the first one writes."""

    priority: ClassVar[int] = 2  # before the checkpointer: it saves what this has seen to be sound

    def __init__(self, training: OlmoTraining) -> None:
        self.training = training
        self.trackers: Trackers | None = None
        self.progress: Progress | None = None
        self.detail, self.speed = "", dict[str, float]()
        self.handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def pre_train(self) -> None:
        # olmo-core would note a signal and stop some steps later; ours stop at once, the last checkpoint stands.
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        training, first = self.training, self.step
        self.window = time.perf_counter(), first
        if not training.ranks.is_first:
            return
        if first:
            note(f"pretrain: resuming after step {first} of {training.steps}")
        self.trackers = Trackers(training.job, first)
        self.peak = throughput.peak_flops_per_second(training.job.config, training.ranks)
        title = f"pretrain {training.job.name} ({human(training.parameters)} parameters, olmo-core)"
        self.progress = Progress(title, training.steps * training.step_tokens)
        self.progress.__enter__()
        self.progress.skip(first * training.step_tokens)
        self.window = time.perf_counter(), first

    def pre_step(self, batch: dict[str, Any]) -> None:
        training = self.training
        # What is random follows from the step, so that a checkpoint holds the same random state however it came about.
        torch.manual_seed(random_seed(training.recipe.seed, self.step - 1, training.ranks.rank))
        rows = training.architecture.vocab_size
        length, files, dtype = training.recipe.sequence_length, training.files, training.token_dtype
        olmo.require_known_ids(batch["input_ids"], batch["index"], files, length, dtype, rows)

    def post_train_batch(self) -> None:
        if self.training.validation is not None and self._is_due(self.step, self.training.trainer.validate_every):
            self.trainer.record_metric(_VALIDATION, self._validate())

    def post_step(self) -> None:
        if self.progress is not None:
            self.progress.advance(self.training.step_tokens, self.detail)

    def log_metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Called in order for every step, a few at a time, and always before a checkpoint is written."""
        loss, norm = metrics.get(TRAIN_CE_LOSS_METRIC), metrics.get(OPTIM_GRAD_NORM_METRIC)
        if loss is None or norm is None:
            return
        if not math.isfinite(norm):
            raise diverged(self.training, step)
        trainer = self.training.trainer
        saves = self._is_due(step, trainer.checkpoint_every)
        if self.trackers is None or not (saves or _VALIDATION in metrics or step % trainer.log_every == 0):
            return
        row = {"tokens": step * self.training.step_tokens, "loss": loss, "learning_rate": metrics[_RATE]}
        row["gradient_norm"] = norm
        if _VALIDATION in metrics:
            mean = metrics[_VALIDATION]
            row |= {"validation_loss": mean, "validation_perplexity": math.exp(min(mean, 700.0))}
        now, (then, then_step) = time.perf_counter(), self.window
        if step > then_step:
            rate = (step - then_step) * self.training.step_tokens / (now - then)
            self.window, self.speed["tokens_per_second"] = (now, step), rate
            self.speed["mfu"] = rate * self.training.token_flops / self.peak
            self.detail = f"loss {loss:.3f}, {human(rate)} tokens/s now, MFU {self.speed['mfu']:.0%}"
        self.trackers.log(step, {**row, **self.speed})

    def post_checkpoint_saved(self, path: Any) -> None:
        if self.training.ranks.is_first:
            _forget_origin(Path(path) / "model_and_optim" / ".metadata")
            keep_newest(self.training.state, self.training.trainer.checkpoints_kept)

    def on_error(self, exc: BaseException) -> None:
        if self.progress is not None:
            self.progress.__exit__(type(exc), exc, None)
            self.progress = None

    def close(self) -> None:
        if self.progress is not None:
            self.progress.__exit__(None, None, None)
            self.progress = None
        if self.trackers is not None:
            self.trackers.close()
            self.trackers = None

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.training.steps

    @torch.no_grad()
    def _validate(self) -> float:
        """Mean loss on the first validation sequences. Every rank makes as many passes, or FSDP would wait forever."""
        training = self.training
        assert training.validation is not None
        count = min(training.trainer.validation_sequences, len(training.validation))
        passes = math.ceil(count / (training.ranks.count * training.micro))
        total = torch.zeros((), device=training.ranks.device, dtype=torch.float64)
        for number in range(passes):
            first = (number * training.ranks.count + training.ranks.rank) * training.micro
            rows = [training.validation.sequence(index) for index in range(first, min(first + training.micro, count))]
            token_BL = torch.from_numpy(np.stack(rows or [training.validation.sequence(0)])).to(training.ranks.device)
            logit_BLV = training.logits(token_BL[:, :-1])
            loss = torch.nn.functional.cross_entropy(
                logit_BLV.flatten(0, 1), token_BL[:, 1:].flatten(), reduction="sum"
            )
            total += loss.double() if rows else 0.0
        return training.ranks.total_(total).item() / (count * training.recipe.sequence_length)


def diverged(training: OlmoTraining, step: int) -> Diverged:
    """The error for a loss or gradient that is no number."""
    last = newest(training.state)
    stands = f"the checkpoint {last} stands" if last else "there is no checkpoint yet"
    return Diverged(f"the loss or its gradient is not finite at step {step} of {training.steps}; {stands}")


def _forget_origin(file: Path) -> None:
    """Without the random id and the path that olmo-core notes in a checkpoint: two runs give the same bytes."""
    metadata = pickle.loads(file.read_bytes())
    metadata.storage_meta = None
    temporary = file.with_suffix(".tmp")
    temporary.write_bytes(pickle.dumps(metadata))
    temporary.replace(file)


def newest(state: Path) -> Path | None:
    """The last complete checkpoint of olmo-core's, or None."""
    found = _checkpoints(state)
    return found[-1] if found else None


def keep_newest(state: Path, kept: int) -> None:
    """Remove older checkpoints, and what a killed run left half-written."""
    for folder in {*state.glob("step*")} - {*_checkpoints(state)[-kept:]}:
        shutil.rmtree(folder)


def _checkpoints(state: Path) -> list[Path]:
    found = [path.parent for path in state.glob("step*/.metadata.json") if path.parent.name[4:].isdigit()]
    return sorted(found, key=lambda folder: int(folder.name[4:]))
