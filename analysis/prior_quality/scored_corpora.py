"""What the analyses of a prior read: scores, the works their documents are from, and resampling of sums over works.

A statistic here is a function of sums over tokens (a share is one sum over another). So a corpus is kept as one row of
sums a group of works, a resample is a product of how often each group was drawn with that matrix, and memory does not
grow with the tokens.

Shapes: D documents, G groups of works, S sums, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.intervals import LEAST_UNITS, wilson
from analysis.two_sample import Advance, Estimate, interval, quietly
from toedit.documents import read_documents, shard_of, shard_paths
from toedit.errors import UnusableInput
from toedit.scores import scores_path
from toedit.units import draw_counts, origin_of, units_of

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], dict[str, Floats]]
"""From sums [R, S] to values [R] by name; NaN where a value is not defined."""

MAX_GROUPS = 2000
"""More works than this are drawn in this many groups, each of every 2000th work."""
_BATCH = 100
_LEAST_DEFINED = 0.95
"""An interval is told where a statistic is defined in this share of the resamples."""


class Works:
    """Which group of works each document of a corpus is in."""

    def __init__(self, corpus: Path, unit_fields: list[str]) -> None:
        self.ids: dict[Path, list[str]] = {}
        origins: list[str | None] = []
        for shard in shard_paths(corpus):
            documents = [(document["id"], origin_of(document, unit_fields)) for document in read_documents(shard)]
            self.ids[shard] = [own for own, _ in documents]
            origins += [origin for _, origin in documents]
        if not origins:
            raise UnusableInput(f"{corpus}: holds no document")
        unit_D, self.unit = units_of(origins)
        self.documents, self.units = len(origins), int(unit_D.max()) + 1
        self.groups = min(self.units, MAX_GROUPS)
        start_1 = np.cumsum([0, *(len(ids) for ids in self.ids.values())])
        self.group_of = {
            shard: unit_D[begin:end] % self.groups
            for shard, begin, end in zip(self.ids, start_1, start_1[1:], strict=False)
        }

    def scores_of(self, scores: Path, shard: Path) -> Path:
        """The file of `scores` that belongs to a corpus shard."""
        return scores_path(scores, shard_of(shard))

    def check(self, path: Path, ids: list[str], shard: Path) -> None:
        """Raises UnusableInput unless the scores in `path` are of this shard's documents."""
        if ids != self.ids[shard]:
            raise UnusableInput(f"{path}: its documents are not those of {shard}")

    def described(self) -> dict[str, object]:
        return {"documents": self.documents, "units": self.units, "unit": self.unit}


def resampled(sum_GS: Floats, statistic: Statistic, resamples: int, generator: np.random.Generator,
              advance: Advance = quietly) -> dict[str, Floats]:  # fmt: skip
    """The statistic of corpora whose groups are drawn with replacement; empty where they are too few."""
    if len(sum_GS) < LEAST_UNITS:
        return {}
    parts = []
    for start in range(0, resamples, _BATCH):
        rows = min(_BATCH, resamples - start)
        parts.append(statistic(draw_counts(generator, rows, len(sum_GS)) @ sum_GS))
        advance(rows)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def estimated(
    value: float, value_R: Floats | None, share_units: int | None = None, is_distance: bool = False
) -> Estimate | None:
    """A value with its interval; None where it is not defined.

    Resamples of a share of 0 or 1 know nothing else: it gets Wilson's interval with `share_units` (works that it is
    about) for trials. Resamples of a distance are too large by a mean excess, which is taken off as in `two_sample`.
    """
    if not np.isfinite(value):
        return None
    if value_R is None or np.isfinite(value_R).mean() < _LEAST_DEFINED:
        return Estimate(value)
    value_R = value_R[np.isfinite(value_R)]
    if share_units and value in (0.0, 1.0):
        return Estimate(value, *wilson(share_units if value else 0, share_units))
    low, high = interval(value_R)
    if low == high == value:  # nothing was ever seen: resamples know no more
        return Estimate(value)
    if is_distance:
        excess = max(float(value_R.mean()) - value, 0.0)
        low, high = max(low - 2 * excess, 0.0), high - excess
    return Estimate(value, min(low, value), max(high, value))
