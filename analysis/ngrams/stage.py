"""`analysis=ngrams`: the n-grams of a corpus, or of two side by side (Figures 11, 12, 13).

Reads one or two corpora (`corpus`, `analysis.other`), counted by `analysis.ngrams.counts`. Writes

    ngrams.png, .pdf, .svg             most frequent bi-grams; responses of the hashed uni- and bi-grams by bucket rank
    table.md, table.tex, table.csv     each corpus's statistics with 95 % intervals, and the second minus the first
    statistics.csv                     the same, tidy: statistic, corpus, value, low, high, p_value
    bigrams.csv                        rank, corpus, first, second, count, share
    responses.csv                      rank, corpus, count, share: the buckets, each corpus's fullest first
    summary.json                       what the terminal shows

    python run.py stage=analyze analysis=ngrams corpus=local corpus.path=A analysis.other.path=B
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_artifact import plan_figure, read_summary, show
from analysis.figure_files import FORMATS
from analysis.ngrams.counts import plan_counts
from analysis.ngrams.lines import columns_of, readable_table, tidy_rows
from analysis.ngrams.merge import Totals, by_group, grouped, merge, unit_names
from analysis.ngrams.resampling import Drawn, Estimate, bootstrap, difference, divergence
from analysis.ngrams.statistics import expected_different, gini, top_share, zipf_slope
from analysis.other import plan_other
from analysis.table_files import Table, write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config, NgramsConfig
from toedit.console import note
from toedit.corpora import plan_corpus
from toedit.documents import shard_name
from toedit.errors import UnusableInput
from toedit.named_tokenizers import find_tokenizer
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "ngrams"
OUTPUTS = ("table.md", "table.tex", "table.csv", "statistics.csv", "bigrams.csv", "responses.csv", "summary.json")
ROLES = ("counts", "other_counts")


def plan(config: Config) -> Artifact:
    analysis, root = config.analysis, Path(config.artifacts)
    ngrams = analysis.ngrams
    tokenizer = find_tokenizer(ngrams.tokenizer, "analysis.ngrams.tokenizer") if ngrams.tokenizer else None
    corpora = [plan_corpus(config.corpus, root)]
    if analysis.has_other:
        corpora.append(plan_other(config))
    counts = [plan_counts(corpus, analysis, tokenizer, config.tokens.processes, root) for corpus in corpora]
    return plan_figure(
        config,
        NAME,
        "+".join(corpus.name for corpus in corpora),
        {
            **{key: getattr(ngrams, key) for key in ("top", "top_share", "zipf_ranks", "budget", "max_groups")},
            "resamples": analysis.resamples,
            "seed": analysis.seed,
        },
        dict(zip(ROLES, counts, strict=False)),
        partial(build, analysis=analysis),
    )


class Side:
    """One corpus: its totals, and its counts by unit or group of units."""

    def __init__(self, counts: Path, ngrams: NgramsConfig) -> None:
        self.counts, self.ngrams = counts, ngrams
        self.name: str = read_manifest(counts)["inputs"]["corpus"]["name"]
        self.totals: Totals = merge(counts, ngrams.top, ngrams.max_rows)
        if not self.totals.units:
            raise UnusableInput(f"corpus {self.name}: holds no word or token, so there is nothing to count")
        self.unit_D, self.unit_is = unit_names(counts)
        self.units = len(np.unique(self.unit_D))

    def group(self, groups: int) -> None:
        """Read the counts, with the units in at most `groups` groups."""
        group_D, self.groups = grouped(self.unit_D, groups)
        self.response_UB = by_group(self.counts, "responses", group_D, self.groups, self.ngrams.buckets).astype(float)
        # Resamples may lift words from beyond the last rank.
        kept_W = np.argsort(-self.totals.count_V, kind="stable")[: 2 * self.ngrams.zipf_ranks[1]]
        wanted = {self.totals.names[word]: column for column, word in enumerate(kept_W.tolist())}
        self.word_UW = by_group(self.counts, "occurrences", group_D, self.groups, len(wanted), wanted).astype(float)


def build(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    """Merge the counts, compute, write."""
    from analysis.ngrams.figure import draw

    sides = []
    for role in ROLES:
        if role in workspace.inputs:
            note(f"{NAME}: merging {workspace.inputs[role].name}")
            sides.append(Side(workspace.inputs[role], analysis.ngrams))
    is_paired = group_alike(sides, analysis.ngrams.max_groups)
    note(f"{NAME}: {analysis.resamples} resamples")
    summary = summarize(sides, is_paired, analysis)
    shown = readable_table(summary)
    tidy = tidy_rows(summary)
    bigrams, responses = bigram_rows(sides), response_rows(sides)
    outputs = [*OUTPUTS, *(f"{NAME}.{extension}" for extension in FORMATS)]
    with workspace.shard(shard_name(0), *outputs) as ((markdown, latex, wide, *data), _):
        write_markdown(markdown, shown)
        write_latex(latex, shown)
        write_csv(wide, [dict(zip(shown.columns, row, strict=True)) for row in shown.rows])
        for path, lines in zip(data, (tidy, bigrams, responses), strict=False):
            write_csv(path, lines)
        write_json(data[3], {**summary, "table": asdict(shown)})
        draw(bigrams, responses, summary, dict(zip(FORMATS, data[4:], strict=True)))
    counts = {"documents": sum(side.totals.documents for side in sides), "units": sum(s.totals.units for s in sides)}
    rows = {"statistics.csv": len(tidy), "bigrams.csv": len(bigrams), "responses.csv": len(responses)}
    return Result(counts=counts, rows=rows, seeds={"resampling": analysis.seed})


def group_alike(sides: list[Side], max_groups: int) -> bool:
    """Read every side's counts by groups of as many units on average; whether the two sides have the same units."""
    units = sum(side.units for side in sides)
    for side in sides:
        side.group(side.units if units <= max_groups else max(round(max_groups * side.units / units), 2))
    is_paired = len(sides) == 2 and np.array_equal(np.unique(sides[0].unit_D), np.unique(sides[1].unit_D))
    if not is_paired:  # a document without an n-gram says nothing; the same unit must keep its row in both
        for side in sides:
            has_any_U = side.response_UB.sum(axis=1) > 0
            side.response_UB, side.word_UW = side.response_UB[has_any_U], side.word_UW[has_any_U]
    return is_paired


def summarize(sides: list[Side], is_paired: bool, analysis: AnalysisConfig) -> dict[str, Any]:
    """The content of summary.json."""
    ngrams, seed = analysis.ngrams, analysis.seed
    first, last = ngrams.zipf_ranks
    budget = min([ngrams.budget or sides[0].totals.units, *(side.totals.units for side in sides)])
    measured: dict[str, list[Drawn]] = {}
    for place, side in enumerate(sides):
        draws = partial(bootstrap, resamples=analysis.resamples, seed=seed, is_other=bool(place) and not is_paired)
        shares = partial(top_share, share=ngrams.top_share)
        slope = partial(zipf_slope, first=first, last=last)
        measured.setdefault("gini", []).append(draws(gini, side.response_UB))
        measured.setdefault("top_share", []).append(draws(shares, side.response_UB))
        measured.setdefault("zipf_slope", []).append(draws(slope, side.word_UW))
    limits = {"zipf_slope": (-np.inf, np.inf)}
    statistics = {
        key: [asdict(drawn.estimate(*limits.get(key, (0.0, 1.0)))) for drawn in found]
        for key, found in measured.items()
    }
    differences = {key: asdict(difference(*found)) for key, found in measured.items() if len(found) == 2}
    for number, key in ((1, "distinct_1"), (2, "distinct_2")):
        statistics[key] = [asdict(Estimate(distinct(side.totals, number, budget))) for side in sides]
    summary: dict[str, Any] = {
        "corpora": [described(side) for side in sides],
        "ngrams": {**asdict(ngrams), "budget": budget},
        "resamples": analysis.resamples,
        "statistics": statistics,
    }
    if len(sides) == 2:
        responses = [side.response_UB for side in sides]
        found = divergence(responses[0], responses[1], is_paired, analysis.resamples, seed)
        summary |= {
            "is_paired": is_paired,
            "differences": differences,
            "jensen_shannon": {key: asdict(estimate) for key, estimate in found.items()},
        }
    return summary


def described(side: Side) -> dict[str, Any]:
    totals = side.totals
    return {
        "name": side.name,
        "documents": totals.documents,
        "units": totals.units,
        "different_units": len(totals.names),
        "bigrams": totals.bigrams,
        "different_bigrams": int(totals.bigrams_by_frequency[1].sum()),
        "resampling_units": side.units,
        "resampling_unit_is": side.unit_is,
        "groups": side.groups,
    }


def distinct(totals: Totals, number: int, budget: int) -> float | None:
    """Different n-grams by n-grams in documents with `budget` units on average; None where that is under a document."""
    drawn = budget / totals.units * totals.documents
    grams = (totals.units if number == 1 else totals.bigrams) * drawn / totals.documents
    if drawn < 1 or not grams:
        return None
    by_frequency = totals.words_by_frequency if number == 1 else totals.bigrams_by_frequency
    return expected_different(by_frequency, totals.documents, drawn) / grams


def bigram_rows(sides: list[Side]) -> list[dict[str, Any]]:
    rows = [
        {"rank": rank, "corpus": column, "first": first, "second": second, "count": count,
         "share": count / side.totals.bigrams}
        for column, side in zip(columns_of([side.name for side in sides]), sides, strict=True)
        for rank, (first, second, count) in enumerate(side.totals.top, start=1)
    ]  # fmt: skip
    return rows or [dict.fromkeys(("rank", "corpus", "first", "second", "count", "share"))]


def response_rows(sides: list[Side]) -> list[dict[str, Any]]:
    rows = []
    for column, side in zip(columns_of([side.name for side in sides]), sides, strict=True):
        count_B: NDArray[np.int64] = np.sort(side.response_UB.sum(axis=0))[::-1].astype(np.int64)
        total = int(count_B.sum())
        rows += [
            {"rank": rank, "corpus": column, "count": count, "share": count / total}
            for rank, count in enumerate(count_B.tolist(), start=1)
        ]
    return rows


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = read_summary(artifact)
    shown = Table(**summary["table"])
    show(artifact, NAME, [shown], shown.notes, files="; table: table.md (also .tex and .csv)")
    row = {"documents": "+".join(f"{corpus['documents']:,}" for corpus in summary["corpora"])}
    row["gini"] = ", ".join(f"{entry['value']:.4f}" for entry in summary["statistics"]["gini"])
    if "jensen_shannon" in summary:
        row["jensen_shannon"] = f"{summary['jensen_shannon']['corrected']['value']:.4f}"
    return row
