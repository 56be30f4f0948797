"""What `analysis=ngrams` says: its table for people and its tidy rows, both from summary.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.table_files import Table

NOTHING = "–"
_SAID = {
    "gini": "Gini coefficient of responses",
    "top_share": "share of the fullest {top:g} % of buckets",
    "zipf_slope": "Zipf slope, ranks {first} to {last}",
    "distinct_1": "distinct-1 at {budget:,} {units}",
    "distinct_2": "distinct-2 at {budget:,} {units}",
}
_JENSEN_SHANNON = {
    "plug_in": "Jensen-Shannon divergence, bits, as counted",
    "corrected": "the same, corrected for bias",
    "by_chance": "the same, units dealt out at random",
}


def columns_of(names: Sequence[str]) -> list[str]:
    """A name a corpus, also where both have the same one."""
    return [f"{name} ({place})" for place, name in enumerate(names, 1)] if len(set(names)) < len(names) else list(names)


def readable_table(summary: Mapping[str, Any]) -> Table:
    """The table for people."""
    corpora, ngrams = summary["corpora"], summary["ngrams"]
    is_pair = len(corpora) == 2
    units = "tokens" if ngrams["tokenizer"] else "words"
    first, last = ngrams["zipf_ranks"]
    said = {
        key: text.format(top=100 * ngrams["top_share"], first=first, last=last, budget=ngrams["budget"], units=units)
        for key, text in _SAID.items()
    }
    sizes = {
        "documents": "documents",
        units: "units",
        f"different {units}": "different_units",
        "different bi-grams": "different_bigrams",
    }
    rows = [
        [name, *(f"{corpus[key]:,}" for corpus in corpora), *([""] if is_pair else [])] for name, key in sizes.items()
    ]
    for key, text in said.items():
        cells = [_cell(entry) for entry in summary["statistics"][key]]
        rows.append([text, *cells, *([_cell(summary["differences"].get(key))] if is_pair else [])])
    for key, text in _JENSEN_SHANNON.items() if is_pair else ():
        rows.append([text, "", "", _cell(summary["jensen_shannon"][key])])
    heading = [
        "statistic",
        *columns_of([corpus["name"] for corpus in corpora]),
        *(["second - first"] if is_pair else []),
    ]
    return Table("N-grams", heading, rows, _notes(summary, units))


def _notes(summary: Mapping[str, Any], units: str) -> list[str]:
    corpora, ngrams = summary["corpora"], summary["ngrams"]
    drawn = [
        f"{corpus['resampling_units']:,} {corpus['resampling_unit_is']}s of {column}"
        + (f" in {corpus['groups']:,} groups" if corpus["groups"] < corpus["resampling_units"] else "")
        for column, corpus in zip(columns_of([corpus["name"] for corpus in corpora]), corpora, strict=True)
    ]
    notes = [
        f"Responses: uni- and bi-grams of {units} hashed into {ngrams['buckets']:,} buckets ({ngrams['hash']}).",
        f"In brackets: 95 % bootstrap intervals; what is drawn: {', '.join(drawn)}.",
        f"distinct-n: expected in documents drawn at random until they have {ngrams['budget']:,} {units} on average; "
        "without interval.",
    ]
    p_value = summary.get("jensen_shannon", {}).get("corrected", {}).get("p_value")
    if p_value is not None:
        how = "swapped between the corpora, which have the same ones" if summary["is_paired"] else "dealt out at random"
        notes.append(f"Divergence: p = {p_value:.4f} ({summary['resamples']:,} permutations of units, {how}).")
    if any(corpus["resampling_units"] < 2 for corpus in corpora):
        notes.append("A corpus of one unit has no interval, and a pair with one no test.")
    return notes


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return NOTHING
    value = f"{entry['value']:.4f}"
    return value if entry["low"] is None else f"{value} [{entry['low']:.4f}, {entry['high']:.4f}]"


def tidy_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """statistic, corpus, value, low, high, p_value: a row a number."""
    columns = columns_of([corpus["name"] for corpus in summary["corpora"]])
    rows = [
        {"statistic": key, "corpus": column, **entry}
        for key, entries in summary["statistics"].items()
        for column, entry in zip(columns, entries, strict=True)
    ]
    rows += [
        {"statistic": key, "corpus": "second - first", **entry} for key, entry in summary.get("differences", {}).items()
    ]
    return rows + [
        {"statistic": f"jensen_shannon_{key}", "corpus": "both", **entry}
        for key, entry in summary.get("jensen_shannon", {}).items()
    ]
