"""lm-evaluation-harness's own `vllm` model, in the environment where vLLM lives; `eval/vllm_model.py` asks it.

Prompts are tokenised, cut and read as the harness does it there. Requests come in as text; log-likelihoods and replies
go out. It counts the prompts that lose their beginning, as the `hf` model of `eval/harness_model.py` does. The longest
prompt with its answer is one token shorter than there: vLLM reads the answer's last token, too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from toedit import vllm_engine
from toedit.errors import BadConfiguration, UnusableInput
from toedit.priors import model_shape
from toedit.scorers.vllm import BYTES_PER_LOGIT, step_size

ASKS = "eval.backend=vllm"
_STEP_TOKENS = 8192


class VllmHarness:
    """The model in folder `model`, in this process.

    Raises BadConfiguration where this Python's vLLM or harness does not serve, UnusableInput where vLLM cannot run it.
    """

    def __init__(
        self, model: Path, dtype: str, batch_size: int, seed: int, threads: int | None, trust_remote_code: bool
    ) -> None:
        self.versions = vllm_engine.prepare(ASKS)
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.versions["lm-eval"] = _harness_version()
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        vocabulary_size = vllm_engine.vocabulary_of(model)
        step_tokens = step_size(vocabulary_size, _STEP_TOKENS)
        with vllm_engine.refusals(model):
            options = vllm_engine.options(dtype, step_tokens * vocabulary_size * BYTES_PER_LOGIT)
            context = model_shape(model).context
            self.harness = _counting_model()(
                pretrained=str(model),
                batch_size=batch_size,
                seed=seed,
                trust_remote_code=trust_remote_code,
                max_model_len=context and context + 1,  # vLLM draws a token after every prompt; nothing reads it
                max_num_batched_tokens=step_tokens,
                max_num_seqs=min(batch_size, step_tokens),
                **options,
            )
        self.engine_length = self.harness.max_length
        self.max_length = self.engine_length - 1
        self.max_gen_toks = self.harness.max_gen_toks
        self.tokenizer_name = self.harness.tokenizer_name
        self.begin("")

    def begin(self, task: str) -> None:
        """Requests of another task follow."""
        self.task, self.harness.truncated = task, 0

    def loglikelihood(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[tuple[float, bool, int]], int]:
        """For each (prompt, answer): log-likelihood, whether it is the most probable one, tokens of the answer; and how
        many prompts were cut so far."""
        self.harness._max_length = self.engine_length
        try:
            replies = self.harness.loglikelihood(_requests("loglikelihood", pairs), disable_tqdm=True)
        except _TooLong as error:
            raise self._no_room(str(error)) from None
        return [(float(logprob), bool(greedy), tokens) for logprob, greedy, tokens in replies], self.harness.truncated

    def generate_until(self, asked: Sequence[tuple[str, dict[str, Any]]]) -> tuple[list[str], int]:
        """The reply to each (prompt, settings of the generation), and how many prompts were cut so far."""
        self.harness._max_length = self.max_length
        for prompt, settings in asked:
            room = self.max_length - int(settings.get("max_gen_toks", self.max_gen_toks))
            if room <= 0:
                raise self._no_room(f"answers of up to {self.max_length - room} are generated")
            self.harness.truncated += len(self.harness.tok_encode(prompt)) > room
        replies = self.harness.generate_until(_requests("generate_until", asked), disable_tqdm=True)
        return [str(reply) for reply in replies], self.harness.truncated

    def apply_chat_template(self, history: list[dict[str, str]], add_generation_prompt: bool) -> str:
        return str(self.harness.apply_chat_template(history, add_generation_prompt))

    def _no_room(self, what: str) -> UnusableInput:
        return UnusableInput(f"eval.tasks.{self.task}: the model reads {self.max_length} tokens, {what}")


class _TooLong(Exception):
    """An answer alone fills the context."""


def _counting_model() -> Any:
    """The harness's class, which also counts the prompts it cuts and the tokens of answers."""
    from lm_eval.models.vllm_causallms import VLLM

    class Counting(VLLM):
        truncated = 0

        def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False) -> Any:
            most = self.max_length - 1
            for _, context, answer in requests:
                if len(answer) >= most:
                    raise _TooLong(f"an answer has {len(answer)}")
                self.truncated += len(context) + len(answer) > most
            replies = super()._loglikelihood_tokens(requests, disable_tqdm)
            return [(*reply, len(answer)) for reply, (_, _, answer) in zip(replies, requests, strict=True)]

    return Counting


def _requests(kind: str, asked: Sequence[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, arguments, number) for number, arguments in enumerate(asked)]


def _harness_version() -> str:
    """Of the harness beside this vLLM; it asks for the version of a package called vllm, whichever build that is."""
    try:
        metadata.version("vllm")
        return metadata.version("lm_eval")
    except metadata.PackageNotFoundError as error:
        raise BadConfiguration(
            f"{ASKS}: vLLM's environment has no package {error.name}; {vllm_engine.MAKE_IT} (an older one is completed)"
        ) from None
