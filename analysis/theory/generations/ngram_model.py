"""An n-gram language model over token ids: interpolated absolute discounting, with Kneser-Ney's counts or plain ones.

With h the last m - 1 tokens and h' all of them but the first, D the discount,

    P_m(w | h) = [max(c(h w) - D, 0) + D |{v: c(h v) > 0}| P_{m-1}(w | h')] / sum_v c(h v),     P_0(w) = 1 / V,

and P_m(w | h) = P_{m-1}(w | h') where h was never seen (Ney et al. 1994). The longest n-grams are counted as they
occur. Of shorter ones Kneser and Ney (1995) count the different tokens that come before, `counts=continuations`;
`counts=occurrences` counts these as they occur as well. D = 0 is maximum likelihood with back-off: nothing is ever said
that was not seen, so its sampled text has no noise of smoothing, and its log-probabilities may be minus infinity.

Before a document's first token lie document ends; the end itself is a token that the model predicts.

Tables: the contexts of level m (m - 1 tokens) are sorted by key_C = (number of the context without its first token
among those of level m - 1) * V + its first token; their n-grams lie behind each other, sorted by token, with cumulative
counts. All levels lie in the same arrays; contexts of level m begin at first_context_L1[m - 1].

Shapes: T tokens, D documents, D1 = D + 1, V vocabulary; others in `ngram_kernels`, which has the inner loops.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.theory.generations import ngram_kernels
from toedit.editing import Floats, Ints
from toedit.sequences import ScoredSequence
from toedit.uniforms import document_keys

COUNTS = ("continuations", "occurrences")


@dataclass(frozen=True)
class Documents:
    """Documents end to end."""

    token_T: NDArray[np.int32]
    first_D1: NDArray[np.int64]
    """Where each begins, and where the last one stops."""
    unit_D: NDArray[np.int64]
    """The work that each is from."""

    def __len__(self) -> int:
        return len(self.first_D1) - 1

    @property
    def tokens(self) -> int:
        return len(self.token_T)

    def __getitem__(self, document: int) -> NDArray[np.int32]:
        return self.token_T[self.first_D1[document] : self.first_D1[document + 1]]


@dataclass(frozen=True)
class NGramModel:
    """A trained model. A `SequencePrior`: `score` serves the editor."""

    vocabulary_size: int
    end: int
    """The token that ends a document; never among the candidates of an edit."""
    discount: float
    key_C: NDArray[np.int64]
    first_context_L1: NDArray[np.int64]
    first_gram_C1: NDArray[np.int64]
    token_G: NDArray[np.int32]
    cumulative_G: NDArray[np.int64]
    """Counts, added up within each context."""

    @property
    def order(self) -> int:
        return len(self.first_context_L1) - 1

    def with_discount(self, discount: float) -> NGramModel:
        """The same counts, smoothed otherwise; 0 <= discount <= 1."""
        return replace(self, discount=discount)

    def log_probabilities(self, documents: Documents) -> Floats:
        """`logprob_T`, natural: each token given those before it in its document, minus infinity where P is 0."""
        return ngram_kernels.log_probabilities(self._tables(), documents.token_T, documents.first_D1)

    def laws(self, documents: Documents, place_P: Ints) -> Floats:
        """`probability_PV`: the law of the token at each place of `documents`; P x V numbers."""
        first_P = documents.first_D1[np.searchsorted(documents.first_D1, place_P, side="right") - 1]
        return ngram_kernels.laws(self._tables(), documents.token_T, first_P, place_P.astype(np.int64))

    def score(self, token_id_T: Ints, min_p: float, k: int) -> ScoredSequence:
        """One document without its end: all log-probabilities; where P >= min_p, the k best tokens, not the end.

        Fewer where the vocabulary has fewer. Of equally probable tokens the one with the smaller id comes first; of
        those with probability 0, any.
        """
        tables, token_T = self._tables(), token_id_T.astype(np.int32)
        logprob_T = ngram_kernels.log_probabilities(tables, token_T, np.array([0, len(token_T)]))
        position_N = np.flatnonzero(logprob_T >= np.log(min_p))
        k = min(k, self.vocabulary_size - 1)
        id_Nk, probability_Nk = ngram_kernels.candidates(tables, *self._most_probable, token_T, position_N, k)
        with np.errstate(divide="ignore"):
            return ScoredSequence(logprob_T, position_N, id_Nk, np.log(probability_Nk))

    def sample(self, tokens: int, longest: int, seed: int, name: str) -> Documents:
        """Documents of at most `longest` tokens, `tokens` of them in all; random numbers by seed, name and document."""
        token_T, first_D1 = ngram_kernels.sample(self._tables(), document_keys(seed, [name])[0, 0], longest, tokens)
        return Documents(token_T, first_D1, np.arange(len(first_D1) - 1))

    @cached_property
    def _most_probable(self) -> tuple[Floats, Ints, Ints]:
        """`probability_G`, the n-grams of each context by descending probability, and all tokens so without context."""
        probability_G = ngram_kernels.gram_probabilities(self._tables())
        context_G = np.repeat(np.arange(len(self.first_gram_C1) - 1), np.diff(self.first_gram_C1))
        without_V = np.zeros(self.vocabulary_size)
        stop = self.first_gram_C1[1]
        without_V[self.token_G[:stop]] = probability_G[:stop]
        sorted_G = np.lexsort((self.token_G, -probability_G, context_G))
        return probability_G, sorted_G, np.argsort(-without_V, kind="stable")

    def _tables(self) -> ngram_kernels.Tables:
        return (
            self.key_C,
            self.first_context_L1,
            self.first_gram_C1,
            self.token_G,
            self.cumulative_G,
            float(self.discount),
            self.vocabulary_size,
            self.end,
        )


def train(
    documents: Documents, order: int, vocabulary_size: int, end: int, discount: float, counts: str = "continuations"
) -> NGramModel:
    """The model of `documents`, at least one token; order >= 1, 0 <= discount <= 1."""
    token_T = documents.token_T.astype(np.int64)
    place_T = np.arange(len(token_T)) - np.repeat(documents.first_D1[:-1], np.diff(documents.first_D1))
    keys: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    context_T = np.zeros(len(token_T), np.int64)
    gram_mT, levels = [], []
    for level in range(order):
        if level:
            before_T = np.full(len(token_T), end, np.int64)
            before_T[place_T >= level] = token_T[np.flatnonzero(place_T >= level) - level]
            key_C, context_T = np.unique(context_T * vocabulary_size + before_T, return_inverse=True)
            keys.append(key_C)
        key_G, gram_T = np.unique(context_T * vocabulary_size + token_T, return_inverse=True)
        levels.append(key_G)
        gram_mT.append(gram_T)
    tables = []
    for level, (key_G, gram_T) in enumerate(zip(levels, gram_mT, strict=True)):
        if level == order - 1 or counts == "occurrences":
            count_G = np.bincount(gram_T, minlength=len(key_G))
        else:  # each longer n-gram is this one with another token before it
            of_longer = np.empty(len(levels[level + 1]), np.int64)
            of_longer[gram_mT[level + 1]] = gram_T
            count_G = np.bincount(of_longer, minlength=len(key_G))
        tables.append((key_G // vocabulary_size, key_G % vocabulary_size, count_G))
    return _assembled(keys, tables, vocabulary_size, end, discount)


def _assembled(
    keys: list[NDArray[np.int64]],
    tables: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]],
    vocabulary_size: int,
    end: int,
    discount: float,
) -> NGramModel:
    """All levels in one array each. `tables`: context, token and count of every n-gram, a level each."""
    first_context_L1 = np.cumsum([0, *map(len, keys)])
    context_G = np.concatenate([own + first for (own, _, _), first in zip(tables, first_context_L1, strict=False)])
    count_G = np.concatenate([count for _, _, count in tables])
    first_gram_C1 = np.searchsorted(context_G, np.arange(first_context_L1[-1] + 1))
    running_G = np.cumsum(count_G)
    before_C = np.concatenate([[0], running_G])[first_gram_C1[:-1]]
    return NGramModel(
        vocabulary_size=vocabulary_size,
        end=end,
        discount=discount,
        key_C=np.concatenate(keys),
        first_context_L1=first_context_L1,
        first_gram_C1=first_gram_C1,
        token_G=np.concatenate([token for _, token, _ in tables]).astype(np.int32),
        cumulative_G=running_G - np.repeat(before_C, np.diff(first_gram_C1)),
    )
