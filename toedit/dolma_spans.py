"""Changes of a text as spans that the mixer of the Dolma toolkit replaces. Reads and writes no file.

Every rule of the mixer looks at every document, so the number of spans a document is limited: where more tokens
changed, the changes with the shortest gaps between them become one span, whose new text repeats what lies in the gaps.
And the mixer puts the old text of a span for each `{}` in its new text; so a span ends between such braces, and another
begins.

Positions are characters (Unicode code points), as the mixer counts them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

MAX_SPANS = 32
"""Spans of a document; only braces make more."""
_BETWEEN_BRACES = re.compile(r"(?<=\{)(?=\})")


class Change(NamedTuple):
    """Characters `start` to `end` of the old text, at least one, become `new`."""

    start: int
    end: int
    new: str


def as_spans(old: str, changes: Sequence[Change], limit: int = MAX_SPANS) -> list[Change] | None:
    """Changes that the mixer can make, with the effect of `changes` (in order, apart from each other).

    None where the old text has too few characters to cut at all the braces of the new one.
    """
    merged = _merge(old, changes, limit) if changes else []
    spans: list[Change] = []
    for index, change in enumerate(merged):
        first = spans[-1].end if spans else 0
        last = merged[index + 1].start if index + 1 < len(merged) else len(old)
        parts = _cut(old, change, first, last)
        if parts is None:  # no room beside it: the whole text is one change
            return _cut(old, Change(0, len(old), rewrite(old, changes)), 0, len(old))
        spans += parts
    return spans


def rewrite(old: str, changes: Sequence[Change], first: int = 0, last: int | None = None) -> str:
    """What the changes make of the old text, or of its characters from `first` to `last`."""
    parts, copied = [], first
    for start, end, new in changes:
        parts += [old[copied:start], new]
        copied = end
    return "".join([*parts, old[copied:last]])


def _merge(old: str, changes: Sequence[Change], limit: int) -> list[Change]:
    """At most `limit` changes: the longest gaps remain, of equal ones the first."""
    gaps = [after.start - before.end for before, after in pairwise(changes)]
    kept = sorted(range(len(gaps)), key=lambda index: -gaps[index])[: limit - 1]
    bounds = [0, *(index + 1 for index in sorted(kept)), len(changes)]
    groups = [changes[begin:stop] for begin, stop in pairwise(bounds)]
    ends = [(group[0].start, group[-1].end) for group in groups]
    return [Change(*end, rewrite(old, group, *end)) for group, end in zip(groups, ends, strict=True)]


def _cut(old: str, change: Change, first: int, last: int) -> list[Change] | None:
    """The change in parts without `{}`, each of one character of the old text or more.

    Where it has too few, it takes in what stands beside it, from `first` to `last`.
    """
    start, end, new = change
    while len(parts := _BETWEEN_BRACES.split(new)) > end - start:
        if start > first:
            start -= 1
            new = old[start] + new
        elif end < last:
            new += old[end]
            end += 1
        else:
            return None
    places = pairwise([*range(start, start + len(parts)), end])
    return [Change(*place, part) for place, part in zip(places, parts, strict=True)]
