"""The paper's claims, from `analysis/page/claims.yaml`, and how each is read from the verdicts of its reports.

A claim names the tables and figures that speak on it. What we say of it follows from their cells alone: how many point
the published way, how many the other, how many cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from analysis.reports.cells import AGREES, CONTRADICTS, NOT_COMPARABLE, NOT_RUN, SAME_DIRECTION, Cell, Report, count

FILE = Path(__file__).with_name("claims.yaml")

HOLDS, MOSTLY, MIXED, FAILS = "holds here", "mostly holds here", "mixed here", "contradicted here"
UNDECIDED, NOT_TRIED = "undecided here", "not run"
MOSTLY_FROM = 0.9
"""Share of the decided cells that must point the published way for "mostly": a few contradict by chance alone."""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper."""

    name: str
    """Its anchor on the page."""
    title: str
    says: str
    """The claim, in our words."""
    section: str
    """Where the paper makes it."""
    reports: tuple[str, ...]
    """The tables and figures that speak on it, best first (`fig2`, `table1`)."""
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """What the cells of a claim's reports say of it."""

    verdict: str
    counts: Mapping[str, int]
    """{verdict of a cell: cells}."""
    sentence: str


@cache
def load_claims() -> tuple[Claim, ...]:
    """All claims, in the order of the page."""
    from omegaconf import OmegaConf

    rows: Any = OmegaConf.to_container(OmegaConf.load(FILE))
    return tuple(Claim(**{**row, "reports": tuple(row["reports"])}) for row in rows)


def read_claim(claim: Claim, reports: Mapping[str, Report]) -> Reading:
    """The reading of `claim`; `reports` by name, those that were not made are absent."""
    return read_cells([cell for name in claim.reports if name in reports for cell in reports[name].cells])


def read_cells(cells: Sequence[Cell]) -> Reading:
    """What these cells say together."""
    counts = count(cells)
    for_it, against = counts.get(AGREES, 0) + counts.get(SAME_DIRECTION, 0), counts.get(CONTRADICTS, 0)
    return Reading(_verdict(for_it, against, counts.get(NOT_COMPARABLE, 0)), counts, _sentence(counts, len(cells)))


def _verdict(for_it: int, against: int, undecided: int) -> str:
    if not for_it + against:
        return UNDECIDED if undecided else NOT_TRIED
    if not against:
        return HOLDS
    if not for_it:
        return FAILS
    return MOSTLY if for_it / (for_it + against) >= MOSTLY_FROM else MIXED


def _sentence(counts: Mapping[str, int], total: int) -> str:
    """The counts in words."""
    if not total:
        return "None of its tables and figures is on this page."
    decided = sum(counts.get(verdict, 0) for verdict in (AGREES, SAME_DIRECTION, CONTRADICTS))
    unrun, undecided = counts.get(NOT_RUN, 0), counts.get(NOT_COMPARABLE, 0)
    if unrun == total:
        return f"None of {_results(total)} has been run."
    said = []
    if decided:
        found = {
            AGREES: "agree in value",
            SAME_DIRECTION: "point the published way",
            CONTRADICTS: "contradict",
        }
        parts = [f"{counts[verdict]:,} {words}" for verdict, words in found.items() if verdict in counts]
        said.append(f"Of {_results(total)}, {decided:,} can be decided here: {_listed(parts)}.")
    else:
        said.append(f"None of {_results(total)} can be decided here.")
    rest = []
    if undecided:
        rest.append(f"{undecided:,} cannot be compared at this scale")
    if unrun:
        rest.append(f"{unrun:,} {'was' if unrun == 1 else 'were'} not run")
    return " ".join([*said, *([f"{_listed(rest)}."] if rest else [])])


def _results(total: int) -> str:
    return "1 published result" if total == 1 else f"{total:,} published results"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
