"""The model that a training starts from, loaded; `toedit/bases.py` finds it.

Reads its folder. Of a checkpoint of ours that the same trainer made, the trainer reads the optimizer's state too, where
`base.optimizer=kept` asks for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretrain import models
from toedit.config import BaseConfig, Config
from toedit.errors import UnusableInput
from toedit.named_tokenizers import find_tokenizer
from toedit.priors import model_folder

_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
)


def base_architecture(folder: Path, base: BaseConfig) -> Any:
    """The Transformers configuration of the model in `folder`. Raises UnusableInput."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=base.trust_remote_code, local_files_only=True)
    except Exception as error:  # Transformers raises nearly every class of exception here
        raise _unloadable(folder, base, error) from None


def base_model(folder: Path, architecture: Any, base: BaseConfig, attention: str) -> Any:
    """The model on the CPU in float32. Raises UnusableInput."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=architecture,
            dtype=torch.float32,
            attn_implementation=attention,
            trust_remote_code=base.trust_remote_code,
            local_files_only=True,
        )
    except Exception as error:
        raise _unloadable(folder, base, error) from None


def require_tokenizer(tokens: Path, base: Path, key: str) -> None:
    """Refuse tokens of another tokenizer than the base's: its ids would mean other pieces."""
    ours = find_tokenizer(str(tokens / "tokenizer"), key)
    theirs = find_tokenizer(str(model_folder(base)), "base.path")
    if ours.fingerprint != theirs.fingerprint:
        raise UnusableInput(f"{key}={tokens}: made with another tokenizer than that of base.path={base}")


def copy_tokenizer(source: Path, folder: Path) -> None:
    """The base's tokenizer files, its chat template among them, as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            (folder / name).write_bytes((source / name).read_bytes())


def _unloadable(folder: Path, base: BaseConfig, error: Exception) -> UnusableInput:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if "trust_remote_code" in str(error) and not base.trust_remote_code:
        return UnusableInput(
            f"base.path={folder}: Transformers does not know this architecture and would run Python files that come "
            "with the model; base.trust_remote_code=true allows it"
        )
    return UnusableInput(f"base.path={folder}: Transformers cannot load it ({reason})")


def starting_architecture(config: Config, base: Path | None, vocabulary_size: int, eos_id: int) -> Any:
    """The architecture of a training: that of the model in the folder `base`, else what `model.*` describes.

    Raises BadConfiguration, UnusableInput; the latter where the base has too few rows for the tokenizer.
    """
    if base is None:
        return models.architecture(config.model, vocabulary_size, eos_id)
    folder = model_folder(base)
    architecture = base_architecture(folder, config.base)
    rows = architecture.get_text_config().vocab_size
    if rows < vocabulary_size:
        raise UnusableInput(f"base.path={folder}: has {rows} rows in its embedding, the tokenizer {vocabulary_size}")
    return architecture


def starting_model(config: Config, base: Path | None, architecture: Any, attention: str = "sdpa") -> Any:
    """The weights that a training begins with, on the CPU in float32: the base's, else drawn from the seed."""
    if base is None:
        return models.fresh_model(architecture, config.model.initialisation, config.recipe.seed, attention)
    return base_model(model_folder(base), architecture, config.base, attention)
