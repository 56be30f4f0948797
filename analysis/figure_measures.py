"""What can be measured at a finished analysis: every number of its summary.json, with its interval where it has one.

`first` and `second` are the two corpora, `both` is of the pair, `second_minus_first` a difference with an interval of
its own; of other analyses the place in summary.json is the name (`pairs.0.auc`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.measures import Measure
from toedit.errors import UnusableInput

_CORPORA = ("first", "second")
_Named = Iterator[tuple[str, Measure]]


def measures_of_figure(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Measure]:
    """{name: measure} of the analysis in `folder`."""
    if "analysis" not in manifest["identity"]:
        raise UnusableInput(f"{folder}: a figure that is no analysis; nothing is known to measure at it")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return dict(_BY_ANALYSIS.get(manifest["identity"]["analysis"], _any)(summary))


def _token_probability(summary: Mapping[str, Any]) -> _Named:
    for share, value in zip((0.25, 0.5, 0.75), summary["quartiles"], strict=True):
        yield f"quartile_{share:g}", Measure(value)
    for threshold, share in summary["shares_at_least"].items():
        yield f"at_least_{threshold}", Measure(100 * share)
    for entry in summary["intervals"]:
        yield f"interval_{entry['interval']}", Measure(100 * entry["share"])


def _perplexity_distribution(summary: Mapping[str, Any]) -> _Named:
    for corpus, entry in zip(_CORPORA, summary["corpora"], strict=True):
        for key, found in entry["quantiles"].items():
            yield f"{corpus}.perplexity_{key}", _with_interval(found)
        for key, found in entry["shares"].items():
            yield f"{corpus}.{key}", _with_interval(found, 100)
    for key, found in summary["distances"].items():
        yield f"both.{key}", _with_interval(found)


def _ngrams(summary: Mapping[str, Any]) -> _Named:
    for key, entries in summary["statistics"].items():
        for corpus, found in zip(_CORPORA, entries, strict=False):
            if found["value"] is not None:
                yield f"{corpus}.{key}", _with_interval(found)
    for key, found in summary.get("differences", {}).items():
        yield f"second_minus_first.{key}", _with_interval(found)
    for key, found in summary.get("jensen_shannon", {}).items():
        yield f"both.jensen_shannon_{key}", _with_interval(found)


def _any(summary: Mapping[str, Any]) -> _Named:
    """Whatever has a value, by its place: `corpora.0.mean`, `pairs.0.auc`."""
    for name, entry in _entries(summary, ""):
        if isinstance(entry, Mapping):
            if entry["value"] is not None:
                yield name, _with_interval(entry)
        else:
            yield name, Measure(float(entry))


def _entries(entry: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, number or {value, low, high}) below `entry`."""
    if isinstance(entry, Mapping) and "value" in entry:
        yield name, entry
    elif isinstance(entry, Mapping):
        for key, below in entry.items():
            yield from _entries(below, f"{name}.{key}" if name else str(key))
    elif isinstance(entry, list):
        for number, below in enumerate(entry):
            yield from _entries(below, f"{name}.{number}")
    elif isinstance(entry, int | float) and not isinstance(entry, bool):
        yield name, entry


def _with_interval(found: Mapping[str, Any], scale: float = 1) -> Measure:
    low, high = found.get("low"), found.get("high")
    return Measure(
        found["value"] * scale, low=None if low is None else low * scale, high=None if high is None else high * scale
    )


_BY_ANALYSIS: dict[str, Callable[[Mapping[str, Any]], _Named]] = {
    "token_probability": _token_probability,
    "perplexity_distribution": _perplexity_distribution,
    "ngrams": _ngrams,
}
