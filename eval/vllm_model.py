"""lm-evaluation-harness's `vllm` model as the harness sees it here: the engine is in another process.

`toedit/vllm_harness.py` is the other side. Log-likelihoods differ from the `hf` model's in their last digits: other
kernels add the same numbers in another order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from eval.log_likelihood import LogLikelihood
from toedit import vllm_engine
from toedit.config import EvalConfig, ScorerConfig
from toedit.elsewhere import Elsewhere
from toedit.vllm_harness import ASKS, VllmHarness

_FACTS = ("versions", "max_length", "max_gen_toks", "tokenizer_name")


class VllmModel(LM):
    """What `eval/harness_model.py` offers, answered by vLLM."""

    truncated = 0
    versions: dict[str, str]
    tokenizer_name = ""

    def __init__(self, folder: Path, settings: EvalConfig, scorer: ScorerConfig) -> None:
        super().__init__()
        arguments = (
            folder.resolve(),
            settings.dtype,
            settings.batch_size,
            settings.seed,
            scorer.threads,
            settings.trust_remote_code,
        )
        python = vllm_engine.other_python(ASKS, "eval.python", settings.python)
        self.engine = Elsewhere(ASKS, python, VllmHarness, arguments, _FACTS) if python else VllmHarness(*arguments)
        for fact in _FACTS:
            setattr(self, fact, getattr(self.engine, fact))
        self.version = f"vllm {self.versions['vllm']}"

    def begin(self, task: str) -> None:
        self.truncated = 0
        self._ask("begin", task)

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        replies, self.truncated = self._ask("loglikelihood", [request.args for request in requests])
        return [(LogLikelihood(logprob, tokens), greedy) for logprob, greedy, tokens in replies]

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
        replies, self.truncated = self._ask("generate_until", [request.args for request in requests])
        return replies

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError("no task of ours asks for it; `eval=perplexity` measures whole texts")

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        return str(self._ask("apply_chat_template", chat_history, add_generation_prompt))

    def _ask(self, method: str, *arguments: Any) -> Any:
        if isinstance(self.engine, Elsewhere):
            return self.engine.call(method, *arguments)
        return getattr(self.engine, method)(*arguments)
