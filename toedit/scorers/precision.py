"""float32 matrix products at the speed of the processor, still in float32.

PyTorch gives float32 products to MKL, which is two to three times slower than oneDNN on processors of other makers.
oneDNN takes them over only where it is allowed to round to bfloat16, and rounds only where the processor has units for
that. So the permission is given where a trial shows that nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

# Rounding operands to bfloat16 gives errors a hundred times as large.
_ERROR = 1e-3


@contextmanager
def fast_float32() -> Iterator[None]:
    """Within this context float32 products on the CPU may go to oneDNN, if it computes them in float32."""
    if not onednn_keeps_float32():
        yield
        return
    with _allowed():
        yield


@cache
def onednn_keeps_float32() -> bool:
    """Whether oneDNN, allowed to round float32 operands to bfloat16, leaves them alone on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in ((192, 256, 384), (512, 512, 512)):
        a = torch.randn(rows, inner, generator=generator)
        b = torch.randn(columns, inner, generator=generator)
        with _allowed():
            product = a @ b.T
        if (product - a.double() @ b.double().T).abs().max() > _ERROR:
            return False
    return True


@contextmanager
def _allowed() -> Iterator[None]:
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
