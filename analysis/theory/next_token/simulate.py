"""Models trained on each other's output: all trials at once, one strategy by name.

    found = simulate("partially_synthetic", p_V, n=50, N=100, generations=20, trials=1000, seed=0)
    found.concentration_RG.mean(axis=0)

| strategy | the data of model p^(m), in each context |
|---|---|
| `fully_synthetic` | n draws from p^(m-1); the first model has n real draws |
| `partially_synthetic` | the same N real draws for all m, and from m = 2 on n draws from p^(m-1) |
| `window` | n/K draws from each of the K most recent models; before the first one they are the real law |
| `random_past` | n draws, each from any earlier model or the real law, all equally likely |
| `accumulate` | all draws so far: n real ones, then n of each generation |

A model is the table of relative frequencies of its data. Generation m of batch b draws from the generator of
(seed, b, m), whatever the strategy: equal strategies draw equal tokens, and similar ones similar tokens. Token editing
is in `editing.py`.

Shapes: R trials, V tokens, G generations, K models of a window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from analysis.theory.next_token.distributions import Floats
from analysis.theory.next_token.trajectories import Recorder, Trajectories
from toedit.config.checks import require, require_one_of

_CELLS_OF_A_BATCH = 2**20  # 8 MB an array of R x V; a handful of them live at once

Generators = Iterator[np.random.Generator]


def simulate(
    strategy: str,
    p: Floats,
    n: int,
    N: int,
    generations: int,
    trials: int,
    seed: int,
    window: int = 1,
    advance: Callable[[float], None] | None = None,
) -> Trajectories:
    """Run `trials` independent trials of `strategy` for `generations` models.

    `p` is the real law p^(0): p_V for all trials or p_RV, a row for each. `advance` is told of each trial's generation
    that is done. Raises BadConfiguration where there is no such strategy, or the counts do not fit.
    """
    check(strategy, n, N, generations, window)
    parts = []
    for batch, batch_RV in enumerate(batches(p, trials)):
        recorder = Recorder(batch_RV, len(batch_RV), generations, window if strategy == "window" else 1)
        for model_RV in islice(models(strategy, batch_RV, n, N, seed, window, batch), generations):
            recorder.add(model_RV)
            if advance:
                advance(len(batch_RV))
        parts.append(recorder.measured)
    return Trajectories.stack(parts)


def models(strategy: str, p_RV: Floats, n: int, N: int, seed: int, window: int = 1, batch: int = 0) -> Iterator[Floats]:
    """The models p^(1), p^(2), … of all trials, each R x V, without end."""
    return STRATEGIES[strategy](np.ascontiguousarray(p_RV), n, N, window, generators(seed, batch))


def generators(seed: int, batch: int = 0) -> Generators:
    """One random generator a generation."""
    return (np.random.default_rng([seed, batch, generation]) for generation in count(1))


def batches(p: Floats, trials: int) -> Iterator[Floats]:
    """The laws of as many trials at once as fit memory, without the tokens that no trial can ever have."""
    p_RV = on_support(np.broadcast_to(p, (trials, p.shape[-1])))
    rows = max(1, _CELLS_OF_A_BATCH // p_RV.shape[1])
    return (p_RV[start : start + rows] for start in range(0, trials, rows))


def check(strategy: str, n: int, N: int, generations: int, window: int = 1) -> None:
    """Raise BadConfiguration, naming the key, where a simulation cannot be run."""
    require_one_of("strategy", strategy, tuple(STRATEGIES))
    require(generations >= 1, "theory.generations", generations, "must be at least 1")
    require(n >= 1, "theory.next_token.n", n, "must be at least 1")
    require(N >= 1 or strategy != "partially_synthetic", "theory.next_token.N", N, "must be at least 1")
    fits = strategy != "window" or (window >= 1 and n % window == 0)
    require(fits, "theory.next_token.windows", window, f"must divide n={n}: every model gives n/K tokens")


def on_support(p_RV: Floats) -> Floats:
    """Without the tokens that no trial can ever have, the likely ones first, where NumPy draws them fastest."""
    total_V = p_RV.sum(axis=0)
    order = np.argsort(-total_V, kind="stable")
    kept_RV: Floats = np.ascontiguousarray(p_RV[:, order[: max(1, np.count_nonzero(total_V))]])
    return kept_RV


def _fully_synthetic(p_RV: Floats, n: int, N: int, K: int, random: Generators) -> Iterator[Floats]:
    model_RV = p_RV
    while True:
        model_RV = _draw(random, n, model_RV) / n
        yield model_RV


def _partially_synthetic(p_RV: Floats, n: int, N: int, K: int, random: Generators) -> Iterator[Floats]:
    real_RV = _draw(random, N, p_RV)
    model_RV = real_RV / N
    while True:
        yield model_RV
        model_RV = (real_RV + _draw(random, n, model_RV)) / (N + n)


def _window(p_RV: Floats, n: int, N: int, K: int, random: Generators) -> Iterator[Floats]:
    recent_KRV = deque([p_RV] * K, maxlen=K)
    while True:
        generator = next(random)
        counts_KRV = [generator.multinomial(n // K, law_RV) for law_RV in recent_KRV]
        model_RV = np.sum(counts_KRV, axis=0) / n
        recent_KRV.append(model_RV)
        yield model_RV


def _random_past(p_RV: Floats, n: int, N: int, K: int, random: Generators) -> Iterator[Floats]:
    total_RV = p_RV.copy()
    for past in count(1):
        model_RV = _draw(random, n, total_RV / past) / n
        total_RV += model_RV
        yield model_RV


def _accumulate(p_RV: Floats, n: int, N: int, K: int, random: Generators) -> Iterator[Floats]:
    pool_RV, model_RV = np.zeros(p_RV.shape, np.int64), p_RV
    for generation in count(1):
        pool_RV = pool_RV + _draw(random, n, model_RV)
        model_RV = pool_RV / (n * generation)
        yield model_RV


def _draw(random: Generators, n: int, law_RV: Floats) -> NDArray[np.int64]:
    """n tokens of each row's law, counted."""
    return next(random).multinomial(n, law_RV)


STRATEGIES: dict[str, Callable[..., Iterator[Floats]]] = {
    "fully_synthetic": _fully_synthetic,
    "partially_synthetic": _partially_synthetic,
    "window": _window,
    "random_past": _random_past,
    "accumulate": _accumulate,
}
