"""The inner loops of the n-gram model, compiled. `ngram_model.py` says what the tables hold.

Every function takes the tables as one tuple and works on documents that lie end to end.

Shapes: T tokens, D documents, D1 = D + 1, m levels (1 to the order), C contexts of all levels, G n-grams of all
levels, C1 = C + 1, L1 = levels + 1, V tokens of the vocabulary, k candidates, P places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from analysis.ngrams.compiled import compiled, inlined

Tables = tuple[Any, ...]
"""key_C, first_context_L1, first_gram_C1, token_G, cumulative_G, discount, vocabulary size, end token."""

_ABSENT = -1
_STEP = uint64(0x9E3779B97F4A7C15)
_FIRST = uint64(0xBF58476D1CE4E5B9)
_SECOND = uint64(0x94D049BB133111EB)


@inlined
def _found(sorted_N: NDArray[Any], start: int, stop: int, wanted: int) -> int:
    """The place of `wanted` in sorted_N[start:stop], or _ABSENT."""
    low, high = start, stop
    while low < high:
        middle = (low + high) >> 1
        if sorted_N[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    if low < stop and sorted_N[low] == wanted:
        return low
    return _ABSENT


@inlined
def _place_contexts(tables: Tables, token_T: NDArray[Any], first: int, place: int, context_m: NDArray[Any]) -> int:
    """Fill in the contexts of `place`, shortest first, as far as they were seen; how many there are.

    `first` is where its document begins: before that lie document ends.
    """
    key_C, first_context_L1, _, _, _, _, vocabulary_size, end = tables
    context_m[0] = 0
    for level in range(1, len(context_m)):
        before = place - level
        token = end if before < first else token_T[before]
        key = (context_m[level - 1] - first_context_L1[level - 1]) * vocabulary_size + token
        context = _found(key_C, first_context_L1[level], first_context_L1[level + 1], key)
        if context == _ABSENT:
            return level
        context_m[level] = context
    return len(context_m)


@inlined
def _token_probability(tables: Tables, context_m: NDArray[Any], levels: int, token: int) -> float:
    """P(token | the contexts), from the shortest context to the longest."""
    _, _, first_gram_C1, token_G, cumulative_G, discount, vocabulary_size, _ = tables
    probability = 1.0 / vocabulary_size
    for level in range(levels):
        start, stop = first_gram_C1[context_m[level]], first_gram_C1[context_m[level] + 1]
        total = cumulative_G[stop - 1]
        probability *= discount * (stop - start) / total
        gram = _found(token_G, start, stop, token)
        if gram != _ABSENT:
            count = cumulative_G[gram] - (cumulative_G[gram - 1] if gram > start else 0)
            probability += (count - discount) / total
    return probability


@compiled
def log_probabilities(tables: Tables, token_T: NDArray[Any], first_D1: NDArray[Any]) -> NDArray[Any]:
    """Natural log of P(token | tokens before it in its document); minus infinity where P is 0."""
    logprob_T = np.empty(len(token_T), np.float64)
    context_m = np.empty(len(tables[1]) - 1, np.int64)
    for document in range(len(first_D1) - 1):
        for place in range(first_D1[document], first_D1[document + 1]):
            levels = _place_contexts(tables, token_T, first_D1[document], place, context_m)
            logprob_T[place] = np.log(_token_probability(tables, context_m, levels, token_T[place]))
    return logprob_T


@compiled
def laws(tables: Tables, token_T: NDArray[Any], first_P: NDArray[Any], place_P: NDArray[Any]) -> NDArray[Any]:
    """`probability_PV`: the whole law at each place, of a document that begins at `first_P`."""
    _, first_context_L1, first_gram_C1, token_G, cumulative_G, discount, vocabulary_size, _ = tables
    probability_PV = np.full((len(place_P), vocabulary_size), 1.0 / vocabulary_size)
    context_m = np.empty(len(first_context_L1) - 1, np.int64)
    for row in range(len(place_P)):
        law_V = probability_PV[row]
        levels = _place_contexts(tables, token_T, first_P[row], place_P[row], context_m)
        for level in range(levels):
            start, stop = first_gram_C1[context_m[level]], first_gram_C1[context_m[level] + 1]
            total = cumulative_G[stop - 1]
            law_V *= discount * (stop - start) / total
            for gram in range(start, stop):
                count = cumulative_G[gram] - (cumulative_G[gram - 1] if gram > start else 0)
                law_V[token_G[gram]] += (count - discount) / total
    return probability_PV


@compiled
def gram_probabilities(tables: Tables) -> NDArray[Any]:
    """`probability_G`: of each n-gram's last token, in the n-gram's own context."""
    key_C, first_context_L1, first_gram_C1, token_G, cumulative_G, discount, vocabulary_size, _ = tables
    probability_G = np.empty(len(token_G))
    for level in range(len(first_context_L1) - 1):
        for context in range(first_context_L1[level], first_context_L1[level + 1]):
            shorter = first_context_L1[level - 1] + key_C[context] // vocabulary_size if level else 0
            start, stop = first_gram_C1[context], first_gram_C1[context + 1]
            total = cumulative_G[stop - 1]
            for gram in range(start, stop):
                below = 1.0 / vocabulary_size
                if level:  # who was seen in a context was seen in the shorter one
                    place = _found(token_G, first_gram_C1[shorter], first_gram_C1[shorter + 1], token_G[gram])
                    below = probability_G[place]
                count = cumulative_G[gram] - (cumulative_G[gram - 1] if gram > start else 0)
                probability_G[gram] = (count - discount) / total + discount * (stop - start) / total * below
    return probability_G


@inlined
def _is_longer(tables: Tables, context_m: NDArray[Any], level: int, levels: int, token: int) -> bool:
    """Whether a longer context than that of `level` knows the token as well."""
    _, _, first_gram_C1, token_G, _, _, _, _ = tables
    for longer in range(level + 1, levels):
        context = context_m[longer]
        if _found(token_G, first_gram_C1[context], first_gram_C1[context + 1], token) != _ABSENT:
            return True
    return False


@inlined
def _insert(id_k: NDArray[Any], probability_k: NDArray[Any], filled: int, token: int, probability: float) -> int:
    """Put a token in its place among the `filled` most probable ones, smaller ids first; how many there are now."""
    place = filled
    while place > 0 and (
        probability > probability_k[place - 1] or (probability == probability_k[place - 1] and token < id_k[place - 1])
    ):
        place -= 1
    if place == len(id_k):
        return filled
    for index in range(min(filled, len(id_k) - 1), place, -1):
        id_k[index], probability_k[index] = id_k[index - 1], probability_k[index - 1]
    id_k[place], probability_k[place] = token, probability
    return min(filled + 1, len(id_k))


@compiled
def candidates(
    tables: Tables,
    probability_G: NDArray[Any],
    sorted_G: NDArray[Any],
    frequent_V: NDArray[Any],
    token_T: NDArray[Any],
    position_N: NDArray[Any],
    k: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """`(id_Nk, probability_Nk)`: the k most probable tokens but the end at places of one document, k < V.

    `sorted_G`: the n-grams of each context, the most probable first; `frequent_V`: all tokens so, without a context.
    The longest context that knows a token gives its probability up to a factor that all such tokens share; so the first
    k of each context that no longer one knows are enough.
    """
    _, first_context_L1, first_gram_C1, token_G, cumulative_G, discount, _, end = tables
    id_Nk, probability_Nk = np.zeros((len(position_N), k), np.int64), np.zeros((len(position_N), k))
    context_m = np.empty(len(first_context_L1) - 1, np.int64)
    for row in range(len(position_N)):
        levels = _place_contexts(tables, token_T, 0, position_N[row], context_m)
        factor, filled = 1.0, 0
        for level in range(levels - 1, -1, -1):
            start, stop = first_gram_C1[context_m[level]], first_gram_C1[context_m[level] + 1]
            known = 0
            for index in range(stop - start if level else len(frequent_V)):
                token = token_G[sorted_G[start + index]] if level else frequent_V[index]
                if token == end or _is_longer(tables, context_m, level, levels, token):
                    continue
                if level:
                    probability = factor * probability_G[sorted_G[start + index]]
                else:
                    probability = factor * _token_probability(tables, context_m, 1, token)
                filled = _insert(id_Nk[row], probability_Nk[row], filled, token, probability)
                known += 1
                if known == k:
                    break
            factor *= discount * (stop - start) / cumulative_G[stop - 1]
    return id_Nk, probability_Nk


@inlined
def _mixed(word: Any) -> Any:
    """The finaliser of SplitMix64 (Steele et al. 2014)."""
    word = (word ^ (word >> uint64(30))) * _FIRST
    word = (word ^ (word >> uint64(27))) * _SECOND
    return word ^ (word >> uint64(31))


@inlined
def _draw(tables: Tables, context_m: NDArray[Any], levels: int, uniform: float) -> int:
    """A token by inverse-CDF sampling: one uniform serves all levels, stretched where a level passes it on."""
    _, _, first_gram_C1, token_G, cumulative_G, discount, vocabulary_size, _ = tables
    for level in range(levels - 1, -1, -1):
        start, stop = first_gram_C1[context_m[level]], first_gram_C1[context_m[level] + 1]
        total = cumulative_G[stop - 1]
        kept = total - discount * (stop - start)
        wanted = uniform * total
        if wanted < kept or discount == 0.0:
            low, high = start, stop - 1
            while low < high:
                middle = (low + high) >> 1
                if cumulative_G[middle] - discount * (middle - start + 1) > wanted:
                    high = middle
                else:
                    low = middle + 1
            return token_G[low]
        uniform = min((wanted - kept) / (total - kept), 1.0 - 2.0**-53)
    return int(uniform * vocabulary_size)


@compiled
def sample(tables: Tables, key: Any, longest: int, wanted: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Documents until `wanted` tokens are written: `(token_T, first_D1)`.

    A document stops behind its end token, or at `longest` tokens; the last one where `wanted` is reached. The n-th has
    random numbers of its own, by `key` and n.
    """
    token_T = np.empty(wanted, np.int32)
    first_D1 = np.zeros(wanted + 1, np.int64)
    context_m = np.empty(len(tables[1]) - 1, np.int64)
    end, place, document = tables[7], 0, 0
    while place < wanted:
        state, first = _mixed(key + uint64(document) * _STEP), place
        while place < wanted and place - first < longest:
            levels = _place_contexts(tables, token_T, first, place, context_m)
            state += _STEP
            uniform = float(_mixed(state) >> uint64(11)) * 2.0**-53
            token_T[place] = _draw(tables, context_m, levels, uniform)
            place += 1
            if token_T[place - 1] == end:
                break
        document += 1
        first_D1[document] = place
    return token_T, first_D1[: document + 1]
