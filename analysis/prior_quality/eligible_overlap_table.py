"""The table of `analysis=eligible_overlap`, for people and as tidy rows. Reads what its `summarize` returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.intervals import LEAST_UNITS
from analysis.table_files import Table

Summary = Mapping[str, Any]
BASES = ("bytes", "tokens")
_SHOWN = ("eligible_first", "eligible_second", "jaccard", "of_first", "of_second")


def readable_table(summary: Summary) -> Table:
    """A row a basis and threshold; in parentheses what independent sets would give."""
    rows = []
    for basis in BASES:
        for p in summary["thresholds"]:
            found = summary["measures"][basis][f"{p:g}"]
            rows.append([f"{basis}, P >= {p:g}", *(_cell(found, measure) for measure in _SHOWN)])
    columns = ["", "eligible, A", "eligible, B", "Jaccard", "of A's, also B's", "of B's, also A's"]
    return Table(f"Eligible text of {summary['corpus']} under two priors", columns, rows, notes(summary))


def tidy_rows(summary: Summary) -> list[dict[str, Any]]:
    empty = dict.fromkeys(("value", "low", "high"))
    return [
        {"basis": basis, "p": p, "measure": measure, **(found or empty)}
        for basis in BASES
        for p in summary["thresholds"]
        for measure, found in summary["measures"][basis][f"{p:g}"].items()
    ]


def notes(summary: Summary) -> list[str]:
    """How it was measured, in sentences."""
    word = "work" if summary["unit"] == "origin" else "document"
    share = summary["same_tokens"] / max(summary["tokens"][0], 1)
    lines = [
        f"A: {summary['priors'][0]}. B: {summary['priors'][1]}.",
        f"Of {summary['scored']['bytes']:,} bytes that both priors scored, and of {summary['scored']['tokens']:,} "
        f"tokens that are the same bytes in both tokenizations ({share:.1%} of A's).",
        "In parentheses: what two sets of these sizes share if they have nothing to do with each other.",
        f"95 % intervals from {summary['resamples']:,} resamples of {summary['units']:,} {word}s."
        if summary["units"] >= LEAST_UNITS
        else f"The corpus has fewer than {LEAST_UNITS} {word}s: there is no interval.",
    ]
    return lines


def _cell(found: Mapping[str, Any], measure: str) -> str:
    entry = found[measure]
    if entry is None:
        return "-"
    written = f"{100 * entry['value']:.3g}%"
    if entry["low"] is not None:
        written += f" [{100 * entry['low']:.3g}, {100 * entry['high']:.3g}]"
    expected = found.get(f"expected.{measure}")
    return written if expected is None else f"{written} ({100 * expected['value']:.3g}%)"
