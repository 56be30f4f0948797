"""The prior's pass on one GPU: Llama-shaped random weights, the project's own LM head, rates beside the GPU's best.

    python scripts/benchmark_gpu.py                        # 0.5B, 1B and 8B shapes in bfloat16
    python scripts/benchmark_gpu.py --shapes 8B --batch-tokens 32768

Needs torch and NumPy, nothing else and no files: the decoder below has the operations of a Llama, the head is
`toedit/scorers/head.py`. The head is scaled until a fifth of its rows gives some token P >= 0.9, and that token is the
one that is scored, so a fifth of the rows goes through top-K. Prints, for each shape, tokens a second, the share of the
rate of a large bfloat16 product in the same process (2 FLOPs a parameter a token, head included), what body and head
take by themselves, and peak memory above the weights. `--device cpu --shapes tiny` tries the script without a GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from toedit.scorers.head import LanguageModelHead

TOP_K, THRESHOLD, ELIGIBLE = 64, -0.1053605, 0.2  # candidates, ln 0.9, share of rows


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, 1000),
    "0.5B": Shape(896, 4864, 24, 14, 2, 151_936),
    "1B": Shape(2048, 8192, 16, 32, 8, 128_256),
    "8B": Shape(4096, 14_336, 32, 32, 8, 128_256),
}


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, width = shape, shape.hidden // shape.heads
        self.before, self.between = nn.RMSNorm(shape.hidden, 1e-5), nn.RMSNorm(shape.hidden, 1e-5)
        self.query_key_value = nn.Linear(shape.hidden, (shape.heads + 2 * shape.key_heads) * width, bias=False)
        self.out = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.gate_up = nn.Linear(shape.hidden, 2 * shape.intermediate, bias=False)
        self.down = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, state_BLH: Tensor, cosine_LD: Tensor, sine_LD: Tensor) -> Tensor:
        batch, length, _ = state_BLH.shape
        heads, key_heads = self.shape.heads, self.shape.key_heads
        projected = self.query_key_value(self.before(state_BLH)).view(batch, length, heads + 2 * key_heads, -1)
        query, key, value = (part.transpose(1, 2) for part in projected.split([heads, key_heads, key_heads], dim=2))
        attended = functional.scaled_dot_product_attention(
            _rotate(query, cosine_LD, sine_LD), _rotate(key, cosine_LD, sine_LD), value, is_causal=True, enable_gqa=True
        )
        state_BLH = state_BLH + self.out(attended.transpose(1, 2).reshape(batch, length, -1))
        gate, up = self.gate_up(self.between(state_BLH)).chunk(2, dim=-1)
        return state_BLH + self.down(functional.silu(gate) * up)


def _rotate(part_BNLD: Tensor, cosine_LD: Tensor, sine_LD: Tensor) -> Tensor:
    first, second = part_BNLD.chunk(2, dim=-1)
    return part_BNLD * cosine_LD + torch.cat((-second, first), dim=-1) * sine_LD


class Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, 1e-5)
        self.head = nn.Linear(shape.hidden, shape.vocabulary, bias=False)
        self.width = shape.hidden // shape.heads
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace())

    def get_output_embeddings(self) -> nn.Linear:
        return self.head

    def forward(self, token_BL: Tensor) -> Tensor:
        half = torch.arange(0, self.width, 2, device=token_BL.device) / self.width
        angle_LD = torch.arange(token_BL.shape[1], device=token_BL.device)[:, None] * 500_000.0**-half
        cosine_LD, sine_LD = (f(angle_LD).repeat(1, 2).to(self.norm.weight.dtype) for f in (torch.cos, torch.sin))
        state_BLH = self.embedding(token_BL)
        for layer in self.layers:
            state_BLH = layer(state_BLH, cosine_LD, sine_LD)
        return self.norm(state_BLH)


def build(shape: Shape, device: torch.device) -> Decoder:
    """Random bfloat16 weights, made on the device."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with device:
        model = Decoder(shape).eval()
    torch.set_default_dtype(torch.float32)
    return model


def scale_head(model: Decoder, hidden_RH: Tensor) -> float:
    """Scale the head until ELIGIBLE of the rows have a token of P >= 0.9; return the share reached."""
    sample = hidden_RH[:: max(len(hidden_RH) // 2000, 1)]
    logit = (sample @ model.head.weight.T).float()
    low, high = 1e-3, 1e4
    for _ in range(40):
        middle = (low * high) ** 0.5
        share = ((logit * middle).log_softmax(-1).amax(-1) >= THRESHOLD).float().mean().item()
        low, high = (middle, high) if share < ELIGIBLE else (low, middle)
    with torch.no_grad():
        model.head.weight.mul_(middle)
    return share


def measure(name: str, arguments: argparse.Namespace, device: torch.device) -> None:
    shape = SHAPES[name]
    model = build(shape, device)
    weights = sum(weight.numel() for weight in model.parameters())
    counted = weights - model.embedding.weight.numel()  # looked up, not multiplied
    token_BL = torch.randint(shape.vocabulary, (max(arguments.batch_tokens // arguments.length, 1), arguments.length))
    token_BL = token_BL.to(device)
    hidden_RH = model(token_BL).flatten(0, 1)
    share = scale_head(model, hidden_RH)
    head = LanguageModelHead(model)
    target_R = torch.cat(
        [head.logits(hidden_RH[i : i + head.rows]).argmax(-1) for i in range(0, len(hidden_RH), head.rows)]
    )
    del hidden_RH
    peak = _reset_peak(device)

    def whole() -> Any:
        return head.score(model(token_BL).flatten(0, 1), target_R, THRESHOLD, TOP_K)

    seconds = _best(whole, arguments.repeats, device)
    memory = peak()
    body = _best(lambda: model(token_BL), arguments.repeats, device)
    square = torch.randn(8192 if device.type == "cuda" else 1024, 8192 if device.type == "cuda" else 1024)
    square = square.to(device, torch.bfloat16)
    rate = 2 * len(square) ** 3 / _best(lambda: square @ square, 20, device)
    tokens = token_BL.numel()
    reached = 2 * counted * tokens / seconds / rate
    print(
        f"{name}: {weights / 1e9:.2f}B parameters, batches of {tokens:,} tokens in windows of {arguments.length}, "
        f"{share:.0%} of the rows eligible\n"
        f"  {tokens / seconds:,.0f} tokens/s, {reached:.0%} of {rate / 1e12:.1f} TFLOP/s\n"
        f"  body {body:.3f} s, head {seconds - body:.3f} s a batch; peak above the weights {memory}",
        flush=True,
    )


def _best(work: Callable[[], Any], repeats: int, device: torch.device) -> float:
    best = float("inf")
    for _ in range(repeats + 1):  # the first warms up
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _reset_peak(device: torch.device) -> Callable[[], str]:
    if device.type != "cuda":
        return lambda: "not measured on a CPU"
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    return lambda: f"{(torch.cuda.max_memory_allocated() - before) / 2**30:.2f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["0.5B", "1B", "8B"], choices=list(SHAPES))
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda":
        print(torch.cuda.get_device_name())
    with torch.inference_mode():
        for name in arguments.shapes:
            measure(name, arguments, device)


if __name__ == "__main__":
    main()
