"""The formulas of the linear regression; docs/theory/regression.md and `theory=bound` show them."""

from __future__ import annotations

from analysis.theory.registry import Formulas, entering

FORMULAS: Formulas = {}
formula = entering(FORMULAS)
