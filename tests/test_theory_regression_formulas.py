"""The formulas of iterated training in linear regression: published values, corrected ones, what links them."""

import inspect
import math

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from analysis.theory.registry import DERIVED, HOLDS, LOOSE, NOT_AS_PRINTED, STATUSES
from analysis.theory.regression import editing_formulas as e
from analysis.theory.regression import formulas as f
from analysis.theory.regression.ratio import estimate_ratio
from analysis.theory.regression.registry import FORMULAS

shares = st.floats(0, 0.999)


def test_every_formula_is_registered_and_says_what_it_is():
    functions = {
        name
        for module in (f, e)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert functions == set(FORMULAS)
    for entry in FORMULAS.values():
        assert entry.status in STATUSES
        assert entry.says and entry.source and entry.assumptions, entry.name


def test_the_status_of_the_published_statements():
    status = {name: entry.status for name, entry in FORMULAS.items()}
    assert status["replace_error"] == status["accumulate_error"] == status["unit_error"] == HOLDS
    assert status["replace_error_section_2"] == status["theorem_1_error"] == status["theorem_2_bound"] == NOT_AS_PRINTED
    assert status["theorem_2_geometric_bound"] == LOOSE
    assert status["random_edits_upper"] == status["accumulate_subsample_error"] == DERIVED


def test_moments_are_infinite_where_there_are_none():
    assert f.unit_error(10, 40) == pytest.approx(0.34483, abs=5e-6)
    assert f.unit_error(50, 200, 0.5) == pytest.approx(0.08389, abs=5e-6)
    assert f.unit_error(10, 11) == f.unit_error(10, 3) == math.inf
    assert f.squared_inverse_gram_trace(10, 40) == pytest.approx(0.016603, abs=5e-7)
    assert f.squared_inverse_gram_trace(10, 13) == math.inf


def test_accumulating():
    values = {0: 1, 1: 1.75, 4: 2.391, 9: 2.649, 19: 2.789, 39: 2.861}
    assert {n: f.accumulate_subsample_error(n) for n in values} == pytest.approx(values, abs=6e-4)
    assert f.accumulate_subsample_error(100_000) == pytest.approx(f.accumulate_subsample_limit(), abs=3e-4)
    assert f.accumulate_subsample_limit() == pytest.approx(2.9348, abs=5e-5)
    assert f.accumulate_error(100_000) == pytest.approx(f.accumulate_limit(), abs=2e-5)


def test_fixed_and_fresh_real_rows():
    for share in (0.0, 0.25, 0.7, 0.9):
        assert f.fixed_rows_error(share, 0) == f.fresh_real_rows_error(share, 0) == pytest.approx(1)
        assert f.fixed_rows_error(share, 1) == pytest.approx(e.one_edit_error(share))
        assert f.fixed_rows_error(share, 900) == pytest.approx(f.fixed_rows_limit(share))
        assert f.fresh_real_rows_error(share, 900) == pytest.approx(f.fresh_real_rows_limit(share))
        assert (
            f.fixed_rows_cost(share) == pytest.approx(f.fixed_rows_limit(share) * (1 - share))
            and f.fixed_rows_cost(share) < 1.5
        )
    assert f.fixed_rows_error(1, 5) == f.replace_error(5) == f.fresh_real_rows_error(1, 5)
    assert f.fixed_rows_limit(1) == f.fresh_real_rows_limit(1) == math.inf
    values = {0.25: 1.600, 0.5: 2.667, 0.75: 5.714}
    assert {share: f.fixed_rows_limit(share) for share in values} == pytest.approx(values, abs=5e-4)


def test_the_share_at_which_fixed_rows_settle_at_a_multiple():
    values = {1.5: 0.215, 2: 0.366, 4: 0.651, 10: 0.854}
    assert {factor: f.fixed_rows_share(factor) for factor in values} == pytest.approx(values, abs=6e-4)
    assert f.fixed_rows_share(2) == pytest.approx((math.sqrt(3) - 1) / 2)
    for factor in values:
        assert f.fixed_rows_limit(f.fixed_rows_share(factor)) == pytest.approx(factor)


def test_disjoint_edits():
    values = {1: 2, 2: 2.6875, 4: 3.332, 10: 3.915, 20: 4.159}
    assert {k: e.disjoint_error([1 / k] * k) for k in values} == pytest.approx(values, abs=6e-4)
    for edited, value in {0.2: 1.443, 0.405: 1.999, 0.6: 2.644, 0.8: 3.451, 1: 4.437}.items():
        assert e.disjoint_flow_error(edited) == pytest.approx(value, abs=6e-4)
        assert e.disjoint_error([edited / 5000] * 5000) == pytest.approx(value, abs=2e-3)
    assert e.disjoint_flow_error(e.disjoint_share_within_two()) == pytest.approx(e.theorem_2_bound())
    assert e.disjoint_limit() == pytest.approx(2 * math.e - 1)
    assert e.disjoint_error([]) == 1


@given(share=shares)
def test_one_edit_is_more_than_theorem_1_has_and_at_most_its_bound(share):
    assert e.theorem_1_error([share]) <= e.one_edit_error(share) <= e.theorem_2_bound()
    assert e.disjoint_error([share]) == pytest.approx(e.one_edit_error(share))
    assert e.random_edits_upper([share]) == pytest.approx(e.one_edit_error(share))


@given(share=shares, ratio=st.floats(0.01, 0.99), rounds=st.integers(0, 200))
def test_geometric_edits(share, ratio, rounds):
    closed = 1 + 2 * share * (1 - ratio**rounds) / (1 - ratio) - share**2 * (1 - ratio ** (2 * rounds)) / (1 - ratio**2)
    assert e.geometric_error(share, ratio, rounds) == pytest.approx(closed)
    assert e.geometric_error(share, ratio, rounds) <= e.geometric_plateau(share, ratio) + 1e-9
    assert e.fresh_edits_error(share, rounds) == pytest.approx(e.geometric_error(share, 1, rounds))
    if e.geometric_edited(share, ratio) <= 0.5:
        assert e.geometric_plateau(share, ratio) <= e.theorem_2_bound()


def test_the_published_decay():
    """Shares of 12.5, 11.76, 11.08 % (Table 15): more rows than there are, and a plateau above 2 v."""
    assert e.geometric_edited(0.125, 0.941) == pytest.approx(2.12, abs=0.005)
    assert e.geometric_plateau(0.125, 0.941) == pytest.approx(5.10, abs=0.005)
    assert e.geometric_error(0.125, 0.941, 59) == pytest.approx(4.98, abs=0.005)
    assert e.theorem_2_geometric_bound(10, 200, 0.125, 0.941) == pytest.approx(55.3, abs=0.05)
    assert (
        e.geometric_plateau(0.1, 1)
        == e.geometric_edited(0.1, 1)
        == e.theorem_2_geometric_bound(10, 200, 0.1, 1)
        == math.inf
    )
    assert (e.geometric_plateau(0, 1), e.geometric_edited(0, 1)) == (1, 0)


def test_the_ratio_of_measured_shares():
    ratio = estimate_ratio([0.125, 0.1176, 0.1108])
    assert ratio.value == pytest.approx(math.sqrt(0.1108 / 0.125))
    first, second = math.log(0.1176 / 0.125), math.log(0.1108 / 0.1176)
    half = 12.706 * abs(first - second) / 2  # Student's with one degree of freedom
    assert (math.log(ratio.low), math.log(ratio.high)) == pytest.approx(
        ((first + second) / 2 - half, (first + second) / 2 + half), abs=1e-6
    )
    steady = estimate_ratio([0.5, 0.25, 0.125])
    assert (steady.value, steady.low, steady.high) == pytest.approx((0.5, 0.5, 0.5))
    single = estimate_ratio([0.2, 0.1])
    assert (single.value, single.low, single.high) == (pytest.approx(0.5), None, None)
    assert estimate_ratio([0.2]) is estimate_ratio([0.2, 0.0]) is None


def test_the_page_lists_every_formula_with_its_status():
    page = (REPOSITORY / "docs" / "theory" / "regression.md").read_text(encoding="utf-8")
    expected = [f"| `{entry.name}` | {entry.says} | {entry.source} | {entry.status} |" for entry in FORMULAS.values()]
    assert page.splitlines()[-len(expected) :] == expected
