"""The n-gram model against a plain implementation with dictionaries, what it writes, and the editor it serves."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from analysis.theory.generations.ngram_model import COUNTS, Documents, train
from toedit.sequences import edit_sequence

END = 0


def documents_of(texts) -> Documents:
    return Documents(
        np.concatenate([np.array(text, np.int32) for text in texts]),
        np.cumsum([0, *map(len, texts)]),
        np.arange(len(texts)),
    )


def random_texts(vocabulary=7, texts=30, seed=0):
    """Documents of skewed tokens; most end with an end, some were cut."""
    generator = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, vocabulary)
    found = []
    for _ in range(texts):
        tokens = 1 + generator.choice(vocabulary - 1, size=generator.integers(1, 25), p=weight / weight.sum())
        found.append([*tokens.tolist(), *([END] if generator.random() < 0.8 else [])])
    return found


class PlainModel:
    """The formula of `ngram_model`'s docstring, word for word."""

    def __init__(self, texts, order, vocabulary, discount, counts):
        self.order, self.vocabulary, self.discount = order, vocabulary, discount
        occurrences = [Counter() for _ in range(order)]
        for text in texts:
            padded = [END] * (order - 1) + list(text)
            for place in range(order - 1, len(padded)):
                for level in range(order):
                    occurrences[level][tuple(padded[place - level : place + 1])] += 1
        self.counts = [Counter() for _ in range(order)]
        for level in range(order):
            if level == order - 1 or counts == "occurrences":
                self.counts[level] = occurrences[level]
            else:
                for longer in occurrences[level + 1]:
                    self.counts[level][longer[1:]] += 1
        self.of_context = [defaultdict(dict) for _ in range(order)]
        for level in range(order):
            for gram, count in self.counts[level].items():
                self.of_context[level][gram[:-1]][gram[-1]] = count

    def probability(self, history, token):
        padded, probability = [END] * (self.order - 1) + list(history), 1 / self.vocabulary
        for level in range(self.order):
            known = self.of_context[level].get(tuple(padded[len(padded) - level :]))
            if known is None:
                break
            total = sum(known.values())
            kept = max(known.get(token, 0) - self.discount, 0)
            probability = (kept + self.discount * len(known) * probability) / total
        return probability

    def law(self, history):
        return np.array([self.probability(history, token) for token in range(self.vocabulary)])


SETTINGS = [(order, discount, counts) for order in (1, 2, 3, 4) for discount in (0.0, 0.4, 1.0) for counts in COUNTS]


@pytest.mark.parametrize(("order", "discount", "counts"), SETTINGS)
def test_the_laws_are_the_formula_s_and_sum_to_one(order, discount, counts):
    texts, others = random_texts(), documents_of(random_texts(seed=1, texts=6))
    model = train(documents_of(texts), order, 7, END, discount, counts)
    plain = PlainModel(texts, order, 7, discount, counts)
    law_TV = model.laws(others, np.arange(others.tokens))
    np.testing.assert_allclose(law_TV.sum(axis=1), 1, rtol=1e-12)
    wanted = [
        plain.law(others[number][:place]) for number in range(len(others)) for place in range(len(others[number]))
    ]
    np.testing.assert_allclose(law_TV, wanted, rtol=1e-12, atol=1e-15)
    with np.errstate(divide="ignore"):
        own_T = np.log(law_TV[np.arange(others.tokens), others.token_T])
    np.testing.assert_allclose(model.log_probabilities(others), own_T, rtol=1e-12)


@pytest.mark.parametrize("discount", [0.0, 0.3])
def test_candidates_are_the_most_probable_tokens_but_the_end(discount):
    texts = random_texts(vocabulary=40, texts=60)
    model = train(documents_of(texts), 3, 40, END, discount)
    found = 0
    for text in random_texts(vocabulary=40, texts=20, seed=2):
        token_T = np.array(text[:-1], np.int32)
        scored = model.score(token_T, 0.2, 5)
        law_TV = model.laws(documents_of([token_T]), np.arange(len(token_T)))
        own_T = law_TV[np.arange(len(token_T)), token_T]
        assert scored.position_N.tolist() == np.flatnonzero(own_T >= 0.2 - 1e-12).tolist()
        law_NV = law_TV[scored.position_N]
        law_NV[:, END] = -1
        best_Nk = -np.sort(-law_NV, axis=1)[:, :5]
        np.testing.assert_allclose(np.exp(scored.candidate_logprob_Nk), best_Nk, rtol=1e-12, atol=1e-15)
        own_Nk = np.take_along_axis(law_NV, scored.candidate_id_Nk, axis=1)
        np.testing.assert_allclose(own_Nk, best_Nk, rtol=1e-12, atol=1e-15)
        assert all(len(set(row)) == 5 for row in scored.candidate_id_Nk.tolist())
        found += len(scored.position_N)
    assert found > 20


def test_k_beyond_the_vocabulary_takes_all_of_it():
    model = train(documents_of(random_texts()), 2, 7, END, 0.5)
    scored = model.score(np.array([1, 2, 1], np.int32), 0.01, 64)
    assert scored.candidate_id_Nk.shape == (3, 6) and END not in scored.candidate_id_Nk


def test_what_it_writes_follows_its_law():
    model = train(documents_of(random_texts()), 3, 7, END, 0.6)
    written = model.sample(200_000, 12, 0, "a")
    length_D = np.diff(written.first_D1)
    assert written.tokens == 200_000 and length_D.max() == 12 and length_D.min() >= 1
    is_last_T = np.zeros(written.tokens, bool)
    is_last_T[written.first_D1[1:] - 1] = True
    assert not (written.token_T == END)[~is_last_T].any()  # an end ends
    # The third token, given the two before it: the commonest context.
    starts = written.first_D1[:-1][length_D >= 3]
    pairs, counts = np.unique(written.token_T[starts] * 7 + written.token_T[starts + 1], return_counts=True)
    first, second = divmod(int(pairs[counts.argmax()]), 7)
    chosen = starts[(written.token_T[starts] == first) & (written.token_T[starts + 1] == second)]
    seen_V = np.bincount(written.token_T[chosen + 2], minlength=7)
    law_V = model.laws(written, chosen[:1] + 2)[0]
    assert len(chosen) > 500
    assert (abs(seen_V - len(chosen) * law_V) < 4.5 * np.sqrt(len(chosen) * law_V * (1 - law_V)) + 1e-9).all()


def test_without_a_discount_it_writes_what_it_has_seen():
    texts = random_texts(texts=8)
    model = train(documents_of(texts), 3, 7, END, 0.0)
    seen = {tuple(([END, END, *text])[place : place + 3]) for text in texts for place in range(len(text))}
    written = model.sample(5000, 50, 0, "a")
    for number in range(len(written)):
        text = [END, END, *written[number].tolist()]
        for place in range(len(written[number])):
            before = tuple(text[place : place + 2])
            assert tuple(text[place : place + 3]) in seen or not any(gram[:2] == before for gram in seen)
    assert np.isfinite(model.log_probabilities(written)).all()


def test_writing_is_a_function_of_seed_and_name():
    model = train(documents_of(random_texts()), 2, 7, END, 0.5)
    same, again = (model.sample(500, 20, 3, "x").token_T for _ in range(2))
    np.testing.assert_array_equal(same, again)
    for other in (model.sample(500, 20, 4, "x"), model.sample(500, 20, 3, "y")):
        assert (other.token_T != same).any()
    longer = model.sample(900, 20, 3, "x").token_T  # asking for more does not change what was written
    np.testing.assert_array_equal(longer[:500], same)


def test_it_is_a_prior_for_the_editor():
    """Only tokens with P >= p change, into candidates; with p = 1 and smoothing none is so sure."""
    model = train(documents_of(random_texts()), 3, 7, END, 0.3)
    token_T = np.array([token for text in random_texts(seed=5) for token in text if token != END], np.int32)
    scored = model.score(token_T, 0.3, 3)
    edited = edit_sequence("x", token_T, scored, p=0.3, k=3, seed=1)
    changed = np.flatnonzero(edited.token_id_T != token_T)
    assert 0 < len(changed) == edited.changed <= edited.eligible == len(scored.position_N)
    assert (scored.logprob_T[changed] >= math.log(0.3)).all() and END not in edited.token_id_T
    assert edit_sequence("x", token_T, model.score(token_T, 1.0, 3), p=1.0, k=3).eligible == 0


@pytest.mark.parametrize("texts", [[[END]], [[3]], [[END], [END], [1, 1, 1, 1]]])
def test_odd_text(texts):
    for order in (1, 3):
        for discount in (0.0, 0.75):
            model = train(documents_of(texts), order, 5, END, discount)
            law_TV = model.laws(documents_of([[1, 2, 3, END]]), np.arange(4))
            np.testing.assert_allclose(law_TV.sum(axis=1), 1)
            assert model.sample(10, 4, 0, "a").tokens == 10
