"""Iterated training in linear regression against independent simulations by other code.

`recorded` numbers are their means and standard errors. A number agrees where it is within 4 combined standard errors.
"""

import numpy as np
import pytest
from theory_regression_fixtures import agree, averaged, mean_of, random_edits, simulated

from analysis.theory.regression import exact, formulas
from analysis.theory.regression import strategies as s
from analysis.theory.regression.simulate import mean_and_error


@pytest.mark.parametrize(
    ("d", "T", "noise", "n", "fit", "replaced", "again"),
    [
        (10, 40, 1.0, 10, (0.3483, 0.0043), (3.4455, 0.0423), (3.7819, 0.0460)),
        (50, 200, 0.5, 10, (0.0841, 0.0007), (0.8399, 0.0073), (0.9193, 0.0079)),
        (5, 100, 2.0, 20, (0.2137, 0.0031), (4.2854, 0.0663), (4.4634, 0.0688)),
        (10, 14, 1.0, 5, (3.296, 0.102), (16.65, 0.63), (19.65, 0.61)),
    ],
)
def test_replace_as_recorded(d, T, noise, n, fit, replaced, again):
    unit = formulas.unit_error(d, T, noise)
    agree((unit, 0), fit)
    agree((unit * formulas.replace_error(n - 1), 0), replaced)
    agree((unit * formulas.replace_error(n), 0), again)
    assert formulas.replace_error_section_2(n) == formulas.replace_error(n - 1)  # its index is one too large


@pytest.mark.parametrize(
    ("d", "T", "n", "trials", "recorded"),
    [(10, 40, 10, 500, (3.7790, 0.0385)), (5, 100, 20, 300, (4.5240, 0.0630)), (10, 14, 5, 2000, (19.38, 0.29))],
)
def test_replace_with_a_new_x_every_time_as_recorded(d, T, n, trials, recorded):
    mean, error = mean_of(s.Replace(), d, T, n, trials, fresh_X=True)
    unit = formulas.unit_error(d, T, {100: 2.0}.get(T, 1.0))
    agree((mean * unit, error * unit), recorded)
    agree((mean, error), (formulas.replace_error(n), 0))


def test_replace_with_large_x_as_recorded():
    unit = formulas.unit_error(50, 200, 0.5)
    mean, error = mean_of(s.Replace(), 50, 200, 10, 60, fresh_X=True)
    agree((mean * unit, error * unit), (0.9253, 0.0067))


def test_replace_with_another_covariance_of_x_as_recorded():
    found = simulated({"it": s.Replace()}, 5, 30, 6, 2000, scale_d=np.linspace(0.1, 3, 5))["it"]
    mean_G, error_G = mean_and_error(found / formulas.unit_error(5, 30))
    agree((mean_G[6], error_G[6]), (6.989, 0.053))
    agree((mean_G[6], error_G[6]), (7, 0))


def test_moments_of_the_inverse_gram_matrix_as_recorded():
    agree((formulas.squared_inverse_gram_trace(10, 40), 0), (0.016639, 0.000033))


def test_accumulate_as_recorded():
    agree((formulas.accumulate_error(10), 0), (1.5594, 0.0029))
    agree(mean_of(s.Accumulate(), 10, 40, 10, 2000), (1.5594, 0.0029))


@pytest.mark.parametrize(("T", "n", "recorded"), [(40, 10, (0.4944, 0.0056)), (14, 5, (3.76, 0.09))])
def test_accumulate_with_a_new_x_every_time_as_recorded(T, n, recorded):
    mean, error = mean_of(s.Accumulate(), 10, T, n, 1000, fresh_X=True)
    unit = formulas.unit_error(10, T)
    agree((mean * unit, error * unit), recorded)
    assert recorded[0] + 4 * recorded[1] < unit * formulas.accumulate_error(n)  # which is for one X


def test_accumulate_subsample_as_recorded():
    """X of ones: the least-squares fit is a mean."""
    found = simulated({"it": s.AccumulateSubsample()}, 1, 100, 39, 2000, X_Td=np.ones((100, 1)))["it"]
    mean_G, error_G = mean_and_error(100 * found)
    for g, recorded in {
        2: (1.768, 0.032),
        5: (2.387, 0.044),
        10: (2.639, 0.049),
        20: (2.756, 0.050),
        40: (2.874, 0.051),
    }.items():
        agree((mean_G[g - 1], error_G[g - 1]), recorded)
        agree((mean_G[g - 1], error_G[g - 1]), (formulas.accumulate_subsample_error(g - 1), 0))
    for g, recorded in {11: (2.81, 0.10), 31: (2.79, 0.10)}.items():
        agree(mean_of(s.AccumulateSubsample(), 5, 100, g - 1, 300), recorded)


def test_accumulate_subsample_of_new_rows_needs_no_more_rows_than_a_fit():
    """Samples repeat no row: closer to the form for large T than with one X, whose samples do."""
    one, new = (mean_of(s.AccumulateSubsample(), 10, 40, 20, 1000, fresh_X=fresh_X) for fresh_X in (False, True))
    assert new[0] + 4 * new[1] < one[0]
    assert np.isfinite(simulated({"it": s.AccumulateSubsample()}, 10, 12, 30, 50, fresh_X=True)["it"]).all()


@pytest.mark.parametrize(
    ("d", "T", "share", "edited", "printed"),
    [
        (10, 40, 0.25, (1.388, 0.010), (1.246, 0.009)),
        (10, 40, 0.50, (1.690, 0.012), (1.499, 0.011)),
        (10, 400, 0.50, (1.710, 0.020), (1.529, 0.018)),
        (5, 100, 0.25, (1.431, 0.012), (1.255, 0.011)),
        (5, 100, 0.75, (1.931, 0.016), (1.775, 0.015)),
    ],
)
def test_one_edit_as_recorded(d, T, share, edited, printed):
    agree(averaged(random_edits([share]), d, T), edited)
    agree((1 + share, 0), printed)
    if T < 400:
        agree(mean_of(s.Edit(s.FixedMasks(share)), d, T, 1, 2000), edited)
        agree(mean_of(s.TheoremOne(s.FixedMasks(share)), d, T, 1, 2000), printed)


@pytest.mark.parametrize(
    ("d", "T", "recorded"),
    [
        (10, 40, {1: (1.985, 0.014), 2: (2.499, 0.017), 4: (2.884, 0.020), 10: (3.107, 0.022), 20: (3.207, 0.022)}),
        (10, 400, {1: (2.004, 0.026), 2: (2.707, 0.036), 4: (3.347, 0.044), 10: (3.731, 0.049), 20: (4.027, 0.051)}),
        (5, 200, {1: (1.966, 0.023), 2: (2.688, 0.031), 4: (3.220, 0.038), 10: (3.763, 0.044), 20: (4.018, 0.048)}),
    ],
)
def test_disjoint_edits_as_recorded(d, T, recorded):
    for k, value in recorded.items():
        groups = s.disjoint_groups([1 / k] * k, T)
        agree(averaged(lambda X_Td, groups=groups: exact.disjoint_rows(X_Td, groups), d, T, 30), value)


def test_many_small_disjoint_edits_as_recorded():
    for edited, value in {
        0.2: (1.436, 0.009),
        0.405: (1.987, 0.014),
        0.6: (2.582, 0.017),
        0.8: (3.357, 0.023),
        1: (4.218, 0.029),
    }.items():
        groups = s.disjoint_groups([edited / 50] * 50, 1000)
        agree(averaged(lambda X_Td, groups=groups: exact.disjoint_rows(X_Td, groups), 10, 1000, 3), value)


@pytest.mark.parametrize(
    ("d", "T", "shares", "recorded"),
    [
        (10, 200, [0.1] * 20, (4.67, 0.07)),
        (10, 200, [0.3] * 20, (10.94, 0.15)),
        (10, 200, [0.5] * 20, (15.7, 0.2)),
        (10, 200, [0.125] * 20, (5.45, 0.11)),
        (10, 40, [0.1] * 20, (4.19, 0.04)),
        (10, 40, [0.3] * 20, (9.55, 0.09)),
        (10, 40, [0.5] * 20, (14.12, 0.14)),
        (10, 40, [0.3] * 20, (9.583, 0.040)),
        (10, 13, [0.1] * 20, (3.264, 0.005)),
        (10, 40, [0.1] * 20, (4.134, 0.005)),
        (20, 400, [0.1] * 20, (4.656, 0.005)),
        (10, 13, [0.3 * 0.8**i for i in range(30)], (2.693, 0.005)),
        (10, 40, [0.3 * 0.8**i for i in range(30)], (3.306, 0.005)),
        (20, 400, [0.3 * 0.8**i for i in range(30)], (3.654, 0.005)),
        (10, 200, [0.125 * 0.941**i for i in range(60)], (4.83, 0.06)),
        (5, 400, [0.125 * 0.941**i for i in range(60)], (4.99, 0.13)),
    ],
)
def test_random_edits_as_recorded(d, T, shares, recorded):
    agree(averaged(random_edits(shares), d, T, 500 if T == 13 else 30), recorded)


@pytest.mark.parametrize(
    ("share", "recorded", "exactly"),
    [(0.25, (1.623, 0.029), 1.622), (0.5, (2.757, 0.050), 2.761), (0.75, (6.47, 0.12), 6.29)],
)
def test_edits_of_the_same_rows_as_recorded(share, recorded, exactly):
    mean, error = averaged(lambda X_Td: np.array([exact.fixed_rows_stationary(X_Td, round(share * 400))]), 10, 400, 300)
    agree((mean, error), recorded)
    assert mean == pytest.approx(exactly, rel=0.01)


def test_edits_of_the_same_rows_at_small_t_as_recorded():
    agree(averaged(lambda X_Td: exact.fixed_rows(X_Td, 20, 25), 10, 40, 1000), (4.21, 0.05))
    stationary = averaged(lambda X_Td: np.array([exact.fixed_rows_stationary(X_Td, 20)]), 10, 40, 2000)
    agree(stationary, (4.57, 0.05))


@pytest.mark.parametrize(("share", "recorded", "variance"), [(0.125, (2.16, 0.05), 2.50), (0.3, (3.00, 0.07), 3.22)])
def test_edits_of_confident_rows_as_recorded(share, recorded, variance):
    strategy = s.Edit(s.ConfidenceMasks(share))
    agree(mean_of(strategy, 10, 200, 20, 400), recorded)
    found = simulated({"it": strategy}, 10, 200, 20, 100, measure="label_variance")["it"]
    assert found[:, 0].mean() == pytest.approx(0.95, abs=0.02)
    assert found[:, -1].mean() == pytest.approx(variance, abs=0.05)
