"""`analysis=eligible_overlap`: how much of what an edit would touch depends on the prior?

Reads the scores of one corpus under two priors, `prior` and `analysis.other_prior`; their tokenizers may differ. At
each threshold p the eligible tokens of both (P >= p) are compared twice:

    bytes     which bytes of the text stand in an eligible token, of all bytes that both priors scored
    tokens    which tokens are eligible, of those that are the same bytes in both tokenizations

and each time told as

    jaccard        bytes eligible under both, by bytes eligible under either
    of_first       share of the first prior's eligible bytes that are eligible under the second, too; of_second likewise
    expected.*     what these would be if the two sets had nothing to do with each other (same sizes, independent)
    eligible_*     the sizes themselves

Writes

    eligible_overlap.png, .pdf, .svg    the shares over p, with what independence would give
    table.md, .tex                      a row a threshold
    table.csv                           tidy: basis, p, measure, value, low, high
    summary.json                        what the terminal shows

    python run.py stage=analyze analysis=eligible_overlap prior@analysis.other_prior=local analysis.other_prior.path=M

Intervals (95 %) draw works, else documents (`scored_corpora`).

Shapes: D documents of a shard, T tokens, C bytes of all texts of a shard laid end to end, G groups of works, Q
thresholds, 2 bases (bytes, tokens), 4 = (both scored, eligible under the first, under the second, under both).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_artifact import plan_figure, read_summary, require_inputs, show
from analysis.figure_files import FORMATS
from analysis.prior_quality.eligible_overlap_table import BASES, notes, readable_table, tidy_rows
from analysis.prior_quality.scored_corpora import Floats, Works, estimated, resampled
from analysis.table_files import write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, Config
from toedit.console import Progress, printable
from toedit.documents import shard_name, shard_paths
from toedit.editing import is_eligible
from toedit.errors import BadConfiguration, UnusableInput, naming
from toedit.scores import SpannedLogprobs, read_spanned_logprobs
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "eligible_overlap"
OUTPUTS = ("table.md", "table.tex", "table.csv", "summary.json")
ROLES = ("scores", "other_scores")
SHARES = ("jaccard", "of_first", "of_second")
_SCORED, _FIRST, _SECOND, _BOTH = range(4)


def plan(config: Config) -> Artifact:
    from toedit.stages.score import plan_from

    analysis = config.analysis
    scores = plan_from(config)
    require_inputs(scores, "corpus", "prior")
    corpus = scores.inputs["corpus"]
    if analysis.other_prior.kind != "local" and analysis.other_prior.path is not None:
        raise BadConfiguration(
            f"analysis.other_prior.path={analysis.other_prior.path}: is read with prior@analysis.other_prior=local"
        )
    with naming("prior.", "analysis.other_prior."):
        other = plan_from(replace(config, prior=analysis.other_prior), corpus=corpus)
    if other.inputs["prior"].fingerprint == scores.inputs["prior"].fingerprint:
        raise BadConfiguration(
            f"analysis={NAME}: both priors are {scores.inputs['prior'].name}; name another with "
            "prior@analysis.other_prior=local analysis.other_prior.path=<a Hugging Face folder>"
        )
    return plan_figure(
        config,
        NAME,
        f"{scores.name}+{other.inputs['prior'].name}",
        {
            "thresholds": analysis.prior_quality.thresholds,
            **{key: getattr(analysis, key) for key in ("unit_fields", "resamples", "seed")},
        },
        {"corpus": corpus, "scores": scores, "other_scores": other},
        partial(build, analysis=analysis),
    )


def build(workspace: Workspace, analysis: AnalysisConfig) -> Result:
    """Count both bases shard by shard, resample, write."""
    from analysis.prior_quality.eligible_overlap_figure import draw

    thresholds = sorted(analysis.prior_quality.thresholds)
    manifests = [read_manifest(workspace.inputs[role]) for role in ROLES]
    works = Works(workspace.inputs["corpus"], analysis.unit_fields)
    count_GQ24 = np.zeros((works.groups, len(thresholds), 2, 4))
    tokens = np.zeros(3, np.int64)
    with Progress("overlap", manifests[0]["counts"]["scored"]) as progress:
        for shard in shard_paths(workspace.inputs["corpus"]):
            pair = []
            for role in ROLES:
                path = works.scores_of(workspace.inputs[role], shard)
                pair.append(read_spanned_logprobs(path))
                works.check(path, pair[-1].ids, shard)
            tokens += add_overlap(count_GQ24, pair[0], pair[1], works.group_of[shard], thresholds)
            progress.advance(int((~np.isnan(pair[0].logprob_T)).sum()))
    if not count_GQ24[:, :, 0, _SCORED].any():
        raise UnusableInput(f"{workspace.inputs['corpus']}: no byte that both priors scored, so there is no overlap")
    summary = summarize(count_GQ24, works, thresholds, analysis)
    priors = [printable(entry["inputs"]["prior"]["name"]) for entry in manifests]
    if priors[0] == priors[1]:
        priors = [f"{priors[0]} (prior)", f"{priors[1]} (other_prior)"]
    summary |= {"priors": priors, "corpus": printable(manifests[0]["inputs"]["corpus"]["name"])}
    summary |= {"tokens": tokens[:2].tolist(), "same_tokens": int(tokens[2])}
    tidy, shown = tidy_rows(summary), readable_table(summary)
    with workspace.shard(shard_name(0), *OUTPUTS, *(f"{NAME}.{extension}" for extension in FORMATS)) as (paths, _):
        write_markdown(paths[0], shown)
        write_latex(paths[1], shown)
        write_csv(paths[2], tidy)
        write_json(paths[3], summary)
        draw(summary, dict(zip(FORMATS, paths[4:], strict=True)))
    return Result(
        counts={"documents": works.documents, "tokens": int(tokens[0]), "other_tokens": int(tokens[1])},
        rows={"table.csv": len(tidy)},
        seeds={"resampling": analysis.seed},
    )


def add_overlap(
    into_GQ24: Floats,
    first: SpannedLogprobs,
    second: SpannedLogprobs,
    group_D: NDArray[np.int64],
    thresholds: list[float],
) -> NDArray[np.int64]:
    """Add one shard's counts; return (tokens of the first, of the second, of the same bytes in both)."""
    length_D = np.maximum(_ends(first), _ends(second))
    start_D1 = np.concatenate([[0], np.cumsum(length_D)])
    group_C = np.repeat(group_D, length_D)
    scored_C = _covered(first, ~np.isnan(first.logprob_T), start_D1)
    scored_C &= _covered(second, ~np.isnan(second.logprob_T), start_D1)
    same = _same_tokens(first, second, start_D1)
    group_S = group_D[first.document_T[same[0]]]
    for column, p in enumerate(thresholds):
        is_first_T, is_second_T = is_eligible(first.logprob_T, p), is_eligible(second.logprob_T, p)
        bytes_C = (_covered(first, is_first_T, start_D1) & scored_C, _covered(second, is_second_T, start_D1) & scored_C)
        _add(into_GQ24[:, column, 0], group_C, scored_C, *bytes_C)
        scored_S = ~np.isnan(first.logprob_T[same[0]]) & ~np.isnan(second.logprob_T[same[1]])
        _add(
            into_GQ24[:, column, 1], group_S, scored_S, is_first_T[same[0]] & scored_S, is_second_T[same[1]] & scored_S
        )
    return np.array([len(first.logprob_T), len(second.logprob_T), len(same[0])])


def _add(
    into_G4: Floats,
    group_N: NDArray[np.int64],
    is_scored_N: NDArray[np.bool_],
    is_first_N: NDArray[np.bool_],
    is_second_N: NDArray[np.bool_],
) -> None:
    for place, is_in_N in enumerate((is_scored_N, is_first_N, is_second_N, is_first_N & is_second_N)):
        into_G4[:, place] += np.bincount(group_N[is_in_N], minlength=len(into_G4))


def _ends(found: SpannedLogprobs) -> NDArray[np.int64]:
    """The last byte of each document that a token reaches."""
    end_D = np.zeros(len(found.ids), np.int64)
    np.maximum.at(end_D, found.document_T, found.span_T2[:, 1].astype(np.int64))
    return end_D


def _covered(found: SpannedLogprobs, chosen_T: NDArray[np.bool_], start_D1: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[C]: which bytes lie in a chosen token."""
    change_C1 = np.zeros(int(start_D1[-1]) + 1, np.int32)
    place_N2 = found.span_T2[chosen_T].astype(np.int64) + start_D1[found.document_T[chosen_T], None]
    np.add.at(change_C1, place_N2[:, 0], 1)
    np.add.at(change_C1, place_N2[:, 1], -1)
    return np.cumsum(change_C1[:-1]) > 0


def _same_tokens(
    first: SpannedLogprobs, second: SpannedLogprobs, start_D1: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`(token of the first, token of the second)` for all that are the same bytes, at least one, in both."""
    keys = []
    for found in (first, second):
        place_T2 = found.span_T2.astype(np.int64) + start_D1[found.document_T, None]
        key_T = place_T2[:, 0] * (int(start_D1[-1]) + 1) + place_T2[:, 1]
        key_T[place_T2[:, 0] == place_T2[:, 1]] = -1
        keys.append(key_T)
    _, index_first, index_second = np.intersect1d(keys[0], keys[1], return_indices=True)
    kept = keys[0][index_first] >= 0
    return index_first[kept], index_second[kept]


def shares(count_R4: Floats) -> dict[str, Floats]:
    """All measures of one basis and threshold; NaN where there is nothing to divide."""
    scored_R, first_R, second_R, both_R = count_R4.T
    with np.errstate(invalid="ignore", divide="ignore"):
        chance_R = first_R * second_R / scored_R
        values = {
            "jaccard": both_R / (first_R + second_R - both_R),
            "of_first": both_R / first_R,
            "of_second": both_R / second_R,
            "expected.jaccard": chance_R / (first_R + second_R - chance_R),
            "expected.of_first": second_R / scored_R,
            "expected.of_second": first_R / scored_R,
            "eligible_first": first_R / scored_R,
            "eligible_second": second_R / scored_R,
        }
    # Where one prior finds nothing eligible its shares have no denominator.
    values["expected.of_first"] = np.where(first_R > 0, values["expected.of_first"], np.nan)
    values["expected.of_second"] = np.where(second_R > 0, values["expected.of_second"], np.nan)
    return {name: np.where(np.isfinite(value_R), value_R, np.nan) for name, value_R in values.items()}


def statistic(sum_RS: Floats, thresholds: list[float]) -> dict[str, Floats]:
    """`shares` of every basis and threshold, by `<basis>.<threshold>.<measure>`."""
    count_RQ24 = sum_RS.reshape(len(sum_RS), len(thresholds), 2, 4)
    return {
        f"{basis}|{p:g}|{measure}": value_R
        for column, p in enumerate(thresholds)
        for place, basis in enumerate(BASES)
        for measure, value_R in shares(count_RQ24[:, column, place]).items()
    }


def summarize(count_GQ24: Floats, works: Works, thresholds: list[float], analysis: AnalysisConfig) -> dict[str, Any]:
    """The content of summary.json: every number as {value, low, high}, or null where it is not defined."""
    sum_GS = count_GQ24.reshape(len(count_GQ24), -1)
    of_sums = partial(statistic, thresholds=thresholds)
    with Progress("resampling", analysis.resamples, "resamples") as progress:
        generator = np.random.default_rng([analysis.seed, 0])
        value_R = resampled(sum_GS, of_sums, analysis.resamples, generator, progress.advance)
    found: dict[str, Any] = {basis: {f"{p:g}": {} for p in thresholds} for basis in BASES}
    for name, value in of_sums(sum_GS.sum(0, keepdims=True)).items():
        basis, p, measure = name.split("|")
        column, place = [f"{entry:g}" for entry in thresholds].index(p), BASES.index(basis)
        # Works with an eligible token under either prior are the trials of a share of 0 or 1.
        units = int((count_GQ24[:, column, place, _FIRST : _SECOND + 1].sum(1) > 0).sum())
        estimate = estimated(float(value[0]), value_R.get(name), units if measure in SHARES else None)
        found[basis][p][measure] = (
            None if estimate is None else {key: getattr(estimate, key) for key in ("value", "low", "high")}
        )
    totals = count_GQ24[:, 0].sum(0)
    return {
        "thresholds": thresholds,
        **works.described(),
        "resamples": analysis.resamples,
        "scored": {basis: int(totals[place, _SCORED]) for place, basis in enumerate(BASES)},
        "measures": found,
    }


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = read_summary(artifact)
    shown = readable_table(summary)
    show(artifact, NAME, [shown], notes(summary))
    row = {}
    for p in summary["thresholds"]:
        found = summary["measures"]["bytes"][f"{p:g}"]["jaccard"]
        row[f"Jaccard at {p:g}"] = "-" if found is None else f"{found['value']:.3f}"
    return row
