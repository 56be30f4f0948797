"""The table of `analysis=calibration`, for people and as tidy rows. Reads what `calibration.summarize` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.table_files import Table

Summary = Mapping[str, Any]
Write = Callable[[float], str]


def lines_of(summary: Summary) -> list[tuple[str, str, Write]]:
    """`(measure, label, how its number is written)`, in the order of the table."""
    rows: list[tuple[str, str, Write]] = []
    for p in summary["thresholds"]:
        rows += [
            (f"stated_share.{p:g}", f"positions where some token has q >= {p:g}", _percent),
            (f"stated.{p:g}", "    stated: mean q of these", _fine),
            (f"seen.{p:g}", "    seen: share that stands in the text", _fine),
            (f"gap.{p:g}", "    seen minus stated", _fine),
            (f"eligible.{p:g}", f"eligible tokens, P >= {p:g}", _percent),
        ]
    rows += [
        ("calibration_error_top", "expected calibration error, most probable token", _fine),
        ("calibration_error_all", "the same, all candidates", _fine),
    ]
    for rank in summary["ranks"]:
        rows += [
            (f"within.{rank}", f"tokens among the {_first(rank)}", _percent),
            (f"mass.{rank}", f"    stated mass of the {_first(rank)}", _percent),
        ]
    return [*rows, ("bits_per_byte", "bits per byte", "{:.4g}".format), ("perplexity", "perplexity", "{:.4g}".format)]


def readable_table(summary: Summary) -> Table:
    """A column a corpus, then the second minus the first."""
    corpora = summary["corpora"]
    columns = ["", *(entry["name"] for entry in corpora), *(["second minus first"] if len(corpora) == 2 else [])]
    rows = [["scored tokens", *(f"{entry['tokens']:,}" for entry in corpora), ""][: len(columns)]]
    for measure, label, write in lines_of(summary):
        cells = [_cell(entry["measures"][measure], write) for entry in corpora]
        if len(corpora) == 2:
            cells.append(_cell(summary["difference"][measure], write))
        rows.append([label, *cells])
    return Table(f"Calibration of {summary['prior']}", columns, rows, notes(summary))


def tidy_rows(summary: Summary) -> list[dict[str, Any]]:
    """A row a number; the corpus of a difference is empty."""
    sides = [(entry["name"], entry["measures"]) for entry in summary["corpora"]]
    if "difference" in summary:
        sides.append((None, summary["difference"]))
    empty = dict.fromkeys(("value", "low", "high"))
    return [
        {"measure": measure, "corpus": name, **(measures[measure] or empty)}
        for name, measures in sides
        for measure, _, _ in lines_of(summary)
    ]


def notes(summary: Summary) -> list[str]:
    """How it was measured, in sentences."""
    drawn = " and ".join(
        f"{entry['units']:,} {_word(entry)}{'' if entry['units'] == 1 else 's'} of {entry['name']}"
        for entry in summary["corpora"]
    )
    lines = [
        "q is what the prior gives a token before it sees the text; P the q of the token that stands there.",
        f"95 % intervals from {summary['resamples']:,} resamples of {drawn}.",
    ]
    for entry in summary["corpora"]:
        if entry["units"] == 1:
            lines.append(f"{entry['name']} is a single {_word(entry)}: there is no interval.")
    return lines


def _word(entry: Mapping[str, Any]) -> str:
    return "work" if entry["unit"] == "origin" else "document"


def _first(rank: int) -> str:
    return "most probable token" if rank == 1 else f"{rank} most probable"


def _fine(value: float) -> str:
    return f"{value:.5f}"


def _percent(value: float) -> str:
    return f"{100 * value:.4g}%"


def _cell(found: Mapping[str, Any] | None, write: Write) -> str:
    if found is None:
        return "-"
    if found["low"] is None:
        return write(found["value"])
    low, high = (write(found[key]).removesuffix("%") for key in ("low", "high"))
    return f"{write(found['value'])} [{low}, {high}]"
