"""What a pass of a prior over text costs: arithmetic that plans and dry runs share. Nothing is loaded, nothing run.

Sources: 2 FLOPs a parameter a token for a forward pass, plus the products of attention, which no parameter takes part
in (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1).
"""

from __future__ import annotations

import os
import time
from typing import Any

from toedit.config import ScoreConfig, ScorerConfig, ShapeConfig

BYTES_PER_TOKEN = 4
"""UTF-8 bytes of English text a token stands for, about."""


def flops_per_token(shape: ShapeConfig, window: int) -> float:
    """FLOPs of scoring one token, the LM head included, in full causal windows of `window` tokens.

    2 a parameter (an untied input embedding is counted though it is only looked up: at most 7 % of an 8B prior). In
    attention a token meets (window + 1) / 2 others on average; the query-key and the weighted value products take 2
    FLOPs a unit of width each. Where layers or width are not known, attention is left out.
    """
    assert shape.parameters is not None
    attention = 2 * (shape.layers or 0) * (shape.hidden_size or 0) * (window + 1)
    return 2 * shape.parameters + attention


def score_bytes_per_token(top_k: int, confident_share: float) -> float:
    """Bytes of the scores on disk, before compression (candidates hardly compress).

    Every token: id (4), span (8), log-probability (4). A confident one also its position (4) and `top_k` candidates
    with id and log-probability (8 each).
    """
    return 16 + confident_share * (4 + 8 * top_k)


def pass_memory(shape: ShapeConfig, score: ScoreConfig, scorer: ScorerConfig) -> tuple[float, float]:
    """Bytes of (weights, activations) of one engine that scores."""
    gpu = scorer.device.startswith("cuda")
    width, vocabulary = 2 if score.dtype == "bfloat16" else 4, shape.vocabulary_size or 0
    logits = 8 * (scorer.head_rows or head_rows(vocabulary or 1, gpu=gpu)) * vocabulary  # and as many exponentials
    hidden = width * (scorer.batch_tokens or batch_tokens(scorer.kind, gpu=gpu)) * (shape.hidden_size or 0)
    return width * (shape.parameters or 0), logits + 8 * hidden


def corpus_tokens(counts: dict[str, Any]) -> tuple[float, str]:
    """(tokens of a corpus, how that is known) from its manifest's counts."""
    if "bytes" in counts:
        return counts["bytes"] / BYTES_PER_TOKEN, f"bytes of text / {BYTES_PER_TOKEN}"
    return counts["tokens"], "counted when it was edited"


def this_machine() -> tuple[str, float]:
    """(device, bytes of its memory) that a pass on this machine would use: the GPU where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(), float(torch.cuda.get_device_properties().total_memory)
    return "cpu", float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def measure_flops_per_second(dtype_name: str, seconds: float = 1.0) -> float:
    """FLOP/s of a large matrix product on this machine, measured for about `seconds`."""
    import torch

    device, width = ("cuda", 8192) if torch.cuda.is_available() else ("cpu", 1024)
    left, right = torch.randn(2, width, width, device=device).to(getattr(torch, dtype_name))

    def multiply() -> None:
        torch.mm(left, right)
        if device == "cuda":
            torch.cuda.synchronize()

    multiply()  # the first call allocates and chooses a kernel
    products, started = 0, time.perf_counter()
    while not products or time.perf_counter() - started < seconds:
        multiply()
        products += 1
    return products * 2 * width**3 / (time.perf_counter() - started)


def batch_tokens(engine: str, gpu: bool) -> int:
    """Tokens of a batch where the configuration does not say. A CPU is as fast with small batches, which hold less
    padding; vLLM cuts what it gets into steps of its own."""
    if engine == "vllm":
        return 16_384
    return 16_384 if gpu else 2048


def head_rows(vocabulary_size: int, gpu: bool) -> int:
    """Rows of the LM head computed at a time: logits that a CPU computes well, or that keep a GPU busy."""
    logits, fewest, most = (1 << 27, 128, 8192) if gpu else (1 << 24, 128, 1024)
    return min(max(logits // vocabulary_size, fewest), most)
