"""Iterated training in linear regression: exact identities, engines against simulation, what simulations are on record.

`recorded` numbers are means and standard errors of independent simulations by other code. A number agrees where it lies
within 4 combined standard errors.
"""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.theory.regression import exact, formulas
from analysis.theory.regression import strategies as s
from analysis.theory.regression.simulate import mean_and_error, simulate
from toedit.errors import BadConfiguration


def simulated(strategies, d=3, T=12, generations=4, trials=5, **more):
    return simulate(strategies, d=d, T=T, noise=1.0, generations=generations, trials=trials, seed=7, **more)


def mean_of(strategy, d, T, rounds, trials, **more):
    """(mean, standard error) after `rounds`, in units of v."""
    error = simulated({"it": strategy}, d, T, rounds, trials, **more)["it"]
    mean_G, error_G = mean_and_error(error / formulas.unit_error(d, T))
    return mean_G[rounds], error_G[rounds]


def agree(*pairs):
    (one, error), (other, other_error) = pairs
    assert abs(one - other) <= 4 * math.hypot(error, other_error), pairs


def averaged(error, d, T, designs=100):
    mean, standard_error = exact.averaged(error, d=d, T=T, designs=designs, seed=3)
    return mean[-1], standard_error[-1]


def random_edits(shares):
    return lambda X_Td: exact.random_edits(X_Td, np.array(shares)[:, None])[:, 0]


# --- identities -------------------------------------------------------------------------------------------------------


def test_editing_everything_is_replacing_and_editing_nothing_is_training_on_real_data():
    found = simulated(
        {
            "replace": s.Replace(),
            "edit all": s.Edit(s.fresh(1.0, 4)),
            "edit the same, all": s.Edit(s.FixedMasks(1.0)),
            "edit the surest, all": s.Edit(s.ConfidenceMasks(1.0)),
            "one disjoint group": s.Edit(s.DisjointMasks([1.0])),
            "no real rows": s.FreshRealRows(1.0),
            "edit none": s.Edit(s.fresh(0.0, 4)),
            "edit the surest, none": s.Edit(s.ConfidenceMasks(0.0)),
        }
    )
    for name in ("edit all", "edit the same, all", "edit the surest, all", "no real rows"):
        np.testing.assert_allclose(found[name], found["replace"], rtol=1e-12, err_msg=name)
    for name in ("edit none", "edit the surest, none"):
        np.testing.assert_allclose(found[name], found[name][:, :1].repeat(5, axis=1), rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(found["one disjoint group"][:, :2], found["replace"][:, :2], rtol=1e-12)
    np.testing.assert_allclose(found["one disjoint group"][:, 2:], found["replace"][:, 1:2].repeat(3, 1), rtol=1e-12)


def test_rows_that_are_kept_real_are_rows_that_are_not_edited():
    found = simulated({"kept": s.fixed_real_rows(0.75), "edited": s.Edit(s.FixedMasks(0.25))})
    np.testing.assert_array_equal(found["kept"], found["edited"])


def test_a_trial_does_not_depend_on_the_other_trials_or_strategies():
    alone = simulated({"edit": s.Edit(s.fresh(0.3, 4))}, trials=3)["edit"]
    among = simulated(
        {"replace": s.Replace(), "edit": s.Edit(s.fresh(0.3, 4)), "accumulate": s.Accumulate()}, trials=400
    )
    np.testing.assert_allclose(among["edit"][:3], alone, rtol=1e-12)


def test_the_noise_scales_the_error_and_a_scale_of_x_changes_nothing():
    strategies = {"edit": s.Edit(s.ConfidenceMasks(0.5)), "subsample": s.AccumulateSubsample()}
    plain = simulated(strategies)
    scaled = simulated(strategies, scale_d=np.array([0.1, 1.0, 3.0]))
    loud = simulate(strategies, d=3, T=12, noise=2.0, generations=4, trials=5, seed=7)
    for name in strategies:
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-9)
        np.testing.assert_allclose(loud[name], 4 * plain[name], rtol=1e-12)


def test_the_first_generation_of_every_strategy_is_the_least_squares_fit():
    X_Td = np.random.default_rng(0).standard_normal((12, 3))
    strategies = {
        "edit": s.Edit(s.fresh(0.3, 2)),
        "subsample": s.AccumulateSubsample(),
        "theorem": s.TheoremOne(s.fresh(1, 2)),
    }
    found = simulated(strategies, generations=2, X_Td=X_Td)
    for r in range(5):
        noise_T = np.random.Generator(np.random.SFC64([7, r])).standard_normal((3, 12))[0]
        expected = np.linalg.lstsq(X_Td, noise_T, rcond=None)[0] @ np.linalg.lstsq(X_Td, noise_T, rcond=None)[0]
        assert [found[name][r, 0] for name in strategies] == pytest.approx([expected] * 3)


def test_editing_keeps_its_rows():
    with pytest.raises(BadConfiguration, match="no row is kept"):
        simulated({"edit": s.Edit(s.fresh(0.5, 4))}, fresh_X=True)


def test_confident_rows_are_the_nearest_to_the_fit():
    state = s.State(1, np.zeros((1, 4)), np.array([[0.1, -3.0, 2.0, -0.2]]), np.array([[0.0, -2.9, 0.0, 2.0]]))
    assert s.ConfidenceMasks(0.5).mask(state).tolist() == [[1, 1, 0, 0]]


def test_disjoint_groups_hold_every_row_once():
    groups = s.disjoint_groups([1 / 7] * 7, 40)
    assert [row for rows in groups for row in range(40)[rows]] == list(range(40))


# --- exact engines against each other ---------------------------------------------------------------------------------

X_20_3 = np.random.default_rng(5).standard_normal((20, 3))


def weights(groups, T):
    weight_NT = np.zeros((len(groups), T))
    for n, rows in enumerate(groups):
        weight_NT[n, rows] = 1
    return weight_NT


def test_special_engines_are_the_covariance_recursion():
    groups = s.disjoint_groups([0.2, 0.35, 0.05, 0.1], 20)
    same = [slice(0, 8)] * 6
    np.testing.assert_allclose(exact.disjoint_rows(X_20_3, groups), exact.given_masks(X_20_3, weights(groups, 20)))
    np.testing.assert_allclose(exact.fixed_rows(X_20_3, 8, 6), exact.given_masks(X_20_3, weights(same, 20)))
    np.testing.assert_allclose(exact.fixed_rows(X_20_3, 8, 500)[-1], exact.fixed_rows_stationary(X_20_3, 8))
    assert exact.fixed_rows_stationary(X_20_3, 18) == math.inf
    assert exact.fixed_rows(X_20_3, 20, 5) == pytest.approx(exact.given_masks(X_20_3, np.ones((5, 20))))


def test_replace_and_accumulate_are_the_covariance_recursion_with_weights():
    unit = np.trace(np.linalg.inv(X_20_3.T @ X_20_3))
    replaced = exact.given_masks(X_20_3, np.ones((6, 20)))
    accumulated = exact.given_masks(X_20_3, np.repeat(1 / np.arange(2, 8)[:, None], 20, axis=1))
    assert replaced / unit == pytest.approx([formulas.replace_error(n) for n in range(7)])
    assert accumulated / unit == pytest.approx([formulas.accumulate_error(n) for n in range(7)])


@pytest.mark.parametrize(("T", "d"), [(5, 2), (5, 3)])  # either way to square a projection
def test_random_edits_are_the_average_over_all_masks(T, d):
    X_Td = np.random.default_rng(T + d).standard_normal((T, d))
    shares, expected_G = (0.3, 0.7), np.zeros(3)
    for masks in product(product((0, 1), repeat=T), repeat=2):
        weight_NT = np.array(masks, float)
        chance = math.prod(
            math.prod(share if edited else 1 - share for edited in mask)
            for share, mask in zip(shares, masks, strict=True)
        )
        expected_G += chance * exact.given_masks(X_Td, weight_NT)
    np.testing.assert_allclose(random_edits(shares)(X_Td), expected_G)


@settings(max_examples=40, deadline=None)
@given(
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    d=st.integers(1, 6),
    more=st.integers(0, 20),
    seed=st.integers(0, 1000),
)
def test_random_edits_lie_in_the_corrected_interval_for_every_x(shares, d, more, seed):
    """1 + sum r <= e / tr (X'X)^-1 <= 1 + sum r (2 - r), where Theorem 2 has 2."""
    error_G = random_edits(shares)(np.random.default_rng(seed).standard_normal((d + 1 + more, d)))
    ratio = error_G[-1] / error_G[0]
    assert 1 + sum(shares) - 1e-9 <= ratio <= 1 + sum(r * (2 - r) for r in shares) + 1e-9


# --- the simulator against the exact engines --------------------------------------------------------------------------


def engines(T, rounds):
    """{name: (strategy, exact error given X)}."""
    groups, geometric = [0.2, 0.3, 0.1, 0.4], s.geometric(0.5, 0.7, rounds)
    return {
        "fresh": (s.Edit(s.fresh(0.3, rounds)), random_edits([0.3] * rounds)),
        "geometric": (s.Edit(geometric), random_edits(geometric.share_N)),
        "fixed": (s.Edit(s.FixedMasks(0.25)), lambda X_Td: exact.fixed_rows(X_Td, round(0.25 * T), rounds)),
        "disjoint": (
            s.Edit(s.DisjointMasks(groups)),
            lambda X_Td: exact.disjoint_rows(X_Td, s.disjoint_groups(groups, T)),
        ),
        "fresh real": (s.FreshRealRows(0.6), lambda X_Td: exact.fresh_real_rows(X_Td, 0.6, rounds)),
        "replace": (s.Replace(), lambda X_Td: exact.given_masks(X_Td, np.ones((rounds, T)))),
        "accumulate": (
            s.Accumulate(),
            lambda X_Td: exact.given_masks(X_Td, np.repeat(1 / np.arange(2, rounds + 2)[:, None], T, axis=1)),
        ),
    }


@pytest.mark.parametrize(("d", "T"), [(1, 8), (3, 14), (10, 40)])
def test_simulated_means_are_the_exact_ones(d, T):
    rounds, unit = 12, formulas.unit_error(d, T)
    found = engines(T, rounds)
    error = simulated({name: strategy for name, (strategy, _) in found.items()}, d, T, rounds, 3000)
    for name, (_, engine) in found.items():
        mean_G, error_G = mean_and_error(error[name] / unit)
        exactly_G, exact_error_G = exact.averaged(engine, d=d, T=T, designs=300, seed=1)
        for n in (1, 2, len(exactly_G) - 1):
            agree((mean_G[n], error_G[n]), (exactly_G[n], exact_error_G[n]))


@pytest.mark.parametrize("T", [7, 8, 9])
def test_where_means_over_x_do_not_settle_simulation_is_exact_given_x(T):
    """T <= d + 4."""
    X_Td = np.random.default_rng(T).standard_normal((T, 5))
    found = engines(T, 6)
    error = simulated({name: strategy for name, (strategy, _) in found.items()}, 5, T, 6, 3000, X_Td=X_Td)
    for name, (_, engine) in found.items():
        mean_G, error_G = mean_and_error(error[name])
        exactly = engine(X_Td)
        agree((mean_G[-1], error_G[-1]), (exactly[-1], 0))


# --- what is on record ------------------------------------------------------------------------------------------------


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
