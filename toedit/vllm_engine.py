"""vLLM's engine, for whoever runs a model in it (`toedit/scorers/vllm.py`, `toedit/vllm_sampling.py`,
`toedit/vllm_harness.py`): which versions
serve, which Python has one of them, and how the engine is started.

Nothing here imports vLLM before it is needed; most commands run in a Python that has none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from toedit.errors import BadConfiguration, UnusableInput
from toedit.priors import model_shape

SERIES = "0.32"
"""The versions that serve: prompt_logprobs, its flat form and the engine's options change between series."""
MAKE_IT = "make the environment with: bash scripts/environment_vllm.sh"

# Set before vLLM is imported, unless the user did.
_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    # A window may fill the model's whole context; the one token that vLLM insists on drawing after it is never run
    # through the model, so the position beyond the context is counted and not computed.
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    # The engine in this very process: in another one, what forms a batch depends on when requests arrive.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
_CPU_ENVIRONMENT = {
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # by default one core is kept for serving
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; what does not fit waits
}

_GPU_SHARE = 0.9


def installed_version() -> str | None:
    """The version of this Python's vLLM (CUDA or CPU build), or None."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def serves(version: str | None) -> bool:
    return version is not None and (version == SERIES or version.startswith(f"{SERIES}."))


def other_python(asks: str, key: str, named: str | None) -> Path | None:
    """The Python to run vLLM in: what `named`, the value of `key`, says, else this one (None), else the one that the
    script made. `asks` is the setting that asks for vLLM. Raises BadConfiguration where there is none."""
    found = installed_version()
    if named is None and serves(found):
        return None
    checkout = Path(__file__).resolve().parents[1]
    python = Path(named or checkout / os.environ.get("TOEDIT_VLLM_VENV", ".venv-vllm") / "bin" / "python")
    if not python.is_file():
        here = f"vllm {found} of this Python does not serve" if found else "this Python has no vllm"
        raise BadConfiguration(
            f"{asks}: {here} ({SERIES} does), and there is no {python}; {MAKE_IT}, or name one with {key}"
        )
    return python


def prepare(asks: str) -> dict[str, str]:
    """Set vLLM's environment variables in this process; return versions. Before anything imports vLLM.

    Raises BadConfiguration where this Python's vLLM does not serve.
    """
    found = installed_version()
    if not serves(found):
        raise BadConfiguration(f"{asks}: vllm {SERIES} serves, this Python has {found or 'none'}; {MAKE_IT}")
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    return {"vllm": str(found), "torch": metadata.version("torch")}


def vocabulary_of(model: Path) -> int:
    """Rows of the model's LM head, or UnusableInput."""
    size = model_shape(model).vocabulary_size
    if size is None:
        raise UnusableInput(f"{model / 'config.json'}: names no vocab_size")
    return size


def options(dtype: str, logits_bytes: int) -> dict[str, Any]:
    """How every engine of ours is started; `logits_bytes` is memory of a GPU that vLLM must leave free."""
    from vllm.platforms import current_platform

    on_cpu = current_platform.is_cpu()
    for key, value in (_CPU_ENVIRONMENT if on_cpu else {}).items():
        os.environ.setdefault(key, value)
    share = _GPU_SHARE if on_cpu else _GPU_SHARE - logits_bytes / current_platform.get_device_total_memory()
    return {
        "generation_config": "vllm",  # the model's own sampling defaults are none of our business
        "dtype": dtype,
        "hf_overrides": {"head_dtype": "float32"},  # logits in float32 whatever the operands
        "enable_chunked_prefill": True,
        "enable_prefix_caching": False,  # cached prefixes have no log-probabilities, and other batches other numbers
        "gpu_memory_utilization": share,
        "enforce_eager": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def start(model: Path, dtype: str, logits_bytes: int, **more: Any) -> Any:
    """vLLM's `LLM` with the model in folder `model`, for token ids alone."""
    usual = options(dtype, logits_bytes)  # sets what vLLM reads when it is imported
    from vllm import LLM

    return LLM(model=str(model), skip_tokenizer_init=True, **usual, **more)


@contextmanager
def refusals(model: Path) -> Iterator[None]:
    """What vLLM says about a model that it cannot run, as UnusableInput in one line."""
    try:
        yield
    except (ValueError, RuntimeError, NotImplementedError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise UnusableInput(f"{model}: vLLM cannot run this model ({reason})") from None
