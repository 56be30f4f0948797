"""What can be measured at a finished artifact: the columns that the table of an experiment may show.

| artifact | measures |
|---|---|
| edited corpus | `tokens`; `eligible`, `expected_changed`, `changed`, `unspliceable` of them; `changed_of_eligible` |
| eval | `<set>.<metric>` of every row of results.json, a group of tasks as one; scores in per cent |
| figure | the numbers of an analysis: `analysis/figure_measures.py` |
| checkpoint | `loss`, `validation_loss`, `validation_perplexity` at the end; `steps`, `tokens_seen` |
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toedit.errors import UnusableInput
from toedit.workspace import read_manifest


@dataclass(frozen=True)
class Measure:
    """One number. Where it is a count of random draws, `hits` of `trials` came true and the value is hits / total."""

    value: float
    share_of: str = ""
    """What it is a share of (`tokens`); empty: it is no share."""
    hits: int | None = None
    trials: int | None = None
    total: int | None = None
    low: float | None = None
    """Its own 95 % interval, where the artifact has one (a bootstrap over documents)."""
    high: float | None = None


def measure(folder: Path) -> dict[str, Measure]:
    """Every measure of the artifact in `folder`, by name."""
    manifest = read_manifest(folder)
    if manifest["kind"] not in _BY_KIND:
        raise UnusableInput(f"{folder}: nothing is known to measure at a {manifest['kind']} artifact")
    return _BY_KIND[manifest["kind"]](folder, manifest)


def _of_edit(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Measure]:
    counts = manifest["counts"]
    tokens, eligible, changed = counts["tokens"], counts["eligible"], counts["changed"]
    trials = eligible if "seed" in manifest["identity"] else None  # deletions draw nothing
    return {
        "tokens": Measure(tokens),
        "eligible": _share(eligible, tokens),
        "expected_changed": _share(counts["expected_changed"], tokens),
        "changed": _share(changed, tokens, trials),
        "unspliceable": _share(counts["unspliceable"], tokens, trials),
        "changed_of_eligible": _share(changed, eligible, trials, "eligible"),
    }


def _share(part: float, total: int, trials: int | None = None, share_of: str = "tokens") -> Measure:
    hits = int(part) if trials else None
    return Measure(part / max(total, 1), share_of, hits, trials or None, total)


def _of_eval(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Measure]:
    rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    alone = [row for row in rows if not row.get("group")]  # the subjects of MMLU: its own row speaks for them
    return {f"{row['set']}.{row['metric']}": Measure(_in_per_cent(row)) for row in alone if row["value"] is not None}


def _in_per_cent(row: Mapping[str, Any]) -> float:
    """Scores of tasks as papers print them; perplexities as they are."""
    return float(row["value"]) * (100 if "shots" in row else 1)


def _of_training(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Measure]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    found = {
        key: Measure(float(last[key])) for key in ("loss", "validation_loss", "validation_perplexity") if last[key]
    }
    return found | {key: Measure(manifest["counts"][key]) for key in ("steps", "tokens_seen")}


def _of_figure(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Measure]:
    from analysis.figure_measures import measures_of_figure

    return measures_of_figure(folder, manifest)


_BY_KIND: dict[str, Callable[[Path, Mapping[str, Any]], dict[str, Measure]]] = {
    "edited_corpus": _of_edit,
    "eval": _of_eval,
    "checkpoint": _of_training,
    "figure": _of_figure,
}
