"""The rows of all arms and seeds as a table with verdicts, and what a reader of summary.json wants besides.

Shapes: S seeds, G1 generations and the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.table_files import Table
from analysis.theory.generations.chains import Rows
from analysis.theory.generations.regimes import EDITING, Arm, arms
from analysis.theory.generations.trends import COLLAPSES, LEVEL, STABLE, Mean, Trend, mean, p_different, trends
from analysis.theory.statistics import holm

Values = dict[tuple[str, str], NDArray[np.float64]]
"""`value_SG1` by (arm, metric), NaN where a generation has none."""

COLUMNS = (
    "arm",
    "loss, change",
    "loss, drift",
    "verdict",
    "rare tokens",
    "rare bigrams",
    "entropy of the law",
    "KS (rejected)",
    "eligible, %",
    "changed, %",
)
_CONTRASTS = (
    ("edit_own_prior", "same_text"),
    ("edit_own_prior", "random_tokens"),
    ("edit_own_prior", "random_at_eligible"),
    ("edit_own_prior", "edit_fixed_prior"),
)


def results(rows: Rows, settings: Mapping[str, Any]) -> tuple[Table, dict[str, Any], dict[str, str]]:
    """`(table, summary, row of a sweep)`."""
    values = by_arm(rows)
    found_arms = arms(settings)
    found = trends({arm.name: values[arm.name, "loss"] for arm in found_arms}, settings["margin"])
    contrasts = compared(values, found_arms)
    first = next(iter(found))
    base = {metric: float(values[first, metric][:, 0].mean()) for _, metric in values if (first, metric) in values}
    models = f"{settings['generations']} generations of {settings['order']}-gram models"
    table = Table(
        f"{models}, {settings['tokens']:,} tokens each, {settings['seeds']} seeds: the last generation",
        COLUMNS,
        [_line(arm, found[arm.name], values) for arm in found_arms],
        [*_notes(base, settings), *map(_sentence, contrasts)],
    )
    summary = {
        "generation_0": base,
        "trends": {name: asdict(trend) for name, trend in found.items()},
        "contrasts": contrasts,
    }
    verdicts = [trend.verdict for trend in found.values()]
    return table, summary, {verdict: str(verdicts.count(verdict)) for verdict in (STABLE, COLLAPSES)}


def by_arm(rows: Rows) -> Values:
    """The tidy rows as arrays."""
    seeds = sorted({row["seed"] for row in rows})
    size = len(seeds), max(row["generation"] for row in rows) + 1
    values: Values = {}
    for row in rows:
        value_SG1 = values.setdefault((row["arm"], row["metric"]), np.full(size, np.nan))
        value_SG1[seeds.index(row["seed"]), row["generation"]] = row["value"]
    return values


def compared(values: Values, found: list[Arm]) -> list[dict[str, Any]]:
    """Losses of the last generation, arm minus arm, by seed: mean, interval and p-value (Holm over all contrasts)."""
    names = {arm.name for arm in found}
    contrasts: list[dict[str, Any]] = []
    for number in dict.fromkeys(arm.number for arm in found if arm.regime == "edit_own_prior"):
        for one, other in _CONTRASTS:
            first, second = (Arm(regime, number if regime in EDITING else None).name for regime in (one, other))
            if second in names:
                difference_S = (values[first, "loss"] - values[second, "loss"])[:, -1]
                of_both = {"arm": first, "minus": second, **asdict(mean(difference_S))}
                contrasts.append({**of_both, "p": p_different(difference_S)})
    for contrast, adjusted in zip(contrasts, holm([contrast["p"] for contrast in contrasts]), strict=True):
        contrast["p_adjusted"] = adjusted
    return contrasts


def _line(arm: Arm, trend: Trend, values: Values) -> list[str]:
    def last(metric: str) -> str:
        value_SG1 = values.get((arm.name, metric))
        return "" if value_SG1 is None else f"{value_SG1[:, -1].mean():.3f}"

    rejected = int((values[arm.name, "ks_p"][:, -1] < LEVEL).sum())
    return [
        arm.name,
        interval_text(trend.change),
        interval_text(trend.drift),
        trend.verdict,
        last("rare_token_recall"),
        last("rare_bigram_recall"),
        last("predictive_entropy"),
        f"{last('ks')} ({rejected}/{len(values[arm.name, 'ks_p'])})",
        _rates(values.get((arm.name, "eligible"))),
        _rates(values.get((arm.name, "changed"))),
    ]


def interval_text(found: Mean) -> str:
    """`+0.012 [+0.010, +0.014]`."""
    if found.low is None:
        return f"{found.value:+.4f}"
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _rates(rate_SG1: NDArray[np.float64] | None) -> str:
    """The first edit's and the last one's, in per cent."""
    if rate_SG1 is None:
        return ""
    edited = np.flatnonzero(~np.isnan(rate_SG1[0]))
    shown = [f"{100 * rate_SG1[:, generation].mean():.3g}" for generation in dict.fromkeys((edited[0], edited[-1]))]
    return " to ".join(shown)


def _notes(base: Mapping[str, float], settings: Mapping[str, Any]) -> list[str]:
    shown = {
        "loss": "loss {:.3f} nats a token",
        "bits_per_byte": "{:.3f} bits per byte",
        "predictive_entropy": "entropy of the law {:.3f}",
        "ks": "KS {:.3f}",
        "rare_token_recall": "rare tokens {:.3f}",
        "rare_bigram_recall": "rare bigrams {:.3f}",
    }
    return [
        f"Generation 0: {', '.join(text.format(base[metric]) for metric, text in shown.items() if metric in base)}.",
        "Losses in nats a token of real held-out text; change: since generation 0; drift: fitted to the second half of "
        "the generations. In brackets 95 % intervals over seeds.",
        f"stable: the drift certainly lies within {settings['margin']:g} (two one-sided t-tests); collapses: it does "
        f"not, and is certainly more than 0; both at {100 * LEVEL:g} %, adjusted over the arms (Holm).",
        "Rare: the share of held-out text's rare tokens and bigrams that the generation's text holds. KS: distance of "
        "its passages' log-probabilities from held-out ones', and in how many seeds a permutation test rejects. "
        "Eligible, changed: of the first edit and of the last.",
    ]


def _sentence(contrast: Mapping[str, Any]) -> str:
    shown = interval_text(Mean(contrast["value"], contrast["low"], contrast["high"]))
    p = f"p = {contrast['p_adjusted']:.2g} (Holm)"
    return f"Loss at last, {contrast['arm']} minus {contrast['minus']}: {shown}, {p}."
