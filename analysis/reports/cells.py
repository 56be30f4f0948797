"""What a report says of one published number: ours beside it, with interval, scale and seeds, and a verdict.

A published number can be compared in two ways. At `scale=paper` the numbers themselves are; at any scale the
difference from a baseline is, by its sign: more synthetic data, higher perplexity. A statement ("75 % of the tokens lie
below 0.6") is compared with the bound that it names.

| verdict | |
|---|---|
| agrees | at scale=paper: the published number lies within our interval (or, without one, within the tolerance) |
| same direction | our difference has the sign of the published one, and its 95 % interval excludes 0 |
| contradicts | it has the other sign, and its interval excludes 0; at scale=paper also: the numbers differ |
| not comparable at this scale | neither: `reason` says why |
| not run | there is no number of ours; `command` makes it |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

AGREES, SAME_DIRECTION, CONTRADICTS = "agrees", "same direction", "contradicts"
NOT_COMPARABLE, NOT_RUN = "not comparable at this scale", "not run"
VERDICTS = (AGREES, SAME_DIRECTION, CONTRADICTS, NOT_COMPARABLE, NOT_RUN)


@dataclass(frozen=True)
class Ours:
    """A number of ours and its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None


@dataclass
class Cell:
    """One published number or statement, and what we found."""

    part: str
    """Which part of the table (`biomedicine`); empty where it has one."""
    row: str
    column: str
    published: str
    """As it was printed; a statement in words."""
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    """Ours minus our baseline's, seed by seed; None for the baseline itself and for statements."""
    difference_low: float | None = None
    difference_high: float | None = None
    scale: str = ""
    seeds: int = 0
    verdict: str = NOT_RUN
    reason: str = ""
    """Why this verdict, in a few words."""
    measure: str = ""
    """The measure of ours that stands here."""
    command: str = ""
    """What makes the number."""
    manifest: str = ""
    """The manifest of the artifact that it is read from; empty: not there."""


@dataclass
class Report:
    """One finished table or figure: the content of report.json."""

    name: str
    place: str
    """`Table 1`."""
    title: str
    kind: str
    """table or figure."""
    scale: str
    command: str
    cells: list[Cell]
    published_sources: list[str] = field(default_factory=list)
    """Where the published numbers are from."""
    notes: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    """Stems of the pictures beside it: `figure`, with .png, .pdf and .svg."""
    missing: list[str] = field(default_factory=list)
    """Commands that make what is not there."""

    def counts(self) -> dict[str, int]:
        """{verdict: cells}, in the order of VERDICTS, those without a cell left out."""
        return count(self.cells)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdicts": self.counts()}


def report_from(stored: dict[str, Any]) -> Report:
    """The report of a report.json."""
    known = {key: value for key, value in stored.items() if key != "verdicts"}
    return Report(**{**known, "cells": [Cell(**cell) for cell in stored["cells"]]})


def count(cells: Sequence[Cell]) -> dict[str, int]:
    """{verdict: cells}, in the order of VERDICTS, those without a cell left out."""
    found = {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in VERDICTS}
    return {verdict: number for verdict, number in found.items() if number}


def verdict_on_number(published: float, ours: Ours, is_published_size: bool, tolerance: float) -> tuple[str, str]:
    """(verdict, reason) on a published number itself, without a baseline. `tolerance` is relative."""
    if not is_published_size:
        return NOT_COMPARABLE, "another model, prior or corpus than the published one"
    if ours.low is not None and ours.high is not None and ours.low <= published <= ours.high:
        return AGREES, "within our 95 % interval"
    if math.isclose(published, ours.value, rel_tol=tolerance):
        return AGREES, f"within {tolerance:.0%}"
    return CONTRADICTS, f"differs by more than {tolerance:.0%}" + (
        ", outside our interval" if ours.has_interval else ""
    )


def verdict_on_difference(published: float, ours: Ours, noise: float) -> tuple[str, str]:
    """(verdict, reason) on the sign of a published difference; `noise` is how far two runs alike may differ there."""
    if abs(published) <= noise:
        return NOT_COMPARABLE, f"the published difference, {published:+.4g}, is within the noise of its runs"
    if ours.low is None or ours.high is None:
        if ours.value == 0:
            return NOT_COMPARABLE, "ours does not differ at all"
        return NOT_COMPARABLE, "one run of ours: no interval"
    if ours.low <= 0 <= ours.high:
        return NOT_COMPARABLE, "the interval of our difference holds 0"
    same = (ours.value > 0) == (published > 0)
    return (SAME_DIRECTION if same else CONTRADICTS), f"published difference {published:+.4g}"


def verdict_on_statement(ours: Ours, side: str, bound: float) -> tuple[str, str]:
    """(verdict, reason) on `ours is below (or above) the bound`; the interval, where there is one, must be too."""
    low, high = (ours.value, ours.value) if ours.low is None or ours.high is None else (ours.low, ours.high)
    if math.isnan(ours.value):
        return NOT_COMPARABLE, "cannot be computed here"
    holds, fails = (high < bound, low >= bound) if side == "below" else (low > bound, high <= bound)
    wanted = f"{side} {bound:g}"
    if holds:
        return SAME_DIRECTION, f"is {wanted}"
    return (CONTRADICTS, f"is not {wanted}") if fails else (NOT_COMPARABLE, f"the interval does not decide: {wanted}?")
