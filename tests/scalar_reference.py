"""Algorithm 1 of the paper as it reads: one token at a time, plain Python. The tests' oracle for `toedit.editing`."""

import math
from collections.abc import Sequence


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


_MASK = (1 << 64) - 1


def uniform(key: tuple[int, int], position: int) -> float:
    """The uniform of one token, in Python's unbounded integers."""
    word = (position + 1) * 0x9E3779B97F4A7C15 & _MASK
    for half in key:
        word ^= half
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
        word ^= word >> 31
    return (word >> 11) * 2.0**-53
