"""Sequences that are not text, and where each one's context lies; all but the bytes are made here, from a seed.

Shapes: T tokens, H rows and W columns of a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toedit.documents import read_documents, shard_paths
from toedit.errors import UnusableInput

Ints = NDArray[np.int64]

SEQUENCES_MADE = ("die", "image", "melody")
"""The ones that need no corpus."""
LEVELS = 8
"""Grey levels of the picture."""
PITCHES = 15
"""Notes of the melody: three octaves of a pentatonic scale; one more token is the rest."""
_SPECKS, _SLIPS = 0.01, 0.04
_SIDES = np.array([0.95, 0.02, 0.01, 0.01, 0.005, 0.005])


@dataclass(frozen=True)
class Source:
    """A sequence of tokens 0 .. alphabet - 1."""

    name: str
    token_id_T: Ints
    alphabet: int
    offsets: tuple[int, ...]
    """How far back the tokens of a context lie, the most telling first."""
    width: int | None = None
    """Of a picture: tokens a line."""


def make_source(name: str, length: int, seed: int, corpus: Path | None = None) -> Source:
    """The sequence of that name. `corpus` is the folder of an artifact, for bytes."""
    if name == "bytes":
        assert corpus is not None
        return Source(name, _bytes(corpus, length), 256, (1, 2, 3, 4))
    makers: dict[str, Callable[[np.random.Generator, int], Source]] = {"die": _die, "image": _image, "melody": _melody}
    return makers[name](np.random.default_rng([seed, *name.encode()]), length)


def _die(generator: np.random.Generator, length: int) -> Source:
    """Independent throws of a loaded die: no context, so what the theory says of one context is exact."""
    return Source("die", generator.choice(len(_SIDES), size=length, p=_SIDES), len(_SIDES), ())


def _image(generator: np.random.Generator, length: int) -> Source:
    """Clouds: waves of random direction, cut into grey levels, with specks. Read line by line."""
    side = int(length**0.5)
    y_H1, x_1W = np.arange(side)[:, None] / side, np.arange(side)[None, :] / side
    height_HW = np.zeros((side, side))
    for wave in range(1, 9):
        direction, phase = generator.normal(size=2), generator.uniform(0, 2 * np.pi)
        height_HW += np.cos(2 * np.pi * wave / 3 * (direction[0] * y_H1 + direction[1] * x_1W) + phase) / wave
    edges = np.quantile(height_HW, np.linspace(0, 1, LEVELS + 1)[1:-1])
    level_HW = np.searchsorted(edges, height_HW)
    is_speck_HW = generator.random((side, side)) < _SPECKS
    level_HW = np.where(is_speck_HW, generator.integers(LEVELS, size=(side, side)), level_HW)
    # Left, above, and above to the left; a line's first pixel has the last one of the line before to its left.
    return Source("image", level_HW.reshape(-1).astype(np.int64), LEVELS, (1, side, side + 1), side)


def _melody(generator: np.random.Generator, length: int) -> Source:
    """Phrases of sixteen steps, each a random walk over the scale with rests, in the order of a Markov chain; some
    notes slip."""
    phrases, steps, rest = 6, 16, PITCHES
    walk_PS = np.clip(
        PITCHES // 2 + np.cumsum(generator.integers(-2, 3, size=(phrases, steps)), axis=1), 0, PITCHES - 1
    )
    walk_PS = np.where(generator.random((phrases, steps)) < 0.15, rest, walk_PS)
    next_PP = generator.dirichlet(np.full(phrases, 0.4), size=phrases)
    order, bars = [0], -(-length // steps)
    for _ in range(bars - 1):
        order.append(int(generator.choice(phrases, p=next_PP[order[-1]])))
    note_T = walk_PS[order].reshape(-1)[:length]
    is_slip_T = generator.random(len(note_T)) < _SLIPS
    note_T = np.where(is_slip_T, generator.integers(PITCHES + 1, size=len(note_T)), note_T)
    return Source("melody", note_T.astype(np.int64), PITCHES + 1, (1, 2, 3, 4))


def _bytes(corpus: Path, length: int) -> Ints:
    """The corpus's first bytes. Raises UnusableInput where it has too few."""
    found = bytearray()
    for path in shard_paths(corpus):
        for document in read_documents(path):
            found += document["text"].encode("utf-8") + b"\n"
            if len(found) >= length:
                return np.frombuffer(bytes(found[:length]), np.uint8).astype(np.int64)
    raise UnusableInput(f"theory.beyond_text.length={length}: {corpus} has {len(found)} bytes only")
