"""From one number a document to the documents that are taken. Arithmetic alone; reads and writes nothing.

Documents are ranked by a key, the first ones are taken. Methods that draw add Gumbel noise to log weights: the first k
are then a sample of k without replacement, each draw proportional to the weights of what is left (Gumbel top-k; Vieira
2014, Kool et al. 2019). A document's noise comes from (seed, id) alone, so selections of one seed are nested: whatever
is taken at a small size is taken at a larger one.

    method       value             key
    dsir         log weight        value + noise
    density      density           -log(value) + noise      inverse propensity: rare documents more often
    perplexity   perplexity        value, -value, or -|log value - median of log value|
    classifier   score             value
    random                         noise

Shapes: D documents, S documents taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toedit.config import SelectConfig
from toedit.errors import UnusableInput
from toedit.uniforms import document_keys, uniforms

_DRAWN = ("dsir", "density", "random")
"""Methods that draw."""


def draws(select: SelectConfig) -> bool:
    """Whether the seed matters."""
    return select.method == "random" or (select.method in _DRAWN and select.noise)


def gumbel(seed: int, ids: Sequence[str]) -> NDArray[np.float64]:
    """`noise_D`: standard Gumbel noise of each document."""
    uniform_D = uniforms(document_keys(seed, ids), np.zeros(len(ids), np.int64))
    return -np.log(-np.log(uniform_D + 2.0**-54))  # the middle of its interval: neither 0 nor 1


def keys(select: SelectConfig, ids: Sequence[str], value_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """`key_D`, the largest first; NaN where a document cannot be taken."""
    if select.method == "perplexity":
        log_D = np.log(value_D)
        if select.keep == "middle":
            return -np.abs(log_D - np.nanmedian(log_D)) if not np.isnan(log_D).all() else log_D
        return log_D if select.keep == "highest" else -log_D
    weight_D = {"density": lambda: -np.log(value_D), "random": lambda: np.zeros(len(ids))}.get(
        select.method, lambda: value_D
    )()
    return weight_D + gumbel(select.seed, ids) if draws(select) else weight_D


def ranked(key_D: NDArray[np.float64]) -> NDArray[np.int64]:
    """Documents that can be taken, best first; ties in the order of the corpus."""
    order_D = np.argsort(-key_D, kind="stable")  # NaN last
    return order_D[: int((~np.isnan(key_D)).sum())]


def take(select: SelectConfig, ranked_S: NDArray[np.int64], tokens_D: NDArray[np.int64] | None, documents: int) -> int:
    """How many of the ranked documents are taken of a corpus of so many `documents`.

    `tokens_D` where `select.tokens` says how many. Raises UnusableInput where there are too few.
    """
    there = len(ranked_S)
    why = f"; the others of {documents:,} have none that select.method={select.method} can use" * (there < documents)
    if select.method == "dsir" and there < documents:
        why = f"; the others of {documents:,} have fewer than select.min_words={select.min_words} words"
    if select.tokens is not None:
        assert tokens_D is not None
        total_S = np.cumsum(tokens_D[ranked_S])
        have = int(total_S[-1]) if there else 0
        if have < select.tokens:
            raise UnusableInput(f"select.tokens={select.tokens}: there are {have:,} in {there:,} documents{why}")
        return int(np.searchsorted(total_S, select.tokens)) + 1
    if select.documents is not None:
        asked, key = select.documents, f"select.documents={select.documents}"
    else:
        assert select.share is not None
        asked, key = max(int(select.share * documents + 0.5), 1), f"select.share={select.share:g}"
    if asked > there:
        raise UnusableInput(f"{key}: asks for {asked:,} documents, and there are {there:,}{why}")
    return asked
