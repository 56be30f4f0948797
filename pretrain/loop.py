"""The training loop: what every rank does, step by step.

A step is a fixed set of sequences. Every rank takes its share, one micro batch at a time; the loss is the sum over all
tokens of the step divided by their number, so micro batches and ranks change nothing but the order of sums. What is
random in a step (dropout) follows from the seed, the step and the rank.

Shapes: B sequences, L tokens of a sequence.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrain import checkpoints, export, models, throughput
from pretrain.base import starting_architecture, starting_model
from pretrain.data import IGNORED, Batch, shares, total_steps
from pretrain.job import OUTCOME, Job
from pretrain.language_model import LanguageModel, self_check, self_check_packing
from pretrain.optimisation import adamw, learning_rate
from pretrain.ranks import Ranks, join
from pretrain.sequences import open_sequences
from pretrain.tracking import Trackers
from pretrain.weights import ShardedWeights, Weights
from toedit.console import Progress, human, note
from toedit.errors import Diverged
from toedit.tokenizing import load_tokenizer
from toedit.workspace import read_manifest, write_json


def run(job: Job) -> None:
    """Train on this process or rank, from the last checkpoint or from scratch, and export the model."""
    with join(job.config.trainer) as ranks, throughput.process_settings(job.config, ranks):
        training = Training(job, ranks)
        training.run()
        training.finish()


class Training:
    """One training on one rank."""

    def __init__(self, job: Job, ranks: Ranks) -> None:
        self.job, self.ranks, self.recipe, self.trainer = job, ranks, job.config.recipe, job.config.trainer
        tokens = read_manifest(job.tokens)
        vocabulary_size = load_tokenizer(job.tokens / "tokenizer").vocabulary_size
        eos_id = tokens["identity"].get("eos_id", 0)
        self.architecture = starting_architecture(job.config, job.base, vocabulary_size, eos_id)
        models.require_positions(self.architecture, self.recipe)
        rows = self.architecture.get_text_config().vocab_size
        self.data = open_sequences(job.tokens, job.config, rows)
        self.validation = open_sequences(job.validation, job.config, rows) if job.validation else None
        self.steps = total_steps(self.recipe.steps, self.recipe.epochs, self.recipe.batch_sequences, len(self.data))
        self.share, self.micro = shares(self.recipe.batch_sequences, ranks.count, self.trainer.micro_batch_sequences)
        self.step_tokens = self.recipe.batch_sequences * self.recipe.sequence_length
        self._prepare_model()
        self.pending: list[tuple[int, Tensor, Tensor]] = []
        """(step, its mean loss on this rank's share, norm of the gradient) since the last row of metrics."""
        self.speed: dict[str, float] = {}
        self.state = job.folder / "state"
        last = checkpoints.newest(self.state)
        self.first = 0
        if last is not None:
            self.first = checkpoints.load(last, self.weights.parameters, self.optimizer, ranks)
            self.weights.publish()
            if ranks.is_first:
                note(f"training: resuming after step {self.first} of {self.steps}")
        elif job.base is not None and job.config.base.optimizer == "kept":
            self._keep_optimizer(job.base)

    def _keep_optimizer(self, base: Path) -> None:
        """Begin with AdamW's moments as the training of the base left them; the learning rate begins anew."""
        last = checkpoints.newest(base / "state")
        if last is not None:
            checkpoints.load(last, self.weights.parameters, self.optimizer, self.ranks)
            self.weights.publish()
        elif self.ranks.is_first:
            note(f"base.optimizer=kept: {base} brings no optimizer state of ours; AdamW's moments begin at zero")

    def _prepare_model(self) -> None:
        config, ranks = self.job.config, self.ranks
        parameters = models.count_parameters(self.architecture)
        shape = self.architecture.get_text_config()
        length = self.recipe.sequence_length
        self.token_flops = throughput.training_flops_per_token(
            parameters, shape.num_hidden_layers, shape.hidden_size, length
        )
        compiled = throughput.compiles(config, ranks, self.token_flops * self.steps * self.step_tokens)
        attention = throughput.attention(config, ranks, compiled)
        model = starting_model(config, self.job.base, self.architecture, attention).train()
        self_check(model)
        if self.data.ignores and self.job.config.sft.packing:
            self_check_packing(model)
        self.parameters = parameters
        self.embeddings = {
            f"{name}.weight" if name else "weight"
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Embedding) or module is model.get_output_embeddings()
        }
        if compiled:
            self.data.fixed_length = True
            for block in models.blocks(model):
                block.compile(dynamic=False)
        language_model = LanguageModel(model, self.trainer.loss_rows, compiled)
        dtype = getattr(torch, self.recipe.dtype)
        if ranks.count > 1:
            is_hybrid = self.trainer.sharding == "hybrid"
            self.weights: Weights = ShardedWeights(language_model, dtype, ranks, is_hybrid)
        else:
            self.weights = Weights(language_model, dtype, ranks)
        self.optimizer = adamw(self.weights.parameters, self.embeddings, self.recipe)

    def run(self) -> None:
        """All steps that are left."""
        ranks = self.ranks
        self.trackers = Trackers(self.job, self.first) if ranks.is_first else None
        self.peak = throughput.peak_flops_per_second(self.job.config, ranks) if ranks.is_first else math.inf
        self.window, self.detail = (time.perf_counter(), self.first), ""
        title = f"train {self.job.name} ({human(self.parameters)} parameters)"
        try:
            with Progress(title, self.steps * self.step_tokens) as progress:
                progress.skip(self.first * self.step_tokens)
                for step in range(self.first, self.steps):
                    self.step(step)
                    self._after(step + 1)
                    if ranks.is_first:
                        progress.advance(self.step_tokens, self.detail)
        finally:
            if self.trackers:
                self.trackers.close()

    def _after(self, done: int) -> None:
        """What is due after so many steps: validation, a row of metrics, a checkpoint."""
        trainer, is_last = self.trainer, done == self.steps
        saves = is_last or done % trainer.checkpoint_every == 0
        validates = self.validation is not None and (is_last or done % trainer.validate_every == 0)
        if saves or validates or done % trainer.log_every == 0:
            self._log(done, self._validate() if validates else {})
        if saves:  # after _log, which refuses a loss that is no number
            parameters, kept = self.weights.parameters, trainer.checkpoints_kept
            checkpoints.save(self.state, done, parameters, self.optimizer, self.ranks, kept)

    def step(self, step: int) -> None:
        """One optimizer step; `step` counts from 0."""
        torch.manual_seed(random_seed(self.recipe.seed, step, self.ranks.rank))
        rate = learning_rate(step, self.steps, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        first = step * self.recipe.batch_sequences + self.ranks.rank * self.share
        batch = self.data.trained(first, self.share)
        learnt = self._count_learnt(batch)
        loss = torch.zeros((), device=self.ranks.device)
        for start in range(0, self.share, self.micro):
            is_last = start + self.micro >= self.share
            loss += self.weights.backward(self._to_device(batch.rows(start, start + self.micro)), is_last)
        self.weights.normalise(learnt)
        norm = torch.nn.utils.clip_grad_norm_(self.weights.parameters.values(), self.recipe.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.weights.publish()
        self.pending.append((step + 1, loss / learnt, norm))

    def _count_learnt(self, batch: Batch) -> int:
        """Targets of the step, over all ranks; of plain text every token is one."""
        if not self.data.ignores:
            return self.step_tokens
        count = torch.tensor(int((batch.target_BL != IGNORED).sum()), device=self.ranks.device)
        return max(int(self.ranks.total_(count).item()), 1)

    def _to_device(self, batch: Batch) -> list[Tensor | None]:
        moved: list[Tensor | None] = []
        for array in batch:
            tensor = None if array is None else torch.from_numpy(np.ascontiguousarray(array))
            if tensor is not None and self.ranks.device.type == "cuda":
                tensor = tensor.pin_memory().to(self.ranks.device, non_blocking=True)
            moved.append(tensor)
        return moved

    def _log(self, step: int, validation: dict[str, float]) -> None:
        """One row of metrics. The only place that waits for the device, and where a loss that is no number stops us."""
        losses = self.ranks.total_(torch.stack([loss for _, loss, _ in self.pending])).cpu()
        norms = torch.stack([_whole(norm) for _, _, norm in self.pending]).cpu()
        finite = (torch.isfinite(losses) & torch.isfinite(norms)).tolist()
        if not all(finite):
            bad = self.pending[finite.index(False)][0]
            last = checkpoints.newest(self.state)
            stands = f"the checkpoint {last} stands" if last else "there is no checkpoint yet"
            raise Diverged(f"the loss or its gradient is not finite at step {bad} of {self.steps}; {stands}")
        self.pending.clear()
        if self.trackers is None:
            return
        now, (then, then_step) = time.perf_counter(), self.window
        rate = (step - then_step) * self.step_tokens / (now - then)
        self.window = now, step
        mfu = rate * self.token_flops / self.peak
        loss = losses[-1].item()
        self.detail = f"loss {loss:.3f}, {human(rate)} tokens/s now, MFU {mfu:.0%}"
        self.speed = {"tokens_per_second": rate, "mfu": mfu}
        row = {"tokens": step * self.step_tokens, "loss": loss, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        self.trackers.log(step, {**row, "gradient_norm": norms[-1].item(), **validation, **self.speed})

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Mean loss on the first validation sequences. Every rank makes as many passes, or FSDP would wait forever."""
        assert self.validation is not None
        count = min(self.trainer.validation_sequences, len(self.validation))
        passes = math.ceil(count / (self.ranks.count * self.micro))
        self.weights.language_model.eval()
        total = torch.zeros(2, device=self.ranks.device, dtype=torch.float64)
        for number in range(passes):
            first = (number * self.ranks.count + self.ranks.rank) * self.micro
            indices = range(first, min(first + self.micro, count))
            batch = self.validation.batch(indices or [0])
            loss = self.weights.language_model(*self._to_device(batch))
            if indices:
                total += torch.stack([loss.double(), loss.new_tensor((batch.target_BL != IGNORED).sum()).double()])
        self.weights.language_model.train()
        loss_sum, learnt = self.ranks.total_(total).tolist()
        mean = loss_sum / max(learnt, 1)
        return {"validation_loss": mean, "validation_perplexity": math.exp(min(mean, 700.0))}

    def finish(self) -> None:
        """Export the model, check it, say how it went; of the checkpoints only the last stays."""
        difference = export.export(self)
        if not self.ranks.is_first:
            return
        checkpoints.keep_newest(self.state, 1)
        outcome: dict[str, Any] = {"steps": self.steps, "tokens_seen": self.steps * self.step_tokens}
        if self.data.ignores:  # sequences are not full, and not all of a conversation is learnt
            examples = read_manifest(self.job.tokens)["counts"]
            epochs = self.steps * self.recipe.batch_sequences / len(self.data)
            outcome |= {"tokens_seen": round(epochs * examples["tokens"]), "epochs": round(epochs, 3)}
            outcome |= {key: examples[key] for key in ("rows", "examples", "dropped", "truncated")}
        outcome |= {"parameters": self.parameters, "sequences": len(self.data)}
        write_json(
            self.job.folder / OUTCOME, {"counts": outcome, "runtime": {**self.speed, "export_difference": difference}}
        )


def random_seed(seed: int, step: int, rank: int) -> int:
    """The seed of what is random on a rank in a step."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _whole(norm: Tensor) -> Tensor:
    """The norm of sharded gradients is itself sharded."""
    gathered: Any = norm
    return gathered.full_tensor() if hasattr(gathered, "full_tensor") else norm
