"""One arm with one seed: train, measure, make the next text, and again.

Its rows are those of data.csv: arm, seed, generation, metric, value; one a metric that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from analysis.theory.generations.measures import (
    Measured,
    Yardstick,
    loss_of,
    measure,
    of_the_edit,
    trained,
    yardstick,
)
from analysis.theory.generations.prediction import predicted
from analysis.theory.generations.regimes import EDITING, RECOVERING, REGIMES, Arm, Chain, real_left, real_text
from analysis.theory.generations.text import RealText

Rows = list[dict[str, Any]]


def run(
    arm: Arm,
    seed: int,
    text: RealText,
    settings: dict[str, Any],
    changes: Sequence[int],
    finished: Callable[[], None],
) -> tuple[Rows, list[int]]:
    """`(rows, how many tokens each generation's edit changed)`; `finished` is called after each generation."""
    first = real_text(text, settings["tokens"], seed, 0)
    model = trained(text, first, settings)
    chain = Chain(arm, text, settings, seed, first, first, model, model, changes)
    yard = yardstick(text, first, model, settings, seed, arm.number if arm.regime in EDITING else None)
    predictions = predicted(chain, yard.sure_law_PV.max(axis=1, initial=0.0))
    measured = measure(yard, chain)
    rows, changed = _rows(chain, measured), []
    for generation in range(settings["generations"]):
        chain.edited = None
        following = REGIMES[arm.regime](chain)
        chain.generation = generation + 1
        if following is not chain.now:  # the same text makes the same model
            chain.now, chain.model = following, trained(text, following, settings)
            measured = measure(yard, chain)
        own = {**measured, **of_the_edit(chain), **(predictions[generation] if predictions else {})}
        rows += _rows(chain, own)
        changed.append(chain.edited.changed if chain.edited else 0)
        finished()
    rows += _rows(chain, _recovered(chain, yard, measured["loss"]))
    return rows, changed


def _recovered(chain: Chain, yard: Yardstick, last: float) -> Measured:
    """The loss of a model trained, in the end, on the real text that is left; where none is, the last model's."""
    if chain.arm.regime not in RECOVERING:
        return {}
    left = real_left(chain)
    if left is None:
        return {"recovered_loss": last}
    return {"recovered_loss": loss_of(yard, trained(chain.text, left, yard.settings))}


def _rows(chain: Chain, measured: Measured) -> Rows:
    return [
        {"arm": chain.arm.name, "seed": chain.seed, "generation": chain.generation, "metric": metric, "value": value}
        for metric, value in measured.items()
    ]
