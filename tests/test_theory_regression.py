"""Iterated training in linear regression: exact identities, engines against simulation.

A simulated mean agrees with an exact one where they are within 4 combined standard errors.
"""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theory_regression_fixtures import agree, random_edits, simulated

from analysis.theory.regression import exact, formulas
from analysis.theory.regression import strategies as s
from analysis.theory.regression.simulate import mean_and_error, simulate
from toedit.errors import BadConfiguration

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
    with pytest.raises(ValueError, match="needs rows that stay"):
        simulated({"subsample": s.AccumulateSubsample()}, measure="label_variance")


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
