"""What a formula says of itself: where it stands, whether it holds, under which assumptions.

    FORMULAS: Formulas = {}
    formula = entering(FORMULAS)

    @formula(source="Zhu et al. 2025, eq. 7", status=HOLDS, assumptions="T > d + 1; the same X in every generation")
    def replace_error(rounds: int) -> float: ...

Each model's package has a list of its own, by name, in the order of definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

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
    """Paper and place."""
    status: str
    """One of STATUSES."""
    assumptions: str
    function: Callable[..., Any]

    @property
    def says(self) -> str:
        """The first line of its docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


Formulas = dict[str, Formula]


class _Enter(Protocol):
    def __call__(self, source: str, status: str, assumptions: str) -> Callable[[Function], Function]: ...


def entering(formulas: Formulas) -> _Enter:
    """The decorator that enters a function into `formulas`; the function itself is left as it is."""

    def formula(source: str, status: str, assumptions: str) -> Callable[[Function], Function]:
        if status not in STATUSES:
            raise ValueError(f"{status}: a status is one of {', '.join(STATUSES)}")

        def enter(function: Function) -> Function:
            formulas[function.__name__] = Formula(function.__name__, source, status, assumptions, function)
            return function

        return enter

    return formula
