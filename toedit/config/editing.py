"""Settings of the prior's pass over the text, and of the edit that follows."""

from __future__ import annotations

from dataclasses import dataclass, field

from toedit.config.checks import require, require_one_of
from toedit.errors import BadConfiguration
from toedit.protected_spans import NAMES


@dataclass
class ScoreConfig:
    """What the prior's pass computes and keeps. Belongs to the identity of the scores."""

    top_k: int = 64
    """Candidates kept for each confident token."""
    min_p: float = 0.9
    """A token is confident, and its candidates are kept, when P >= min_p."""
    window: int = 2048
    """Longest window in tokens, the context token included."""
    on_short_context: str = "window"
    """A prior whose context is shorter than that: window (documents pass in windows of its context) or refuse."""
    min_context: int | None = None
    """Where a document needs several windows, tokens have at least this much context; null: a quarter of a window."""
    dtype: str = "float32"
    """float32 or bfloat16 operands; log-probabilities come from float32 logits either way."""
    context_token: str = "auto"
    """What the first token is conditioned on: bos, eos, none (it stays unscored), or auto: the first it has."""
    truncate: bool = False
    """Leave what lies beyond the first `max_length` tokens of a document unscored, as the released script does."""
    max_length: int | None = None
    """With `truncate`: tokens of a document that are read, the context token included."""

    def __post_init__(self) -> None:
        require(self.top_k >= 1, "score.top_k", self.top_k, "must be at least 1")
        require(0 <= self.min_p <= 1, "score.min_p", self.min_p, "must lie in [0, 1]")
        require(self.window >= 2, "score.window", self.window, "must be at least 2")
        context = self.min_context
        require(
            context is None or 1 <= context < self.window - 1,
            "score.min_context",
            context,
            "must be below score.window",
        )
        require_one_of("score.on_short_context", self.on_short_context, ("window", "refuse"))
        length = self.max_length
        require(length is None or length >= 2, "score.max_length", length, "must be at least 2")
        if self.truncate != (length is not None):
            raise BadConfiguration(
                f"score.truncate={str(self.truncate).lower()} score.max_length={length}: one needs the other; "
                "without both, documents of any length are scored whole, in windows"
            )
        require_one_of("score.dtype", self.dtype, ("float32", "bfloat16"))
        require_one_of("score.context_token", self.context_token, ("auto", "bos", "eos", "none"))


@dataclass
class ScorerConfig:
    """The engine that runs the prior. Except for its kind, none of this changes the scores' identity."""

    kind: str = "torch"
    """torch, or vllm in the environment of scripts/environment_vllm.sh."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; vLLM knows auto only, and CUDA_VISIBLE_DEVICES."""
    batch_tokens: int | None = None
    """Tokens in a batch, padding included; null: what suits the engine and the device."""
    head_rows: int | None = None
    """torch: rows of the LM head computed at a time, which bounds the logits in memory; null: by vocabulary."""
    compiled_kernels: bool = True
    """torch: on a CPU with bfloat16 units, run the LM head in C, compiled once where there is a compiler."""
    threads: int | None = None
    """CPU threads of a process; null leaves torch's own choice."""
    processes: int | None = None
    """torch: engines side by side, a shard each; null: one a GPU, one without."""
    python: str | None = None
    """vLLM: the Python to run it; null: this one where it has vLLM, else the one of scripts/environment_vllm.sh."""
    self_check: bool = True
    """vLLM: compare a few sequences with the torch scorer at the start (loads the model twice, one after the other)."""

    def __post_init__(self) -> None:
        require_one_of("scorer.kind", self.kind, ("torch", "vllm"))
        if self.kind == "vllm":
            require(self.device == "auto", "scorer.device", self.device, "vLLM takes auto; see CUDA_VISIBLE_DEVICES")
        tokens = self.batch_tokens
        require(tokens is None or tokens >= 1, "scorer.batch_tokens", tokens, "must be at least 1, or null")
        rows = self.head_rows
        require(rows is None or rows >= 1, "scorer.head_rows", rows, "must be at least 1, or null")
        require(self.threads is None or self.threads >= 1, "scorer.threads", self.threads, "must be at least 1")
        count = self.processes
        require(count is None or count >= 1, "scorer.processes", count, "must be at least 1, or null")
        if self.kind == "vllm":
            require(count in (None, 1), "scorer.processes", count, "one process serves vLLM")


@dataclass
class EditConfig:
    """How confident tokens are resampled."""

    name: str = "paper"
    """The preset, a file of configs/edit/."""
    sampler: str = "top_k"
    """The editor: top_k (Algorithm 1), none (change nothing), another of docs/editors.md, or one that is installed."""
    p: float = 0.99
    """A token is eligible when the prior gives it probability P >= p."""
    strict: bool = False
    """Eligible means P > p (the released script) instead of P >= p (the paper)."""
    k: int = 8
    """Candidates to draw from: the prior's k most probable tokens, the original among them."""
    temperature: float = 1.0
    """Log-probabilities are divided by this before the draw; 1 is the prior itself."""
    top_p: float = 0.999
    """sampler=top_p: draw from the fewest most probable tokens whose mass reaches this."""
    tries: int = 64
    """sampler=rejection: proposals at a token before it stays as it was."""
    delete_below: float = 0.0
    """Deleting editors: take out tokens with P < delete_below."""
    delete_above: float = 1.0
    """sampler=delete: take out tokens with P > delete_above."""
    generation: int = 1
    """How often the text is edited: 2 scores the edited text with the same prior and edits it again, and so on."""
    seed: int = 0
    """Key of the uniforms, with the document's id and the token's position."""
    budget: float | None = None
    """Change this share of all tokens, in expectation: the temperature, and a lower p where it must be, are found."""
    protect: list[str] = field(default_factory=list)
    """Spans that stay whatever the prior says: numbers, dates, urls, emails, code, math, quotes (docs/editors.md)."""
    condition_on_prompt: bool = True
    """Instruction data: score a response after its prompt; false: by itself, as the released script does."""

    def __post_init__(self) -> None:
        require(0 < self.p <= 1, "edit.p", self.p, "must lie in (0, 1]")
        require(self.k >= 1, "edit.k", self.k, "must be at least 1")
        require(self.temperature > 0, "edit.temperature", self.temperature, "must be positive")
        require(self.generation >= 1, "edit.generation", self.generation, "must be at least 1")
        budget = self.budget
        require(budget is None or 0 < budget < 1, "edit.budget", budget, "must lie between 0 and 1")
        require(0 < self.top_p < 1, "edit.top_p", self.top_p, "must lie between 0 and 1")
        require(1 <= self.tries < 2**16, "edit.tries", self.tries, "must lie in [1, 65535]")
        require(0 <= self.delete_below <= 1, "edit.delete_below", self.delete_below, "must lie in [0, 1]")
        require(0 <= self.delete_above <= 1, "edit.delete_above", self.delete_above, "must lie in [0, 1]")
        for name in self.protect:
            require_one_of("edit.protect", name, NAMES)
        if self.sampler == "top_p":
            reason = f"must be above edit.p={self.p:g}: the nucleus of a token with P >= edit.top_p is the token itself"
            require(self.top_p > self.p, "edit.top_p", self.top_p, reason)
        if self.sampler == "exclude_original":
            require(self.k >= 2, "edit.k", self.k, "must be at least 2 where the original is excluded")
        if self.sampler == "delete":
            deletes = self.delete_below > 0 or self.delete_above < 1
            require(
                deletes, "edit.sampler", self.sampler, "deletes nothing; set edit.delete_below or edit.delete_above"
            )
        if self.sampler == "delete_then_resample":
            require(self.delete_below <= self.p, "edit.delete_below", self.delete_below, "must not exceed edit.p")
