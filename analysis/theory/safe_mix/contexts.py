"""The contexts of a corpus: how often each was seen, and which units followed it, document by document.

Reads a corpus artifact, once. Contexts never cross documents. Memory: about 120 bytes a unit of the corpus while counts
are sorted, then 16 bytes for each different n-gram of a resampling unit.

Shapes: D documents, N units (words, characters, bytes or tokens) of a corpus, P predicted units (those with a whole
context before them), U resampling units, G different n-grams, C contexts, E entries (an n-gram of a resampling unit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.theory.safe_mix.amounts import Floats, chao1, rigorous_k, sharp_k
from toedit.console import Progress
from toedit.documents import read_documents, shard_paths
from toedit.errors import UnusableInput
from toedit.units import origin_of, units_of

Ints = NDArray[np.int64]
KINDS = ("rigorous", "sharp", "rigorous, Chao1", "sharp, Chao1")


@dataclass(frozen=True)
class Grams:
    """The n-grams of a corpus, sorted by context; each is made of a context and the unit behind it."""

    context_G: Ints
    """Which context: 0, 1, ... without gaps."""
    name: Callable[[Ints], list[str]]
    """Contexts, given by number, for people."""
    gram_E: Ints
    resampling_unit_E: Ints
    count_E: Ints
    units: int
    """How many resampling units there are."""
    unit_is: str


@dataclass(frozen=True)
class Contexts:
    """What the formulas need of every context."""

    index_C: Ints
    """Which contexts: in a resample some are missing."""
    real_C: Floats
    """N: how often seen."""
    support_C: Floats
    chao1_C: Floats
    k_by_kind: dict[str, Floats]
    """K by one of `KINDS`."""


def count_contexts(grams: Grams, weight_U: Floats | None = None) -> Contexts:
    """The contexts; `weight_U` says how often each resampling unit counts (None: once)."""
    count_E = grams.count_E if weight_U is None else grams.count_E * weight_U[grams.resampling_unit_E]
    count_G = np.bincount(grams.gram_E, count_E, minlength=len(grams.context_G))
    first_C = np.flatnonzero(np.diff(grams.context_G, prepend=-1))
    real_C = np.add.reduceat(count_G, first_C)
    seen_C = np.flatnonzero(real_C > 0)

    def summed(values_G: Floats) -> Floats:
        return np.add.reduceat(values_G, first_C)[seen_C]

    real_G = real_C[grams.context_G]
    with np.errstate(invalid="ignore"):
        p_G = np.where(real_G > 0, count_G / real_G, 0.0)
    once_C, twice_C, support_C = (
        summed(is_so_G.astype(float)) for is_so_G in (count_G == 1, count_G == 2, count_G > 0)
    )
    real_C, chao1_C = real_C[seen_C], chao1(support_C, once_C, twice_C)
    root_C = summed(np.sqrt(p_G * (1 - p_G)))
    k_by_kind = dict(
        zip(
            KINDS,
            (
                rigorous_k(support_C),
                sharp_k(root_C),
                rigorous_k(chao1_C),
                sharp_k(_root_sum_with_unseen(grams, p_G, summed, seen_C, once_C, real_C, chao1_C - support_C)),
            ),
            strict=True,
        )
    )
    return Contexts(seen_C, real_C, support_C, chao1_C, k_by_kind)


def _root_sum_with_unseen(
    grams: Grams,
    p_G: Floats,
    summed: Callable[[Floats], Floats],
    seen_C: Ints,
    once_C: Floats,
    real_C: Floats,
    unseen_C: Floats,
) -> Floats:
    """sum sqrt(p (1 - p)) with the mass f1 / N (Good-Turing) given to the unseen tokens that Chao1 counts, evenly."""
    # A context whose tokens all came once would have no mass left: one of them is taken as seen.
    missing_C = np.where(unseen_C > 0, np.minimum(once_C, real_C - 1) / real_C, 0.0)
    covered = np.ones(int(grams.context_G[-1]) + 1)
    covered[seen_C] = 1 - missing_C
    shrunk_G = p_G * covered[grams.context_G]
    each_C = missing_C / np.maximum(unseen_C, 1)
    return summed(np.sqrt(shrunk_G * (1 - shrunk_G))) + unseen_C * np.sqrt(each_C * (1 - each_C))


def read_grams(corpus: Path, unit: str, definition: str | None, context: int, unit_fields: Sequence[str]) -> Grams:
    """Count the corpus. Raises UnusableInput where no document is longer than a context."""
    split, names = _splitter(unit, definition)
    parts: list[NDArray[np.int32]] = []
    length_D: list[int] = []
    origins: list[str | None] = []
    shards = shard_paths(corpus)
    with Progress("count contexts", sum(path.stat().st_size for path in shards), "bytes read") as progress:
        for path in shards:
            for document in read_documents(path):
                parts.append(split(document["text"]))
                length_D.append(len(parts[-1]))
                origins.append(origin_of(document, unit_fields))
            progress.advance(path.stat().st_size)
    if max(length_D, default=0) <= context:
        raise UnusableInput(f"theory.safe_mix.context={context}: no document of {corpus} has more {unit} than that")
    unit_D, unit_is = units_of(origins)
    return _grams(np.concatenate(parts), np.array(length_D), unit_D, context, names, unit_is)


def _grams(
    id_N: NDArray[np.int32],
    length_D: Ints,
    unit_D: Ints,
    context: int,
    names: Callable[[NDArray[np.int32]], list[str]],
    unit_is: str,
) -> Grams:
    place_N = np.arange(len(id_N)) - np.repeat(np.cumsum(length_D) - length_D, length_D)
    predicted_P = np.flatnonzero(place_N >= context)
    vocabulary = int(id_N.max()) + 1
    # A context is numbered by its beginning's number and its last unit, one unit after the other: no long keys.
    context_P = np.zeros(len(predicted_P), np.int64)
    for back in range(context, 0, -1):
        key_P = context_P * vocabulary + id_N[predicted_P - back]
        _, first_C, context_P = np.unique(key_P, return_index=True, return_inverse=True)
    gram_key_G, gram_P = np.unique(context_P * vocabulary + id_N[predicted_P], return_inverse=True)
    units = int(unit_D.max()) + 1
    unit_P = np.repeat(unit_D, length_D)[predicted_P]
    entry_E, count_E = np.unique(gram_P * units + unit_P, return_counts=True)
    example_C = predicted_P[first_C]

    def name(index_S: Ints) -> list[str]:
        words_lS = [names(id_N[example_C[index_S] - back]) for back in range(context, 0, -1)]
        return [" ".join(words) for words in zip(*words_lS, strict=True)]

    return Grams(
        context_G=gram_key_G // vocabulary,
        name=name,
        gram_E=entry_E // units,
        resampling_unit_E=entry_E % units,
        count_E=count_E,
        units=units,
        unit_is=unit_is,
    )


def _splitter(
    unit: str, definition: str | None
) -> tuple[Callable[[str], NDArray[np.int32]], Callable[[NDArray[np.int32]], list[str]]]:
    """`(text -> ids, ids -> text for people)`."""
    if unit == "bytes":
        return (
            lambda text: np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32),
            lambda id_C: [chr(id) if 32 < id < 127 else f"\\x{id:02x}" for id in id_C.tolist()],
        )
    if unit == "characters":
        return (
            lambda text: np.frombuffer(text.encode("utf-32-le"), np.int32),
            lambda id_C: [_visible(chr(id)) for id in id_C.tolist()],
        )
    from analysis.ngrams.units import splitters  # compiles

    splitter = splitters(definition)()

    def names(id_C: NDArray[np.int32]) -> list[str]:
        known = splitter.names()
        return [str(known[id]) for id in id_C.tolist()]

    return lambda text: splitter([text]).id_N, names


def _visible(character: str) -> str:
    if character == " ":
        return "␣"
    return ascii(character)[1:-1] if character.isspace() else character
