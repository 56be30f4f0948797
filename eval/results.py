"""Rows of results: one a set and metric, each saying how it was measured, and the mean over sets.

Reads samples/*.parquet of an eval artifact; writes

    results.json    a list of rows: model, set, metric, value, stderr, n (documents), and how it was measured
    results.csv     the same, tidy

A value beyond the range of numbers (a text of one endless word has no finite word perplexity) is null.

Shapes: D documents of a set.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eval.perplexity import Measured
from eval.sets import HELD_OUT
from eval.statistics import (
    METRICS,
    PAPER_METRICS,
    paper_statistic,
    rolling_statistic,
    standard_errors,
    values,
)
from toedit.config import EvalConfig
from toedit.errors import UnusableInput
from toedit.parquet_files import read_parquet
from toedit.units import units_of

SAMPLES = "samples"
MEAN = "mean of sets"
MEASURES = ("tokens", "scored", "words", "bytes", "nll")
SAMPLES_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("set", "id", "unit")]
    + [(name, pa.float64() if name == "nll" else pa.int64()) for name in MEASURES]
)
_COUNTS = ("tokens", "scored", "words", "bytes")


def result_rows(folder: Path, model: str, settings: EvalConfig, measured_by: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of all samples in `folder`, set after set, then the means over sets where there are several."""
    samples = pa.concat_tables(
        [read_parquet(path, SAMPLES_SCHEMA) for path in sorted((folder / SAMPLES).glob("*.parquet"))]
    )
    name_D = np.array(samples.column("set").to_pylist(), dtype=object)
    shared = {"mode": settings.mode, **measured_by, **_convention(settings)}
    rows: list[dict[str, Any]] = []
    names = sorted(set(name_D))
    for name in names:
        own = samples.filter(pa.array(name_D == name))
        rows += _rows_of_set(name, own, model, settings, shared)
    averaged = [name for name in names if not name.startswith(HELD_OUT)]  # those are text of the training's own kind
    if len(averaged) > 1:
        metrics = METRICS if settings.mode == "rolling" else PAPER_METRICS
        own = [row for row in rows if row["set"] in averaged]
        rows += [_mean([row for row in own if row["metric"] == metric]) for metric in metrics]
    return rows


def write_results(rows: list[dict[str, Any]], structured: Path, tidy: Path) -> None:
    """results.json and results.csv."""
    structured.write_text(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    with tidy.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _convention(settings: EvalConfig) -> dict[str, Any]:
    """How it was measured, as far as the settings say it."""
    paper = settings.mode == "paper"
    return {
        "batch_documents": settings.batch_documents if paper else None,
        "cap": settings.cap if paper else None,
        "split": settings.split,
        "dtype": settings.dtype,
        "resamples": settings.resamples,
        "seed": settings.seed,
    }


def _rows_of_set(
    name: str, samples: pa.Table, model: str, settings: EvalConfig, shared: Mapping[str, Any]
) -> list[dict[str, Any]]:
    measured = Measured(**{f"{key}_D": samples.column(key).to_numpy() for key in MEASURES})
    if not measured.scored_D.sum():
        raise UnusableInput(f"eval.sets: set {name} has no token to measure: all its documents are one token long")
    if settings.mode == "rolling":
        statistic = rolling_statistic(measured)
    else:
        statistic = paper_statistic(measured, settings.batch_documents, settings.cap)
    documents = len(samples)
    unit_D, unit = units_of(samples.column("unit").to_pylist())
    errors = standard_errors(statistic, unit_D, settings.resamples, settings.seed, name)
    return [
        {
            "model": model,
            "set": name,
            "metric": metric,
            "value": _finite(value),
            "stderr": _finite(errors.get(metric, math.nan)),
            "n": documents,
            "aggregate": False,
            **{key: int(getattr(measured, f"{key}_D").sum()) for key in _COUNTS},
            "unit": unit,
            "units": int(unit_D.max()) + 1,
            **shared,
        }
        for metric, value in values(statistic, documents).items()
    ]


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The unweighted mean of one metric over sets, as the paper averages; sets are independent of each other."""
    found, errors = [row["value"] for row in rows], [row["stderr"] for row in rows]
    kinds = {row["unit"] for row in rows}
    return {
        **rows[0],
        "set": MEAN,
        "value": None if None in found else math.fsum(found) / len(rows),
        "stderr": None if None in errors else math.hypot(*errors) / len(rows),
        "aggregate": True,
        **{key: sum(row[key] for row in rows) for key in ("n", "units", *_COUNTS)},
        "unit": kinds.pop() if len(kinds) == 1 else "document or origin",
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
