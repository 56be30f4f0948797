"""Sequences of memory-mapped tokens, in an order that the step alone decides.

Reads a tokens artifact: `*.npy` at its root, raw uint16 or uint32 without a header. Every file is cut into sequences of
`length` tokens with the token after each (the last target); documents are packed end to end, and a sequence does not
cross files. What is left at the end of a file is not read. Every epoch is another permutation of all sequences, from
the seed and the epoch's number: step and rank say which sequences come next, so resuming needs no state of a reader,
and any number of ranks sees the same order.

Shapes: B sequences, L tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from toedit.errors import BadConfiguration, UnusableInput

IGNORED = -100
"""A target that is not learnt, as Transformers writes it."""


class Batch(NamedTuple):
    """Sequences of a step, as the model reads them."""

    input_BL: np.ndarray
    target_BL: np.ndarray
    """The next token; IGNORED where nothing is learnt."""
    position_BL: np.ndarray | None = None
    """Each token's place, where several texts share a sequence and none sees the others."""

    def rows(self, start: int, stop: int) -> Batch:
        position_BL = None if self.position_BL is None else self.position_BL[start:stop]
        return Batch(self.input_BL[start:stop], self.target_BL[start:stop], position_BL)


class Sequences(Protocol):
    """What a training learns from."""

    length: int
    """Tokens of a sequence."""
    ignores: bool
    """Whether some targets may be IGNORED."""
    fixed_length: bool
    """Whether every batch is as long as `length`, as compilation wants it; false: as long as it must be."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Batch:
        """The sequences with these numbers, in the order of the files."""

    def trained(self, first: int, count: int) -> Batch:
        """Training sequences `first` to `first + count` of the whole run."""


class EpochOrder:
    """The order of a run's sequences: another permutation for each epoch, from the seed."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def __getitem__(self, place: int) -> int:
        epoch, within = divmod(place, self.count)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            self._epoch = epoch
        return int(self._order[within])


class TokenSequences:
    """All sequences of a tokens artifact."""

    ignores = False
    fixed_length = True

    def __init__(self, folder: Path, manifest: dict[str, Any], length: int, seed: int, rows: int) -> None:
        """`rows`: of the embedding; a token beyond them is refused when it is read."""
        dtype = np.dtype(manifest["identity"]["dtype"])
        self.length, self.rows = length, rows
        self.files = sorted(folder.glob("*.npy"))
        self.maps = [np.memmap(file, dtype=dtype, mode="r") for file in self.files if file.stat().st_size]
        self.files = [file for file in self.files if file.stat().st_size]
        counts = [max((len(tokens) - 1) // length, 0) for tokens in self.maps]
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        if not len(self):
            longest = max((len(tokens) for tokens in self.maps), default=0)
            raise UnusableInput(
                f"{folder}: no file holds a sequence of recipe.sequence_length={length} tokens and the next one "
                f"(the largest has {longest})"
            )
        self._order = EpochOrder(len(self), seed)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def sequence(self, index: int) -> np.ndarray:
        """Sequence `index` of the files' order: length + 1 tokens."""
        file = int(np.searchsorted(self.starts, index, side="right")) - 1
        first = (index - int(self.starts[file])) * self.length
        token_L = self.maps[file][first : first + self.length + 1].astype(np.int64)
        largest = int(token_L.max())
        if largest >= self.rows:
            raise UnusableInput(f"{self.files[file]}: token id {largest} is beyond the model's {self.rows} rows")
        return token_L

    def batch(self, indices: Sequence[int]) -> Batch:
        token_BL = np.stack([self.sequence(index) for index in indices])
        return Batch(token_BL[:, :-1], token_BL[:, 1:])

    def trained(self, first: int, count: int) -> Batch:
        return self.batch([self._order[place] for place in range(first, first + count)])


def total_steps(steps: int | None, epochs: float, batch_sequences: int, sequences: int) -> int:
    """Optimizer steps of a training: as told, or as many full batches as the epochs hold."""
    if steps is not None:
        return steps
    found = int(epochs * sequences) // batch_sequences
    if not found:
        raise BadConfiguration(
            f"recipe.batch_sequences={batch_sequences}: {epochs:g} epochs of {sequences} sequences do not fill a batch"
        )
    return found


def shares(batch_sequences: int, ranks: int, micro_batch_sequences: int) -> tuple[int, int]:
    """(sequences of a rank, sequences of a micro batch). Raises BadConfiguration where they do not divide."""
    share, rest = divmod(batch_sequences, ranks)
    if rest:
        raise BadConfiguration(f"trainer.nproc={ranks}: does not divide recipe.batch_sequences={batch_sequences}")
    micro = min(micro_batch_sequences, share)
    if share % micro:
        raise BadConfiguration(
            f"trainer.micro_batch_sequences={micro}: does not divide the {share} sequences of a rank's step"
        )
    return share, micro
