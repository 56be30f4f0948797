"""`analysis=calibration`: does the prior keep its word? Reliability, coverage and compression of a corpus, or of two.

Where the prior says 0.99, is it right 99 times in 100? The edit trusts that it is: a token is eligible because of its
stated probability. Reads scores with the candidates of every token (`score.min_p=0`); writes

    calibration.png, .pdf, .svg    reliability diagrams: on [0, 1], and of stated against seen error near 1
    table.md, .tex                 a column a corpus, and the second minus the first, with 95 % intervals
    table.csv                      the same, tidy: measure, corpus, value, low, high
    reliability.csv                a row a bin: diagram, corpus, bin_start, bin_end, statements, stated, seen, low, high
    summary.json                   what the terminal shows

    python run.py stage=analyze analysis=calibration score.min_p=0 analysis.other.path=my-other-corpus

Intervals draw works, else documents (`scored_corpora`).

Shapes: G groups of works, S sums, R resamples, B bins.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.figure_artifact import plan_figure, read_summary, require_inputs, show
from analysis.figure_files import FORMATS
from analysis.other import plan_other
from analysis.prior_quality.calibration_counts import TAIL_EDGES, Layout, count
from analysis.prior_quality.calibration_table import notes, readable_table, tidy_rows
from analysis.prior_quality.scored_corpora import Floats, Works, estimated, resampled
from analysis.table_files import write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config, PriorQualityConfig
from toedit.console import Progress, printable
from toedit.documents import shard_name
from toedit.errors import BadConfiguration
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "calibration"
OUTPUTS = ("table.md", "table.tex", "table.csv", "reliability.csv", "summary.json")
ROLES = (("scores", "corpus"), ("other_scores", "other_corpus"))
DIAGRAMS = ("bins", "top", "tail")


def plan(config: Config) -> Artifact:
    from toedit.stages.score import plan_from

    analysis = config.analysis
    scores = plan_from(config)
    require_inputs(scores, "corpus", "prior")
    inputs = {"scores": scores, "corpus": scores.inputs["corpus"]}
    if analysis.has_other:
        inputs["other_corpus"] = plan_other(config)
        inputs["other_scores"] = plan_from(config, corpus=inputs["other_corpus"])
        if scores.inputs["prior"].fingerprint != inputs["other_scores"].inputs["prior"].fingerprint:
            raise BadConfiguration(
                f"scores.path={config.scores.path}: made by the prior {scores.inputs['prior'].path}; name it with "
                "prior=local prior.path=<it>, so that it reads analysis.other, too"
            )
    for role, _ in ROLES:
        if role in inputs:
            _refuse_few_candidates(inputs[role], analysis.prior_quality)
    quality = analysis.prior_quality
    return plan_figure(
        config,
        NAME,
        "+".join(inputs[role].name for role, _ in ROLES if role in inputs),
        {
            **{key: getattr(quality, key) for key in ("thresholds", "ranks", "bins")},
            **{key: getattr(analysis, key) for key in ("unit_fields", "resamples", "seed")},
        },
        inputs,
        partial(build, analysis=analysis),
    )


def _refuse_few_candidates(scores: Artifact, quality: PriorQualityConfig) -> None:
    min_p, top_k = scores.identity["min_p"], scores.identity["top_k"]
    if min_p > 0:
        raise BadConfiguration(
            f"analysis={NAME} needs the candidates of every token, the scores hold those with P >= {min_p:g}: "
            "score.min_p=0"
        )
    if max(quality.ranks) > top_k:
        raise BadConfiguration(
            f"analysis.prior_quality.ranks={quality.ranks}: the scores hold {top_k} candidates: "
            f"score.top_k={max(quality.ranks)}"
        )


def build(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    """Count each corpus, resample, write."""
    from analysis.prior_quality.calibration_figure import draw

    quality, layout = analysis.prior_quality, Layout(analysis.prior_quality)
    roles = [pair for pair in ROLES if pair[0] in workspace.inputs]
    manifests = [read_manifest(workspace.inputs[scores]) for scores, _ in roles]
    counted: list[tuple[Floats, Works]] = []
    with Progress("calibration", sum(entry["counts"]["scored"] for entry in manifests)) as progress:
        for scores, corpus in roles:
            works = Works(workspace.inputs[corpus], analysis.unit_fields)
            sum_GS = count(workspace.inputs[scores], workspace.inputs[corpus], works, quality, progress)
            counted.append((sum_GS, works))
    names = [printable(entry["inputs"]["corpus"]["name"]) for entry in manifests]
    if len(names) == 2 and names[0] == names[1]:
        names = [f"{names[0]} (corpus)", f"{names[1]} (other)"]
    summary = summarize(counted, names, layout, analysis)
    summary["prior"] = printable(manifests[0]["inputs"]["prior"]["name"])
    tidy, reliability = tidy_rows(summary), reliability_rows(summary)
    with workspace.shard(shard_name(0), *OUTPUTS, *(f"{NAME}.{extension}" for extension in FORMATS)) as (paths, _):
        write_markdown(paths[0], readable_table(summary))
        write_latex(paths[1], readable_table(summary))
        write_csv(paths[2], tidy)
        write_csv(paths[3], reliability)
        write_json(paths[4], summary)
        draw(summary, dict(zip(FORMATS, paths[5:], strict=True)))
    return Result(
        counts={"documents": sum(works.documents for _, works in counted),
                "scored": sum(entry["tokens"] for entry in summary["corpora"])},
        rows={"table.csv": len(tidy), "reliability.csv": len(reliability)},
        seeds={"resampling": analysis.seed},
    )  # fmt: skip


def statistic(sum_RS: Floats, layout: Layout) -> dict[str, Floats]:
    """All numbers, of sums, as `<measure>` or `<measure>.<threshold, rank or bin>`; NaN where a denominator is 0."""
    parts, quality = layout.split(sum_RS), layout.settings
    tokens_R, nll_R, bytes_R = parts["totals"].transpose(1, 0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        values = {
            "bits_per_byte": nll_R / np.log(2) / bytes_R,
            "perplexity": np.exp(nll_R / tokens_R),
            "calibration_error_top": _calibration_error(parts["top"]),
            "calibration_error_all": _calibration_error(parts["bins"]),
        }
        for column, rank in enumerate(quality.ranks):
            values[f"within.{rank}"] = parts["within"][:, column] / tokens_R
            values[f"mass.{rank}"] = parts["mass"][:, column] / tokens_R
        for column, p in enumerate(quality.thresholds):
            count_R, stated_R, right_R = parts["at_least"][:, column].T
            values[f"eligible.{p:g}"] = parts["eligible"][:, column] / tokens_R
            values[f"stated_share.{p:g}"] = count_R / tokens_R
            values[f"stated.{p:g}"] = stated_R / count_R
            values[f"seen.{p:g}"] = right_R / count_R
            values[f"gap.{p:g}"] = (right_R - stated_R) / count_R
        for diagram in DIAGRAMS:
            for number in range(parts[diagram].shape[1]):
                count_R, stated_R, right_R = parts[diagram][:, number].T
                values[f"{diagram}.stated.{number}"] = stated_R / count_R
                values[f"{diagram}.seen.{number}"] = right_R / count_R
    return {name: np.where(np.isfinite(value_R), value_R, np.nan) for name, value_R in values.items()}


def _calibration_error(part_RB3: Floats) -> Floats:
    """Mean distance between stated and seen, each bin with as much weight as it has statements."""
    return np.abs(part_RB3[..., 2] - part_RB3[..., 1]).sum(1) / part_RB3[..., 0].sum(1)


def summarize(
    counted: list[tuple[Floats, Works]], names: list[str], layout: Layout, analysis: AnalysisConfig
) -> dict[str, Any]:
    """The content of summary.json: every number as {value, low, high}, or null where it is not defined."""
    of_sums = partial(statistic, layout=layout)
    corpora, drawn = [], []
    with Progress("resampling", len(counted) * analysis.resamples, "resamples") as progress:
        for number, (sum_GS, works) in enumerate(counted):
            generator = np.random.default_rng([analysis.seed, number])
            value_R = resampled(sum_GS, of_sums, analysis.resamples, generator, progress.advance)
            once = {name: float(value[0]) for name, value in of_sums(sum_GS.sum(0, keepdims=True)).items()}
            parts = layout.split(sum_GS)
            corpora.append(
                {
                    "name": names[number],
                    **works.described(),
                    "tokens": int(parts["totals"][:, 0].sum()),
                    "measures": {name: _measured(name, once[name], value_R.get(name), sum_GS, layout) for name in once},
                    "statements": {diagram: parts[diagram][..., 0].sum(0).astype(int).tolist() for diagram in DIAGRAMS},
                }
            )
            drawn.append((once, value_R))
    summary: dict[str, Any] = {
        "corpora": corpora,
        "resamples": analysis.resamples,
        **{key: getattr(layout.settings, key) for key in ("thresholds", "ranks", "bins")},
        "tail_edges": TAIL_EDGES.tolist(),
    }
    if len(drawn) == 2:
        (once, first), (other, second) = drawn
        summary["difference"] = {
            name: _vars(estimated(other[name] - once[name], second[name] - first[name] if first and second else None))
            for name in once
            if name.partition(".")[0] not in DIAGRAMS
        }
    return summary


def _measured(name: str, value: float, value_R: Floats | None, sum_GS: Floats, layout: Layout) -> dict[str, Any] | None:
    kind, _, which = name.partition(".")
    share_units = None
    if kind == "seen":
        column = [f"{p:g}" for p in layout.settings.thresholds].index(which)
        share_units = _with_statements(layout.split(sum_GS)["at_least"][:, column])
    elif kind in DIAGRAMS and which.startswith("seen"):
        share_units = _with_statements(layout.split(sum_GS)[kind][:, int(which.rpartition(".")[2])])
    return _vars(estimated(value, value_R, share_units, is_distance=kind.startswith("calibration_error")))


def _with_statements(part_G3: Floats) -> int:
    """Groups of works that say anything about a share."""
    return int((part_G3[:, 0] > 0).sum())


def _vars(estimate: Any) -> dict[str, Any] | None:
    return None if estimate is None else {key: getattr(estimate, key) for key in ("value", "low", "high")}


def reliability_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The diagrams as data; bins of the tail are of stated probability, too."""
    edges = np.linspace(0, 1, summary["bins"] + 1).tolist()
    bounds = {"bins": list(pairwise(edges))}
    bounds["top"] = bounds["bins"]
    tail = summary["tail_edges"]
    bounds["tail"] = [(1 - high, 1 - low) for low, high in pairwise(tail)]
    rows = []
    for entry in summary["corpora"]:
        for diagram in DIAGRAMS:
            for number, (start, end) in enumerate(bounds[diagram]):
                seen = entry["measures"][f"{diagram}.seen.{number}"] or dict.fromkeys(("value", "low", "high"))
                stated = entry["measures"][f"{diagram}.stated.{number}"] or {"value": None}
                rows.append(
                    {
                        "diagram": diagram,
                        "corpus": entry["name"],
                        "bin_start": start,
                        "bin_end": end,
                        "statements": entry["statements"][diagram][number],
                        "stated": stated["value"],
                        "seen": seen["value"],
                        "low": seen["low"],
                        "high": seen["high"],
                    }
                )
    return rows


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = read_summary(artifact)
    shown = readable_table(summary)
    show(artifact, NAME, [shown], notes(summary))
    measures = summary["corpora"][0]["measures"]
    row = {"bits per byte": f"{measures['bits_per_byte']['value']:.3f}"} if measures["bits_per_byte"] else {}
    p = max(summary["thresholds"])
    seen, stated = measures[f"seen.{p:g}"], measures[f"stated.{p:g}"]
    row[f"right at P >= {p:g}"] = "-" if seen is None else f"{seen['value']:.4f} (stated {stated['value']:.4f})"
    row["calibration error"] = f"{measures['calibration_error_top']['value']:.4f}"
    return row
