"""Two samples compared: distances by their definitions, tests that reject as often as they say, units that matter."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import overlap
from analysis.two_sample import (
    DISTANCES,
    LEVEL,
    Pair,
    Sample,
    compare,
    differences,
    distances,
    once,
    permutations,
    share_as_far,
)
from toedit.units import draw_counts, origin_of, units_of

values = st.lists(st.integers(-20, 20).map(lambda number: number / 4), min_size=1, max_size=25).map(np.array)


def single(value_A):
    """Documents that are units of their own."""
    return Sample(value_A, np.arange(len(value_A)))


def measured(pair):
    return once(lambda first, second: distances(differences(*pair.pooled(first, second), pair), pair), pair)


def by_definition(first, second):
    at = np.concatenate([first, second])
    gap = [abs((first <= value).mean() - (second <= value).mean()) for value in at]
    share = np.linspace(0, 1, 20_001)[:-1] + 1 / 40_000  # quantile functions: steps at multiples of 1 / length
    wasserstein = np.abs(
        np.sort(first)[(share * len(first)).astype(int)] - np.sort(second)[(share * len(second)).astype(int)]
    ).mean()
    apart = [np.abs(np.subtract.outer(a, b)).mean() for a, b in ((first, second), (first, first), (second, second))]
    return max(gap), wasserstein, math.sqrt(max(2 * apart[0] - apart[1] - apart[2], 0))


@settings(max_examples=60, deadline=None)
@given(first=values, second=values)
def test_distances_are_those_of_their_definitions(first, second):
    found = measured(Pair(single(first), single(second)))
    smirnov, wasserstein, energy = by_definition(first, second)
    assert found["kolmogorov_smirnov"] == pytest.approx(smirnov, abs=1e-12)
    assert found["wasserstein"] == pytest.approx(wasserstein, abs=0.02)  # the definition was summed on a grid
    assert found["energy"] == pytest.approx(energy, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(first=values, second=values, shift=st.floats(-3, 3))
def test_distances_do_not_depend_on_side_or_origin(first, second, shift):
    found, swapped = measured(Pair(single(first), single(second))), measured(Pair(single(second), single(first)))
    assert found == pytest.approx(swapped)
    moved = measured(Pair(single(np.round(first + shift, 9)), single(np.round(second + shift, 9))))
    assert found == pytest.approx(moved, abs=1e-6)
    alone = measured(Pair(single(first), single(first + 100)))
    assert alone["wasserstein"] == pytest.approx(100) and alone["kolmogorov_smirnov"] == 1


@settings(max_examples=40, deadline=None)
@given(first=values, second=values, seed=st.integers(0, 1000))
def test_a_count_is_a_repeated_document(first, second, seed):
    generator = np.random.default_rng(seed)
    pair = Pair(single(first), single(second))
    count_1A, count_1B = (draw_counts(generator, 1, len(sample)) for sample in (first, second))
    weighted = distances(differences(*pair.pooled(count_1A, count_1B), pair), pair)
    repeated = Pair(
        single(np.repeat(pair.first.value_A, count_1A[0])), single(np.repeat(pair.second.value_A, count_1B[0]))
    )
    assert {name: value_R[0] for name, value_R in weighted.items()} == pytest.approx(measured(repeated))


@pytest.mark.parametrize("value_A", [np.array([1.0]), np.full(9, 2.5), np.random.default_rng(0).normal(size=40)])
def test_a_copy_is_no_distance_away(value_A):
    found = compare(Pair(single(value_A), single(value_A.copy())), 99, seed=0)
    for name in DISTANCES:
        assert (found[name].value, found[name].p_value) == (0.0, 1.0)
        assert found[name].p_bootstrap in (None, 1.0)
        assert found[name].low in (None, 0.0)


def test_what_is_far_apart_is_told_apart():
    generator = np.random.default_rng(0)
    pair = Pair(single(generator.normal(size=60)), single(generator.normal(1.5, 1, 50)))
    found = compare(pair, 199, seed=0)
    for name in DISTANCES:
        assert found[name].p_value == found[name].p_bootstrap == 1 / 200  # none of 199 came as far
        assert 0 < found[name].low < found[name].value < found[name].high
    assert found == compare(pair, 199, seed=0)
    assert found != compare(pair, 199, seed=1)


def rejections(trials, draw, of_units=True, resamples=99):
    """Of samples from one population, how many each distance calls different at 5 %."""
    generator, rejected = np.random.default_rng(5), dict.fromkeys(DISTANCES, 0)
    for trial in range(trials):
        samples = []
        for units in (13, 11):  # as many on both sides would make the Smirnov distances tie, and the test too mild
            value_A, unit_A = draw(generator, units)
            samples.append(Sample(value_A, unit_A if of_units else np.arange(len(value_A))))
        pair = Pair(*samples)
        value, dealt = measured(pair), permutations(pair, resamples, trial)
        for name in DISTANCES:
            rejected[name] += share_as_far(dealt[name], value[name]) <= LEVEL
    return rejected


def binomial_interval(trials):
    """The middle 99 % of the binomial distribution with share 5 %."""
    share = np.cumsum(
        [math.comb(trials, hits) * LEVEL**hits * (1 - LEVEL) ** (trials - hits) for hits in range(trials + 1)]
    )
    return int(np.searchsorted(share, 0.005)), int(np.searchsorted(share, 0.995))


def clustered(generator, works):
    """Works of 6 documents that resemble each other."""
    unit_A = np.repeat(np.arange(works), 6)
    return generator.normal(size=works)[unit_A] + 0.5 * generator.normal(size=6 * works), unit_A


def test_identical_populations_are_rejected_one_time_in_twenty():
    low, high = binomial_interval(1000)
    found = rejections(1000, lambda generator, units: (generator.lognormal(size=2 * units), np.arange(2 * units)))
    assert all(low <= found[name] <= high for name in DISTANCES), (low, found, high)


def test_works_are_dealt_out_whole_or_too_much_is_rejected():
    low, high = binomial_interval(1000)
    found = rejections(1000, clustered)
    assert all(low <= found[name] <= high for name in DISTANCES), (low, found, high)
    naive = rejections(100, clustered, of_units=False)
    assert all(naive[name] > 30 for name in DISTANCES), naive


def test_works_of_unlike_sizes_are_left_to_the_bootstrap():
    generator, rejected = np.random.default_rng(2), {"p_value": 0, "p_bootstrap": 0, "interval": 0}
    for trial in range(100):
        samples = [
            Sample(0.3 * generator.normal(size=works)[unit_A] + generator.normal(size=works * size), unit_A)
            for works, size in ((80, 10), (25, 1))
            for unit_A in [np.repeat(np.arange(works), size)]
        ]
        found = compare(Pair(*samples), 99, trial)["wasserstein"]
        rejected["p_value"] += found.p_value <= LEVEL
        rejected["p_bootstrap"] += found.p_bootstrap <= LEVEL
        rejected["interval"] += found.low > 0
    assert rejected["p_value"] > 30  # why there is a second p-value
    assert rejected["interval"] <= rejected["p_bootstrap"] <= 14


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_intervals_hold_the_true_distance(shift):
    generator = np.random.default_rng(1)
    truth = {"wasserstein": shift, "kolmogorov_smirnov": math.erf(shift / 2 / math.sqrt(2))}
    held = dict.fromkeys(truth, 0)
    for trial in range(100):
        found = compare(Pair(single(generator.normal(size=80)), single(generator.normal(shift, 1, 80))), 99, trial)
        for name, value in truth.items():
            held[name] += found[name].low <= value <= found[name].high
    assert all(count >= 88 for count in held.values()), held


def test_a_single_unit_has_no_interval():
    one_work = Sample(np.array([1.0, 2.0, 4.0]), np.zeros(3, int))
    pair = Pair(one_work, single(np.array([1.0, 3.0])))
    for estimate in compare(pair, 99, seed=0).values():
        assert estimate.low is estimate.high is None and 0 < estimate.p_value <= 1
    for side in overlap.measure(pair, 99, seed=0).values():
        assert all(estimate.low is None and np.isfinite(estimate.value) for estimate in side.values())


@pytest.mark.parametrize("value_A", [[], [1.0, math.nan], [math.inf]])
def test_no_sample_without_numbers(value_A):
    with pytest.raises(ValueError, match="finite values"):
        single(np.array(value_A))


@settings(max_examples=60, deadline=None)
@given(first=values, second=values)
def test_quantiles_and_shares_are_those_that_numpy_counts(first, second):
    found = overlap.measure(Pair(single(first), single(second)), 99, seed=0)
    for side, own, other in (("first", first, second), ("second", second, first)):

        def quantile(share, sample):
            # A hair below: 0.95 of 20 documents is 19, whatever the binary fraction says.
            return np.quantile(sample, share - 1e-10, method="inverted_cdf")

        for share in overlap.QUANTILES:
            assert found[side][f"q{share:g}"].value == quantile(share, own)
        inside = (own >= quantile(0.025, other)) & (own <= quantile(0.975, other))
        assert found[side]["within_95"].value == pytest.approx(inside.mean())
        assert found[side]["up_to_q0.25"].value == pytest.approx((own <= quantile(0.25, other)).mean())
        assert found[side]["above_q0.95"].value == pytest.approx((own > quantile(0.95, other)).mean())
        for estimate in found[side].values():
            assert estimate.low is None or estimate.low <= estimate.value <= estimate.high


def test_a_sample_covers_itself():
    value_A = np.random.default_rng(2).normal(size=1000)
    found = overlap.measure(Pair(single(value_A), single(value_A)), 199, seed=0)["first"]
    for name, alike in overlap.SHARES.items():
        assert found[name].value == pytest.approx(alike, abs=0.002)
        assert found[name].low <= alike <= found[name].high


def test_an_empty_tail_has_an_interval():
    generator = np.random.default_rng(3)
    found = overlap.measure(Pair(single(generator.normal(size=50)), single(generator.normal(9, 1, 50))), 99, seed=0)
    assert found["first"]["above_q0.95"].value == 0.0
    assert 0.02 < found["first"]["above_q0.95"].high < 0.15  # Wilson's: 0 of 50


def test_origins_are_found_by_path():
    document = {"id": "a", "metadata": {"origin_path": "book.txt", "number": 3, "empty": ""}}
    assert origin_of(document, ["metadata.origin", "metadata.origin_path"]) == "book.txt"
    assert origin_of(document, ["metadata.empty", "metadata.number"]) == "3"
    assert origin_of(document, []) is None
    assert units_of([None, "a", "a"])[0].tolist() == [0, 1, 1]
