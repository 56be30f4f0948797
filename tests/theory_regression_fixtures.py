"""What the tests of iterated training in linear regression share: small simulations, exact means, agreement."""

import math

import numpy as np

from analysis.theory.regression import exact, formulas
from analysis.theory.regression.simulate import mean_and_error, simulate


def simulated(strategies, d=3, T=12, generations=4, trials=5, **more):
    return simulate(strategies, d=d, T=T, noise=1.0, generations=generations, trials=trials, seed=7, **more)


def mean_of(strategy, d, T, rounds, trials, **more):
    """(mean, standard error) after `rounds`, in units of v."""
    error = simulated({"it": strategy}, d, T, rounds, trials, **more)["it"]
    mean_G, error_G = mean_and_error(error / formulas.unit_error(d, T))
    return mean_G[rounds], error_G[rounds]


def agree(*pairs):
    (one, error), (other, other_error) = pairs
    assert abs(one - other) <= 4 * math.hypot(error, other_error), pairs


def averaged(error, d, T, designs=100):
    mean, standard_error = exact.averaged(error, d=d, T=T, designs=designs, seed=3)
    return mean[-1], standard_error[-1]


def random_edits(shares):
    return lambda X_Td: exact.random_edits(X_Td, np.array(shares)[:, None])[:, 0]
