"""Facts about code, packages and hardware that a manifest records. None of them enters a fingerprint."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_RECORDED = (
    "toedit",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "numpy",
    "pyarrow",
    "zstandard",
    "hydra-core",
    "matplotlib",
)


@cache
def code() -> dict[str, Any]:
    """{commit, dirty} of the checkout this file lies in; nulls outside of one."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            run = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return None
        return run.stdout.strip() if run.returncode == 0 else None

    tracked = git("ls-files", "--error-unmatch", Path(__file__).name)
    if not tracked:  # an installed copy, perhaps inside somebody else's checkout
        return {"commit": None, "dirty": None}
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(status)}


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that shape results."""
    versions = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _program(file: Path) -> str:
    """The name of the program that runs; `python -m toedit` is `toedit`."""
    return "toedit" if file.resolve() == Path(__file__).resolve().with_name("__main__.py") else file.name


def runtime() -> dict[str, Any]:
    """The machine and the command."""
    return {
        "command": [_program(Path(sys.argv[0])), *sys.argv[1:]],
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
