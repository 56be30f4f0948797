"""The LM head's product on a CPU with bfloat16 units: bfloat16 operands, float32 logits (`head_product.c`).

The C file is compiled once, with the system's C compiler, into the user's cache folder. Where there is no compiler, or
the processor lacks the instructions, `compiled_head` returns None and the caller takes PyTorch's float32 product, which
gives the same numbers at half the rate.

Shapes: H hidden size, V vocabulary, C rows of a chunk.
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

_SOURCE = Path(__file__).with_name("head_product.c")
_FLAGS = ("-O3", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16", "-fopenmp", "-shared", "-fPIC")
_PANEL = 64
_ERROR = 1e-3


class CompiledHead:
    """The weights of an LM head, packed for the product."""

    def __init__(self, library: ctypes.CDLL, weight_VH: Tensor) -> None:
        self.library = library
        self.entries, self.hidden = weight_VH.shape
        panels = -(-self.entries // _PANEL)
        self.packed = torch.empty(panels * _PANEL * self.hidden, dtype=torch.bfloat16)
        weight_VH = weight_VH.detach().contiguous()
        self._call("pack", weight_VH, self.packed, self.entries, self.hidden)

    def logits(self, hidden_CH: Tensor, out_CV: Tensor) -> Tensor:
        """`hidden_CH` times the weights, into `out_CV`, both contiguous."""
        hidden_CH = hidden_CH.contiguous()
        self._call("product", hidden_CH, self.packed, out_CV, len(hidden_CH), self.entries, self.hidden)
        return out_CV

    def _call(self, name: str, *arguments: Tensor | int) -> None:
        as_c = [
            ctypes.c_void_p(argument.data_ptr()) if isinstance(argument, Tensor) else ctypes.c_int64(argument)
            for argument in arguments
        ]
        getattr(self.library, name)(*as_c, ctypes.c_int(torch.get_num_threads()))


def compiled_head(weight_VH: Tensor) -> CompiledHead | None:
    """The fast product for these weights, or None where this machine cannot have it."""
    if weight_VH.dtype != torch.bfloat16 or weight_VH.device.type != "cpu" or weight_VH.shape[1] % 2:
        return None
    library = _library()
    return None if library is None else CompiledHead(library, weight_VH)


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled file, after a trial against PyTorch."""
    if platform.system() != "Linux" or not torch.cpu._is_avx512_bf16_supported():
        return None
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    key = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toedit"
    file = folder / f"head_product-{key}.so"
    try:
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(f".{os.getpid()}.tmp")
            subprocess.run([compiler, *_FLAGS, str(_SOURCE), "-o", str(temporary)], check=True, capture_output=True)
            temporary.replace(file)
        library = ctypes.CDLL(str(file))
    except (OSError, subprocess.CalledProcessError):
        return None
    return library if _is_right(library) else None


def _is_right(library: ctypes.CDLL) -> bool:
    generator = torch.Generator().manual_seed(0)
    weight_VH = torch.randn(131, 70, generator=generator).bfloat16()
    hidden_CH = torch.randn(13, 70, generator=generator).bfloat16()
    logit_CV = CompiledHead(library, weight_VH).logits(hidden_CH, torch.empty(13, 131))
    return bool((logit_CV - hidden_CH.double() @ weight_VH.double().T).abs().max() < _ERROR)
