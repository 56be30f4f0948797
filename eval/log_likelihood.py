"""Log-likelihoods as the backends of the harness hand them over here."""

from __future__ import annotations

from typing import Any


class LogLikelihood(float):
    """The log-likelihood of an answer that also knows of how many tokens it is the sum; some rules divide by them."""

    tokens: int

    def __new__(cls, value: float, tokens: int) -> LogLikelihood:
        made = super().__new__(cls, value)
        made.tokens = tokens
        return made


def with_tokens(replies: Any, requests: Any) -> list[tuple[LogLikelihood, bool]]:
    """What `_loglikelihood_tokens` of any model of the harness returns, with the answers' tokens counted."""
    return [
        (LogLikelihood(logprob, len(answer)), greedy)
        for (logprob, greedy), (_, _, answer) in zip(replies, requests, strict=True)
    ]
