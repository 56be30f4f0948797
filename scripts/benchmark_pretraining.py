"""Training speed beside others: same GPT-2, batch and precision, one after the other, in turns. Prints ratios.

    .venv/bin/python scripts/benchmark_pretraining.py            10M and 124M parameters, about 20 minutes on two cores
    .venv/bin/python scripts/benchmark_pretraining.py --sizes 10m --rounds 1

Contenders: `ours`, the steps of stage=pretrain, compiled; `trainer`, a plain Trainer of Transformers (needs
`pip install accelerate`); `minimal`, the hand-written loop below, once as it is and once compiled as a whole. Each runs
in a process of its own; compilation and the first steps are not timed. `--cpu-time` compares the processors' time
instead of the clock's, which carries further where other work runs. Writes below --work only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SIZES = {
    "10m": {"layers": 6, "heads": 5, "width": 320, "rows": 8192, "length": 256, "micro": 8, "batch": 16},
    "124m": {"layers": 12, "heads": 12, "width": 768, "rows": 50304, "length": 512, "micro": 2, "batch": 8},
}
CONTENDERS = ("ours", "trainer", "minimal", "minimal_compiled")
WARM_UP = 2


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.mix, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.mix(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.feed(self.second(x))


class MinimalGPT2(nn.Module):
    """GPT-2 as one writes it in an hour: tied head, whole logits."""

    def __init__(self, size: dict[str, int]) -> None:
        super().__init__()
        width = size["width"]
        self.tokens, self.places = nn.Embedding(size["rows"], width), nn.Embedding(size["length"], width)
        self.blocks = nn.ModuleList(Block(width, size["heads"]) for _ in range(size["layers"]))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, size["rows"], bias=False)
        self.head.weight = self.tokens.weight
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, token_BL: Tensor, target_BL: Tensor) -> Tensor:
        x = self.tokens(token_BL) + self.places(torch.arange(token_BL.shape[1]))
        for block in self.blocks:
            x = block(x)
        return functional.cross_entropy(self.head(self.last(x)).flatten(0, 1), target_BL.flatten())


def minimal(size: dict[str, int], steps: int, compiled: bool, clock) -> list[float]:
    model = MinimalGPT2(size).train()
    forward = torch.compile(model, dynamic=False) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    generator, accumulate, seconds = torch.Generator().manual_seed(0), size["batch"] // size["micro"], []
    for _ in range(steps):
        started = clock()
        for _ in range(accumulate):
            token_BL = torch.randint(0, 256, (size["micro"], size["length"] + 1), generator=generator)
            with torch.autocast("cpu", torch.bfloat16):
                loss = forward(token_BL[:, :-1].contiguous(), token_BL[:, 1:].contiguous()) / accumulate
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(clock() - started)
    return seconds


def trainer(size: dict[str, int], steps: int, work: Path, clock) -> list[float]:
    import transformers

    class Times(transformers.TrainerCallback):
        def on_step_begin(self, *arguments: object, **more: object) -> None:
            self.started = clock()

        def on_step_end(self, *arguments: object, **more: object) -> None:
            seconds.append(clock() - self.started)

    seconds: list[float] = []
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 256, (size["length"],), generator=generator) for _ in range(steps * size["batch"])]
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            n_layer=size["layers"], n_head=size["heads"], n_embd=size["width"], n_positions=size["length"],
            vocab_size=size["rows"], bos_token_id=0, eos_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )
    )  # fmt: skip
    arguments = transformers.TrainingArguments(
        str(work / "trainer"), max_steps=steps, per_device_train_batch_size=size["micro"], bf16=True, use_cpu=True,
        gradient_accumulation_steps=size["batch"] // size["micro"], learning_rate=1e-3, weight_decay=0.1,
        report_to="none", save_strategy="no", logging_steps=100, disable_tqdm=True,
    )  # fmt: skip
    data = [{"input_ids": row, "labels": row} for row in rows]
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=[Times()]).train()
    return seconds


def ours(name: str, size: dict[str, int], steps: int, work: Path, clock) -> list[float]:
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from pretrain import throughput
    from pretrain.job import Job
    from pretrain.loop import Training
    from pretrain.ranks import join
    from toedit.command import build_config
    from toedit.config import Config

    ConfigStore.instance().store(name="schema", node=Config)
    overrides = [
        f"model=gpt2_{name}", "model.vocabulary_size=null", "model.eos_id=null", f"model.embedding_rows={size['rows']}",
        f"model.settings.n_positions={size['length']}", f"recipe.sequence_length={size['length']}",
        f"recipe.batch_sequences={size['batch']}", f"recipe.steps={steps}", "recipe.learning_rate=1e-3",
        f"trainer.micro_batch_sequences={size['micro']}", "trainer.compile=true", "trainer.device=cpu",
    ]  # fmt: skip
    configs = Path(__file__).resolve().parents[1] / "configs"
    with initialize_config_dir(str(configs), version_base="1.3"):
        config = build_config(OmegaConf.to_container(compose("config", overrides=overrides), resolve=True))
    job = Job(config, work / "ours", name, _random_tokens(work / "tokens"), None)
    seconds = []
    with join(config.trainer) as ranks, throughput.process_settings(config, ranks):
        training = Training(job, ranks)
        for step in range(steps):
            started = clock()
            training.step(step)
            seconds.append(clock() - started)
    return seconds


def _random_tokens(folder: Path) -> Path:
    """As much of a tokens artifact as the trainer reads, with ids of a byte each."""
    from tokenizers import Tokenizer, models

    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    Tokenizer(models.BPE({f"<{i}>": i for i in range(256)}, [])).save(str(folder / "tokenizer" / "tokenizer.json"))
    np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint16).tofile(folder / "part-00000.npy")
    manifest = {"kind": "tokens", "name": "random", "fingerprint": "", "identity": {"dtype": "uint16", "eos_id": 0}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def one(contender: str, name: str, steps: int, work: Path, cpu_time: bool) -> float:
    """Tokens a second of one contender, in this process."""
    clock, size = time.process_time if cpu_time else time.perf_counter, SIZES[name]
    if contender == "ours":
        seconds = ours(name, size, steps, work, clock)
    elif contender == "trainer":
        seconds = trainer(size, steps, work, clock)
    else:
        seconds = minimal(size, steps, contender == "minimal_compiled", clock)
    return size["batch"] * size["length"] / statistics.median(seconds[WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("outputs") / "benchmarks" / "pretraining")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        rate = one(arguments.one, arguments.sizes[0], arguments.steps, work, arguments.cpu_time)
        print(f"rate {rate}", flush=True)
        return
    extra = ["--cpu-time"] if arguments.cpu_time else []
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    for name in arguments.sizes:
        rates: dict[str, list[float]] = {contender: [] for contender in arguments.contenders}
        for _ in range(arguments.rounds):
            for contender in arguments.contenders:
                command = [sys.executable, __file__, "--one", contender, "--sizes", name, "--work", str(work), *extra]
                run = subprocess.run([*command, "--steps", str(arguments.steps)], text=True, capture_output=True,
                                     env=environment)  # fmt: skip
                if run.returncode:
                    sys.exit(f"{contender}: {run.stderr.strip().splitlines()[-1]}")
                rates[contender].append(float(run.stdout.split("rate ")[-1]))
        for contender, measured in rates.items():
            middle = statistics.median(measured)
            ratio = statistics.median(rates["ours"]) / middle if "ours" in rates else float("nan")
            print(f"{name} {contender}: {middle:,.0f} tokens/s ({min(measured):,.0f} to {max(measured):,.0f}); "
                  f"ours / {contender} = {ratio:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
