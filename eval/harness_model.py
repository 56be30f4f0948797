"""The models that the harness asks: lm-evaluation-harness's own, which also count the prompts they cut.

`hf` is here, `vllm` in `vllm_model.py`. Reads a Hugging Face folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM

from eval.log_likelihood import with_tokens
from toedit.config import EvalConfig, ScorerConfig
from toedit.errors import UnusableInput
from toedit.scorers.torch import find_device


class HarnessModel(HFLM):
    """HFLM, number for number. `truncated` counts the requests of a task whose prompt lost its beginning."""

    task = ""
    truncated = 0
    version = f"transformers {transformers.__version__}"

    def begin(self, task: str) -> None:
        self.task, self.truncated = task, 0

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        return super().loglikelihood(requests, disable_tqdm or not sys.stderr.isatty())

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None) -> Any:
        for _, context, continuation in requests:
            self._require_room(len(continuation) <= self.max_length, f"an answer has {len(continuation)}")
            self.truncated += len(context) + len(continuation) > self.max_length + 1
        replies = super()._loglikelihood_tokens(requests, disable_tqdm or not sys.stderr.isatty(), override_bs)
        return with_tokens(replies, requests)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
        for request in requests:
            prompt, settings = request.args
            room = self.max_length - int(settings.get("max_gen_toks", self.max_gen_toks))
            self._require_room(room > 0, f"answers of up to {self.max_length - room} are generated")
            self.truncated += len(self.tok_encode(prompt)) > room
        return super().generate_until(requests, disable_tqdm or not sys.stderr.isatty())

    def _require_room(self, holds: bool, what: str) -> None:
        if not holds:
            raise UnusableInput(f"eval.tasks.{self.task}: the model reads {self.max_length} tokens, {what}")


def load_model(folder: Path, settings: EvalConfig, scorer: ScorerConfig) -> Any:
    """The model in `folder`, in the backend that is asked for.

    Raises UnusableInput where it does not load, would need code of its own, or has no chat template that is asked for.
    """
    if settings.chat_template:
        _require_chat_template(folder, settings.trust_remote_code)
    if settings.backend == "vllm":
        from eval.vllm_model import VllmModel

        return VllmModel(folder, settings, scorer)
    if scorer.threads is not None:
        torch.set_num_threads(scorer.threads)
    device = find_device(scorer.device)
    try:
        return HarnessModel(
            pretrained=str(folder),
            dtype=settings.dtype,
            device=str(device),
            batch_size=settings.batch_size,
            trust_remote_code=settings.trust_remote_code,
        )
    except Exception as error:  # Transformers raises nearly every class of exception here
        if "trust_remote_code" in str(error) and not settings.trust_remote_code:
            raise UnusableInput(
                f"{folder}: Transformers does not know this architecture and would run Python files that come with the "
                "model; eval.trust_remote_code=true allows it"
            ) from None
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnusableInput(f"{folder}: lm-eval cannot load a model from it ({reason[0][:200]})") from None


def _require_chat_template(folder: Path, trust_remote_code: bool) -> None:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception:  # loading the model will say what is wrong
        return
    if tokenizer.chat_template is None:
        raise UnusableInput(f"eval.chat_template=true: the tokenizer in {folder} has no chat template")
