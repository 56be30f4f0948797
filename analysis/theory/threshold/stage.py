"""`theory=collapse_threshold`: the synthetic share beyond which collapse sets in, by three definitions, with intervals.

Reads nothing, or a csv of runs (`theory.threshold.path`). Writes (see `analysis.theory.study`)

    table                     a row a case: threshold by slope, tolerance, irreversibility; `none`: nowhere on the grid
    data.csv                  case, share, measure, value, low, high; thresholds have no share
    collapse_threshold.png    slope, level and failures to recover, by share, with thresholds and their intervals

    python run.py stage=theory theory=collapse_threshold
    python run.py stage=theory theory=collapse_threshold theory.threshold.path=data.csv theory.threshold.metric=loss

Shapes: S shares, R trials, G generations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.intervals import student, wilson
from analysis.table_files import Table
from analysis.theory.next_token.distributions import zipf
from analysis.theory.study import Found, Rows, Study
from analysis.theory.threshold.estimate import LEVEL, Threshold
from analysis.theory.threshold.irreversibility import Irreversibility, irreversibility
from analysis.theory.threshold.runs_file import read_runs
from analysis.theory.threshold.slope import SlopeResult, relaxation_generations, slope_threshold, slopes
from analysis.theory.threshold.tolerance import tolerance_threshold
from analysis.theory.threshold.toys import Runs, Toy, run, settled_at
from toedit.config import Config
from toedit.console import Progress
from toedit.errors import BadConfiguration, MissingInput

_TOY_KEYS = ("cases", "shares", "support", "real")
_FILE_KEYS = ("metric", "worse", "share_of", "recovered")
_ESTIMATOR_KEYS = ("kappa", "delta", "resamples")
NONE = "none"


@dataclass(frozen=True)
class Estimated:
    """One case."""

    case: str
    runs: Runs
    slope: SlopeResult
    tolerance: Threshold
    level_SR: Any
    limit: float
    recovery: Irreversibility | None


def settings(config: Config) -> dict[str, Any]:
    theory, own = config.theory, config.theory.threshold
    found: dict[str, Any] = {key: getattr(own, key) for key in _ESTIMATOR_KEYS} | {"seed": theory.seed}
    if own.path is None:
        found |= {key: getattr(own, key) for key in _TOY_KEYS}
        return found | {key: getattr(theory, key) for key in ("d", "T", "generations", "trials")}
    path = Path(own.path).expanduser()
    if not path.is_file():
        raise MissingInput(f"theory.threshold.path={own.path}: there is no such file")
    found |= {key: getattr(own, key) for key in _FILE_KEYS} | {"share_of": dict(own.share_of or {}), "path": str(path)}
    return found | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def compute(settings: dict[str, Any], folders: Mapping[str, Path]) -> Found:
    estimated = [estimate(case, runs, settings) for case, runs in _cases(settings).items()]
    return Found(
        _table(estimated, settings),
        [row for one in estimated for row in _rows(one)],
        {"thresholds": {one.case: _thresholds(one) for one in estimated}},
        {"thresholds": ", ".join(f"{one.case} {_said(one.slope.threshold)}" for one in estimated)},
    )


def _cases(settings: dict[str, Any]) -> dict[str, Runs]:
    if "path" in settings:
        runs = read_runs(Path(settings["path"]), *(settings[key] for key in _FILE_KEYS))
        return {settings["metric"] or Path(settings["path"]).stem: runs}
    sizes = (settings["d"], settings["T"], zipf(settings["support"], 1.0), settings["real"])
    toy = Toy(*sizes, settings["generations"], settings["trials"], settings["seed"])
    work = len(settings["cases"]) * len(set(settings["shares"])) * toy.trials * toy.generations
    with Progress("toy models", work, "trial-generations") as progress:
        return {case: run(case, settings["shares"], toy, progress) for case in settings["cases"]}


def estimate(case: str, runs: Runs, settings: dict[str, Any]) -> Estimated:
    """The three thresholds of one case."""
    resamples, seed = settings["resamples"], settings["seed"]
    least = int(len(runs.share_S[runs.share_S > 0]) / LEVEL)
    if resamples < least:
        raise BadConfiguration(
            f"theory.threshold.resamples={resamples}: must be at least {least}, or no share can be significant among "
            f"{len(runs.share_S)}"
        )
    generations = runs.metric_SRG.shape[-1]
    level_SR = runs.metric_SRG[..., generations - max(generations // 4, 1) :].mean(axis=-1)
    # Without synthetic data nothing changes but by chance; else the first generation has seen none.
    baseline_R = level_SR[0] if runs.share_S[0] == 0 else runs.metric_SRG[:, :, 0].mean(axis=0)
    baseline, kappa = float(baseline_R.mean()), settings["kappa"]
    recovery = None
    if runs.recovered_SR is not None:
        recovery = irreversibility(
            runs.share_S, runs.metric_SRG[..., 0], runs.metric_SRG[..., -1], runs.recovered_SR,
            abs(baseline), settings["delta"],
        )  # fmt: skip
    return Estimated(
        case,
        runs,
        slope_threshold(runs.share_S, runs.metric_SRG, resamples, seed),
        tolerance_threshold(runs.share_S, level_SR, baseline_R, kappa, resamples, seed),
        level_SR,
        kappa * baseline if baseline > 0 else baseline / kappa,
        recovery,
    )


def _rows(one: Estimated) -> Rows:
    rows: Rows = []
    slope_SR = slopes(one.runs.metric_SRG)
    for place, share in enumerate(one.runs.share_S.tolist()):
        for measure, value_R in (("level", one.level_SR[place]), ("slope", slope_SR[place])):
            low, high = student(value_R.tolist()) or (None, None)
            rows.append(_row(one.case, share, measure, float(value_R.mean()), low, high))
        rows.append(_row(one.case, share, "slope_p", float(one.slope.p_S[place])))
        if one.recovery is not None:
            failed, trials = int(one.recovery.failed_S[place]), one.recovery.trials
            rows.append(_row(one.case, share, "not_recovered", failed / trials, *wilson(failed, trials)))
            fraction = float(one.recovery.fraction_S[place])
            rows.append(_row(one.case, share, "irreversible_fraction", fraction))
    rows.append(_row(one.case, None, "limit", one.limit))
    return rows + [
        _row(one.case, None, f"threshold_{name}", threshold.value, threshold.low, threshold.high)
        for name, threshold in _found(one).items()
    ]


def _row(case: str, share: float | None, measure: str, value: float, low: float | None = None,
         high: float | None = None) -> dict[str, Any]:  # fmt: skip
    numbers = {"value": value, "low": low, "high": high}
    finite = {key: NONE if number is not None and np.isinf(number) else number for key, number in numbers.items()}
    return {"case": case, "share": share, "measure": measure, **finite}


def _found(one: Estimated) -> dict[str, Threshold]:
    found = {"slope": one.slope.threshold, "tolerance": one.tolerance}
    if one.recovery is not None:
        point = one.recovery.change_point
        found |= {"irreversibility": one.recovery.threshold, "change_point": Threshold(point, point, point)}
    return found


def _thresholds(one: Estimated) -> dict[str, Any]:
    return {
        name: {key: value if np.isfinite(value) else None for key, value in vars(threshold).items()}
        for name, threshold in _found(one).items()
    }


def _table(estimated: list[Estimated], settings: dict[str, Any]) -> Table:
    columns = ["case", "shares", "slope > 0", "below it at most", "slope", f"level > {settings['kappa']:g} x baseline"]
    has_recovery = any(one.recovery is not None for one in estimated)
    lines = []
    for one in estimated:
        found, share_S = _found(one), one.runs.share_S
        line = [one.case, f"{share_S[1]:g} .. {share_S[-1]:g}", _said(found["slope"]), _slopes_below(one)]
        line += [f"{one.slope.slope_S[-1]:.2g} at {share_S[-1]:g}", _said(found["tolerance"])]
        if has_recovery:
            line += [_said(found["irreversibility"]), _number(found["change_point"].value)]
        lines.append(line)
    more = ["half do not recover", "change point"] if has_recovery else []
    return Table(
        "The synthetic share beyond which collapse sets in", [*columns, *more], lines, _notes(estimated, settings)
    )


def _slopes_below(one: Estimated) -> str:
    """The largest upper end of the slopes' intervals at shares below the threshold, with Student's interval."""
    is_below_S = (one.runs.share_S > 0) & (one.runs.share_S < one.slope.threshold.value)
    ends = [student(slope_R.tolist()) for slope_R in slopes(one.runs.metric_SRG[is_below_S])]
    return f"{max(end[1] if end else 0.0 for end in ends):.2g}" if ends else ""


def _notes(estimated: list[Estimated], settings: dict[str, Any]) -> list[str]:
    trials, generations = estimated[0].runs.metric_SRG.shape[1:]
    notes = [
        f"{trials} trials of {generations} generations. In brackets 95 % intervals; none: nowhere on the grid, which "
        "is a result.",
        "slope > 0: rising over the last half of the generations, one-sided, Holm's correction. Below it at "
        "most: the largest slope that the shares below may have (95 %).",
        "Level: mean of the last quarter.",
    ]
    if any(one.recovery is not None for one in estimated):
        notes[-1] += " Change point: of the irreversible fraction."
        notes.append(
            f"Half do not recover: retrained on the real data that are left, half of the trials stay "
            f"{settings['delta']:g} baselines above their beginning."
        )
    if settings.get("worse") == "down":
        notes.append("Less is worse: values are negated, and the limit is the baseline divided by kappa.")
    shares = estimated[0].runs.share_S
    slow_S = shares[(shares < 1) & np.array([6 * relaxation_generations(share) > generations for share in shares])]
    if len(slow_S):
        wanted = np.ceil(6 * relaxation_generations(float(slow_S[-1])))
        notes.append(
            f"Where real data are kept, shares of {slow_S[0]:g} and more are still on their way to a plateau in the "
            f"last half; {wanted:.0f} generations would show it."
        )
    return notes if "path" in settings else [*notes, _expected(settings["kappa"])]


def _expected(kappa: float) -> str:
    share = settled_at(kappa)
    level = f"above the limit from share {share:.3g} on" if np.isfinite(share) else "never above the limit"
    return (
        f"Expected with real data kept, for large samples: no slope below share 1; level {level}. "
        "Expected with real data replaced: a slope at every share."
    )


def _said(threshold: Threshold) -> str:
    if threshold.is_found or np.isfinite(threshold.low):
        return f"{_number(threshold.value)} [{_number(threshold.low)}, {_number(threshold.high)}]"
    return NONE


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else NONE


def _draw(found: Found, paths: Mapping[str, Path]) -> None:
    from analysis.theory.threshold.figure import draw

    draw(found.rows, paths)


STUDY = Study("collapse_threshold", settings, compute, _draw)
