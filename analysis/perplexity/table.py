"""The tables of `perplexity_distribution`, for people (Markdown, LaTeX, terminal) and as tidy rows.

Reads what `perplexity.stage.summarize` returns; writes the files it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.overlap import SHARES
from analysis.table_files import Table, write_latex, write_markdown

Summary = Mapping[str, Any]

_QUANTILES = {
    "q0.05": "5th percentile",
    "q0.25": "lower quartile",
    "q0.5": "median",
    "q0.75": "upper quartile",
    "q0.95": "95th percentile",
}
_SHARES = {
    "within_95": "within the other's central 95 %",
    "within_99": "within the other's central 99 %",
    "up_to_q0.25": "up to the other's lower quartile",
    "above_q0.95": "above the other's 95th percentile",
}
_DISTANCES = {
    "kolmogorov_smirnov": "Kolmogorov-Smirnov",
    "wasserstein": "Wasserstein-1 (nats a token)",
    "energy": "energy (root of nats a token)",
}


def overlap_table(summary: Summary) -> Table:
    """A column a corpus: quantiles of perplexity, then shares of documents."""
    first, second = summary["corpora"]
    rows = [["documents", *(f"{entry['documents']:,}" for entry in (first, second)), ""]]
    for key, label in _QUANTILES.items():
        rows.append([label, *(_cell(entry["quantiles"][key], _number) for entry in (first, second)), ""])
    for key, label in _SHARES.items():
        cells = [_cell(entry["shares"][key], _percent) for entry in (first, second)]
        rows.append([label, *cells, f"{SHARES[key]:.0%}"])
    return Table("Perplexity of documents", ["", *summary["names"], "if alike"], rows, notes(summary))


def distance_table(summary: Summary) -> Table:
    rows = []
    for key, label in _DISTANCES.items():
        found = summary["distances"][key]
        p_values = ["-" if found[p] is None else f"{found[p]:.4f}" for p in ("p_value", "p_bootstrap")]
        rows.append([label, f"{found['value']:.4f}", _interval(found, "{:.4f}".format) or "-", *p_values])
    title = f"Distance between {summary['names'][0]} and {summary['names'][1]}, of log perplexity"
    return Table(
        title, ["distance", "value", "95 % interval", "p (permutation)", "p (bootstrap)"], rows, notes(summary)
    )


def write_tables(summary: Summary, paths: Mapping[str, Path]) -> None:
    for name, shown in (("table", overlap_table(summary)), ("distances", distance_table(summary))):
        write_markdown(paths[f"{name}.md"], shown)
        write_latex(paths[f"{name}.tex"], shown)


def tidy_rows(summary: Summary) -> list[dict[str, Any]]:
    """A row a number; `corpus` is empty where it is of both."""
    rows = []
    for name, entry in zip(summary["names"], summary["corpora"], strict=True):
        rows += [_tidy(f"perplexity_{key}", name, found, None) for key, found in entry["quantiles"].items()]
        rows += [_tidy(key, name, found, SHARES[key]) for key, found in entry["shares"].items()]
    return rows + [_tidy(key, None, found, 0.0) for key, found in summary["distances"].items()]


def notes(summary: Summary) -> list[str]:
    """How it was measured and what was left out, in sentences."""
    first, second = summary["corpora"]
    most, skipped = summary["max_tokens"], "without the first" if summary["skip_first_token"] else "the first included"
    read = f"the first {most:,} tokens of a document" if most is not None else "all tokens of a document"
    lines = [f"Perplexity under {summary['prior']}, over {read}, {skipped}."]
    drawn = " and ".join(_units(entry) for entry in (first, second))
    lines.append(f"95 % intervals and p-values from {summary['resamples']:,} resamples each of {drawn}.")
    for name, entry in zip(summary["names"], (first, second), strict=True):
        if entry["without_perplexity"]:
            left = entry["without_perplexity"]
            lines.append(f"{name}: {left:,} of {entry['documents']:,} documents have no scored token and are left out.")
        if entry["units"] == 1:
            lines.append(f"{name} is a single {_word(entry)}: there is no interval.")
    sizes = [(entry["documents"] - entry["without_perplexity"]) / entry["units"] for entry in (first, second)]
    if max(sizes) > 1.5 * min(sizes):
        lines.append(
            f"Works hold {sizes[0]:.3g} and {sizes[1]:.3g} documents on average: permutation takes them for alike; "
            "p (bootstrap) does not."
        )
    if summary["shared_ids"]:
        lines.append(f"{summary['shared_ids']:,} ids are in both corpora; pairs are not made use of.")
    return lines


def _units(entry: Mapping[str, Any]) -> str:
    return f"{entry['units']:,} {_word(entry)}{'' if entry['units'] == 1 else 's'}"


def _word(entry: Mapping[str, Any]) -> str:
    return "work" if entry["unit"] == "origin" else "document"


def _tidy(measure: str, corpus: str | None, found: Mapping[str, Any], if_alike: float | None) -> dict[str, Any]:
    return {"measure": measure, "corpus": corpus, **found, "if_alike": if_alike}


def _number(value: float) -> str:
    return f"{value:.4g}" if value < 1e6 else f"{value:.3e}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _cell(found: Mapping[str, Any], written: Callable[[float], str]) -> str:
    span = _interval(found, written)
    return written(found["value"]) + (f" {span}" if span else "")


def _interval(found: Mapping[str, Any], written: Callable[[float], str]) -> str:
    """`[low, high]`, the unit once."""
    if found["low"] is None:
        return ""
    return f"[{written(found['low']).removesuffix('%')}, {written(found['high']).removesuffix('%')}]"
