"""The rate of the regression simulator (`analysis/theory/regression/simulate.py`) beside a plain loop over trials.

    OMP_NUM_THREADS=1 .venv/bin/python scripts/benchmark_theory.py
    OMP_NUM_THREADS=1 .venv/bin/python scripts/benchmark_theory.py --trials 1000 --loop-trials 50 --repeats 3

Ten strategies, 50 rounds, d = 10, T = 40. The loop is what a plain program does: for every trial and strategy the
pseudo-inverse once, then a generation a step. Both draw random numbers of their own; in every repeat the loop's trials
run before and after ours, and their time is scaled to the same number. CPU seconds of one process. Both have the same
mean errors within their standard errors, printed beside. Last, the exact engines at the published sizes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from analysis.theory.regression import exact, formulas
from analysis.theory.regression.catalogue import catalogue
from analysis.theory.regression.simulate import mean_and_error, simulate
from analysis.theory.regression.strategies import Floats

D, T, SHARE, RATIO, REAL = 10, 40, 0.125, 0.941, 0.5


def loop(trials: int, rounds: int, seed: int) -> dict[str, Floats]:
    """{strategy: error_RG}, trial by trial."""
    random = np.random.default_rng(seed)
    error = {name: np.empty((trials, rounds + 1)) for name in catalogue(D, T, SHARE, RATIO, REAL, rounds)}
    for trial in range(trials):
        X = random.standard_normal((T, D))
        inverse = np.linalg.pinv(X)
        for name, error_RG in error.items():
            error_RG[trial] = (
                _subsample(X, rounds, random) if "subsample" in name else _one(name, X, inverse, rounds, random)
            )
    return error


def _one(name: str, X: Floats, inverse: Floats, rounds: int, random: np.random.Generator) -> list[float]:
    labels = random.standard_normal(T)  # w* = 0
    found, mask = [], np.zeros(T, bool)
    for n in range(1, rounds + 2):
        w = inverse @ labels
        found.append(float(w @ w))
        synthetic = X @ w + random.standard_normal(T)
        if name == "replace":
            labels = synthetic
        elif name == "accumulate":
            labels = labels + (synthetic - labels) / (n + 1)
        elif name == "fresh real rows":
            labels = np.where(random.random(T) < 1 - REAL, synthetic, random.standard_normal(T))
        else:
            mask = _mask(name, n, labels - X @ w, random)
            labels = np.where(mask, synthetic, labels)
    return found


def _mask(name: str, n: int, residual: Floats, random: np.random.Generator) -> Floats:
    if name == "edit, fresh rows":
        return random.random(T) < SHARE
    if name == "edit, geometric":
        return random.random(T) < SHARE * RATIO ** (n - 1)
    mask = np.zeros(T, bool)
    if name == "edit, disjoint rows":
        size = round(SHARE * T)
        mask[(n - 1) * size : n * size] = True
    elif name == "edit, confident rows":
        mask[np.argpartition(np.abs(residual), round(SHARE * T) - 1)[: round(SHARE * T)]] = True
    else:
        mask[: round((1 - REAL if "real" in name else SHARE) * T)] = True
    return mask


def _subsample(X: Floats, rounds: int, random: np.random.Generator) -> list[float]:
    pool_X, pool_y = X, random.standard_normal(T)
    found = []
    for n in range(rounds + 1):
        rows = random.choice(len(pool_y), T, replace=False) if n else slice(None)
        w = np.linalg.lstsq(pool_X[rows], pool_y[rows], rcond=None)[0]
        found.append(float(w @ w))
        pool_X, pool_y = np.concatenate([pool_X, X]), np.concatenate([pool_y, X @ w + random.standard_normal(T)])
    return found


def ours(trials: int, rounds: int, seed: int) -> dict[str, Floats]:
    strategies = {name: entry.strategy for name, entry in catalogue(D, T, SHARE, RATIO, REAL, rounds).items()}
    return simulate(strategies, d=D, T=T, noise=1.0, generations=rounds, trials=trials, seed=seed)


def seconds(work: Callable[[], dict[str, Floats]]) -> tuple[float, dict[str, Floats]]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--loop-trials", type=int, default=100, help="of the loop, in either half; scaled to --trials")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    ours(50, 2, 0)  # what is imported at first use
    both = []
    for repeat in range(given.repeats):
        before, plain = seconds(lambda seed=repeat: loop(given.loop_trials, given.rounds, 2 * seed))
        mine, error = seconds(lambda seed=repeat: ours(given.trials, given.rounds, seed))
        after, _ = seconds(lambda seed=repeat: loop(given.loop_trials, given.rounds, 2 * seed + 1))
        scaled = (before + after) / (2 * given.loop_trials) * given.trials
        both.append((mine, scaled))
        print(f"repeat {repeat + 1}: ours {mine:.1f} s, the loop {scaled:.0f} s (scaled), {scaled / mine:.1f} times")
    ratios = [loop_seconds / mine for mine, loop_seconds in both]
    print(f"{given.trials:,} trials x {given.rounds} rounds x {len(error)} strategies, d = {D}, T = {T}")
    median = statistics.median(mine for mine, _ in both)
    print(f"median: ours {median:.1f} s, {statistics.median(ratios):.1f} times the loop")
    unit = formulas.unit_error(D, T)
    print(f"error / v after {given.rounds} rounds: ours, the loop's")
    for name in error:
        (mean_G, error_G), (loop_mean_G, loop_error_G) = (
            mean_and_error(error[name] / unit),
            mean_and_error(plain[name] / unit),
        )
        print(f"  {name:22s} {mean_G[-1]:7.3f} ± {error_G[-1]:.3f}   {loop_mean_G[-1]:7.3f} ± {loop_error_G[-1]:.3f}")
    exact_engines(given.rounds)


def exact_engines(rounds: int) -> None:
    print(f"exact errors of one X, {rounds} rounds, d = {D}: seconds")
    for rows in (40, 200, 400, 1000):
        X = np.random.default_rng(0).standard_normal((rows, D))
        for name, entry in catalogue(D, rows, SHARE, RATIO, REAL, rounds).items():
            if entry.exact:
                started = time.process_time()
                entry.exact(X)
                print(f"  T = {rows:4d}  {name:22s} {time.process_time() - started:.4f}")
        started = time.process_time()
        exact.given_masks(X, np.ones((rounds, rows)))
        print(f"  T = {rows:4d}  {'any masks':22s} {time.process_time() - started:.4f}")


if __name__ == "__main__":
    main()
