"""`stage=analyze`: perplexities of the documents of two corpora under one prior (Figures 3, 10), and how they differ.

Reads scores of `corpus` and of `analysis.other`, which it builds as every stage does, and the corpora's metadata, which
say which work a document is from. Writes

    perplexity_distribution.png, .pdf, .svg    both histograms, drawn by `perplexity.figure`
    table.md, .tex                             quartiles, coverage, tails: a column a corpus
    distances.md, .tex                         Kolmogorov-Smirnov, Wasserstein, energy, with p-values
    table.csv                                  all of these, a row a number
    documents.parquet                          corpus, id, unit, tokens, measured_tokens, nll, perplexity
    histogram.csv                              bin_start, bin_end, then documents and share of both
    summary.json                               what the terminal shows

    python run.py stage=analyze analysis=perplexity_distribution analysis.other.path=my-synthetic-corpus

Perplexities span decades, so distances are taken between their logarithms: mean negative log-likelihoods, in nats a
token. A Wasserstein distance of 0.7 nats is a factor of two in perplexity.

Shapes: D documents of a corpus, B bins of the histograms, B1 = B + 1 edges.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis import overlap, two_sample
from analysis.figure_artifact import plan_figure, read_summary, require_inputs, show
from analysis.figure_files import FORMATS
from analysis.other import plan_other
from analysis.perplexity.document import DocumentPerplexities, read_perplexities
from analysis.perplexity.table import tidy_rows, write_tables
from analysis.table_files import write_csv
from analysis.two_sample import Pair, Sample
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config
from toedit.console import Progress, printable
from toedit.documents import shard_name
from toedit.errors import BadConfiguration
from toedit.parquet_files import write_parquet
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "perplexity_distribution"
KEYS = ("bins", "max_tokens", "skip_first_token", "unit_fields", "resamples", "seed")
TABLES = ("table.md", "table.tex", "distances.md", "distances.tex")
DATA = ("table.csv", "documents.parquet", "histogram.csv", "summary.json")


def plan(config: Config) -> Artifact:
    from toedit.stages.score import plan_from

    if not config.analysis.has_other:
        raise BadConfiguration(
            f"analysis={NAME} compares two corpora: analysis.other.path=<files or a corpus artifact> names the second"
        )
    other_corpus = plan_other(config)
    scores = plan_from(config)
    other = plan_from(config, corpus=other_corpus)
    require_inputs(scores, "corpus", "prior")
    _refuse_other_scoring(scores, other, config)
    return plan_figure(
        config,
        NAME,
        f"{scores.name}.{other_corpus.name}",
        {**{key: getattr(config.analysis, key) for key in KEYS}},
        {
            "scores": scores,
            "corpus": scores.inputs["corpus"],
            "other_scores": other,
            "other_corpus": other_corpus,
        },
        partial(build_figure, analysis=config.analysis),
    )


def _refuse_other_scoring(scores: Artifact, other: Artifact, config: Config) -> None:
    """Perplexities compare only under one prior that read both corpora in the same way."""
    if scores.inputs["prior"].fingerprint != other.inputs["prior"].fingerprint:
        raise BadConfiguration(
            f"scores.path={config.scores.path}: made by the prior {scores.inputs['prior'].path}; name it with "
            "prior=local prior.path=<it>, so that it reads analysis.other, too"
        )
    for key in sorted({*scores.identity, *other.identity} - {"top_k", "min_p"}):
        theirs, ours = scores.identity.get(key), other.identity.get(key)
        if theirs != ours:
            raise BadConfiguration(
                f"scores.path={config.scores.path}: scored with {key}={theirs}, analysis.other would be with {ours}; "
                "give the same score.* settings"
            )


def build_figure(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    """Read both corpora, compare them, write the tables and the picture."""
    from analysis.perplexity.figure import draw

    roles = (("scores", "corpus"), ("other_scores", "other_corpus"))
    manifests = [read_manifest(workspace.inputs[scores]) for scores, _ in roles]
    with Progress("perplexities", sum(entry["counts"]["documents"] for entry in manifests), "documents") as progress:
        corpora = [
            read_perplexities(workspace.inputs[scores], workspace.inputs[corpus], analysis, progress)
            for scores, corpus in roles
        ]
    summary = summarize(corpora, names_of(manifests), analysis)
    summary["prior"] = manifests[0]["inputs"]["prior"]["name"]
    edge_B1, count_2B = histograms(corpora, analysis.bins)
    pictures = [f"{NAME}.{extension}" for extension in FORMATS]
    with workspace.shard(shard_name(0), *TABLES, *DATA, *pictures) as (paths, _):
        files = dict(zip((*TABLES, *DATA, *FORMATS), paths, strict=True))
        write_tables(summary, {name: files[name] for name in TABLES})
        rows = tidy_rows(summary)
        write_csv(files["table.csv"], rows)
        tidy = [entry.table(label) for entry, label in zip(corpora, summary["names"], strict=True)]
        write_parquet(files["documents.parquet"], pa.concat_tables(tidy))
        write_csv(files["histogram.csv"], histogram_rows(edge_B1, count_2B))
        write_json(files["summary.json"], summary)
        draw(edge_B1, count_2B, summary, {extension: files[extension] for extension in FORMATS})
    documents = [len(entry.ids) for entry in corpora]
    return Result(
        counts={
            "documents": documents[0],
            "other_documents": documents[1],
            "without_perplexity": summary["corpora"][0]["without_perplexity"],
            "other_without_perplexity": summary["corpora"][1]["without_perplexity"],
        },
        seeds={"resampling": analysis.seed},
        rows={"table.csv": len(rows), "documents.parquet": sum(documents), "histogram.csv": analysis.bins},
    )


def names_of(manifests: list[dict[str, Any]]) -> list[str]:
    """The corpora's names; where they are one, with their roles."""
    first, second = (printable(entry["inputs"]["corpus"]["name"]) for entry in manifests)
    return [first, second] if first != second else [f"{first} (corpus)", f"{second} (other)"]


def summarize(corpora: list[DocumentPerplexities], names: list[str], analysis: AnalysisConfig) -> dict[str, Any]:
    """The content of summary.json: estimates as {value, low, high, p_value}, quantiles as perplexities."""
    samples: list[Sample] = []
    described: list[dict[str, Any]] = []
    for entry in corpora:
        nll_D, unit_D, unit = entry.sample()
        samples.append(Sample(nll_D, unit_D))
        described.append(
            {
                "documents": len(entry.ids),
                "without_perplexity": len(entry.ids) - len(nll_D),
                "unit": unit,
                "units": samples[-1].units,
                "measured_tokens": int(entry.measured_D.sum()),
            }
        )
    pair = Pair(*samples)
    with Progress("resampling", 3 * analysis.resamples, "resamples") as progress:
        distances = two_sample.compare(pair, analysis.resamples, analysis.seed, progress.advance)
        overlaps = overlap.measure(pair, analysis.resamples, analysis.seed, progress.advance)
    for description, measured in zip(described, overlaps.values(), strict=True):
        description["quantiles"] = {
            name: {key: value if value is None else float(np.exp(value)) for key, value in vars(estimate).items()}
            for name, estimate in measured.items()
            if name not in overlap.SHARES
        }
        description["central_95"] = [description["quantiles"].pop(name)["value"] for name in overlap.CENTRAL_95]
        description["shares"] = {name: vars(measured[name]) for name in overlap.SHARES}
    return {
        "names": names,
        "corpora": described,
        "distances": {name: vars(estimate) for name, estimate in distances.items()},
        "shared_ids": len(set(corpora[0].ids) & set(corpora[1].ids)),
        **{key: getattr(analysis, key) for key in KEYS},
    }


def histograms(corpora: list[DocumentPerplexities], bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """`(edge_B1, count_2B)`: documents of both in bins of perplexity that are equal on a logarithmic axis."""
    nlls = [entry.nll_D[entry.is_measured_D] for entry in corpora]
    low, high = min(nll_D.min() for nll_D in nlls), max(nll_D.max() for nll_D in nlls)
    margin = 0.05 if high - low < 1e-6 else 0.0  # all the same: a bar still has a width
    edge_B1 = np.linspace(low - margin, high + margin, bins + 1)
    return np.exp(edge_B1), np.stack([np.histogram(nll_D, edge_B1)[0] for nll_D in nlls])


def histogram_rows(edge_B1: NDArray[np.float64], count_2B: NDArray[np.int64]) -> list[dict[str, Any]]:
    share_2B = count_2B / count_2B.sum(axis=1, keepdims=True)
    return [
        {
            "bin_start": float(edge_B1[number]),
            "bin_end": float(edge_B1[number + 1]),
            "documents": int(count_2B[0, number]),
            "share": float(share_2B[0, number]),
            "other_documents": int(count_2B[1, number]),
            "other_share": float(share_2B[1, number]),
        }
        for number in range(count_2B.shape[1])
    ]


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    from analysis.perplexity.table import distance_table, notes, overlap_table

    summary = read_summary(artifact)
    for shown in (overlap_table(summary), distance_table(summary)):
        show(artifact, NAME, [shown], notes(summary))
    medians = [f"{entry['quantiles']['q0.5']['value']:.3g}" for entry in summary["corpora"]]
    distances = summary["distances"]
    return {
        "median": medians[0],
        "other median": medians[1],
        "KS": f"{distances['kolmogorov_smirnov']['value']:.3f}",
        "p (permutation)": f"{distances['kolmogorov_smirnov']['p_value']:.3g}",
        "W1": f"{distances['wasserstein']['value']:.3f}",
    }
