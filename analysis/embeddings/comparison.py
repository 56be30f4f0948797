"""`analysis=embeddings`: two corpora, or three, in embedding space (Figure 4B), as a picture and as tests.

Reads the embeddings of `corpus`, `analysis.other` and, where it is named, `analysis.third` (`embed_corpus`). Writes

    embeddings.png, .pdf, .svg    t-SNE of equally many documents of each corpus
    table.md, .tex                for each pair of corpora: MMD, energy distance, area under a classifier's ROC curve
    table.csv                     the same, tidy: measure, first, second, value, low, high, p_value, p_bootstrap,
                                  if_alike
    points.csv                    a row a document: corpus, id, unit, x, y of the picture
    summary.json                  what the terminal shows

    python run.py stage=analyze analysis=embeddings corpus=local corpus.path=A analysis.other.path=B

Shapes: D documents of a corpus, N of all corpora, H dimensions.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.embeddings import kernel_tests
from analysis.embeddings.classifier_test import separate
from analysis.embeddings.embed_corpus import Embedded, plan_embeddings, read_embeddings
from analysis.embeddings.encoders import plan_encoder
from analysis.embeddings.tables import notes, readable_table, tidy_rows
from analysis.figure_artifact import plan_figure, read_summary, show
from analysis.figure_files import FORMATS
from analysis.other import plan_other
from analysis.table_files import write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config
from toedit.console import Progress, note, printable
from toedit.corpora import plan_corpus
from toedit.documents import shard_name
from toedit.errors import BadConfiguration
from toedit.units import units_of
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "embeddings"
OUTPUTS = ("table.md", "table.tex", "table.csv", "points.csv", "summary.json")
ROLES = ("embeddings", "other_embeddings", "third_embeddings")
KEYS = ("documents", "tsne_perplexity", "tsne_iterations", "folds", "inverse_penalty")


def plan(config: Config) -> Artifact:
    analysis, root = config.analysis, Path(config.artifacts)
    if importlib.util.find_spec("sklearn") is None:
        raise BadConfiguration(
            f"analysis={NAME}: needs scikit-learn, of the extra `embeddings`: bash scripts/environment.sh embeddings"
        )
    if not analysis.has_other:
        raise BadConfiguration(
            f"analysis={NAME} compares corpora: analysis.other.path=<files or a corpus artifact> names the second"
        )
    corpora = [plan_corpus(config.corpus, root)]
    for key in ("other", *(["third"] if analysis.has_third else [])):
        corpora.append(plan_other(config, key))
    encoder = plan_encoder(config)
    inputs = [plan_embeddings(corpus, encoder, config) for corpus in corpora]
    return plan_figure(
        config,
        NAME,
        "+".join(corpus.name for corpus in corpora),
        {
            **{key: getattr(analysis.embeddings, key) for key in KEYS},
            "resamples": analysis.resamples,
            "seed": analysis.seed,
        },
        dict(zip(ROLES, inputs, strict=False)),
        partial(build, analysis=analysis),
    )


@dataclass(frozen=True)
class Side:
    """One corpus: its drawn documents and the works they are from."""

    name: str
    embedded: Embedded
    unit_D: NDArray[np.int64]
    unit_is: str
    without_tokens: int

    @property
    def works_D(self) -> list[str]:
        """The name of each document's work: the same in every corpus that has it."""
        pairs = zip(self.embedded.ids, self.embedded.origins, strict=True)
        if self.unit_is == "document":
            return [f"document {own}" for own, _ in pairs]
        return [f"document {own}" if origin is None else f"origin {origin}" for own, origin in pairs]


def build(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    """Read equally many documents of each corpus, compare every pair, lay out the picture, write."""
    from analysis.embeddings.picture import draw, lay_out

    sides = read_sides([workspace.inputs[role] for role in ROLES if role in workspace.inputs])
    summary = summarize(sides, analysis)
    first = next(iter(workspace.inputs.values()))
    summary["model"] = read_manifest(first)["inputs"]["model"]["name"]
    note(f"{NAME}: t-SNE of {sum(len(side.unit_D) for side in sides):,} documents")
    settings = analysis.embeddings
    point_N2, summary["tsne"] = lay_out(
        np.concatenate([side.embedded.vector_DH for side in sides]),
        settings.tsne_perplexity,
        settings.tsne_iterations,
        analysis.seed,
    )
    shown, tidy, points = readable_table(summary), tidy_rows(summary), point_rows(sides, point_N2)
    with workspace.shard(shard_name(0), *OUTPUTS, *(f"{NAME}.{extension}" for extension in FORMATS)) as (paths, _):
        write_markdown(paths[0], shown)
        write_latex(paths[1], shown)
        write_csv(paths[2], tidy)
        write_csv(paths[3], points)
        write_json(paths[4], summary)
        draw(point_N2, summary, dict(zip(FORMATS, paths[5:], strict=True)))
    return Result(
        counts={"documents": len(points), "without_tokens": sum(side.without_tokens for side in sides)},
        rows={"table.csv": len(tidy), "points.csv": len(points)},
        seeds={"resampling": analysis.seed},
    )


def read_sides(artifacts: list[Path]) -> list[Side]:
    """The corpora, with as many documents each as the smallest draw has."""
    manifests = [read_manifest(artifact) for artifact in artifacts]
    least = min(manifest["counts"]["documents"] for manifest in manifests)
    names = [printable(manifest["inputs"]["corpus"]["name"]) for manifest in manifests]
    if len(set(names)) < len(names):
        names = [f"{name} ({role})" for name, role in zip(names, ("corpus", "other", "third"), strict=False)]
    sides = []
    for name, artifact, manifest in zip(names, artifacts, manifests, strict=True):
        embedded = read_embeddings(artifact, least)
        unit_D, unit_is = units_of(embedded.origins)
        sides.append(Side(name, embedded, unit_D, unit_is, manifest["counts"]["without_tokens"]))
    return sides


def summarize(sides: list[Side], analysis: AnalysisConfig) -> dict[str, Any]:
    """The content of summary.json: estimates as {value, low, high, p_value, p_bootstrap}, or null."""
    pairs = []
    resamples, seed = analysis.resamples, analysis.seed
    steps = 4 * resamples * len(list(combinations(sides, 2)))
    with Progress("resampling", steps, "resamples") as progress:
        for first, second in combinations(sides, 2):
            samples = [kernel_tests.Sample(side.embedded.vector_DH, side.unit_D) for side in (first, second)]
            found = kernel_tests.compare(samples[0], samples[1], resamples, seed, progress.advance)
            found["auc"] = separate(
                np.concatenate([first.embedded.vector_DH, second.embedded.vector_DH]),
                np.repeat([False, True], [len(first.unit_D), len(second.unit_D)]),
                first.works_D + second.works_D,
                analysis.embeddings.folds,
                analysis.embeddings.inverse_penalty,
                resamples,
                seed,
            )
            pairs.append(
                {
                    "first": first.name,
                    "second": second.name,
                    "shared_ids": len(set(first.embedded.ids) & set(second.embedded.ids)),
                    **{name: None if estimate is None else vars(estimate) for name, estimate in found.items()},
                }
            )
    return {
        "corpora": [
            {
                "name": side.name,
                "documents": len(side.unit_D),
                "units": len(np.unique(side.unit_D)),
                "unit": side.unit_is,
                "without_tokens": side.without_tokens,
            }
            for side in sides
        ],
        "pairs": pairs,
        "resamples": resamples,
        "folds": analysis.embeddings.folds,
    }


def point_rows(sides: list[Side], point_N2: NDArray[np.float64]) -> list[dict[str, Any]]:
    documents = [
        {"corpus": side.name, "id": own, "unit": origin if origin is not None else own}
        for side in sides
        for own, origin in zip(side.embedded.ids, side.embedded.origins, strict=True)
    ]
    return [row | {"x": x, "y": y} for row, (x, y) in zip(documents, point_N2.tolist(), strict=True)]


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = read_summary(artifact)
    shown = readable_table(summary)
    show(artifact, NAME, [shown], notes(summary))
    pair = summary["pairs"][0]
    row = {"documents": f"{summary['corpora'][0]['documents']:,}"}
    for key, label in (("mmd2", "MMD^2"), ("energy", "energy"), ("auc", "AUC")):
        row[label] = "-" if pair[key] is None else f"{pair[key]['value']:.4f}"
    return row
