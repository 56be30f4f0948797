"""Runs to look at from a csv: a row a share (or regime), seed, generation and metric.

    share | regime | arm, seed | trial, generation, metric, value

Regimes get their share from `theory.threshold.share_of`, or by their names (`NAMED`).

Shapes: S shares, R seeds, G generations.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from analysis.theory.threshold.toys import Runs
from toedit.errors import MissingInput, UnusableInput

NAMED = {"replace": 1.0, "same_text": 0.0, "real": 0.0}
"""Synthetic shares that a regime's name says; besides them `real_share x`, 1 - x, and `mix_20`, 0.2."""
_KEY = "theory.threshold.path"
Values = dict[tuple[float, str, int], float]


def read_runs(path: Path, metric: str | None, worse: str, share_of: Mapping[str, float], recovered: str | None) -> Runs:
    """The runs of one metric, those seeds and generations that all shares have.

    Raises MissingInput, or UnusableInput in one line that names the key and what the file lacks.
    """
    if not path.is_file():
        raise MissingInput(f"{_KEY}={path}: there is no such file")
    with path.open(newline="", encoding="utf-8") as file:
        try:
            rows = list(csv.DictReader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UnusableInput(f"{_KEY}={path}: not readable as csv ({error})") from None
    columns = set(rows[0]) if rows else set()
    by = next((name for name in ("share", "regime", "arm") if name in columns), None)
    seed = next((name for name in ("seed", "trial") if name in columns), None)
    if by is None or seed is None or not {"generation", "value"} <= columns:
        raise UnusableInput(
            f"{_KEY}={path}: needs the columns share (or regime, arm), seed (or trial), generation, metric, value"
        )
    known = sorted({row.get("metric", "") for row in rows})
    wanted = metric if metric is not None else (known[0] if len(known) == 1 else None)
    if wanted is None or wanted not in known:
        raise UnusableInput(f"theory.threshold.metric={metric}: {path} has {', '.join(known)}")
    if recovered is not None and recovered not in known:
        raise UnusableInput(f"theory.threshold.recovered={recovered}: {path} has {', '.join(known)}")
    sign = 1.0 if worse == "up" else -1.0
    values = _values(rows, wanted, by, seed, share_of, path)
    share_S, metric_SRG = _array(values, path)
    recovered_SR = None
    if recovered is not None:
        share_again_S, recovered_SRG = _array(_values(rows, recovered, by, seed, share_of, path), path, least=1)
        if share_again_S != share_S or recovered_SRG.shape[1] != metric_SRG.shape[1]:
            raise UnusableInput(f"theory.threshold.recovered={recovered}: {path} has it for other shares or seeds")
        recovered_SR = sign * recovered_SRG[:, :, -1]
    return Runs(np.array(share_S), sign * metric_SRG, recovered_SR)


def _values(
    rows: list[dict[str, str]], metric: str, by: str, seed: str, share_of: Mapping[str, float], path: Path
) -> Values:
    found: Values = {}
    for number, row in enumerate(rows, 2):
        if row.get("metric", metric) != metric or not row["value"]:
            continue
        try:
            share = float(row[by]) if by == "share" else _share(row[by], share_of)
            value, generation = float(row["value"]), int(row["generation"])
        except ValueError:
            raise UnusableInput(f"{_KEY}={path}: line {number}: share, generation and value must be numbers") from None
        if share is None:
            continue
        if not math.isfinite(value):
            raise UnusableInput(f"{_KEY}={path}: line {number} has the value {row['value']}")
        found[share, row[seed], generation] = value
    return found


def _share(regime: str, share_of: Mapping[str, float]) -> float | None:
    if regime in share_of:
        return float(share_of[regime])
    if match := re.fullmatch(r"real_share ([0-9.]+)", regime):
        return round(1 - float(match[1]), 12)
    match = re.fullmatch(r"mix_([0-9]+)", regime)
    return int(match[1]) / 100 if match else NAMED.get(regime)


def _array(values: Values, path: Path, least: int = 4) -> tuple[list[float], np.ndarray]:
    """(shares, metric_SRG)."""
    share_S = sorted({share for share, _, _ in values})
    seeds = _common(values, share_S, 1)
    generations = sorted(_common(values, share_S, 2))
    if len(share_S) < 3 or len(seeds) < 2 or len(generations) < least:
        raise UnusableInput(
            f"{_KEY}={path}: has {len(share_S)} shares with {len(seeds)} seeds and {len(generations)} generations in "
            f"common; needs 3, 2 and {least}"
        )
    try:
        nested = [[[values[s, r, g] for g in generations] for r in sorted(seeds)] for s in share_S]
    except KeyError as error:
        share, seed, generation = error.args[0]
        raise UnusableInput(
            f"{_KEY}={path}: share {share:g} has no value for seed {seed} in generation {generation}"
        ) from None
    return share_S, np.array(nested)


def _common(values: Values, share_S: list[float], position: int) -> set:
    """The seeds, or generations, that all shares have."""
    each = [{key[position] for key in values if key[0] == share} for share in share_S]
    return set.intersection(*each) if each else set()
