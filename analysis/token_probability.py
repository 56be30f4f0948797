"""`stage=analyze`: how probable are a corpus's tokens? The U-shaped histogram (Figure 5) and its intervals (Table 6).

Reads a scores artifact: the one at `scores.path`, else the one of the other settings; only its log-probabilities,
shard by shard, so memory does not grow with the corpus. Writes

    token_probability.png, .pdf, .svg    the picture, drawn by `token_probability_figure`
    histogram.csv                        bin_start, bin_end, tokens, share
    intervals.csv                        interval, tokens, share: tenths of probability
    summary.json                         quartiles, shares with P >= 0.9, 0.99, 0.999, and the intervals

    python run.py stage=analyze analysis=token_probability

Tokens without a score (the first of a document where the prior has no context token) are left out of every share.

Shapes: T scored tokens of one shard, B bins of a histogram on [0, 1], B1 = B + 1 edges.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_artifact import plan_figure, read_summary
from analysis.figure_files import FORMATS
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config
from toedit.console import Progress, say, table
from toedit.documents import shard_name
from toedit.editing import is_eligible
from toedit.errors import UnusableInput
from toedit.scores import SCORES, read_logprobs
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "token_probability"
INTERVALS = 10
QUARTILE_BINS = 10_000
"""Quartiles come from a histogram this fine, so they are exact to 1/10,000."""
THRESHOLDS = (0.9, 0.99, 0.999)


@dataclass
class Histograms:
    """Counts of all scored tokens, one shard after the other."""

    bins: int
    tokens: int = 0

    def __post_init__(self) -> None:
        self.count_B = np.zeros(self.bins, dtype=np.int64)
        self.interval_count_B = np.zeros(INTERVALS, dtype=np.int64)
        self.fine_count_B = np.zeros(QUARTILE_BINS, dtype=np.int64)
        self.at_least = dict.fromkeys(THRESHOLDS, 0)

    def add(self, logprob_T: NDArray[np.floating]) -> None:
        self.tokens += len(logprob_T)
        self.count_B += count_bins(logprob_T, self.bins)
        self.interval_count_B += count_bins(logprob_T, INTERVALS)
        self.fine_count_B += count_bins(logprob_T, QUARTILE_BINS)
        for threshold in THRESHOLDS:
            self.at_least[threshold] += int(is_eligible(logprob_T, threshold).sum())

    def quartiles(self) -> list[float]:
        """P below which a quarter, half and three quarters of the tokens lie, exact to 1 / QUARTILE_BINS."""
        cumulative_B1 = np.concatenate([[0], np.cumsum(self.fine_count_B)])
        edge_B1 = np.linspace(0, 1, QUARTILE_BINS + 1)
        values = []
        for share in (0.25, 0.5, 0.75):
            last = int(np.searchsorted(cumulative_B1, share * self.tokens))  # the bin that reaches the share ends here
            below, within = cumulative_B1[last - 1], self.fine_count_B[last - 1]
            part = (share * self.tokens - below) / within
            values.append(float(edge_B1[last - 1] + part / QUARTILE_BINS))
        return values


def count_bins(logprob_T: NDArray[np.floating], bins: int) -> NDArray[np.int64]:
    """Tokens in each of `bins` equal bins of P on [0, 1]: half open, the last one closed.

    Edges are compared as logarithms in float64, as the editor compares its threshold.
    """
    inner_edge_B = [math.log(number / bins) for number in range(1, bins)]
    bin_T = np.searchsorted(np.array(inner_edge_B), logprob_T.astype(np.float64), side="right")
    return np.bincount(bin_T, minlength=bins).astype(np.int64)


def plan(config: Config) -> Artifact:
    from toedit.stages.score import plan_from

    scores = plan_from(config)
    return plan_figure(
        config,
        NAME,
        scores.name,
        {"bins": config.analysis.bins},
        {"scores": scores},
        partial(build_figure, analysis=config.analysis),
    )


def build_figure(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    """Count, then write the tables and the picture."""
    from analysis.token_probability_figure import draw

    scores = workspace.inputs["scores"]
    manifest = read_manifest(scores)
    histograms = Histograms(analysis.bins)
    shards = sorted((scores / SCORES).glob("*.parquet"))
    with Progress("analyze", manifest["counts"]["scored"]) as progress:
        for path in shards:
            logprob_T = read_logprobs(path)
            histograms.add(logprob_T)
            progress.advance(len(logprob_T))
    if not histograms.tokens:
        raise UnusableInput(f"{scores}: holds no scored token, so there is nothing to count")
    summary = summarize(histograms, manifest)
    outputs = ["histogram.csv", "intervals.csv", "summary.json", *(f"{NAME}.{extension}" for extension in FORMATS)]
    with workspace.shard(shard_name(0), *outputs) as ((histogram_path, intervals_path, summary_path, *pictures), _):
        write_csv(histogram_path, ("bin_start", "bin_end", "tokens", "share"), histogram_rows(histograms))
        write_csv(intervals_path, ("interval", "tokens", "share"), [list(row.values()) for row in summary["intervals"]])
        write_json(summary_path, summary)
        draw(histograms.count_B, summary, dict(zip(FORMATS, pictures, strict=True)))
    return Result(
        counts={key: summary[key] for key in ("tokens", "scored")},
        rows={"histogram.csv": analysis.bins, "intervals.csv": INTERVALS},
    )


def summarize(histograms: Histograms, manifest: dict[str, Any]) -> dict[str, Any]:
    """The content of summary.json; `manifest` is that of the scores."""
    scored = histograms.tokens
    names = {role: manifest["inputs"][role]["name"] for role in ("corpus", "prior") if role in manifest["inputs"]}
    intervals = [
        {
            "interval": f"{number / INTERVALS:.1f}-{(number + 1) / INTERVALS:.1f}",
            "tokens": count,
            "share": count / scored,
        }
        for number, count in enumerate(histograms.interval_count_B.tolist())
    ]
    return {
        **names,
        "tokens": manifest["counts"]["tokens"],
        "scored": scored,
        "bins": histograms.bins,
        "quartiles": [round(value, 6) for value in histograms.quartiles()],
        "quartiles_exact_to": 1 / QUARTILE_BINS,
        "shares_at_least": {f"{threshold:g}": count / scored for threshold, count in histograms.at_least.items()},
        "intervals": intervals,
    }


def histogram_rows(histograms: Histograms) -> list[list[Any]]:
    bins, scored = histograms.bins, histograms.tokens
    return [
        [round(number / bins, 9), round((number + 1) / bins, 9), count, count / scored]
        for number, count in enumerate(histograms.count_B.tolist())
    ]


def write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = read_summary(artifact)
    table(
        ("P(token)", "tokens", "share"),
        [(row["interval"], f"{row['tokens']:,}", f"{row['share']:.2%}") for row in summary["intervals"]],
        title=f"{summary['scored']:,} scored tokens of {artifact.inputs['scores'].name}",
    )
    at_least = {threshold: f"{share:.2%}" for threshold, share in summary["shares_at_least"].items()}
    quartiles = [f"{value:.4f}" for value in summary["quartiles"]]
    say("  " + ", ".join(f"P >= {threshold}: {share}" for threshold, share in at_least.items()))
    say(f"  quartiles {', '.join(quartiles)} (exact to {summary['quartiles_exact_to']:g})")
    say(f"picture: {artifact.path / NAME}.png (also .pdf and .svg)")
    row = {"scored": f"{summary['scored']:,}", "median": quartiles[1]}
    return row | {f"P>={threshold}": share for threshold, share in at_least.items()}
