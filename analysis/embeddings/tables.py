"""The table of `analysis=embeddings`, for people and as tidy rows. Reads what `comparison.summarize` returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.intervals import LEAST_UNITS
from analysis.table_files import Table

Summary = Mapping[str, Any]
MEASURES = {
    "mmd2": "squared maximum mean discrepancy",
    "energy": "energy distance",
    "auc": "area under the classifier's ROC curve",
}
IF_ALIKE = {"mmd2": 0.0, "energy": 0.0, "auc": 0.5}
_FIELDS = ("value", "low", "high", "p_value", "p_bootstrap")


def readable_table(summary: Summary) -> Table:
    """A row a measure and pair of corpora."""
    rows = []
    for pair in summary["pairs"]:
        for key, label in MEASURES.items():
            found = pair[key] or dict.fromkeys(_FIELDS)
            span = "-" if found["low"] is None else f"[{_number(found['low'])}, {_number(found['high'])}]"
            p_values = ["-" if found[name] is None else f"{found[name]:.4f}" for name in ("p_value", "p_bootstrap")]
            place = [f"{pair['first']}, {pair['second']}"] if len(summary["pairs"]) > 1 else []
            rows.append([label, *place, _number(found["value"]), span, *p_values, f"{IF_ALIKE[key]:g}"])
    names = " and ".join(entry["name"] for entry in summary["corpora"])
    corpora = ["corpora"] if len(summary["pairs"]) > 1 else []
    columns = ["measure", *corpora, "value", "95 % interval", "p (permutation)", "p (bootstrap)", "if alike"]
    return Table(f"Embeddings of {names}", columns, rows, notes(summary))


def tidy_rows(summary: Summary) -> list[dict[str, Any]]:
    return [
        {
            "measure": key,
            "first": pair["first"],
            "second": pair["second"],
            **{name: (pair[key] or {}).get(name) for name in _FIELDS},
            "if_alike": IF_ALIKE[key],
        }
        for pair in summary["pairs"]
        for key in MEASURES
    ]


def notes(summary: Summary) -> list[str]:
    """How it was measured and what was left out, in sentences."""
    corpora = summary["corpora"]
    drawn = ", ".join(f"{_units(entry)} of {entry['name']}" for entry in corpora)
    lines = [
        f"{corpora[0]['documents']:,} documents of each, embedded with {summary['model']} and scaled to unit length.",
        f"95 % intervals and p-values from {summary['resamples']:,} resamples each of {drawn}.",
        "The two distances are unbiased estimates: where corpora are alike they are negative half of the time.",
    ]
    for entry in corpora:
        if entry["without_tokens"]:
            lines.append(f"{entry['name']}: {entry['without_tokens']:,} documents without a token are left out.")
        if entry["units"] < 2:
            lines.append(f"{entry['name']} is a single {_word(entry)}: nothing can be compared with it.")
        elif entry["units"] < LEAST_UNITS:
            lines.append(f"{entry['name']} has fewer than {LEAST_UNITS} {_word(entry)}s: there is no interval.")
    sizes = [entry["documents"] / entry["units"] for entry in corpora]
    if max(sizes) > 1.5 * min(sizes):
        written = ", ".join(f"{size:.3g}" for size in sizes)
        lines.append(
            f"Works hold {written} documents on average: permutation takes them for alike; p (bootstrap) does not."
        )
    for pair in summary["pairs"]:
        if pair["shared_ids"]:
            lines.append(
                f"{pair['shared_ids']:,} ids are in {pair['first']} and {pair['second']}; pairs are not made use of."
            )
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _units(entry: Mapping[str, Any]) -> str:
    return f"{entry['units']:,} {_word(entry)}{'' if entry['units'] == 1 else 's'}"


def _word(entry: Mapping[str, Any]) -> str:
    return "work" if entry["unit"] == "origin" else "document"
