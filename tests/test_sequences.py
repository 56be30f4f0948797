"""Editing any sequence: the same draws as `stage=edit` makes of a score cache, and what holds for every prior."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toedit.config import EditConfig
from toedit.editors import find_editor
from toedit.scores import ShardScores, read_scores, write_scores
from toedit.sequences import edit_sequence, score_densely

SEEDS = st.integers(0, 2**32 - 1)


def laws(seed, length, alphabet):
    """(token_id_T, logprob_TV): a sequence and laws, many of them nearly certain of the token."""
    generator = np.random.default_rng(seed)
    token_id_T = generator.integers(alphabet, size=length)
    sharpness_T1 = generator.choice([0.0, 2.0, 6.0, 9.0], size=(length, 1))
    score_TV = generator.normal(size=(length, alphabet)) + sharpness_T1 * np.eye(alphabet)[token_id_T]
    return token_id_T, score_TV - np.log(np.exp(score_TV).sum(1, keepdims=True))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 200), st.integers(2, 12), st.floats(0.05, 1.0), st.integers(1, 15), st.floats(0.2, 3.0))
def test_only_eligible_tokens_change_and_only_to_candidates(seed, length, alphabet, p, k, temperature):
    token_id_T, logprob_TV = laws(seed, length, alphabet)
    scored = score_densely(lambda _: logprob_TV, token_id_T, min_p=0.05, k=k)
    before = token_id_T.copy()
    edited = edit_sequence("s", token_id_T, scored, p=p, k=k, temperature=temperature, seed=seed)
    own_T = logprob_TV[np.arange(length), token_id_T]
    eligible = np.flatnonzero(own_T >= math.log(p))
    assert edited.position_E.tolist() == eligible.tolist() and edited.eligible == len(eligible)
    changed = np.flatnonzero(edited.token_id_T != token_id_T)
    assert set(changed) <= set(eligible) and len(changed) == edited.changed
    for position in changed:
        assert edited.token_id_T[position] in np.argsort(-logprob_TV[position], kind="stable")[:k]
    assert (token_id_T == before).all()  # the given sequence stays as it was


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 8), st.floats(0.3, 0.9), st.floats(0.3, 0.9))
def test_a_larger_p_changes_a_subset(seed, k, first, second):
    token_id_T, logprob_TV = laws(seed, 150, 9)
    low, high = sorted((first, second))
    scored = score_densely(lambda _: logprob_TV, token_id_T, min_p=0.3, k=k)
    loose, strict = (edit_sequence("s", token_id_T, scored, p=p, k=k, seed=seed) for p in (low, high))
    changed = np.flatnonzero(strict.token_id_T != token_id_T)
    assert (strict.token_id_T[changed] == loose.token_id_T[changed]).all()


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 99))
def test_uniforms_belong_to_places_whatever_the_order(seed, cut):
    """Scoring less, in two parts, or in another order, gives the same tokens."""
    token_id_T, logprob_TV = laws(seed, 100, 6)
    scored = score_densely(lambda _: logprob_TV, token_id_T, min_p=0.5, k=6)
    whole = edit_sequence("s", token_id_T, scored, p=0.6, k=6, seed=seed)
    assert (whole.token_id_T == edit_sequence("s", token_id_T, scored, p=0.6, k=6, seed=seed).token_id_T).all()
    other_TV = logprob_TV.copy()
    other_TV[:cut] = -np.log(6)  # nothing is eligible there any more
    rest = edit_sequence("s", token_id_T, score_densely(lambda _: other_TV, token_id_T, 0.5, 6), p=0.6, k=6, seed=seed)
    assert (rest.token_id_T[cut:] == whole.token_id_T[cut:]).all()
    assert (rest.token_id_T[:cut] == token_id_T[:cut]).all()


def test_another_id_or_seed_draws_anew():
    token_id_T, logprob_TV = laws(3, 3000, 6)
    scored = score_densely(lambda _: logprob_TV, token_id_T, min_p=0.5, k=6)
    found = {
        tuple(edit_sequence(id, token_id_T, scored, p=0.5, k=6, seed=seed).token_id_T)
        for id in ("a", "b")
        for seed in (0, 1)
    }
    assert len(found) == 4


def test_the_realised_changes_are_the_exact_expectation_within_4_standard_errors():
    token_id_T, logprob_TV = laws(5, 4000, 5)
    scored = score_densely(lambda _: logprob_TV, token_id_T, min_p=0.5, k=5)
    runs = [edit_sequence("s", token_id_T, scored, p=0.5, k=5, seed=seed) for seed in range(60)]
    p_TV = np.exp(logprob_TV)
    own_T = p_TV[np.arange(4000), token_id_T]
    stays_T = own_T[own_T >= 0.5]
    assert runs[0].draws.expected_changed == pytest.approx((1 - stays_T).sum())
    error = math.sqrt((stays_T * (1 - stays_T)).sum() / len(runs))
    assert abs(np.mean([run.changed for run in runs]) - (1 - stays_T).sum()) < 4 * error


@pytest.mark.parametrize(("p", "k", "temperature"), [(0.9, 8, 1.0), (0.5, 3, 1.5), (0.99, 1, 1.0)])
def test_the_edit_is_that_of_a_score_cache(tmp_path, p, k, temperature):
    """Three documents of a shard, through the file that `stage=score` writes and the editor that `stage=edit` runs."""
    documents = [laws(seed, length, 20) for seed, length in ((0, 50), (1, 1), (2, 120))]
    scored = [score_densely(lambda _, law=law: law, tokens, min_p=0.5, k=8) for tokens, law in documents]
    lengths, candidates = [len(tokens) for tokens, _ in documents], [len(one.position_N) for one in scored]
    cache = ShardScores(
        ids=["x", "y", "z"],
        token_offset_D1=np.concatenate([[0], np.cumsum(lengths)]),
        token_id_T=np.concatenate([tokens for tokens, _ in documents]).astype(np.int32),
        span_T2=np.zeros((sum(lengths), 2), np.int32),
        logprob_T=np.concatenate([one.logprob_T for one in scored]).astype(np.float32),
        candidate_offset_D1=np.concatenate([[0], np.cumsum(candidates)]),
        candidate_position_N=np.concatenate([one.position_N for one in scored]).astype(np.int32),
        candidate_id_NK=np.concatenate([one.candidate_id_Nk for one in scored]).astype(np.int32),
        candidate_logprob_NK=np.concatenate([one.candidate_logprob_Nk for one in scored]).astype(np.float32),
    )
    write_scores(tmp_path / "00000.parquet", cache)
    cache = read_scores(tmp_path / "00000.parquet")
    edit = EditConfig(p=p, k=k, temperature=temperature, seed=7)
    draws = find_editor("top_k").draw(cache, None, edit)
    wanted_T = cache.token_id_T.copy()
    wanted_T[draws.index_E] = draws.new_id_E
    parts = np.split(wanted_T, np.cumsum(lengths)[:-1])
    changed = 0
    for id, (tokens, _), one, wanted in zip(cache.ids, documents, scored, parts, strict=True):
        found = edit_sequence(id, tokens, one, p=p, k=k, temperature=temperature, seed=7)
        assert found.token_id_T.tolist() == wanted.tolist()
        changed += found.changed
    assert changed == draws.changed_E.sum() and (changed > 0 or k == 1)
