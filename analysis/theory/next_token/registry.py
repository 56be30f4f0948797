"""The formulas of the next-token model; docs/theory/next_token.md shows them."""

from __future__ import annotations

from analysis.theory.registry import Formulas, entering

FORMULAS: Formulas = {}
formula = entering(FORMULAS)
