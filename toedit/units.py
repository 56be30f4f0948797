"""What resampling draws: documents, or their common origins (works) where their metadata names one.

Sections of one book resemble each other: as so many independent documents they would make every interval too narrow
and every test too sure.

Shapes: D documents, U units, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toedit.corpora.rows import pick


def origin_of(document: Any, fields: Sequence[str]) -> str | None:
    """The first of `fields` (dotted paths) that `document` has, as text."""
    if isinstance(document, str):
        return None
    found = (pick(document, field) for field in fields)
    return next((str(item) for item in found if isinstance(item, (str, int)) and str(item)), None)


def units_of(origins: Sequence[str | None]) -> tuple[NDArray[np.int64], str]:
    """`(unit_D, what a unit is)`: documents of one origin belong together, others stand alone.

    An origin that all documents of a set share says nothing about which of them depend on each other.
    """
    known = {origin for origin in origins if origin is not None}
    if not known or (len(known) == 1 and None not in origins):
        return np.arange(len(origins)), "document"
    number: dict[tuple[bool, str | int], int] = {}
    unit_D = [
        number.setdefault((True, row) if origin is None else (False, origin), len(number))
        for row, origin in enumerate(origins)
    ]
    return np.array(unit_D, np.int64), "origin"


def draw_counts(generator: np.random.Generator, resamples: int, units: int) -> NDArray[np.int64]:
    """Bootstrap resamples, [R, U]: how often each unit comes up in `units` draws with replacement."""
    drawn_RU = generator.integers(units, size=(resamples, units)) + units * np.arange(resamples)[:, None]
    return np.bincount(drawn_RU.ravel(), minlength=resamples * units).reshape(resamples, units)
