"""Editing beyond text: the laws against what editing does, the counting prior against counting by hand."""

import csv
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from conftest import run_command
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.theory.beyond_text.count_prior import CountPrior, context_keys
from analysis.theory.beyond_text.generations import Rule, expected_distances, generations
from analysis.theory.beyond_text.laws import (
    changed_share,
    distances,
    drawn_law,
    edited_law,
)
from analysis.theory.beyond_text.sources import SEQUENCES_MADE, Source, make_source
from analysis.theory.next_token.formulas import (
    editing_distance_fixed_prior,
    editing_distance_reestimated_bound,
    editing_eligible_fixed_prior,
    editing_eligible_reestimated,
)
from toedit.config import BeyondTextConfig
from toedit.errors import BadConfiguration
from toedit.sequences import edit_sequence, score_densely

LAW = np.array([0.95, 0.02, 0.01, 0.01, 0.005, 0.005])
WEIGHTS = st.lists(st.floats(0.01, 1), min_size=2, max_size=8)


def law_of(weights, confident):
    rest = np.array(weights) / sum(weights) * (1 - confident)
    return np.append(confident, rest)


@settings(deadline=None)
@given(st.floats(0.6, 0.999), WEIGHTS, st.integers(0, 30))
def test_a_fixed_prior_shrinks_the_confident_share_by_h_every_round(h, weights, rounds):
    first = law = law_of(weights, h)[None]
    for _ in range(rounds):
        law = edited_law(law, first, 0.55, 99)
    assert law.sum() == pytest.approx(1)
    assert law[0, 0] == pytest.approx(editing_eligible_fixed_prior(h, rounds))
    assert np.abs(law - first).sum() / 2 == pytest.approx(editing_distance_fixed_prior(h, rounds))
    assert (law[0, 1:] >= first[0, 1:] - 1e-12).all()  # nothing outside H is ever lost


@settings(deadline=None)
@given(st.floats(0.6, 0.9999), WEIGHTS, st.floats(0.51, 0.999), st.integers(0, 30))
@example(h=0.625, weights=[1.0, 0.0625], p=0.5625, rounds=2)
def test_an_own_prior_squares_it_until_it_is_below_p(h, weights, p, rounds):
    first = law = law_of(weights, h)[None]
    second = False  # another token has become confident in turn
    for _ in range(rounds):
        law = edited_law(law, law, p, 99)
        second |= bool((law[0, 1:] >= p).any())
    assert np.abs(law - first).sum() / 2 <= editing_distance_reestimated_bound(p) + 1e-12
    assert not (second and p * p + p > 1)
    if not second:
        assert law[0, 0] == pytest.approx(editing_eligible_reestimated(h, rounds, p))


def test_below_the_golden_ratio_another_token_may_become_confident():
    first = law_of([1.0, 0.0625], 0.625)[None]
    once = edited_law(first, first, 0.5625, 99)
    twice = edited_law(once, once, 0.5625, 99)
    assert once[0, 0] == pytest.approx(0.625**2) and once[0, 1] >= 0.5625
    assert twice[0, 0] > once[0, 0] == pytest.approx(editing_eligible_reestimated(0.625, 2, 0.5625))


def test_the_numbers_of_a_nearly_certain_context():
    found = editing_distance_fixed_prior(0.995, np.array([1, 10, 50, 100, 500]))
    assert found.round(3).tolist() == [0.005, 0.049, 0.221, 0.392, 0.914]
    assert editing_distance_reestimated_bound(0.99) == pytest.approx(0.0199)
    assert changed_share([0.99, 0.004, 0.003, 0.003], 0.99) == pytest.approx(0.99 * 0.01)
    hot = drawn_law(np.array([[0.99, *[0.01 / 7] * 7]]), 8, 1.5)
    assert 1 - hot[0, 0] == pytest.approx(0.082, abs=0.001)  # at the temperature of the released script


def test_the_laws_of_one_context_are_what_editing_independent_throws_does():
    """h -> h^2 and h^(t+1) with the prior known; 4 standard errors."""
    throws = np.random.default_rng(0).choice(6, size=100_000, p=LAW)
    for is_fixed in (True, False):
        token_id_T, h, expected = throws, (throws == 0).mean(), (throws == 0).mean()
        for number in range(1, 6):
            law = np.bincount(token_id_T, minlength=6) / len(throws)
            prior = LAW if is_fixed else law
            scored = score_densely(
                lambda tokens, prior=prior: np.log(np.tile(prior, (len(tokens), 1))), token_id_T, 0.9, 6
            )
            edited = edit_sequence(f"die {number}", token_id_T, scored, p=0.9, k=6)
            assert edited.eligible == (round(law[0] * len(throws)) if prior[0] >= 0.9 else 0)
            wanted = prior[0] if prior[0] >= 0.9 else 1.0
            expected *= wanted
            token_id_T = edited.token_id_T
            assert (token_id_T == 0).mean() == pytest.approx(expected, abs=4 * (number * 0.1 / len(throws)) ** 0.5)
        assert expected == pytest.approx(
            h * LAW[0] ** 5 if is_fixed else editing_eligible_reestimated(h, 5, 0.9), rel=0.01
        )


@pytest.mark.parametrize("offsets", [(), (1,), (1, 2), (1, 7, 8)])
def test_the_counting_prior_is_counting_by_hand(offsets):
    generator = np.random.default_rng(1)
    token_id_T, alphabet, smoothing = generator.integers(4, size=300), 4, 0.7
    prior = CountPrior(token_id_T, alphabet, offsets, smoothing)

    def context(place, length):
        return tuple(int(token_id_T[place - o]) if place >= o else alphabet for o in offsets[:length])

    counters = [Counter((context(t, n), int(token_id_T[t])) for t in range(300)) for n in range(len(offsets) + 1)]
    law_TV = prior.law(prior.contexts(token_id_T))
    for place in (0, 1, 9, 150, 299):
        wanted = np.full(alphabet, 1 / alphabet)
        for length, counter in enumerate(counters):
            counts = np.array([counter[context(place, length), token] for token in range(alphabet)])
            wanted = (counts + smoothing * wanted) / (counts.sum() + smoothing)
        assert law_TV[place] == pytest.approx(wanted)
    dense = score_densely(lambda tokens: np.log(prior.law(prior.contexts(tokens))), token_id_T, 0.4, 3)
    quick = prior.score(token_id_T, 0.4, 3)
    assert (quick.position_N == dense.position_N).all() and (quick.candidate_id_Nk == dense.candidate_id_Nk).all()
    assert np.allclose(quick.logprob_T, dense.logprob_T)
    assert np.allclose(quick.candidate_logprob_Nk, dense.candidate_logprob_Nk)


def test_unseen_contexts_have_the_law_of_shorter_ones():
    prior = CountPrior(np.array([0, 1, 0, 1, 0, 1]), 3, (1, 2), 0.5)
    unseen = context_keys(np.array([2, 2, 0]), 3, (1, 2))[-1:]
    law = prior.law(unseen)
    shorter = CountPrior(np.array([0, 1, 0, 1, 0, 1]), 3, (1,), 0.5)
    assert law[0] == pytest.approx(shorter.law(np.array([2]))[0]) and law.sum() == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 5), st.floats(0.55, 0.95), st.sampled_from(["fixed", "own"]))
def test_tokens_below_p_never_change_and_support_is_kept(seed, alphabet, p, prior_is):
    generator = np.random.default_rng(seed)
    token_id_T = np.where(generator.random(200) < 0.85, 0, generator.integers(alphabet, size=200))
    source = Source("any", token_id_T, alphabet, (1, 3))
    run = generations(source, prior_is, 4, Rule(p, 8, 1.0, 0.5), seed)
    assert all(generation.changed_below_p == 0 for generation in run)
    assert run[0].different == run[0].distance == 0
    for before, after in pairwise(run):
        changed = before.token_id_T != after.token_id_T
        assert changed.mean() == pytest.approx(after.changed) and after.changed <= after.eligible


@pytest.mark.parametrize("prior_is", ["fixed", "own"])
def test_the_die_moves_as_the_laws_say_and_changes_what_is_expected(prior_is):
    source, rule = make_source("die", 20_000, 3), Rule(0.9, 8, 1.0, 0.5)
    expected = expected_distances(source, prior_is, 10, rule)
    runs = [generations(source, prior_is, 10, rule, seed) for seed in range(6)]
    for number in (1, 5, 10):
        found = [run[number].distance for run in runs]
        assert np.mean(found) == pytest.approx(expected[number], abs=4 * np.std(found, ddof=1) / 6**0.5 + 1e-4)
    h = (source.token_id_T == 0).mean()
    if prior_is == "fixed":
        assert expected == pytest.approx(editing_distance_fixed_prior(h, np.arange(11)), abs=1e-3)
    else:
        assert expected[-1] == pytest.approx(h - editing_eligible_reestimated(h, 10, 0.9), abs=1e-3)
    changed, wanted = (sum(getattr(g, key) for run in runs for g in run[1:]) for key in ("changed", "expected_changed"))
    assert abs(changed - wanted) * 20_000 < 4 * (wanted * 20_000) ** 0.5


def test_both_priors_get_the_same_uniforms():
    source, rule = make_source("image", 1024, 0), Rule(0.8, 8, 1.0, 0.5)
    first = [generations(source, prior_is, 1, rule, 0)[1].token_id_T for prior_is in ("fixed", "own")]
    assert (first[0] == first[1]).all() and (first[0] != source.token_id_T).any()


def test_distances_of_laws_do_not_depend_on_how_contexts_are_ordered():
    law_CV = np.stack([LAW, np.roll(LAW, 2), np.full(6, 1 / 6)])
    found = distances(law_CV, np.array([0.5, 0.3, 0.2]), lambda law: law, True, 5, 0.9, 6, 1.0)
    assert found == pytest.approx(0.8 * editing_distance_fixed_prior(0.95, np.arange(6)))


@pytest.mark.parametrize("name", SEQUENCES_MADE)
def test_sequences_are_made_from_the_seed(name):
    first, again, other = (make_source(name, 900, seed) for seed in (0, 0, 1))
    assert (first.token_id_T == again.token_id_T).all() and (first.token_id_T != other.token_id_T).any()
    assert first.token_id_T.min() >= 0 and first.token_id_T.max() < first.alphabet and len(first.token_id_T) == 900


@pytest.mark.parametrize(
    "wrong",
    [{"sequences": ["text"]}, {"sequences": []}, {"sequences": ["die", "die"]}, {"length": 10}, {"smoothing": 0.0},
     {"p": 0.4}, {"p": 1.5}, {"k": 0}, {"temperature": 0.0}],
)  # fmt: skip
def test_bad_settings_are_one_line_that_names_the_key(wrong):
    with pytest.raises(BadConfiguration, match=rf"^theory\.beyond_text\.{next(iter(wrong))}="):
        BeyondTextConfig(**wrong)


def test_the_whole_command(tmp_path):
    sizes = ("theory.beyond_text.length=400", "theory.generations=3", "theory.trials=2")
    run = run_command("stage=theory", "theory=beyond_text", "theory.beyond_text.sequences=[die,image,melody]", *sizes,
                      "out=done", cwd=tmp_path)  # fmt: skip
    assert "Tokens below p that changed: 0" in run.stdout and "nan" not in run.stdout
    with (tmp_path / "done" / "data.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2 * 4
    assert json.loads((tmp_path / "done" / "summary.json").read_text())["settings"]["length"] == 400
    assert (tmp_path / "done" / "beyond_text.png").stat().st_size > 10_000
