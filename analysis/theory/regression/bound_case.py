"""The case that `theory=bound` is asked about: which share of the rows every round edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.theory.regression import formulas
from analysis.theory.regression.ratio import Ratio, estimate_ratio


@dataclass(frozen=True)
class Case:
    """Sizes, kind of masks, shares."""

    d: int
    T: int
    noise: float
    masks: str
    """fresh, fixed, disjoint, geometric, confidence or measured."""
    share_N: list[float]
    """Of every round, expected where rows are random."""
    measured: int = 0
    """How many of them were given; the others continue with the estimated ratio."""
    ratio: Ratio | None = None
    """Of successive shares, where the case has one."""

    @property
    def rounds(self) -> int:
        return len(self.share_N)

    @property
    def unit(self) -> float:
        """v."""
        return formulas.unit_error(self.d, self.T, self.noise)

    @property
    def has_random_masks(self) -> bool:
        return self.masks in ("fresh", "geometric", "measured")


def case_of(settings: Mapping[str, Any]) -> Case:
    d, T, noise, masks = (settings[key] for key in ("d", "T", "noise", "masks"))
    share, rounds = settings["share"], settings["generations"]
    if isinstance(masks, str):
        if masks == "geometric":
            q = settings["ratio"]
            return Case(d, T, noise, masks, [share * q**i for i in range(rounds)], ratio=Ratio(q, None, None))
        return Case(d, T, noise, masks, [share] * rounds)
    ratio = estimate_ratio(masks)
    more = max(rounds - len(masks), 0) if ratio and ratio.value <= 1 else 0
    continued = [masks[-1] * ratio.value ** (i + 1) for i in range(more)] if ratio else []
    return Case(d, T, noise, "measured", [*masks, *continued], measured=len(masks), ratio=ratio)
