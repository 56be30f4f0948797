"""Laws of the next token, p^(0): Zipf, uniform, Dirichlet, given; from a configuration or by hand.

    p_V = law(LawConfig(kind="zipf", tokens=600, support=52, squared_norm=0.1), seed=0)

Shapes: V tokens of the vocabulary, C contexts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toedit.config.theory_next_token import LawConfig

Floats = NDArray[np.float64]

_LAWS_STREAM = 1  # keeps the draws of laws apart from those of trials with the same seed


def law(settings: LawConfig, seed: int) -> Floats:
    """p_V of one context."""
    p_V: Floats = laws(settings, 1, seed)[0]
    return p_V


def laws(settings: LawConfig, contexts: int, seed: int) -> Floats:
    """p_CV: a law for each context. Only Dirichlet laws differ; the others are the same row C times."""
    if settings.kind == "list":
        p_V = np.asarray(settings.probabilities, np.float64)
        return np.tile(p_V / p_V.sum(), (contexts, 1))
    support = settings.tokens if settings.support is None else settings.support
    if settings.kind == "dirichlet":
        p_CS = np.random.default_rng([seed, _LAWS_STREAM]).dirichlet(np.full(support, settings.concentration), contexts)
    elif settings.kind == "uniform":
        p_CS = np.tile(zipf(support, 0.0), (contexts, 1))
    else:
        exponent = settings.exponent
        if settings.squared_norm is not None:
            exponent = exponent_of_squared_norm(support, settings.squared_norm)
        p_CS = np.tile(zipf(support, exponent), (contexts, 1))
    return np.pad(p_CS, ((0, 0), (0, settings.tokens - support)))


def zipf(support: int, exponent: float) -> Floats:
    """Probabilities proportional to 1/rank^exponent; exponent 0 is the uniform law."""
    weight_V = np.arange(1, support + 1, dtype=np.float64) ** -exponent
    p_V: Floats = weight_V / weight_V.sum()
    return p_V


def exponent_of_squared_norm(support: int, squared_norm: float) -> float:
    """The Zipf exponent whose law over `support` tokens has S_0 = sum of p^2 = `squared_norm`, by bisection.

    S_0 rises with the exponent, from 1/support (uniform) towards 1.
    """
    if not 1 / support - 1e-12 <= squared_norm < 1:
        raise ValueError(f"no Zipf law over {support} tokens has S_0={squared_norm}: it lies in [1/support, 1)")
    low, high = 0.0, 1.0
    while concentration(zipf(support, high)) < squared_norm:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if concentration(zipf(support, middle)) < squared_norm:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def concentration(p_V: Floats) -> float:
    """S = sum of p^2, the probability that two draws are the same token."""
    return float(np.sum(p_V**2))


def support_size(p_V: Floats) -> int:
    """Tokens with a positive probability."""
    return int(np.count_nonzero(p_V))


def describe(p_V: Floats) -> dict[str, Any]:
    """What a reader wants to know of a law, for summary.json."""
    return {"tokens": len(p_V), "support": support_size(p_V), "S_0": concentration(p_V)}
