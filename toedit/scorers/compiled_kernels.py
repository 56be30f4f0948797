"""What a CPU does faster when compiled: the LM head's product, log-sum-exp and top K; GELU (`kernels.c`).

The C file is compiled once, with the system's C compiler, into the user's cache folder. Where there is no compiler, or
the processor lacks AVX-512 BF16, `compiled_kernels` returns None and the caller takes PyTorch's operations, which give
the same numbers more slowly.

Shapes: H hidden size, V vocabulary, C rows of a chunk, M chosen rows, K candidates.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ("-O3", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16", "-fopenmp", "-shared", "-fPIC")
_PANEL = 64
_ERROR = 1e-3


class CompiledKernels:
    """The compiled functions. All tensors are on the CPU and contiguous."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    def pack(self, weight_VH: Tensor) -> Tensor | None:
        """bfloat16 weights as `product` reads them; None where it cannot take them."""
        entries, hidden = weight_VH.shape
        if weight_VH.dtype != torch.bfloat16 or hidden % 2:
            return None
        packed = torch.empty(-(-entries // _PANEL) * _PANEL * hidden, dtype=torch.bfloat16)
        self._call("pack", weight_VH.detach().contiguous(), packed, entries, hidden)
        return packed

    def product(self, hidden_CH: Tensor, packed: Tensor, out_CV: Tensor) -> Tensor:
        """float32 logits of bfloat16 states, into `out_CV`."""
        rows, entries = out_CV.shape
        self._call("product", hidden_CH.contiguous(), packed, out_CV, rows, entries, hidden_CH.shape[1])
        return out_CV

    def log_sum_exp(self, logit_CV: Tensor) -> Tensor:
        """log(sum(exp)) of each row."""
        result_C = torch.empty(len(logit_CV))
        self._call("log_sum_exp", logit_CV, result_C, *logit_CV.shape)
        return result_C

    def top(self, logit_CV: Tensor, row_M: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """(values [M, K], ids [M, K]) of the k largest logits of the chosen rows, largest first."""
        value_MK, id_MK = torch.empty(len(row_M), k), torch.empty(len(row_M), k, dtype=torch.int32)
        self._call("top", logit_CV, row_M, value_MK, id_MK, len(row_M), logit_CV.shape[1], k)
        return value_MK, id_MK

    def gelu(self, x: Tensor) -> Tensor:
        """GELU, tanh form, of bfloat16 numbers."""
        x = x.contiguous()
        result = torch.empty_like(x)
        self._call("gelu", x, result, x.numel())
        return result

    def _call(self, name: str, *arguments: Tensor | int) -> None:
        as_c = [
            ctypes.c_void_p(argument.data_ptr()) if isinstance(argument, Tensor) else ctypes.c_int64(argument)
            for argument in arguments
        ]
        getattr(self.library, name)(*as_c, ctypes.c_int(torch.get_num_threads()))


class CompiledGELU(torch.nn.Module):
    """GELU, tanh form: an eighth of the time that PyTorch takes in bfloat16."""

    def __init__(self, kernels: CompiledKernels) -> None:
        super().__init__()
        self.kernels = kernels

    def forward(self, x: Tensor) -> Tensor:
        return self.kernels.gelu(x)


@cache
def compiled_kernels() -> CompiledKernels | None:
    """The functions, compiled where they are not yet and tried against PyTorch; None where this machine cannot."""
    if platform.system() != "Linux" or not torch.cpu._is_avx512_bf16_supported():
        return None
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    key = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toedit"
    file = folder / f"kernels-{key}.so"
    try:
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(f".{os.getpid()}.tmp")
            command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(temporary), "-lm"]
            subprocess.run(command, check=True, capture_output=True)
            temporary.replace(file)
        kernels = CompiledKernels(ctypes.CDLL(str(file)))
    except (OSError, subprocess.CalledProcessError):
        return None
    return kernels if _are_right(kernels) else None


def _are_right(kernels: CompiledKernels) -> bool:
    generator = torch.Generator().manual_seed(0)
    weight_VH = torch.randn(131, 70, generator=generator).bfloat16()
    hidden_CH = torch.randn(13, 70, generator=generator).bfloat16()
    packed = kernels.pack(weight_VH)
    assert packed is not None
    logit_CV = kernels.product(hidden_CH, packed, torch.empty(13, 131))
    exact_CV = hidden_CH.double() @ weight_VH.double().T
    row_M = torch.tensor([0, 5, 12])
    value_MK, id_MK = kernels.top(logit_CV, row_M, 9)
    return bool(
        (logit_CV - exact_CV).abs().max() < _ERROR
        and (kernels.log_sum_exp(logit_CV) - exact_CV.logsumexp(-1)).abs().max() < _ERROR
        and torch.equal(value_MK, logit_CV[row_M].topk(9).values)
        and torch.equal(logit_CV[row_M].gather(1, id_MK.long()), value_MK)
        and torch.allclose(kernels.gelu(hidden_CH), torch.nn.functional.gelu(hidden_CH, approximate="tanh"), 0.01)
    )
