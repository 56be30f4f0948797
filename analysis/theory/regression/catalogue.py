"""The ten strategies that the studies compare: how each is simulated, its exact error given X, its closed form.

Shapes: T rows of X, G generations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.theory.regression import editing_formulas, exact, formulas, strategies
from analysis.theory.regression.strategies import Edit, Floats, Strategy


@dataclass(frozen=True)
class Entry:
    """A strategy of the studies."""

    strategy: Strategy
    is_editing: bool
    exact: Callable[[Floats], Floats] | None = None
    """error_G given X, for unit noise; None where no engine is exact."""
    closed_G: Floats | None = None
    """In units of v."""
    closed_status: str = ""
    """exact, upper bound or large T."""


def catalogue(d: int, T: int, share: float, ratio: float, real_share: float, rounds: int) -> dict[str, Entry]:
    """By name; `share` edited rows a round, falling by `ratio` where masks are geometric; `real_share` real rows."""
    synthetic = 1 - real_share
    return {
        "replace": Entry(strategies.Replace(), False, None, _closed(formulas.replace_error, rounds), "exact"),
        "accumulate": Entry(strategies.Accumulate(), False, None, _closed(formulas.accumulate_error, rounds), "exact"),
        "accumulate-subsample": Entry(
            strategies.AccumulateSubsample(), False, None,
            _closed(formulas.accumulate_subsample_error, rounds), "large T",
        ),
        "fixed real rows": Entry(
            strategies.fixed_real_rows(real_share), False,
            lambda X_Td: exact.fixed_rows(X_Td, round(synthetic * T), rounds),
            _closed(lambda n: formulas.fixed_rows_error(synthetic, n), rounds), "large T",
        ),
        "fresh real rows": Entry(
            strategies.FreshRealRows(synthetic), False,
            lambda X_Td: exact.fresh_real_rows(X_Td, synthetic, rounds),
            _closed(lambda n: formulas.fresh_real_rows_error(synthetic, n), rounds), "large T",
        ),
        **_editing(T, share, ratio, rounds),
    }  # fmt: skip


def _editing(T: int, share: float, ratio: float, rounds: int) -> dict[str, Entry]:
    once_N = [share] * min(rounds, int(1 / share + 1e-9) if share else rounds)
    fresh, geometric = strategies.fresh(share, rounds), strategies.geometric(share, ratio, rounds)

    def disjoint(n: int) -> float:
        return editing_formulas.disjoint_error(once_N[:n])

    return {
        "edit, fresh rows": Entry(
            Edit(fresh), True, _random(fresh.share_N),
            _closed(lambda n: editing_formulas.fresh_edits_error(share, n), rounds), "upper bound",
        ),
        "edit, geometric": Entry(
            Edit(geometric), True, _random(geometric.share_N),
            _closed(lambda n: editing_formulas.geometric_error(share, ratio, n), rounds), "upper bound",
        ),
        "edit, disjoint rows": Entry(
            Edit(strategies.DisjointMasks(once_N)), True,
            lambda X_Td: _padded(exact.disjoint_rows(X_Td, strategies.disjoint_groups(once_N, T)), rounds),
            _closed(disjoint, rounds), "large T",
        ),
        "edit, fixed rows": Entry(
            Edit(strategies.FixedMasks(share)), True,
            lambda X_Td: exact.fixed_rows(X_Td, round(share * T), rounds),
            _closed(lambda n: formulas.fixed_rows_error(share, n), rounds), "large T",
        ),
        "edit, confident rows": Entry(Edit(strategies.ConfidenceMasks(share)), True),
    }  # fmt: skip


def _random(share_N: list[float]) -> Callable[[Floats], Floats]:
    return lambda X_Td: exact.random_edits(X_Td, np.array(share_N)[:, None])[:, 0]


def _closed(error: Callable[[int], float], rounds: int) -> Floats:
    return np.array([error(n) for n in range(rounds + 1)])


def _padded(error_G: Floats, rounds: int) -> Floats:
    """Rounds that edit nothing leave the error as it is."""
    return np.concatenate([error_G, np.full(rounds + 1 - len(error_G), error_G[-1])])
