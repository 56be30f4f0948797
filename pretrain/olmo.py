"""`trainer=olmo`, what can be known without olmo-core: which settings it serves, how many steps, which Python has it.

olmo-core wants other versions of some packages than the core, so the ranks run in an environment of its own; the
command stays in this one. olmo_run.py is what a rank runs.

    bash scripts/environment_olmo.sh
    python run.py stage=pretrain model=olmo_237m trainer=olmo trainer.nproc=8 tokens.path=my-tokens
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from toedit.config import Config, RecipeConfig, TrainerConfig
from toedit.errors import BadConfiguration, UnusableInput
from toedit.workspace import read_manifest

SERIES = "3.0"
"""The versions that serve: configuration classes and trainer hooks change between series."""
_MAKE_IT = "make the environment with: bash scripts/environment_olmo.sh"


def check(config: Config) -> None:
    """Refuse what olmo-core cannot do, by its key."""
    recipe, trainer = config.recipe, config.trainer
    if (recipe.warmup_steps or recipe.warmup_share) and recipe.warmup_start_share >= 1:
        share = f"{recipe.warmup_start_share:g}"
        raise BadConfiguration(f"recipe.warmup_start_share={share}: olmo-core's warm-up starts below the peak")
    if trainer.loss_rows != TrainerConfig.loss_rows:
        raise BadConfiguration(
            f"trainer.loss_rows={trainer.loss_rows}: olmo-core makes the logits of a whole micro batch; "
            "lower trainer.micro_batch_sequences instead"
        )
    if trainer.compile and trainer.device == "cpu":
        raise BadConfiguration("trainer.compile=true: olmo-core compiles on a GPU only")


def require_kind(kind: str) -> None:
    """Refuse another architecture than OLMo's."""
    if kind != "olmo":
        raise BadConfiguration(f"model.kind={kind}: trainer=olmo trains model.kind=olmo; use trainer=fsdp")


def require_expressible(architecture: Any) -> None:
    """Refuse a variant of Transformers' OLMo that this trainer does not know."""
    require_kind(architecture.model_type)
    rope = getattr(architecture, "rope_parameters", None) or {}
    wanted = {
        "hidden_act": (architecture.hidden_act, "silu"),
        "attention_bias": (architecture.attention_bias, False),
        "attention_dropout": (architecture.attention_dropout, 0),
        "rope_parameters.rope_type": (rope.get("rope_type", "default"), "default"),
    }
    for key, (value, known) in wanted.items():
        if value != known:
            raise BadConfiguration(f"model.settings.{key}={value}: trainer=olmo knows {known} only; use trainer=fsdp")


def token_files(folder: Path) -> list[Path]:
    """The memory maps that are not empty, in order."""
    return [file for file in sorted(folder.glob("*.npy")) if file.stat().st_size]


def count_sequences(folder: Path, dtype: str, length: int) -> int:
    """Sequences as olmo-core cuts them: `length` tokens each, the targets among them."""
    return sum(file.stat().st_size // np.dtype(dtype).itemsize // length for file in token_files(folder))


def total_steps(recipe: RecipeConfig, sequences: int) -> int:
    """Optimizer steps; olmo-core reads whole batches of an epoch and leaves out what remains."""
    batches = sequences // recipe.batch_sequences
    if not batches:
        raise BadConfiguration(
            f"recipe.batch_sequences={recipe.batch_sequences}: an epoch has {sequences} sequences, and olmo-core's "
            "batches do not cross epochs"
        )
    steps = recipe.steps if recipe.steps is not None else int(recipe.epochs * batches)
    if not steps:
        raise BadConfiguration(f"recipe.epochs={recipe.epochs:g}: less than a batch of {recipe.batch_sequences}")
    return steps


def planned_steps(tokens: Path, recipe: RecipeConfig) -> int:
    """Optimizer steps on a finished tokens artifact."""
    dtype = read_manifest(tokens)["identity"]["dtype"]
    return total_steps(recipe, count_sequences(tokens, dtype, recipe.sequence_length))


def interpreter(trainer: TrainerConfig) -> Path:
    """The Python whose olmo-core trains. Raises BadConfiguration with the command that makes one."""
    found = installed_version()
    if trainer.python is None and serves(found):
        return Path(sys.executable)
    checkout = Path(__file__).resolve().parents[1]
    python = Path(trainer.python or checkout / os.environ.get("TOEDIT_OLMO_VENV", ".venv-olmo") / "bin" / "python")
    if not python.is_file():
        here = f"ai2-olmo-core {found} of this Python does not serve" if found else "this Python has no ai2-olmo-core"
        raise BadConfiguration(
            f"trainer=olmo: {here} ({SERIES} does), and there is no {python}; {_MAKE_IT}, or name one with "
            "trainer.python"
        )
    return python


def installed_version() -> str | None:
    """Of ai2-olmo-core in this Python."""
    try:
        return metadata.version("ai2-olmo-core")
    except metadata.PackageNotFoundError:
        return None


def serves(version: str | None) -> bool:
    return version is not None and f"{version}.".startswith(f"{SERIES}.")


def require_package() -> None:
    """In a rank: that its Python has an olmo-core that serves."""
    found = installed_version()
    if not serves(found):
        raise BadConfiguration(
            f"trainer=olmo: ai2-olmo-core {SERIES} serves, {sys.executable} has {found or 'none'}; {_MAKE_IT}"
        )


def require_known_ids(token_BL: Any, sequences: Any, files: list[Path], length: int, dtype: str, rows: int) -> None:
    """Refuse a batch with a token beyond the embedding, naming its file; `sequences`: the batch's in olmo-core's order.

    Shapes: B sequences, L tokens of a sequence.
    """
    largest = int(token_BL.max())
    if largest < rows:
        return
    place = int(sequences[int(token_BL.max(dim=1).values.argmax())])
    ends = np.cumsum([file.stat().st_size // np.dtype(dtype).itemsize // length for file in files])
    file = files[int(np.searchsorted(ends, place, side="right"))]
    raise UnusableInput(f"{file}: token id {largest} is beyond the model's {rows} rows")
