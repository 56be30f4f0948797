"""Statistics of n-grams: closed forms, brute force, and a test that rejects as often as it says."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.ngrams.resampling import bootstrap, divergence
from analysis.ngrams.statistics import (
    expected_different,
    gini,
    jensen_shannon,
    jensen_shannon_bias,
    top_share,
    zipf_slope,
)

counts = arrays(np.float64, st.integers(2, 12), elements=st.integers(0, 50).map(float)).filter(
    lambda count_B: count_B.sum()
)


@given(counts)
def test_gini_is_the_mean_difference_of_two_buckets(count_B):
    pairs = np.abs(count_B[:, None] - count_B[None, :]).mean()
    assert gini(count_B[None])[0] == pytest.approx(pairs / (2 * count_B.mean()), abs=1e-12)


def test_concentration_at_its_ends():
    equal, single = np.ones((1, 100)), np.eye(100)[:1]
    assert gini(equal)[0] == pytest.approx(0) and gini(single)[0] == pytest.approx(0.99)
    assert top_share(equal, 0.05)[0] == pytest.approx(0.05) and top_share(single, 0.001)[0] == 1


@pytest.mark.parametrize("slope", [-0.7, -1.0, -1.3])
def test_the_slope_of_a_power_law_is_its_exponent(slope):
    count_RW = 1e6 * np.arange(1, 301.0)[None] ** slope
    shuffled = np.random.default_rng(0).permuted(count_RW, axis=1)
    assert zipf_slope(shuffled, 10, 200)[0] == pytest.approx(slope)


def test_too_few_words_have_no_slope():
    assert np.isnan(zipf_slope(np.array([[5.0, 3.0, 0.0, 0.0]]), 1, 4)).all()
    assert np.isnan(zipf_slope(np.array([[5.0, 3.0]]), 10, 40)).all()
    assert zipf_slope(np.array([[1.0, 2.0, 4.0]]), 1, 10)[0] < 0


@given(counts, counts, st.integers(1, 5))
def test_divergence_is_symmetric_bounded_and_blind_to_size(first_B, second_B, factor):
    size = min(len(first_B), len(second_B))
    one, other = first_B[:size] + 1, second_B[:size]
    other = other if other.sum() else other + 1
    value = jensen_shannon(one[None], other[None])[0]
    assert 0 <= value <= 1
    assert value == pytest.approx(jensen_shannon(other[None], one[None])[0], abs=1e-12)
    assert value == pytest.approx(jensen_shannon(factor * one[None], other[None])[0], abs=1e-12)
    assert jensen_shannon(factor * one[None], one[None])[0] == pytest.approx(0, abs=1e-12)
    assert jensen_shannon(np.array([[1.0, 0.0]]), np.array([[0.0, 3.0]]))[0] == 1


def test_the_bias_is_what_samples_of_one_distribution_show():
    generator, p = np.random.default_rng(0), np.full(40, 1 / 40)
    first, second = generator.multinomial(2000, p, 400).astype(float), generator.multinomial(5000, p, 400).astype(float)
    expected = 39 / 8 * (1 / 2000 + 1 / 5000) / np.log(2)
    assert jensen_shannon_bias(first, second).mean() == pytest.approx(expected, rel=0.02)
    seen = jensen_shannon(first, second)
    assert abs(seen.mean() - expected) < 4 * seen.std() / 20 + 0.02 * expected
    corrected = seen - jensen_shannon_bias(first, second)
    assert abs(corrected.mean()) < 4 * corrected.std() / 20 + 1e-5


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sets(st.integers(0, 8)), min_size=1, max_size=6), st.integers(1, 6))
def test_expected_different_is_the_mean_over_all_draws(documents, drawn):
    drawn = min(drawn, len(documents))
    present = [sum(gram in document for document in documents) for gram in range(9)]
    by_frequency = np.unique([number for number in present if number], return_counts=True)
    by_frequency = (by_frequency[0].astype(np.int64), by_frequency[1])
    every = [len(set().union(*chosen)) for chosen in combinations(documents, drawn)]
    assert expected_different(by_frequency, len(documents), drawn) == pytest.approx(np.mean(every))
    if drawn < len(documents):  # between whole numbers of documents it lies between their values
        between = expected_different(by_frequency, len(documents), drawn + 0.5)
        assert expected_different(by_frequency, len(documents), drawn) <= between + 1e-9
        assert between <= expected_different(by_frequency, len(documents), drawn + 1) + 1e-9


def corpus(generator, units, documents=1, buckets=30):
    """Counts [units x documents, buckets]; the documents of a unit share its own leaning."""
    leaning_UB = generator.dirichlet(np.full(buckets, 0.5), size=units)
    return np.concatenate([generator.multinomial(40, p, size=documents) for p in leaning_UB]).astype(float)


def rejections(samples, is_paired=False):
    return sum(
        divergence(*pair, is_paired, 99, number)["corrected"].p_value <= 0.05 for number, pair in enumerate(samples)
    )


def test_the_test_rejects_identical_populations_as_often_as_it_says():
    """400 pairs: 5 % within the binomial's central 99.9 % (8 to 36)."""
    generator = np.random.default_rng(1)
    assert 8 <= rejections((corpus(generator, 8), corpus(generator, 14)) for _ in range(400)) <= 36
    assert 8 <= rejections(((corpus(generator, 9), corpus(generator, 9)) for _ in range(400)), is_paired=True) <= 36


def test_documents_of_works_dealt_out_one_by_one_would_reject_too_often():
    generator = np.random.default_rng(2)
    found = [(corpus(generator, 6, 8), corpus(generator, 6, 8)) for _ in range(60)]
    assert rejections(found) > 30
    by_work = [tuple(count_DB.reshape(6, 8, -1).sum(axis=1) for count_DB in pair) for pair in found]
    assert rejections(by_work) <= 10


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """The share of two of thirty equal buckets; of 200 intervals of 40 units at least 170 hold it (95 %: 190)."""

    def share_of_two(count_RB):
        return count_RB[:, :2].sum(axis=1) / count_RB.sum(axis=1)

    generator, held = np.random.default_rng(3), 0
    for number in range(200):
        estimate = bootstrap(share_of_two, corpus(generator, 40), 199, number).estimate(0, 1)
        held += estimate.low <= 2 / 30 <= estimate.high
    assert 170 <= held < 200
