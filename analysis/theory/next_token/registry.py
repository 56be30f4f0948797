"""The list of formulas: what each is, where it is from, when it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

STATUSES = ("holds", "loose", "does not hold as printed", "derived here")

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Formula:
    """One formula; its function has the same name."""

    name: str
    source: str
    """Paper and place."""
    status: str
    """One of STATUSES."""
    assumptions: str


FORMULAS: dict[str, Formula] = {}
"""By the name of the function."""


def formula(source: str, status: str, assumptions: str) -> Callable[[Function], Function]:
    """Enter the decorated function in FORMULAS; the function itself is left as it is."""

    def enter(function: Function) -> Function:
        if status not in STATUSES:
            raise ValueError(f"{status}: a status is one of {', '.join(STATUSES)}")
        FORMULAS[function.__name__] = Formula(function.__name__, source, status, assumptions)
        return function

    return enter
