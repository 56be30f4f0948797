"""Compiling with Numba, into a folder of the user's: the first run on a machine waits some seconds, later ones do not.

Importing Numba takes most of a second, so what is compiled is imported where counting begins.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def _cache_folder() -> str:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toedit" / "numba"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return str(home)
    except OSError:
        pass
    return str(Path(tempfile.gettempdir()) / f"toedit-numba-{os.getuid() if hasattr(os, 'getuid') else ''}")


CACHE = Path(os.environ.get("NUMBA_CACHE_DIR") or _cache_folder())
numba.config.CACHE_DIR = str(CACHE)  # type: ignore[attr-defined]
compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(cache=True, nogil=True)
inlined: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(cache=True, nogil=True, inline="always")


def is_compiled() -> bool:
    """Whether an earlier run has left compiled code (of whatever version) on this machine."""
    return next(CACHE.rglob("kernels.count_pairs-*.nbi"), None) is not None
