"""`edit.budget=0.01`: the setting that changes an expected 1 % of the tokens, found from the scores without a draw.

With p and k as given, the temperature is searched for; every trial is the exact expectation (`toedit.expectation`).
Where the original token is its place's most probable (always, for p > 0.5), the expectation grows with the temperature,
from 0 towards eligible x (1 - 1/k), and there is one answer. Otherwise it need not grow: of the crossings on a grid of
temperatures the one nearest to 1 is taken. Where no temperature up to `MAX_TEMPERATURE` changes enough (draws are all
but uniform there), p is lowered: 1 - p is doubled, as often as it takes, down to what the scores hold.

The answer is an ordinary edit: the same p, k and temperature given by hand are the same artifact.

Shapes: P thresholds, S temperatures; one k.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toedit.artifacts import Artifact
from toedit.config import EditConfig
from toedit.console import say
from toedit.errors import BadConfiguration, UnusableInput
from toedit.expectation import Grid, expect, refuse_what_scores_lack

MIN_TEMPERATURE, MAX_TEMPERATURE = 1 / 64, 128.0
TOLERANCE = 1e-4
"""How far the expected share may be from the budget, relative to it."""
_TEMPERATURES = 27  # a factor of sqrt(2) apart
_LOWEST_P = 1e-9  # stands for 0 where scores hold candidates everywhere: p must be positive


def resolve_budget(scores: Artifact, edit: EditConfig) -> EditConfig:
    """`edit` with the p and temperature that spend its budget, and no budget; `edit` itself where it has none.

    Builds the scores. Raises BadConfiguration, with the largest share within reach, where no setting reaches it.
    """
    if edit.budget is None:
        return edit
    _refuse(scores, edit)
    folder = scores.ensure()
    p, low, high = _bracket(folder, edit, scores.identity["min_p"])
    temperature, share = _search(folder, replace(edit, p=p), low, high)
    lowered = "" if p == edit.p else f" (p={edit.p:g} is too high at any temperature)"
    say(
        f"edit.budget={edit.budget:g}: p={p:g}{lowered}, k={edit.k}, temperature {temperature:g} change an expected "
        f"{share:.4%} of the tokens"
    )
    return replace(edit, p=p, temperature=temperature, budget=None)


def plan_unresolved(scores: Artifact, edit: EditConfig, root: Path, out: Path | None) -> Artifact:
    """Stands for the edit in a dry run, as long as the scores that decide it are not there."""
    _refuse(scores, edit)
    return Artifact(
        kind="edited_corpus",
        name=f"{scores.name}.budget{edit.budget:g}",
        identity=asdict(edit),
        inputs={**{role: scores.inputs[role] for role in ("corpus", "prior")}, "scores": scores},
        root=root,
        out=out,
        estimate=lambda: {"edit.budget": f"{edit.budget:g}: p, temperature and this address follow from the scores"},
    )


def _refuse(scores: Artifact, edit: EditConfig) -> None:
    if edit.sampler != "top_k":
        raise BadConfiguration(f"edit.budget={edit.budget:g}: needs edit.sampler=top_k, not {edit.sampler}")
    refuse_what_scores_lack(scores, Grid([edit.p], [edit.k], [edit.temperature]), "edit")


def thresholds(p: float, min_p: float) -> list[float]:
    """The p to try in turn: the given one, then 1 - p doubled until the scores end."""
    tried, gap = [p], max(1 - p, 1e-3)
    while (lower := round(1 - 2 * gap, 9)) > min_p:
        tried, gap = [*tried, lower], 2 * gap
    return [*tried, max(min_p, _LOWEST_P)] if min_p < p else tried


def _bracket(scores: Path, edit: EditConfig, min_p: float) -> tuple[float, float, float]:
    """(p, two temperatures between which its expected share crosses the budget), in one pass over the scores."""
    assert edit.budget is not None
    p_P = thresholds(edit.p, min_p)
    temperature_S = _temperatures(MIN_TEMPERATURE, MAX_TEMPERATURE, _TEMPERATURES)
    share_PS = _shares(scores, edit, p_P, temperature_S)
    for p, share_S in zip(p_P, share_PS, strict=True):
        is_above_S = share_S >= edit.budget
        crossing = np.flatnonzero(is_above_S[1:] != is_above_S[:-1])
        if len(crossing):
            middle = np.log(temperature_S[crossing] * temperature_S[crossing + 1])
            nearest = crossing[np.argmin(np.abs(middle))]
            return p, float(temperature_S[nearest]), float(temperature_S[nearest + 1])
    if share_PS.min() > edit.budget:
        raise BadConfiguration(
            f"edit.budget={edit.budget:g}: every temperature changes more, at least {share_PS.min():.4g} of the "
            "tokens; raise edit.p"
        )
    raise BadConfiguration(
        f"edit.budget={edit.budget:g}: out of reach; with edit.k={edit.k} and the candidates that the scores keep "
        f"(P >= {min_p:g}) at most {share_PS.max():.4g} of the tokens change; add a "
        f"{'smaller score.min_p' if min_p > 0 else 'larger edit.k'}"
    )


def _search(scores: Path, edit: EditConfig, low: float, high: float) -> tuple[float, float]:
    """(temperature of 6 digits, expected share) at the crossing between `low` and `high`; a pass narrows it."""
    assert edit.budget is not None
    while True:
        temperature_S = _temperatures(low, high, _TEMPERATURES)
        share_S = _shares(scores, edit, [edit.p], temperature_S)[0]
        best = int(np.argmin(np.abs(share_S - edit.budget)))
        if math.isclose(share_S[best], edit.budget, rel_tol=TOLERANCE) or len(temperature_S) < _TEMPERATURES:
            return float(temperature_S[best]), float(share_S[best])
        is_above_S = share_S >= edit.budget
        crossing = int(np.flatnonzero(is_above_S[1:] != is_above_S[:-1])[0])
        low, high = float(temperature_S[crossing]), float(temperature_S[crossing + 1])


def _temperatures(low: float, high: float, count: int) -> NDArray[np.float64]:
    """Up to `count` temperatures, evenly spaced in their logarithm, each of 6 digits as a person would write it."""
    return np.unique([float(f"{value:.6g}") for value in np.geomspace(low, high, count)])


def _shares(
    scores: Path, edit: EditConfig, p_P: list[float], temperature_S: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Expected changed tokens as a share of all tokens, [P, S]."""
    expected = expect(scores, Grid(p_P, [edit.k], temperature_S.tolist(), edit.strict), edit.protect)
    if not expected.tokens:
        raise UnusableInput(f"{scores}: holds no token, so no edit.budget can be spent")
    return expected.changed_PJS[:, 0] / expected.tokens
