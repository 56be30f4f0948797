"""Slopes, equivalence and Holm over seeds: exact values, coverage and error rates within 4 standard errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.student import student_cdf, student_quantile
from analysis.theory.statistics import equivalent, estimate, holm, rises, slope


def test_students_distribution_has_its_published_quantiles():
    for freedom, published in {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 30: 2.042}.items():
        assert student_quantile(0.975, freedom) == pytest.approx(published, abs=5e-4)
        assert student_cdf(published, freedom) == pytest.approx(0.975, abs=1e-4)
        assert student_cdf(-published, freedom) == pytest.approx(0.025, abs=1e-4)


def test_slopes_are_exact_and_their_intervals_cover_as_often_as_they_say():
    assert slope([[1.0, 3, 5], [2, 4, 6]]).mean == pytest.approx(2)
    assert slope([[1.0, 3, 5]]).low is None
    noise = np.random.default_rng(0).normal(size=(400, 5, 4))
    covered = [found.low <= 0 <= found.high for found in map(slope, noise)]
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 400)


def test_equivalence_needs_evidence_and_rejects_at_its_level():
    assert equivalent([0.001, -0.001, 0.002], 0.01) < 0.05 < equivalent([0.02, -0.02, 0.01], 0.01)
    assert equivalent([0.0], 1.0) is None and rises([1.0]) is None
    assert rises([1.0, 1.1, 0.9]) < 0.01 and rises([0.0, 0.0]) == 0.5
    at_the_edge = np.random.default_rng(1).normal(0.5, 0.1, (600, 6))  # the mean is the margin itself
    wrongly = np.mean([equivalent(value_S, 0.5) < 0.05 for value_S in at_the_edge])
    assert abs(wrongly - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 600)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_monotone_and_between_the_p_values_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, after in zip(p_values, adjusted, strict=True):
        assert p <= after <= min(len(p_values) * p, 1) or after >= p  # a larger one before it may lift it
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_an_estimate_of_one_seed_has_no_interval():
    assert estimate([2.0]).low is None
    assert estimate([1.0, 3.0]).high == pytest.approx(2 + 12.706, abs=1e-3)
