"""From the measures of every generation to tidy rows, means with bands, verdicts, and the table.

Regimes share initial weights and order of sequences, generation by generation, so each is compared with regime `real`
of the same seed and generation, where that is in the study: `excess`, bits per byte above it, and `l1_to_real`. That
takes away most of what initial weights do, which is more than what texts do while models are small.

A verdict is about the excess over generations 2 and later (about bits per byte itself without `real`): "rises" where
the mean slope over seeds is positive, "stable" where two one-sided tests put the change over all of them within
`margin`; both at 5 %, adjusted for the number of regimes (Holm). Else "undecided": not rising significantly is not
stable. It needs three generations and two seeds.

Shapes: S seeds, G generations, C contexts, V entries of the vocabulary.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.table_files import Table
from analysis.theory.statistics import Estimate, equivalent, estimate, holm, rises, slope
from analysis.theory.study import Rows
from analysis.theory.transformer.measures import LAW, MEASURES
from toedit.workspace import read_manifest

_ALPHA = 0.05
_VALIDATION = "validation_loss"
_CONTROL = "real"
_LOSS, _EXCESS = "bits_per_byte", "excess"

Spread = dict[tuple[str, int, int], NDArray[np.float64]]
"""L1 distance at each context, by (regime, seed, generation)."""


def collect(settings: Mapping[str, Any], inputs: Mapping[str, Path]) -> tuple[Rows, Spread]:
    """(tidy rows, the distances of single contexts)."""
    rows: Rows = []
    spread: Spread = {}
    for regime in settings["regimes"]:
        for seed in settings["seeds"]:
            first_CV, _ = _measured(inputs[f"{regime}.seed{seed}.generation1.measures"])
            for number in range(1, settings["generations"] + 2):
                role = f"{regime}.seed{seed}.generation{number}"
                law_CV, measures = _measured(inputs[f"{role}.measures"])
                spread[regime, seed, number] = np.abs(law_CV - first_CV).sum(1)
                measures["l1"] = float(spread[regime, seed, number].mean())
                if _CONTROL in settings["regimes"]:
                    control_CV, control = _measured(inputs[f"{_CONTROL}.seed{seed}.generation{number}.measures"])
                    measures[_EXCESS] = measures[_LOSS] - control[_LOSS]
                    measures["l1_to_real"] = float(np.abs(law_CV - control_CV).sum(1).mean())
                if f"{role}.edited" in inputs:
                    counts = read_manifest(inputs[f"{role}.edited"])["counts"]
                    measures |= {key: counts[key] / max(counts["tokens"], 1) for key in ("eligible", "changed")}
                point = {"regime": regime, "seed": seed, "generation": number}
                rows += [{**point, "metric": key, "value": value, "step": None} for key, value in measures.items()]
                rows += [
                    {**point, "metric": _VALIDATION, "value": loss, "step": step}
                    for step, loss in validation_curve(inputs[f"{role}.model"])
                ]
    return rows, spread


def _measured(folder: Path) -> tuple[NDArray[np.float64], dict[str, float]]:
    """(law_CV, the numbers) of one generation."""
    numbers: dict[str, float] = json.loads((folder / MEASURES).read_text(encoding="utf-8"))
    return np.load(folder / LAW).astype(np.float64), numbers


def validation_curve(model: Path) -> list[tuple[int, float]]:
    """(step, validation loss in nats a token) of a training."""
    with (model / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [(int(row["step"]), float(row[_VALIDATION])) for row in csv.DictReader(file) if row[_VALIDATION]]


def summarize(settings: Mapping[str, Any], rows: Rows, spread: Spread) -> dict[str, Any]:
    """By regime: the means by generation with 95 % bands over seeds (of L1 and one seed: over contexts), the trend."""
    metrics = list(dict.fromkeys(row["metric"] for row in rows if row["metric"] != _VALIDATION))
    regimes: dict[str, Any] = {}
    for regime in settings["regimes"]:
        by_metric: dict[str, list[dict[str, Any]]] = {}
        for metric in metrics:
            values: dict[int, list[float]] = {}
            for row in rows:
                if row["regime"] == regime and row["metric"] == metric:
                    values.setdefault(row["generation"], []).append(row["value"])
            points = {number: estimate(value_S) for number, value_S in values.items()}
            if metric == "l1" and len(settings["seeds"]) == 1:
                seed = settings["seeds"][0]
                points = {number: estimate(spread[regime, seed, number]) for number in points}
            by_metric[metric] = [{"generation": number, **asdict(point)} for number, point in points.items()]
        last = {metric: points[-1] for metric, points in by_metric.items() if points}
        regimes[regime] = {"metrics": by_metric, "last": last, "trend": _trend(settings, rows, regime)}
    _judge(regimes)
    drawn = {key: settings[key] for key in ("margin", "seeds", "panels", "curves")}
    return {"regimes": regimes, **drawn}


def _trend(settings: Mapping[str, Any], rows: Rows, regime: str) -> dict[str, Any] | None:
    """The slope of the excess (without a control, of the loss) from generation 2 on; None of too few generations."""
    generations = range(2, settings["generations"] + 2)
    if len(generations) < 2:
        return None
    judged = _EXCESS if _CONTROL in settings["regimes"] else _LOSS
    value = {(row["seed"], row["generation"]): row["value"] for row in rows
             if row["regime"] == regime and row["metric"] == judged}  # fmt: skip
    found = slope([[value[seed, number] for number in generations] for seed in settings["seeds"]])
    change_S = found.value_S * (len(generations) - 1)
    p_values = {"p_rises": rises(change_S), "p_stable": equivalent(change_S, settings["margin"])}
    return {"of": judged, "slope": found.mean, "low": found.low, "high": found.high, **p_values}


def _judge(regimes: dict[str, Any]) -> None:
    """Add the adjusted p-values and the verdict to every trend."""
    trends = {regime: entry["trend"] for regime, entry in regimes.items() if entry["trend"]}
    judged = [
        trend
        for regime, trend in trends.items()
        if trend["p_rises"] is not None and not (trend["of"] == _EXCESS and regime == _CONTROL)
    ]
    for key in ("p_rises", "p_stable"):
        for trend, adjusted in zip(judged, holm([trend[key] for trend in judged]), strict=True):
            trend[f"{key}_holm"] = adjusted
    for trend in judged:
        rising, stable = trend["p_rises_holm"] < _ALPHA, trend["p_stable_holm"] < _ALPHA
        words = [word for word, holds in (("rises", rising), ("stable", stable)) if holds]
        trend["verdict"] = ", but ".join(words) or "undecided"


_COLUMNS = {
    "l1": "L1",
    "l1_to_real": "L1 to real",
    "rare_recall": "rare recall",
    "rare_loss": "rare loss",
    "eligible": "eligible",
    "changed": "changed",
}


def table_of(settings: Mapping[str, Any], summary: Mapping[str, Any]) -> Table:
    """A row a regime: what its last generation is worth, and the trend."""
    last = settings["generations"] + 1
    rows = []
    for regime, entry in summary["regimes"].items():
        trend, first = entry["trend"], entry["metrics"][_LOSS][0]["mean"]
        rows.append(
            [
                regime,
                f"{first:.3f}",
                _shown(entry["last"].get(_LOSS), 3),
                _shown(entry["last"].get(_EXCESS), 3),
                _slope(trend),
                (trend or {}).get("verdict", "–"),
                *(_shown(entry["last"].get(key), 4 if key == "changed" else 3) for key in _COLUMNS),
            ]
        )
    seeds, edit = len(settings["seeds"]), settings["edit"]
    notes = [
        f"bits per byte of held-out text in generation 1 (real text) and {last}; excess: above regime real, with the "
        "same seed and initial weights; slope: of the excess (without real: the bits) by generation, from the second",
        f"mean of {seeds} seed{'s' * (seeds != 1)}, ± half the 95 % interval; stable: the change from generation 2 to "
        f"{last} lies within {settings['margin']:g} (two one-sided tests, Holm over regimes); undecided is not stable",
        f"L1: of next-token laws to generation 1's, {settings['contexts']} held-out contexts; two models of the same "
        "text differ by what regime real shows; to real: to that regime's model of the same generation",
        f"rare: {settings['rare_ngram']}-grams of held-out text that the real text has 1 to {settings['rare_count']} "
        "times; recall: share of them in the text that the generation read; rare loss: nats a token",
        f"eligible, changed: shares of the tokens in the last edit ({edit['sampler']}, p = {edit['p']:g}, k = "
        f"{edit['k']})",
    ]
    edits = [entry["metrics"].get("eligible") or [] for entry in summary["regimes"].values()]
    if any(edits) and not any(point["mean"] for points in edits for point in points):
        notes.append(f"nothing was edited: no token had P >= {edit['p']:g}; small models need a lower edit.p, 0.7 say")
    columns = ["regime", "bits/byte, 1", f"bits/byte, {last}", "excess", "slope", "verdict", *_COLUMNS.values()]
    return Table(f"Transformers over {last} generations ({settings['model']})", columns, rows, notes)


def _shown(point: Mapping[str, Any] | None, digits: int) -> str:
    if point is None:
        return "–"
    found = Estimate(point["mean"], point["low"], point["high"])
    half = f" ± {found.high - found.mean:.{digits}f}" if found.high is not None else ""
    return f"{found.mean:.{digits}f}{half}"


def _slope(trend: Mapping[str, Any] | None) -> str:
    if trend is None:
        return "–"
    half = f" ± {trend['high'] - trend['slope']:.4f}" if trend["high"] is not None else ""
    return f"{trend['slope']:+.4f}{half}"
