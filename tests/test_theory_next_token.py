"""The next-token model without Monte Carlo: laws, the chain of ancestors, recursions, and every formula's numbers."""

import math

import numpy as np
import pytest

from analysis.theory.next_token import coalescent, distributions, formulas, recursions
from toedit.config.theory_next_token import LawConfig, NextTokenConfig, TokenEditingConfig
from toedit.errors import BadConfiguration

ZIPF_50 = distributions.zipf(50, 1.0)
ZIPF_52 = distributions.zipf(52, 1.0)
TWO = np.array([0.9, 0.1])
PAPER = distributions.law(LawConfig(tokens=600, support=52, squared_norm=0.1), 0)
"""What Seddik et al. describe: 600 tokens, about 52 of them in use, S_0 = 0.1."""

# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        LawConfig(),
        LawConfig(kind="uniform", tokens=7, support=5),
        LawConfig(kind="dirichlet", tokens=20, concentration=0.1),
        LawConfig(kind="list", probabilities=[0.25, 0.0, 0.75]),
    ],
)
def test_laws_are_probabilities_with_the_support_asked_for(settings):
    p_CV = distributions.laws(settings, 3, seed=1)
    np.testing.assert_allclose(p_CV.sum(axis=1), 1)
    assert (p_CV >= 0).all()
    if settings.kind == "uniform":
        np.testing.assert_allclose(p_CV[0], [0.2] * 5 + [0, 0])
    rows_differ = bool((p_CV[0] != p_CV[1]).any())
    assert rows_differ == (settings.kind == "dirichlet")
    np.testing.assert_array_equal(p_CV, distributions.laws(settings, 3, seed=1))


def test_the_exponent_of_a_squared_norm_is_found():
    assert distributions.concentration(PAPER) == pytest.approx(0.1, abs=1e-9)
    assert (len(PAPER), distributions.support_size(PAPER)) == (600, 52)
    assert distributions.exponent_of_squared_norm(10, 0.1) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError):
        distributions.exponent_of_squared_norm(10, 0.05)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"tokens": 1}, "law.tokens=1"),
        ({"support": 1}, "law.support=1"),
        ({"support": 51}, "law.support=51"),
        ({"kind": "list", "probabilities": [1.0, 0.0]}, "law.probabilities"),
        ({"kind": "list", "probabilities": [0.5, 0.4]}, "law.probabilities"),
        ({"kind": "list", "probabilities": [1.5, -0.5]}, "law.probabilities"),
        ({"squared_norm": 1.0}, "law.squared_norm=1.0"),
        ({"squared_norm": 0.01}, "law.squared_norm=0.01"),
        ({"kind": "uniform", "squared_norm": 0.5}, "law.squared_norm=0.5"),
        ({"concentration": 0}, "law.concentration=0"),
        ({"kind": "zpf"}, "law.kind=zpf"),
    ],
)
def test_laws_that_are_none_are_refused(settings, key):
    with pytest.raises(BadConfiguration, match=f"^{key}.*: [^\n]+$"):
        LawConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"n": 0}, "theory.next_token.n=0"),
        ({"n": [10, 0]}, "theory.next_token.n"),
        ({"n": 2.5}, "theory.next_token.n=2.5"),
        ({"N": []}, "theory.next_token.N"),
        ({"windows": [0]}, "theory.next_token.windows"),
        ({"epsilons": [0.1, 2.0]}, "theory.next_token.epsilons"),
        ({"shown": [5, 5]}, "theory.next_token.shown"),
        ({"contexts": 0}, "theory.next_token.contexts=0"),
    ],
)
def test_counts_below_one_and_shares_out_of_range_are_refused(settings, key):
    with pytest.raises(BadConfiguration) as refused:
        NextTokenConfig(**settings)
    assert str(refused.value).startswith(key)


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"threshold": 1.01}, {"top_k": 0}, {"temperatures": [0.0]}])
def test_editing_settings_out_of_range_are_refused(settings):
    with pytest.raises(BadConfiguration, match=r"^theory\.next_token\.editing\."):
        TokenEditingConfig(**settings)


# --- the chain of ancestors -------------------------------------------------------------------------------------------


def test_the_chain_is_the_law_of_occupied_bins():
    chain = coalescent.chain(12)
    np.testing.assert_allclose(chain.transition_AA.sum(axis=1), 1)
    assert chain.transition_AA[2, 1] == pytest.approx(1 / 12)
    assert chain.transition_AA[12, 12] == pytest.approx(math.factorial(12) / 12**12)
    mean_A = chain.transition_AA @ np.arange(13)
    np.testing.assert_allclose(mean_A, 12 * (1 - (1 - 1 / 12) ** np.arange(13)))
    np.testing.assert_allclose(chain.ancestors(30).sum(axis=1), 1)


def test_the_first_generation_of_the_chain_is_a_sample_of_the_law():
    chain = coalescent.chain(50)
    assert coalescent.dirac_probability(chain, ZIPF_50, 1)[0] == pytest.approx(np.sum(ZIPF_50**50))
    assert coalescent.distinct_tokens(chain, ZIPF_50, 1)[0] == pytest.approx(np.sum(1 - (1 - ZIPF_50) ** 50))
    lost_G = coalescent.lost_mass(chain, ZIPF_50, 40)
    assert lost_G[0] == pytest.approx(np.sum(ZIPF_50 * (1 - ZIPF_50) ** 50))
    assert (np.diff(lost_G) > 0).all() and lost_G[-1] < 1


def test_two_tokens_by_the_transition_matrix_of_the_model_itself():
    """The chain of ancestors against the forward chain of counts, which two tokens make small enough."""
    n, p = 9, 0.3
    counts = np.arange(n + 1)
    choose = np.array([math.comb(n, k) for k in counts])
    forward = choose * (counts[:, None] / n) ** counts * (1 - counts[:, None] / n) ** (n - counts)
    law, expected = choose * p**counts * (1 - p) ** (n - counts), 1.0
    rho = []
    for _ in range(400):
        rho.append(law[0] + law[-1])
        expected += 1 - rho[-1]
        law = law @ forward
    chain, p_V = coalescent.chain(n), np.array([p, 1 - p])
    np.testing.assert_allclose(coalescent.dirac_probability(chain, p_V, 400), rho, atol=1e-12)
    assert coalescent.expected_collapse_time(chain, p_V) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("p_V", "n", "exact", "law", "lower", "upper"),
    [
        (ZIPF_50, 50, 93.74, 95.74, 47.0, 2254),
        (distributions.zipf(20, 0), 30, 56.63, 58.47, 30.0, 828),
        (TWO, 100, 63.45, 65.02, 36.6, 1783),
    ],
)
def test_collapse_times(p_V, n, exact, law, lower, upper):
    S_0, support = distributions.concentration(p_V), distributions.support_size(p_V)
    found = coalescent.expected_collapse_time(coalescent.chain(n), p_V)
    assert found == pytest.approx(exact, abs=0.005)
    assert formulas.collapse_time_diffusion(p_V, n) == pytest.approx(law, abs=0.005)
    assert formulas.collapse_time_lower(S_0, n, support) == pytest.approx(lower, abs=0.06)
    assert formulas.collapse_time_upper(S_0, n) == pytest.approx(upper, abs=0.6)
    assert formulas.collapse_time_lower(S_0, n, support) <= found <= formulas.collapse_time_upper(S_0, n)
    assert formulas.collapse_time_diffusion(p_V, n) <= 2 * n


def test_the_diffusion_law_is_close_from_30_tokens_on():
    for n, most in ((10, 0.085), (30, 0.04), (100, 0.02), (1000, 0.005)):
        exact = coalescent.expected_collapse_time(coalescent.chain(n), PAPER)
        assert 0 < formulas.collapse_time_diffusion(PAPER, n) / exact - 1 < most


@pytest.mark.parametrize(
    ("p_V", "n", "m", "exact", "lower", "upper"),
    [(TWO, 100, 20, 0.3737, -13.7, 0.706), (ZIPF_50, 50, 60, 0.2954, -12.7, 0.721)],
)
def test_dirac_probabilities(p_V, n, m, exact, lower, upper):
    S_0, support = distributions.concentration(p_V), distributions.support_size(p_V)
    rho_G = coalescent.dirac_probability(coalescent.chain(n), p_V, 400)
    assert rho_G[m - 1] == pytest.approx(exact, abs=5e-5)
    assert formulas.dirac_probability_lower(S_0, n, m) == pytest.approx(lower, abs=0.06)
    assert formulas.dirac_probability_upper(S_0, n, m, support) == pytest.approx(upper, abs=6e-4)
    for generation, rho in enumerate(rho_G, 1):
        assert formulas.dirac_probability_lower(S_0, n, generation) <= rho
        assert rho <= formulas.dirac_probability_upper(S_0, n, generation, support) + 1e-12
    assert (np.diff(rho_G) >= -1e-12).all()


def test_the_late_constant_is_three():
    S_0 = distributions.concentration(ZIPF_50)
    for n, constant, error in ((50, 2.902, 5e-4), (800, 3, 0.01)):
        rho = coalescent.dirac_probability(coalescent.chain(n), ZIPF_50, 12 * n)[-1]
        assert (1 - rho) / ((1 - S_0) * (1 - 1 / n) ** (12 * n)) == pytest.approx(constant, abs=error)
    assert formulas.dirac_probability_late(S_0, 800, 9600) == pytest.approx(rho, abs=1e-6)


def test_tokens_that_are_left():
    left_G = coalescent.distinct_tokens(coalescent.chain(50), ZIPF_50, 20)
    assert left_G[[4, 19]] == pytest.approx([10.589, 4.227], abs=5e-4)


def test_counts_too_large_for_the_chain_are_told_what_to_use():
    with pytest.raises(BadConfiguration, match=r"^theory\.next_token\.n=2001: .*diffusion law"):
        coalescent.chain(2001)
    with pytest.raises(BadConfiguration, match=r"^theory\.next_token\.n=0: "):
        coalescent.chain(0)


# --- concentration and drift ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("N", "n", "S_0", "m", "corrected", "published"),
    [
        (5, 50, 0.66, 1, 0.72800, 0.63617),
        (5, 50, 0.66, 2, 0.7325, 0.6581),
        (5, 50, 0.66, 3, 0.73614, 0.67590),
        (10, 40, 0.2, 1, 0.28000, 0.26468),
        (10, 40, 0.2, 40, 0.31064, 0.31064),
        (100, 1000, 0.125, 1, 0.13346, 0.13229),
        (100, 1000, 0.125, 40, 0.13756, 0.13756),
    ],
)
def test_both_signs_of_equation_9(N, n, S_0, m, corrected, published):
    # 0.125 is a rounded S_0: the third case has 0.1247, which its published S_1 = 1/N + (1 - 1/N) S_0 gives.
    S_0 = 0.124707 if S_0 == 0.125 else S_0
    assert formulas.concentration_partially_synthetic(S_0, N, n, m) == pytest.approx(corrected, abs=6e-5)
    assert formulas.concentration_partially_synthetic_published(S_0, N, n, m) == pytest.approx(published, abs=6e-5)


def test_the_corrected_sign_solves_the_recursion_and_the_printed_one_does_not():
    S_G = recursions.concentration_partially_synthetic(0.2, 10, 40, 60)
    corrected = [formulas.concentration_partially_synthetic(0.2, 10, 40, m) for m in range(1, 61)]
    published = [formulas.concentration_partially_synthetic_published(0.2, 10, 40, m) for m in range(1, 61)]
    np.testing.assert_allclose(corrected, S_G, rtol=1e-12)
    assert abs(published[0] - S_G[0]) > 0.01
    assert published[-1] == pytest.approx(S_G[-1], abs=1e-6)
    assert S_G[-1] == pytest.approx(formulas.concentration_limit(0.2, 10, 40), abs=1e-6)


def test_limits_of_the_synthetic_share():
    """a -> 0: the real tokens alone. a -> 1 at a fixed generation: a copy of the model before."""
    alone = formulas.concentration_many_synthetic(0.2, 10)
    assert alone == pytest.approx(1 / 10 + (1 - 1 / 10) * 0.2)
    assert formulas.concentration_limit(0.2, 10_000_000, 1) == pytest.approx(0.2, abs=1e-6)
    assert formulas.concentration_partially_synthetic(0.2, 10, 10**9, 5) == pytest.approx(alone, abs=1e-6)
    assert formulas.concentration_many_synthetic_published(0.2, 10) == pytest.approx(
        formulas.concentration_partially_synthetic_published(0.2, 10, 10**9, 5), abs=1e-6
    )
    assert formulas.squared_drift_limit(0.2, 10, 10**9) == pytest.approx(
        formulas.squared_drift_any_count(0.2, 10, 10**9), rel=1e-6
    )


@pytest.mark.parametrize(
    ("N", "n", "V", "gaussian", "rigorous"),
    [
        (100, 10, 7.59e-4, 0.1380, 0.2062),
        (100, 1000, 4.32e-3, 0.3299, 0.4928),
        (1000, 100, 7.67e-5, 0.0436, 0.0652),
        (1000, 10000, 4.38e-4, 0.1043, 0.1558),
    ],
)
def test_drift_laws(N, n, V, gaussian, rigorous):
    S_0 = distributions.concentration(ZIPF_52)
    limit = formulas.squared_drift_limit(S_0, N, n)
    assert limit == pytest.approx(V, rel=2e-3)
    assert recursions.squared_drift_partially_synthetic(S_0, N, n, 600)[-1] == pytest.approx(limit, rel=1e-6)
    assert limit < formulas.squared_drift_any_count(S_0, N, n)
    assert formulas.l1_drift_limit_gaussian(ZIPF_52, N, n) == pytest.approx(gaussian, abs=1e-4)
    assert formulas.l1_drift_limit_bound_by_support(52, N, n) == pytest.approx(rigorous, abs=1e-4)
    # From the loosest to the tightest.
    bound = formulas.l1_drift_limit_bound(ZIPF_52, N, n)
    assert formulas.l1_drift_bound(limit, ZIPF_52) <= bound <= formulas.l1_drift_limit_bound_by_support(52, N, n)
    assert formulas.l1_drift_bound(limit, ZIPF_52) <= formulas.l1_drift_bound_by_support(limit, 52)


def test_the_transient_of_the_drift():
    V_G = recursions.squared_drift_partially_synthetic(0.1, 100, 10000, 60)
    assert V_G[0] == 0 and V_G[-1] == pytest.approx(3.056e-3, rel=2e-3)
    assert formulas.relaxation_generations(100, 10000) == pytest.approx((100 + 10000) / 200, rel=0.01)


def test_the_published_drift_bound_is_valid_and_empty():
    found = [formulas.drift_bound_published_log10(N, n, 600) for N, n in ((100, 1), (100, 10), (100, 100), (1000, 100))]
    assert found == pytest.approx([1.9, 7.0, 53, 52], abs=0.5)
    assert formulas.drift_bound_published_log10(100, 1, 600) == pytest.approx(1.9, abs=0.05)
    S_0 = distributions.concentration(ZIPF_52)
    for N, n in ((100, 1), (1000, 10), (10_000, 5)):
        drift = formulas.l1_drift_bound(formulas.squared_drift_limit(S_0, N, n), ZIPF_52)
        assert math.log10(drift) < formulas.drift_bound_published_log10(N, n, 52)
    assert formulas.drift_bound_published_log10(6 * 600, 1, 600) == pytest.approx(math.log10(2), abs=0.1)
    assert math.isfinite(formulas.drift_bound_published_log10(10, 10**6, 2000))


def test_how_much_synthetic_data_is_safe():
    rigorous, sharp = formulas.spread_rigorous(52), formulas.spread_sharp(PAPER)
    assert sharp <= rigorous
    amounts = [formulas.largest_synthetic_count(N, 0.1, K) for N in (200, 1000) for K in (rigorous, sharp)]
    assert amounts == pytest.approx([8.5, 23.7, 322.6, 11158], rel=5e-3)
    assert formulas.largest_synthetic_count(5000, 0.1, rigorous) == math.inf
    published = [formulas.largest_synthetic_count_published(N, 0.1, 52) for N in (200, 1000, 5000)]
    assert published == pytest.approx([-1.9, -0.55, 0.82], abs=0.02)
    edge = formulas.enough_real_tokens(0.1, rigorous)
    assert formulas.largest_synthetic_count(edge, 0.1, rigorous) == math.inf
    assert math.isfinite(formulas.largest_synthetic_count(edge - 1, 0.1, rigorous))
    # At the amount itself the bound is epsilon.
    assert formulas.l1_drift_limit_bound_by_support(52, 1000, 10000 / 31) == pytest.approx(0.1)


# --- pools, windows, editing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "limit"), [(5, 0.3682), (10, 0.2409), (50, 0.1293)])
def test_pools_keep_their_diversity(n, limit):
    assert formulas.pooled_concentration_limit(0.1, n) == pytest.approx(limit, abs=6e-5)
    assert recursions.concentration_accumulate(0.1, n, 20000)[-1] == pytest.approx(limit, abs=1e-4)
    assert recursions.concentration_random_past(0.1, n, 20000)[-1] == pytest.approx(limit, abs=1e-4)
    first = 1 / n + (1 - 1 / n) * 0.1
    for curve in (recursions.concentration_accumulate, recursions.concentration_random_past):
        assert curve(0.1, n, 1)[0] == pytest.approx(first)
    assert formulas.pooled_concentration_limit(0.1, 1) == 1


@pytest.mark.parametrize(("n", "K", "law"), [(12, 2, 51.1), (10, 5, 170.3), (50, 5, 852), (20, 10, 1145)])
def test_the_law_of_windows(n, K, law):
    assert formulas.collapse_time_window(PAPER, n, K) == pytest.approx(law, rel=1e-3)
    assert formulas.collapse_time_window(PAPER, n, 1) == formulas.collapse_time_diffusion(PAPER, n)


def test_a_fixed_prior_drifts_without_end():
    found = [formulas.editing_distance_fixed_prior(0.995, rounds) for rounds in (1, 10, 50, 100, 500)]
    assert found == pytest.approx([0.005, 0.049, 0.221, 0.392, 0.914], abs=6e-4)
    assert formulas.editing_distance_reestimated_bound(0.99) == pytest.approx(0.0199)


@pytest.mark.parametrize("h", [0.992, 0.999, 0.99995])
def test_the_laws_of_editing_are_those_of_the_edited_laws(h):
    """A context of one sure token and two others, with endless data."""
    first_CV = np.array([[h, (1 - h) / 3, 2 * (1 - h) / 3]])
    fixed, fixed_shares = recursions.edited_laws(first_CV, first_CV, 0.99, 3, 1.0, 40)
    again, again_shares = recursions.edited_laws(first_CV, None, 0.99, 3, 1.0, 40)
    bound = formulas.editing_distance_reestimated_bound(0.99)
    for t in range(40):
        np.testing.assert_allclose([fixed[t].sum(), again[t].sum()], 1)
        assert fixed_shares[t] == pytest.approx(formulas.editing_eligible_fixed_prior(h, t))
        distance = np.abs(fixed[t] - first_CV).sum() / 2
        assert distance == pytest.approx(formulas.editing_distance_fixed_prior(h, t), abs=1e-12)
        left = formulas.editing_eligible_reestimated(h, t, 0.99)
        assert again[t][0, 0] == pytest.approx(left)
        assert again_shares[t] == pytest.approx(left if left >= 0.99 else 0)
        assert np.abs(again[t] - first_CV).sum() / 2 <= bound


def test_how_many_eligible_tokens_change():
    found = [formulas.changed_share_of_eligible(P, 8, T) for P in (0.99, 0.999) for T in (1.0, 1.5)]
    assert found == pytest.approx([0.010, 0.082, 0.0010, 0.019], abs=3e-4)
    assert formulas.changed_share_of_eligible(0.99, 1, 1.0) == pytest.approx(0)
    # An even rest is the most that can change at temperatures from 1 on.
    prior_CV = np.array([[0.99, 0.006, 0.003, 0.001], [0.99, *[0.01 / 3] * 3]])
    changes = 1 - recursions.redraw_law(prior_CV, 4, 1.5)[:, 0]
    assert changes[0] < changes[1] == pytest.approx(formulas.changed_share_of_eligible(0.99, 4, 1.5))


def test_the_law_of_a_draw():
    prior_CV = np.array([[0.5, 0.2, 0.2, 0.1]])
    np.testing.assert_allclose(recursions.redraw_law(prior_CV, 4, 1.0), prior_CV)
    np.testing.assert_allclose(recursions.redraw_law(prior_CV, 2, 1.0), [[5 / 7, 2 / 7, 0, 0]])
    np.testing.assert_allclose(recursions.redraw_law(prior_CV, 1, 3.0), [[1, 0, 0, 0]])
    np.testing.assert_allclose(recursions.redraw_law(prior_CV, 4, 1e9), [[0.25] * 4], atol=1e-6)


# --- the list ---------------------------------------------------------------------------------------------------------


def test_every_formula_is_listed_with_its_status():
    functions = {name for name in formulas.__all__ if name[0].islower()}
    assert set(formulas.FORMULAS) == functions
    for name, entry in formulas.FORMULAS.items():
        assert entry.name == name and entry.source and entry.assumptions
        assert entry.status in formulas.STATUSES
        assert getattr(formulas, name).__doc__
    assert set(formulas.STATUSES) == {entry.status for entry in formulas.FORMULAS.values()}
