"""Algorithm 1 of the paper as it reads, and the other editors: one token at a time, plain Python.

The tests' oracle for `toedit.editing` and `toedit.editors`.
"""

import math
from collections.abc import Iterable, Sequence


def edit_token(
    token: int,
    logprob: float,
    candidates: Sequence[int],
    logprobs: Sequence[float],
    uniform: float,
    p: float,
    k: int,
    temperature: float,
    strict: bool,
) -> tuple[bool, int, float]:
    """(eligible, the token afterwards, probability that it changes)."""
    eligible = logprob > math.log(p) if strict else logprob >= math.log(p)
    if not eligible:
        return False, token, 0.0
    weights = [math.exp((value - logprobs[0]) / temperature) for value in logprobs[:k]]
    total = math.fsum(weights)
    kept = sum(weight for candidate, weight in zip(candidates, weights, strict=False) if candidate == token)
    threshold, mass = uniform * sum(weights), 0.0
    for candidate, weight in zip(candidates, weights, strict=False):
        mass += weight
        if mass > threshold:
            return True, candidate, 1 - kept / total
    return True, candidates[len(weights) - 1], 1 - kept / total


def nucleus(logprobs: Sequence[float], top_p: float) -> int:
    """How many of the most probable tokens it takes to reach the mass."""
    mass = 0.0
    for size, logprob in enumerate(logprobs, start=1):
        mass += math.exp(logprob)
        if mass >= top_p:
            return size
    raise ValueError("the mass is not reached")


def draw_token(
    token: int, candidates: Sequence[int], logprobs: Sequence[float], uniform: float, temperature: float
) -> tuple[int, float]:
    """(the token drawn, probability that it differs from `token`)."""
    weights = [math.exp((logprob - max(logprobs)) / temperature) for logprob in logprobs]
    kept = sum(weight for candidate, weight in zip(candidates, weights, strict=True) if candidate == token)
    mass = 0.0
    for candidate, weight in zip(candidates, weights, strict=True):
        mass += weight
        if mass > uniform * sum(weights):
            return candidate, 1 - kept / math.fsum(weights)
    return candidates[-1], 1 - kept / math.fsum(weights)


def another_token(
    token: int, candidates: Sequence[int], logprobs: Sequence[float], uniform: float, temperature: float
) -> tuple[int, float]:
    """The same among the candidates that are not `token`."""
    others = [pair for pair in zip(candidates, logprobs, strict=True) if pair[0] != token]
    return draw_token(token, [pair[0] for pair in others], [pair[1] for pair in others], uniform, temperature)


def reject(
    token: int,
    candidates: Sequence[int],
    logprobs: Sequence[float],
    uniforms: Iterable[tuple[float, float]],
    tries: int,
    temperature: float,
) -> tuple[int, float]:
    """Propose, accept or refuse, until one is accepted. `uniforms`: a pair for each try."""
    chances = [math.exp((logprob - max(logprobs)) / temperature) for logprob in logprobs]
    changes = refused = 0.0
    for candidate, chance in zip(candidates, chances, strict=True):
        changes += chance / len(chances) * (candidate != token)
        refused += (1 - chance) / len(chances)
    change = changes * math.fsum(refused**number for number in range(tries))
    for propose, accept in uniforms:
        choice = int(propose * len(candidates))
        if accept < chances[choice]:
            return candidates[choice], change
    return token, change


def is_deleted(logprob: float, below: float, above: float) -> bool:
    """P < below or P > above, of a token that was scored."""
    if math.isnan(logprob):
        return False
    return (below > 0 and logprob < math.log(below)) or logprob > math.log(above)


def other_word(token: int, vocabulary: Sequence[int], uniform: float) -> int:
    """Any word of the vocabulary but `token`."""
    words = [word for word in vocabulary if word != token]
    return words[int(uniform * len(words))]


_MASK = (1 << 64) - 1


def uniform(key: tuple[int, int], position: int, purpose: int = 0, number: int = 0) -> float:
    """The uniform of one token in one stream, in Python's unbounded integers."""
    word = (position + (number << 32) + (purpose << 48) + 1) * 0x9E3779B97F4A7C15 & _MASK
    for half in key:
        word ^= half
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
        word ^= word >> 31
    return (word >> 11) * 2.0**-53
