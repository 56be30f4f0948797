"""A predictive law from counts, for any alphabet: a context's counts, mixed with those of a shorter context.

    P_j(x | c_1 .. c_j) = (count(c_1 .. c_j, x) + a P_(j-1)(x | c_1 .. c_(j-1))) / (count(c_1 .. c_j) + a)

P_(-1) is uniform; a is the smoothing (MacKay and Peto 1995, with one fixed strength). The tokens of a context lie at
stated distances before the predicted one (`offsets`), so a picture's context may be the pixels to the left and above.
It is a `toedit.sequences.SequencePrior`.

Shapes: T tokens of a sequence, V tokens of the alphabet, C contexts, G different (context, token), N confident tokens,
k candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.theory.beyond_text.sources import Ints
from toedit.editing import Floats
from toedit.editing import Ints as AnyInts
from toedit.sequences import ScoredSequence

_ROWS = 4096
"""Contexts whose whole law is held at a time."""


def context_keys(token_id_T: AnyInts, alphabet: int, offsets: tuple[int, ...]) -> Ints:
    """[T]: each token's context as a number, its tokens as digits; before the beginning stands a sign of its own."""
    key_T = np.zeros(len(token_id_T), np.int64)
    for digit, offset in enumerate(offsets):
        before_T = np.full(len(token_id_T), alphabet, np.int64)
        before_T[offset:] = token_id_T[: max(len(token_id_T) - offset, 0)]
        key_T += before_T * (alphabet + 1) ** digit
    return key_T


@dataclass(frozen=True)
class _Level:
    """The counts of contexts of one length."""

    key_C: Ints
    total_C: Ints
    first_C1: Ints
    token_G: Ints
    count_G: Ints


class CountPrior:
    """Counts of `token_id_T`."""

    def __init__(self, token_id_T: AnyInts, alphabet: int, offsets: tuple[int, ...], smoothing: float) -> None:
        self.alphabet, self.offsets, self.smoothing = alphabet, offsets, smoothing
        assert (alphabet + 1) ** (len(offsets) + 1) < 2**63, "contexts too long for their keys"
        self._levels = [self._count(token_id_T, length) for length in range(len(offsets) + 1)]

    def contexts(self, token_id_T: AnyInts) -> Ints:
        """[T]: each token's whole context, as a number."""
        return context_keys(token_id_T, self.alphabet, self.offsets)

    def law(self, key_C: Ints) -> Floats:
        """[C, V]: the law after each context."""
        _, lower_CV, count_CV = self.parts(key_C)
        return self.mixed(count_CV, lower_CV)

    def parts(self, key_C: Ints) -> tuple[Floats, Floats, Floats]:
        """`(total_C, lower_CV, count_CV)`: what the law after each context is mixed from."""
        lower_CV = np.full((len(key_C), self.alphabet), 1 / self.alphabet)
        base, length = self.alphabet + 1, len(self.offsets)
        for level, counts in enumerate(self._levels):
            # Keys hold a context's tokens as digits, the first offset's last.
            count_CV = self._dense(counts, key_C % base**level)
            if level == length:
                break
            lower_CV = self.mixed(count_CV, lower_CV)
        return count_CV.sum(axis=1), lower_CV, count_CV

    def mixed(self, count_CV: Floats, lower_CV: Floats) -> Floats:
        """The law of counts and of the law below them."""
        return (count_CV + self.smoothing * lower_CV) / (count_CV.sum(axis=1, keepdims=True) + self.smoothing)

    def score(self, token_id_T: AnyInts, min_p: float, k: int) -> ScoredSequence:
        """What editing needs; memory: the laws of 4,096 contexts."""
        key_C, context_T = np.unique(self.contexts(token_id_T), return_inverse=True)
        k = min(k, self.alphabet)
        p_T = np.empty(len(token_id_T))
        candidate_Ck, candidate_p_Ck = np.empty((len(key_C), k), np.int64), np.empty((len(key_C), k))
        order_T = np.argsort(context_T, kind="stable")
        first_C1 = np.searchsorted(context_T[order_T], np.arange(len(key_C) + 1))
        for start in range(0, len(key_C), _ROWS):
            stop = min(start + _ROWS, len(key_C))
            law_CV = self.law(key_C[start:stop])
            place_T = order_T[first_C1[start] : first_C1[stop]]
            p_T[place_T] = law_CV[context_T[place_T] - start, token_id_T[place_T]]
            sure_C = np.flatnonzero(law_CV.max(axis=1) >= min_p)
            ranked_Ck = np.argsort(-law_CV[sure_C], axis=1, kind="stable")[:, :k]
            candidate_Ck[start + sure_C] = ranked_Ck
            candidate_p_Ck[start + sure_C] = np.take_along_axis(law_CV[sure_C], ranked_Ck, axis=1)
        logprob_T = np.log(p_T)
        position_N = np.flatnonzero(logprob_T >= math.log(min_p))
        context_N = context_T[position_N]
        return ScoredSequence(logprob_T, position_N, candidate_Ck[context_N], np.log(candidate_p_Ck[context_N]))

    def _count(self, token_id_T: AnyInts, length: int) -> _Level:
        gram_T = context_keys(token_id_T, self.alphabet, self.offsets[:length]) * self.alphabet + token_id_T
        gram_G, count_G = np.unique(gram_T, return_counts=True)
        key_C, first_C = np.unique(gram_G // self.alphabet, return_index=True)
        total_C = np.add.reduceat(count_G, first_C)
        return _Level(key_C, total_C, np.append(first_C, len(gram_G)), gram_G % self.alphabet, count_G)

    def _dense(self, level: _Level, key_C: Ints) -> Floats:
        """[C, V]: the counts after each context, zeros where it was never seen."""
        place_C = np.minimum(np.searchsorted(level.key_C, key_C), len(level.key_C) - 1)
        known_C = np.flatnonzero(level.key_C[place_C] == key_C)
        first_C, stop_C = level.first_C1[place_C[known_C]], level.first_C1[place_C[known_C] + 1]
        row_G = np.repeat(known_C, stop_C - first_C)
        within_G = np.arange(len(row_G)) - np.repeat(np.cumsum(stop_C - first_C) - (stop_C - first_C), stop_C - first_C)
        gram_G = np.repeat(first_C, stop_C - first_C) + within_G
        count_CV = np.zeros((len(key_C), self.alphabet))
        count_CV[row_G, level.token_G[gram_G]] = level.count_G[gram_G]
        return count_CV
