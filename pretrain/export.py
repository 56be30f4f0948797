"""The trained model as an ordinary Hugging Face folder, checked against the model in training.

Writes `hf/`: config.json, safetensors in float32, the tokenizer of the tokens, a model card.
"""

from __future__ import annotations

import shutil
from typing import Any, Protocol

import torch
from torch import Tensor

from pretrain.base import copy_tokenizer
from pretrain.data import Sequences
from pretrain.job import Job
from pretrain.model_card import model_card
from pretrain.ranks import Ranks
from toedit.config import RecipeConfig
from toedit.errors import ToEditError
from toedit.priors import model_folder

_PROBE = 128
"""Tokens whose logits are compared."""


class Trained(Protocol):
    """What is asked of a training, whichever trainer ran it."""

    job: Job
    ranks: Ranks
    recipe: RecipeConfig
    data: Sequences
    architecture: Any
    weights: Any
    """Its `language_model` gives logits, `full()` the float32 weights by their names in Transformers."""
    parameters: int
    steps: int
    step_tokens: int


def export(training: Trained) -> float:
    """Write `hf/`; return the largest difference of its logits from the trained model's. Every rank takes part."""
    ranks = training.ranks
    token_BL = torch.from_numpy(training.data.batch([0]).input_BL[:, :_PROBE])
    trained = training.weights.language_model.eval()
    with torch.no_grad():
        trained_BLV = trained(token_BL.to(ranks.device)).cpu()
    whole = training.weights.full()
    if not ranks.is_first:
        ranks.wait()
        return 0.0
    _write(training, whole)
    difference = _compare(training, token_BL, trained_BLV)
    ranks.wait()
    return difference


def _write(training: Trained, whole: dict[str, Tensor]) -> None:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = training.job.folder / "hf"
    temporary = folder.with_name(".hf.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(training.architecture, dtype=torch.float32)
    model = model.to_empty(device="cpu")
    report = model.load_state_dict(whole, strict=False)
    model.tie_weights()
    tied = set(getattr(model, "_tied_weights_keys", None) or {})
    missing = [name for name in report.missing_keys if name not in tied]
    if missing or report.unexpected_keys:
        raise AssertionError(f"export: {missing} missing, {report.unexpected_keys} unknown")
    model.save_pretrained(temporary)
    shutil.copytree(training.job.tokens / "tokenizer", temporary, dirs_exist_ok=True)
    if training.job.base is not None:
        copy_tokenizer(model_folder(training.job.base), temporary)
    card = model_card(training.job, training.parameters, training.steps, training.step_tokens)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def _compare(training: Trained, token_BL: Tensor, trained_BLV: Tensor) -> float:
    import transformers

    folder, device = training.job.folder / "hf", training.ranks.device
    dtype = getattr(torch, training.recipe.dtype)
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    with torch.no_grad():
        exported_BLV = loaded.to(device).eval()(input_ids=token_BL.to(device)).logits.float().cpu()
    difference = (exported_BLV - trained_BLV).abs().max().item()
    tolerance = 1e-3 if dtype == torch.float32 else 0.1 + 0.02 * trained_BLV.abs().max().item()
    if not difference <= tolerance:
        raise ToEditError(f"{folder}: logits of the exported model differ from the trained one's by {difference:.3g}")
    return difference
