"""The standard error of a metric that is no mean of its rows (weighted F1): the harness has none for such."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def standard_error(
    aggregation: Callable[[Any], float], values: Sequence[Any], resamples: int, seed: int, name: str
) -> float | None:
    """The standard deviation of `aggregation` over bootstrap resamples of `values`, rows drawn with replacement.

    None where one row says nothing about another, or no resamples are asked. `name` keeps tasks of one seed apart.
    """
    if len(values) < 2 or resamples < 2:
        return None
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    is_pairs = all(isinstance(value, tuple) and all(isinstance(part, int) for part in value) for value in values)
    array = np.array(values) if is_pairs else None  # many times faster, and read alike
    found = []
    for _ in range(resamples):
        drawn_N = generator.integers(len(values), size=len(values))
        found.append(aggregation([values[row] for row in drawn_N] if array is None else array[drawn_N]))
    return float(np.std(found, ddof=1))
