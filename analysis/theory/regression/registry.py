"""What a formula says of itself: where it stands, whether it holds, under which assumptions.

    @formula(source="Zhu et al. 2025, eq. 7", status=HOLDS, assumptions="T > d + 1; the same X in every generation")
    def replace_error(rounds: int) -> float: ...

`FORMULAS` lists them by name, in the order of definition; docs/theory/regression.md and `theory=bound` show them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

HOLDS = "holds"
LOOSE = "loose"
NOT_AS_PRINTED = "does not hold as printed"
DERIVED = "derived here"
STATUSES = (HOLDS, LOOSE, NOT_AS_PRINTED, DERIVED)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Formula:
    """One formula and what is known about it."""

    name: str
    source: str
    status: str
    assumptions: str
    function: Callable[..., Any]

    @property
    def says(self) -> str:
        """The first line of its docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


FORMULAS: dict[str, Formula] = {}


def formula(*, source: str, status: str, assumptions: str) -> Callable[[Function], Function]:
    """Enter a function into FORMULAS."""

    def enter(function: Function) -> Function:
        assert status in STATUSES, status
        name = function.__name__
        FORMULAS[name] = Formula(name, source, status, assumptions, function)
        return function

    return enter
