"""`analysis=density`: responses of the density sketch to its own corpus, or to each of two (Figure 14).

Reads the densities of one or two corpora (`density.py`; `corpus`, `analysis.other`; the sketch is `select.density`).
A document's own part is taken off, so that corpora of different sizes compare: what is shown is the probability that a
document shares a row's hashes with *another* document of its corpus. Writes

    density.png, .pdf, .svg          histogram of these; how many of the sketch's counters hold how many documents
    table.md, table.tex, table.csv   mean with 95 % interval, quantiles, empty counters
    documents.parquet                a row a document: corpus, id, density
    histogram.csv, counters.csv      what is drawn
    summary.json                     what the terminal shows

    python run.py stage=analyze analysis=density corpus=local corpus.path=A analysis.other.path=B

The mean is over all pairs of documents, so that one document moves it twice: once as itself, once as everybody's
neighbour. Its interval is that of a mean over works, at twice the width (the linear part of a U-statistic).

Shapes: D documents, U units, R resamples, K bins, K1 = K + 1 edges.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.figure_artifact import plan_figure, read_summary, show
from analysis.figure_files import FORMATS
from analysis.other import plan_other
from analysis.selection.density import COUNTERS, plan_values
from analysis.selection.document_values import read_values
from analysis.table_files import Table, write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_name, shard_paths
from toedit.errors import UnusableInput
from toedit.parquet_files import write_parquet
from toedit.units import draw_counts, origin_of, units_of
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "density"
OUTPUTS = ("table.md", "table.tex", "table.csv", "documents.parquet", "histogram.csv", "counters.csv", "summary.json")
ROLES = ("corpus", "other")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LEVEL = 0.05


@dataclass(frozen=True)
class Responses:
    """One corpus."""

    name: str
    ids: list[str]
    density_D: NDArray[np.float64]
    """Of sharing a row's hashes with another document; NaN without a word."""
    unit_D: NDArray[np.int64]
    unit_is: str
    counters: dict[int, int]
    """{documents: counters that hold so many}."""


def plan(config: Config) -> Artifact:
    analysis, root = config.analysis, Path(config.artifacts)
    corpora = [plan_corpus(config.corpus, root)]
    if analysis.has_other:
        corpora.append(plan_other(config))
    inputs: dict[str, Artifact] = {}
    for role, corpus in zip(ROLES, corpora, strict=False):
        inputs |= {role: corpus, f"{role}_values": plan_values(config, corpus)}
    return plan_figure(
        config,
        NAME,
        "+".join(corpus.name for corpus in corpora),
        {
            **{key: getattr(analysis, key) for key in ("bins", "unit_fields", "resamples", "seed")},
        },
        inputs,
        partial(build, analysis=analysis),
    )


def read_responses(workspace: Workspace, role: str, unit_fields: list[str]) -> Responses:
    """Raises UnusableInput where a corpus has too few documents for a pair."""
    values = workspace.inputs[f"{role}_values"]
    name = read_manifest(workspace.inputs[role])["name"]
    ids: list[str] = []
    origins: list[str | None] = []
    found = [np.zeros(0)]
    for shard in shard_paths(workspace.inputs[role]):
        shard_ids, value_D = read_values(values, shard)
        ids += shard_ids
        origins += [origin_of(document, unit_fields) for document in read_documents(shard)]
        found.append(value_D)
    value_D = np.concatenate(found)
    points = int((~np.isnan(value_D)).sum())
    if points < 2:
        raise UnusableInput(f"corpus {name}: has {points} document with a word, and density is about pairs of them")
    unit_D, unit_is = units_of(origins)
    with (values / COUNTERS).open(newline="", encoding="utf-8") as file:
        counters = {int(row["documents"]): int(row["counters"]) for row in csv.DictReader(file)}
    return Responses(name, ids, (points * value_D - 1) / (points - 1), unit_D, unit_is, counters)


def build(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    from analysis.selection.responses_figure import draw

    sides = [
        read_responses(workspace, role, analysis.unit_fields) for role in ROLES if f"{role}_values" in workspace.inputs
    ]
    corpora = [{"column": name} | described(side, analysis) for name, side in zip(names_of(sides), sides, strict=True)]
    summary = {"corpora": corpora, "resamples": analysis.resamples}
    histogram = histogram_rows(sides, analysis.bins)
    counters = counter_rows(sides)
    shown = readable_table(summary)
    outputs = [*OUTPUTS, *(f"{NAME}.{extension}" for extension in FORMATS)]
    with workspace.shard(shard_name(0), *outputs) as ((markdown, latex, wide, documents, *data), _):
        write_markdown(markdown, shown)
        write_latex(latex, shown)
        write_csv(wide, [dict(zip(shown.columns, row, strict=True)) for row in shown.rows])
        write_parquet(documents, document_table(sides))
        write_csv(data[0], histogram)
        write_csv(data[1], counters)
        write_json(data[2], {**summary, "table": asdict(shown)})
        draw(histogram, counters, dict(zip(FORMATS, data[3:], strict=True)))
    rows = {"documents.parquet": sum(len(side.ids) for side in sides), "histogram.csv": len(histogram)}
    return Result(counts={"documents": rows["documents.parquet"]}, rows=rows, seeds={"resampling": analysis.seed})


def described(side: Responses, analysis: AnalysisConfig) -> dict[str, Any]:
    """The numbers of one corpus."""
    kept_D = ~np.isnan(side.density_D)
    density_D = side.density_D[kept_D]
    unit_U, unit_D = np.unique(side.unit_D[kept_D], return_inverse=True)
    low, high = mean_interval(density_D, unit_D, analysis.resamples, analysis.seed)
    total = sum(side.counters.values())
    return {
        "name": side.name,
        "documents": len(side.ids),
        "documents_without_words": int((~kept_D).sum()),
        "units": len(unit_U),
        "unit_is": side.unit_is,
        "mean": float(density_D.mean()),
        "low": low,
        "high": high,
        "quantiles": {f"{share:g}": float(np.quantile(density_D, share)) for share in _QUANTILES},
        "largest": float(density_D.max()),
        "empty_counters": side.counters.get(0, 0) / total,
    }


def mean_interval(
    density_D: NDArray[np.float64], unit_D: NDArray[np.int64], resamples: int, seed: int
) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean over pairs; None of a single unit."""
    units = int(unit_D.max()) + 1
    if units < 2:
        return None, None
    sum_U, count_U = np.bincount(unit_D, density_D), np.bincount(unit_D)
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, 50):
        weight_RU = draw_counts(generator, min(50, resamples - start), units)
        means.append((weight_RU @ sum_U) / (weight_RU @ count_U))
    mean = density_D.mean()
    low, high = mean + 2 * (np.quantile(np.concatenate(means), [_LEVEL / 2, 1 - _LEVEL / 2]) - mean)
    return float(max(low, 0.0)), float(min(high, 1.0))


def names_of(sides: list[Responses]) -> list[str]:
    """A name a corpus, also where both have the same one."""
    names = [side.name for side in sides]
    return [f"{name} ({place})" for place, name in enumerate(names, 1)] if len(set(names)) < len(names) else names


def histogram_rows(sides: list[Responses], bins: int) -> list[dict[str, Any]]:
    """corpus, from, to, documents, share: bins from 0 on, the same for both."""
    most = max(float(np.nanmax(side.density_D)) for side in sides)
    edge_K1 = np.linspace(0, most if most > 0 else 1.0, bins + 1)
    rows = []
    for name, side in zip(names_of(sides), sides, strict=True):
        density_D = side.density_D[~np.isnan(side.density_D)]
        # Rounding may leave a document without any neighbour a hair below 0.
        count_K, _ = np.histogram(density_D.clip(0), edge_K1)
        rows += [
            {"corpus": name, "from": low, "to": high, "documents": count, "share": count / len(density_D)}
            for low, high, count in zip(edge_K1[:-1].tolist(), edge_K1[1:].tolist(), count_K.tolist(), strict=True)
        ]
    return rows


def counter_rows(sides: list[Responses]) -> list[dict[str, Any]]:
    """corpus, documents, of_corpus, counters, share: how many counters of its sketch hold so many documents."""
    return [
        {
            "corpus": name,
            "documents": held,
            "of_corpus": held / int((~np.isnan(side.density_D)).sum()),
            "counters": count,
            "share": count / sum(side.counters.values()),
        }
        for name, side in zip(names_of(sides), sides, strict=True)
        for held, count in sorted(side.counters.items())
    ]


def document_table(sides: list[Responses]) -> pa.Table:
    names = [name for name, side in zip(names_of(sides), sides, strict=True) for _ in side.ids]
    density = np.concatenate([side.density_D for side in sides])
    return pa.table(
        {
            "corpus": pa.array(names, pa.string()),
            "id": pa.array([own for side in sides for own in side.ids], pa.string()),
            "density": pa.array(density, mask=np.isnan(density)),
        }
    )


def readable_table(summary: dict[str, Any]) -> Table:
    """The table for people: a row a corpus."""
    columns = ["corpus", "documents", "mean", *(f"{100 * share:g} %" for share in _QUANTILES), "largest", "empty"]
    rows, units, without = [], [], []
    for corpus in summary["corpora"]:
        mean = f"{corpus['mean']:.2e}"
        if corpus["low"] is not None:
            mean += f" [{corpus['low']:.2e}, {corpus['high']:.2e}]"
        cells = [*(f"{value:.2e}" for value in corpus["quantiles"].values()), f"{corpus['largest']:.2e}"]
        rows.append([corpus["column"], f"{corpus['documents']:,}", mean, *cells, f"{corpus['empty_counters']:.1%}"])
        units.append(f"{corpus['units']:,} {corpus['unit_is']}s")
        if corpus["documents_without_words"]:
            without.append(f"{corpus['documents_without_words']:,} of {corpus['column']}")
    notes = [
        "Probability that a document shares a row's hashes with another document of its corpus; per cent: quantiles.",
        f"In brackets: 95 % intervals over units ({', '.join(units)}). Empty: counters of the sketch.",
        *([f"Documents without a word are left out: {', '.join(without)}."] if without else []),
    ]
    return Table("Density: how much alike the documents of a corpus are", columns, rows, notes)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = read_summary(artifact)
    shown = Table(**summary["table"])
    show(artifact, NAME, [shown], shown.notes, files="; table: table.md (also .tex and .csv)")
    return {
        "documents": "+".join(f"{corpus['documents']:,}" for corpus in summary["corpora"]),
        "mean density": ", ".join(f"{corpus['mean']:.3g}" for corpus in summary["corpora"]),
    }
