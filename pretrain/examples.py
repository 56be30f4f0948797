"""Examples of a fine-tuning as sequences: several in one, none of which sees the others, or one each, padded.

Reads the Arrow files that `sft/examples.py` writes, memory-mapped. Which examples share a sequence follows from their
lengths and the seed alone; the order of the sequences is that of `data.py`.

Shapes: E examples, B sequences, L tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute

from pretrain.data import IGNORED, Batch, EpochOrder
from toedit.errors import UnusableInput

_PADS_TO = 64
"""Padded sequences are as long as the longest of their batch, rounded up to this many tokens."""


class ExampleSequences:
    """All sequences of an examples artifact."""

    ignores = True

    def __init__(self, folder: Path, length: int, seed: int, rows: int, packing: bool) -> None:
        """`rows`: of the embedding; a token beyond them is refused."""
        files = sorted((folder / "examples").glob("*.arrow"))
        tables = [pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in files]
        columns = [[table.column(name) for table in tables] for name in ("token_ids", "learnt")]
        self.token_ids, self.learnt = (
            pa.chunked_array([chunk for column in part for chunk in column.chunks]) for part in columns
        )
        self.length, self.packing, self.fixed_length = length, packing, packing
        length_E = compute.list_value_length(self.token_ids).to_numpy()
        if not len(length_E) or int(length_E.max()) > length:
            raise UnusableInput(f"{folder}: holds no examples, or longer ones than recipe.sequence_length={length}")
        self._require_known_ids(folder, rows)
        self.bins = pack(length_E, length, seed) if packing else [[index] for index in range(len(length_E))]
        self._order = EpochOrder(len(self.bins), seed)

    def __len__(self) -> int:
        return len(self.bins)

    def batch(self, indices: Sequence[int]) -> Batch:
        chosen = [[self._example(number) for number in self.bins[index]] for index in indices]
        longest = max(sum(len(tokens) for tokens, _ in examples) for examples in chosen)
        width = self.length if self.fixed_length else min(-(-longest // _PADS_TO) * _PADS_TO, self.length)
        input_BL = np.zeros((len(chosen), width), np.int64)
        target_BL = np.full((len(chosen), width), IGNORED, np.int64)
        position_BL = np.zeros((len(chosen), width), np.int64)
        for row, examples in enumerate(chosen):
            start = 0
            for token_T, learnt_T in examples:
                end = start + len(token_T)
                input_BL[row, start:end] = token_T
                target_BL[row, start : end - 1] = np.where(learnt_T[1:], token_T[1:], IGNORED)
                position_BL[row, start:end] = np.arange(end - start)
                start = end
            position_BL[row, start:] = np.arange(width - start)  # padding is a text of its own
        return Batch(input_BL, target_BL, position_BL if self.packing else None)

    def trained(self, first: int, count: int) -> Batch:
        return self.batch([self._order[place] for place in range(first, first + count)])

    def _example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        tokens, learnt = self.token_ids[number].values, self.learnt[number].values
        return tokens.to_numpy(), learnt.to_numpy(zero_copy_only=False)

    def _require_known_ids(self, folder: Path, rows: int) -> None:
        largest = max(int(chunk.values.to_numpy().max()) for chunk in self.token_ids.chunks if len(chunk.values))
        if largest >= rows:
            raise UnusableInput(f"{folder}: token id {largest} is beyond the model's {rows} rows")


def pack(length_E: np.ndarray, room: int, seed: int) -> list[list[int]]:
    """Examples that share a sequence of `room` tokens: longest first, each where it leaves the least room."""
    order = np.random.default_rng(seed).permutation(len(length_E))
    order = order[np.argsort(-length_E[order], kind="stable")]
    bins: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(room + 1)]
    taken = 0  # bit r: some sequence has room for r tokens more
    for number in order.tolist():
        size = int(length_E[number])
        fitting = taken >> size
        if fitting:
            rest = size + (fitting & -fitting).bit_length() - 1
            chosen = by_room[rest].pop()
            if not by_room[rest]:
                taken &= ~(1 << rest)
        else:
            rest, chosen = room, len(bins)
            bins.append([])
        bins[chosen].append(number)
        by_room[rest - size].append(chosen)
        taken |= 1 << (rest - size)
    return bins
