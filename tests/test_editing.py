"""The algorithm against its scalar transcription, and the exact identities it obeys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scalar_reference import edit_token
from scalar_reference import uniform as scalar_uniform

from toedit.editing import is_eligible, resample
from toedit.uniforms import document_keys, uniforms

K = 16


def confident_tokens(count: int, seed: int, vocabulary: int = 1000, original_first: bool = True):
    """Random but lawful scores: sorted candidates of total mass below one, the original among them."""
    generator = np.random.default_rng(seed)
    top_N = generator.choice([0.9, 0.95, 0.99, 0.999, 0.99999], count) + generator.uniform(0, 1e-5, count)
    rest_NK = generator.dirichlet(np.ones(K), count)[:, 1:] * (1 - top_N)[:, None] * 0.9
    mass_NK = np.concatenate([top_N[:, None], -np.sort(-rest_NK, axis=1)], axis=1)
    logprob_NK = np.log(mass_NK).astype(np.float32)
    id_NK = np.stack([generator.permutation(vocabulary)[:K] for _ in range(count)]).astype(np.int32)
    which_N = np.zeros(count, int) if original_first else generator.integers(0, K, count)
    token_N = id_NK[np.arange(count), which_N]
    return token_N, logprob_NK[np.arange(count), which_N], id_NK, logprob_NK, generator.random(count)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    p=st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999, 1.0]),
    k=st.integers(1, K),
    temperature=st.sampled_from([0.5, 1.0, 1.5, 3.0]),
    strict=st.booleans(),
    original_first=st.booleans(),
)
def test_draws_equal_the_scalar_transcription(seed, p, k, temperature, strict, original_first):
    token_N, logprob_N, id_NK, candidate_NK, uniform_N = confident_tokens(200, seed, original_first=original_first)
    draws = resample(
        token_N, logprob_N, id_NK, candidate_NK, uniform_N, p=p, k=k, temperature=temperature, strict=strict
    )
    after_N = token_N.copy()
    after_N[draws.index_E] = draws.new_id_E
    expected = 0.0
    for n in range(len(token_N)):
        candidates, logprobs = id_NK[n].tolist(), candidate_NK[n].astype(float).tolist()
        eligible, token, change = edit_token(
            int(token_N[n]), float(logprob_N[n]), candidates, logprobs, uniform_N[n], p, k, temperature, strict
        )
        assert eligible == (n in draws.index_E)
        assert token == after_N[n]
        expected += change
    assert draws.expected_changed == pytest.approx(expected, abs=1e-9)
    assert draws.changed_E.sum() == (after_N != token_N).sum()


def test_a_higher_threshold_changes_a_subset():
    token_N, logprob_N, id_NK, candidate_NK, uniform_N = confident_tokens(20_000, 1)
    changed = {}
    for p in (0.9, 0.99, 0.999):
        draws = resample(token_N, logprob_N, id_NK, candidate_NK, uniform_N, p=p, k=8)
        changed[p] = set(draws.index_E[draws.changed_E].tolist())
    assert changed[0.999] < changed[0.99] < changed[0.9]


def test_one_candidate_changes_nothing():
    token_N, logprob_N, id_NK, candidate_NK, uniform_N = confident_tokens(1000, 2)
    draws = resample(token_N, logprob_N, id_NK, candidate_NK, uniform_N, p=0.9, k=1, temperature=5.0)
    assert len(draws.index_E) == 1000 and not draws.changed_E.any() and draws.expected_changed == 0


def test_the_changed_rate_agrees_with_its_expectation_and_the_bound():
    """At temperature 1 at most 1 - p of the eligible tokens change in expectation."""
    token_N, logprob_N, id_NK, candidate_NK, _ = confident_tokens(5_000, 3)
    uniform_N = np.random.default_rng(4).random((20, 5_000))
    runs = [resample(token_N, logprob_N, id_NK, candidate_NK, u, p=0.99, k=8) for u in uniform_N]
    counts = [run.changed_E.sum() for run in runs]
    expected, eligible = runs[0].expected_changed, len(runs[0].index_E)
    assert expected <= 0.01 * eligible
    assert abs(np.mean(counts) - expected) < 5 * np.sqrt(expected / len(counts))


def test_published_change_probabilities_at_temperature_one_and_a_half():
    """With k = 8 and log-probabilities divided by 1.5, P = 0.99 changes in 4.5 to 8.2 %."""
    rest = {"one": [0.01, *[1e-12] * 6], "even": [0.01 / 7] * 7}
    change = {}
    for name, others in rest.items():
        logprob_1K = np.log(np.array([[0.99, *others]])).astype(np.float32)
        id_1K = np.arange(8, dtype=np.int32)[None]
        draws = resample(id_1K[:, 0], logprob_1K[:, 0], id_1K, logprob_1K, np.zeros(1), p=0.98, k=8, temperature=1.5)
        change[name] = draws.expected_changed
    assert change["one"] == pytest.approx(0.045, abs=0.002)
    assert change["even"] == pytest.approx(0.082, abs=0.002)


def test_threshold_is_inclusive_and_unscored_tokens_never_pass():
    half = np.log(0.5)
    logprob = np.array([half, np.nextafter(half, -1), np.nan, 0.0])
    assert is_eligible(logprob, 0.5).tolist() == [True, False, False, True]
    assert is_eligible(logprob, 0.5, strict=True).tolist() == [False, False, False, True]
    assert is_eligible(logprob, 1.0).tolist() == [False, False, False, True]


@given(
    seed=st.integers(0, 2**63),
    ids=st.lists(st.text(max_size=20), min_size=1, max_size=5),
    position=st.integers(0, 2**31 - 1),
    purpose=st.integers(0, 2),
    number=st.sampled_from([0, 1, 2**16 - 1]),
)
def test_uniforms_are_a_function_of_seed_id_position_and_stream(seed, ids, position, purpose, number):
    key_D2 = document_keys(seed, ids)
    together = uniforms(key_D2, np.full(len(ids), position), purpose, number)
    for d, id in enumerate(ids):
        alone = uniforms(document_keys(seed, [id]), np.array([position]), purpose, number)[0]
        assert together[d] == alone == scalar_uniform(tuple(key_D2[d].tolist()), position, purpose, number)
        assert 0 <= alone < 1


def test_uniforms_look_uniform_and_independent():
    key_D2 = document_keys(0, [str(number) for number in range(500)])
    uniform_DT = uniforms(np.repeat(key_D2, 400, axis=0), np.tile(np.arange(400), 500)).reshape(500, 400)
    counts = np.histogram(uniform_DT, bins=100, range=(0, 1))[0]
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert 50 < chi_square < 165  # 99 degrees of freedom
    others_DT = [
        uniforms(np.repeat(key_D2, 400, axis=0), np.tile(np.arange(400), 500), *stream).reshape(500, 400)
        for stream in ((0, 1), (1, 0), (2, 0))
    ]
    assert all(abs(np.corrcoef(uniform_DT.ravel(), other.ravel())[0, 1]) < 0.01 for other in others_DT)
    along, across = uniform_DT[:, :-1].ravel(), uniform_DT[:-1].ravel()
    assert abs(np.corrcoef(along, uniform_DT[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(across, uniform_DT[1:].ravel())[0, 1]) < 0.01
