"""`prior=tiny`: a byte-level BPE tokenizer and a small Llama trained on this machine in about two minutes.

It stands in for Llama-3-8B where no network and no GPU is: too weak to edit a real corpus with, strong enough to show
every step on real text. Training is a fixed number of steps on a fixed order of data, so a run that was killed ends
with the same weights as one that was not.

Reads a corpus artifact. Writes a checkpoint artifact: `hf/` (an ordinary Hugging Face folder), `metrics.csv`, and
while it trains `state/`, from which a killed run resumes.

    python run.py stage=prior prior.training.steps=1200

Shapes: B sequences of a step, L tokens of a sequence, V vocabulary.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toedit.artifacts import Artifact
from toedit.config import PriorConfig, TrainingConfig
from toedit.console import Progress, human, note
from toedit.documents import read_documents, shard_paths
from toedit.workspace import Result, Workspace

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

DOCUMENT_END = "<|endoftext|>"
_STATE = "state/training.pt"


def plan_tiny_prior(corpus: Artifact, config: PriorConfig, root: Path, seed: int, out: Path | None) -> Artifact:
    """The prior trained on `corpus`."""
    training = config.training
    resume_interval = {"checkpoint_every"}
    return Artifact(
        kind="checkpoint",
        name=config.name or ("tiny" if corpus.name.startswith("pydocs") else f"tiny-{corpus.name}"),
        identity={
            "model": "llama",
            "seed": seed,
            **{key: value for key, value in asdict(training).items() if key not in resume_interval},
        },
        inputs={"corpus": corpus},
        root=root,
        out=out,
        build=partial(build_tiny_prior, training=training, seed=seed),
        estimate=partial(_estimate, training),
    )


def build_tiny_prior(workspace: Workspace, training: TrainingConfig, seed: int) -> Result:
    """Train tokenizer and model; resumes from `state/`."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = workspace.path / "hf"
    corpus = workspace.inputs["corpus"]
    if workspace.finished("tokenizer") is None:
        tokenizer = train_tokenizer(corpus, training.vocabulary_size)
        wrapped = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token=DOCUMENT_END,
            eos_token=DOCUMENT_END,
            model_max_length=training.context,
        )
        wrapped.save_pretrained(folder)
        with workspace.shard("tokenizer") as (_, record):
            record["vocabulary_size"] = tokenizer.get_vocab_size()
    stream_S = tokenize_stream(corpus, folder)
    model, metrics = train(workspace, stream_S, training, seed)
    model.save_pretrained(folder)
    _write_model_card(folder, corpus, training, metrics, len(stream_S))
    _write_metrics(workspace.path / "metrics.csv", metrics)
    (workspace.path / _STATE).unlink(missing_ok=True)
    (workspace.path / _STATE).parent.rmdir()
    return Result(
        counts={
            "tokens": len(stream_S),
            "tokens_seen": training.steps * training.batch_sequences * training.context,
            "parameters": model.num_parameters(),
            "final_loss": metrics[-1]["loss"],
        },
        seeds={"prior": seed},
    )


def train_tokenizer(corpus: Path, vocabulary_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of the corpus."""
    note("prior: training the tokenizer")
    texts = (document["text"] for path in shard_paths(corpus) for document in read_documents(path))
    return train_byte_level_tokenizer(texts, vocabulary_size)


def train_byte_level_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer: every text can be written, no unknown token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[DOCUMENT_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokenize_stream(corpus: Path, folder: Path) -> np.ndarray:
    """`stream_S`: all documents end to end, each followed by the document end."""
    from toedit.tokenizing import load_tokenizer

    tokenizer = load_tokenizer(folder)
    end = np.array([tokenizer.eos_id], np.int32)
    parts = []
    for path in shard_paths(corpus):
        for document in tokenizer.encode([document["text"] for document in read_documents(path)]):
            parts += [document.token_ids_T, end]
    return np.concatenate(parts)


def sequences(stream_S: np.ndarray, training: TrainingConfig, seed: int, step: int) -> np.ndarray:
    """`token_BL` of one step, L = context + 1: a function of the step alone, so that resuming needs no reader state.

    Each epoch shuffles all full sequences anew and starts at another offset.
    """
    length = training.context + 1
    per_epoch = max((len(stream_S) - length) // length, 1)
    first = step * training.batch_sequences
    rows = []
    for index in range(first, first + training.batch_sequences):
        epoch, place = divmod(index, per_epoch)
        generator = np.random.default_rng([seed, epoch])
        offset = int(generator.integers(length))
        start = offset + int(generator.permutation(per_epoch)[place]) * length
        rows.append(np.resize(stream_S[start : start + length], length))
    return np.stack(rows)


def build_model(training: TrainingConfig, vocabulary_size: int, end_id: int, seed: int) -> LlamaForCausalLM:
    """A Llama of the asked shape with fresh weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=training.hidden_size,
            intermediate_size=training.intermediate_size,
            num_hidden_layers=training.layers,
            num_attention_heads=training.heads,
            max_position_embeddings=training.context,
            tie_word_embeddings=True,
            bos_token_id=end_id,
            eos_token_id=end_id,
        )
    )


def train(
    workspace: Workspace, stream_S: np.ndarray, training: TrainingConfig, seed: int
) -> tuple[Any, list[dict[str, Any]]]:
    """Train from the last state, or from scratch; return (model, one row of metrics each ten steps)."""
    import torch

    torch.use_deterministic_algorithms(True)
    tokenizer_record = workspace.finished("tokenizer")
    assert tokenizer_record is not None
    end_id = int(stream_S[-1])
    model = build_model(training, tokenizer_record["vocabulary_size"], end_id, seed).train()
    optimizers = _optimizers(model, training)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    metrics: list[dict[str, Any]] = []
    first = _load_state(workspace.path / _STATE, model, optimizers, metrics)
    dtype = getattr(torch, training.dtype)
    tokens_per_step = training.batch_sequences * training.context
    size = human(model.num_parameters())
    with Progress(f"prior ({size} parameters)", training.steps * tokens_per_step) as progress:
        progress.skip(first * tokens_per_step)
        for step in range(first, training.steps):
            for optimizer, peak in zip(optimizers, peaks, strict=True):
                optimizer.param_groups[0]["lr"] = peak * schedule(step, training)
            token_BL = torch.from_numpy(sequences(stream_S, training, seed, step).astype(np.int64))
            loss = _loss(model, token_BL, dtype)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if step % 10 == 0 or step == training.steps - 1:
                metrics.append({"step": step, "tokens": (step + 1) * tokens_per_step, "loss": round(loss.item(), 4)})
            progress.advance(tokens_per_step, f"loss {metrics[-1]['loss']:.2f}")
            if (step + 1) % training.checkpoint_every == 0 or step == training.steps - 1:
                _save_state(workspace.path / _STATE, step + 1, model, optimizers, metrics)
    return model.eval(), metrics


def _loss(model: LlamaForCausalLM, token_BL: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Mean cross-entropy of each token given its prefix, the LM head in chunks: full logits would dwarf the model."""
    import torch
    from torch.nn import LinearCrossEntropyOptions
    from torch.nn.functional import linear_cross_entropy

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        hidden_BLH = model.model(input_ids=token_BL[:, :-1], use_cache=False)[0]
        hidden_RH, target_R = hidden_BLH.flatten(0, 1).to(dtype), token_BL[:, 1:].flatten()
        chunks = LinearCrossEntropyOptions(batch_chunk_size=256)
        return linear_cross_entropy(hidden_RH, model.lm_head.weight.to(dtype), target_R, options=chunks).float()


def schedule(step: int, training: TrainingConfig) -> float:
    """Factor of the learning rates: linear warm-up, then linear decay to two per cent."""
    if step < training.warmup_steps:
        return (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(training.steps - training.warmup_steps, 1)
    return max(1 - done, 0.02)


def _optimizers(model: LlamaForCausalLM, training: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest: half the tokens of AdamW alone for the same loss."""
    import torch

    inner = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    outer = [weight for weight in model.parameters() if not any(weight is matrix for matrix in inner)]
    return [
        torch.optim.Muon(inner, lr=training.matrix_learning_rate, weight_decay=training.weight_decay),
        torch.optim.AdamW(outer, lr=training.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _save_state(path: Path, step: int, model: Any, optimizers: list[Any], metrics: list[dict[str, Any]]) -> None:
    import torch

    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(
        {
            "step": step,
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "metrics": metrics,
        },
        temporary,
    )
    temporary.replace(path)


def _load_state(path: Path, model: Any, optimizers: list[Any], metrics: list[dict[str, Any]]) -> int:
    """Restore the last state in place; return the number of steps it holds."""
    import torch

    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, held in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(held)
    metrics.extend(state["metrics"])
    note(f"prior: resuming after step {state['step']}")
    return int(state["step"])


def _write_metrics(path: Path, metrics: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(metrics[0]))
    writer.writeheader()
    writer.writerows(metrics)
    path.write_text(text.getvalue())


def _write_model_card(
    folder: Path, corpus: Path, training: TrainingConfig, metrics: list[dict[str, Any]], tokens: int
) -> None:
    seen = training.steps * training.batch_sequences * training.context
    corpus_name = json.loads((corpus / "manifest.json").read_text())["name"]
    card = f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [toedit, prior]
---

# A tiny prior for token-level editing

A {training.layers}-layer Llama of width {training.hidden_size} with a byte-level BPE tokenizer of
{training.vocabulary_size} entries, trained by `python run.py stage=prior` on the corpus `{corpus_name}`
of {tokens} tokens; {seen} tokens were seen, repetitions counted. Training loss at the end:
{metrics[-1]["loss"]} nats a token.

It exists so that every step of the method can be run and seen without a network or a GPU. For data that somebody will
train on, use a prior worth the name.
"""
    (folder / "README.md").write_text(card)


def _estimate(training: TrainingConfig) -> dict[str, str]:
    tokens_per_step = training.batch_sequences * training.context
    tokens = training.steps * tokens_per_step
    return {
        "parameters": human(training.parameters),
        "tokens": human(tokens),
        "FLOPs": human(6 * training.parameters * tokens),
        "memory": human(16 * training.parameters + 40 * training.layers * tokens_per_step * training.hidden_size, "B"),
        "disk": human(4 * training.parameters, "B"),
    }
