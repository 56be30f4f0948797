"""Speed: FLOPs of a token, the rate a device could reach, and settings of the process that cost or save time.

MFU is the share of the peak rate that forward and backward pass use: three times a forward pass by `toedit/costs.py`,
which counts causal attention once, not as a full square.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pretrain.ranks import Ranks
from toedit.config import Config, ShapeConfig
from toedit.console import note
from toedit.costs import flops_per_token, measure_flops_per_second

_WORTH_COMPILING = 1e14
"""FLOPs of a training on a CPU above which half a minute of compilation comes back: some minutes of two cores."""
_SHORT = 512
"""Up to this length compiled attention with a matrix of scores beats the CPU's flash kernel, two to three times."""


def training_flops_per_token(parameters: int, layers: int, hidden_size: int, length: int) -> float:
    """FLOPs of forward and backward pass for one token."""
    shape = ShapeConfig(parameters=parameters, layers=layers, hidden_size=hidden_size)
    return 3 * flops_per_token(shape, length)


def peak_flops_per_second(config: Config, ranks: Ranks) -> float:
    """What all ranks together could do: by the table in configs/plan for known GPUs, else measured."""
    if ranks.device.type == "cuda":
        name = torch.cuda.get_device_name().lower().replace(" ", "")
        known = [device.flops_per_second for key, device in config.plan.devices.items() if key in name]
        if known:
            return known[0] * ranks.count
    return measure_flops_per_second(config.recipe.dtype, seconds=0.3) * ranks.count


def compiles(config: Config, ranks: Ranks, total_flops: float) -> bool:
    """Whether this training is compiled: as told, or where it pays."""
    if config.trainer.compile is not None:
        return config.trainer.compile
    pays = ranks.device.type == "cuda" or total_flops > _WORTH_COMPILING
    if pays and not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        note("pretrain: no C++ compiler on the PATH, so no torch.compile; the training is slower")
        return False
    return pays


def attention(config: Config, ranks: Ranks, compiled: bool) -> str:
    """Which of Transformers' attention implementations is the fastest here."""
    is_short = config.recipe.sequence_length <= _SHORT
    return "eager" if ranks.device.type == "cpu" and compiled and is_short else "sdpa"


@contextmanager
def process_settings(config: Config, ranks: Ranks) -> Iterator[None]:
    """Threads, memory and determinism of this process while it trains."""
    is_cuda = ranks.device.type == "cuda"
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    elif ranks.count > 1 and not is_cuda:
        torch.set_num_threads(max(before[1] // ranks.count, 1))
    wanted = config.trainer.deterministic
    if wanted or (wanted is None and not is_cuda):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        settings: Any = torch.utils.deterministic
        settings.fill_uninitialized_memory = False  # it fills every `empty`, for debugging
    _keep_freed_memory()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks: by default each is mapped anew, and a fifth of a CPU step goes into page faults."""
    if sys.platform != "linux":
        return
    with_trim, with_mmap = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(with_mmap, 0)
        libc.mallopt(with_trim, 2**31 - 1)
    except (OSError, AttributeError):
        pass  # another C library: slower, not wrong
