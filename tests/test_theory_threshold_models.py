"""The toy models of collapse thresholds, and the maps, against exact formulas."""

import csv

import numpy as np
import pytest
from conftest import run_command

from analysis.theory.next_token import drift_formulas
from analysis.theory.next_token.distributions import zipf
from analysis.theory.regression import exact
from analysis.theory.safe_mix.amounts import drift_bound
from analysis.theory.threshold import phase_diagram, toys
from analysis.theory.threshold.phase_diagram import fixed_contour, random_contour, regression_maps, simulated_cells
from analysis.theory.threshold.slope import relaxation_generations
from analysis.theory.threshold.stage import estimate
from analysis.theory.threshold.toys import Toy, run, settled, settled_at
from toedit.config import Config, TheoryConfig
from toedit.console import Progress
from toedit.errors import BadConfiguration


def small(**changes):
    return Toy(
        **{"d": 3, "T": 40, "p_V": zipf(10, 1.0), "real": 50, "generations": 12, "trials": 1500, "seed": 1, **changes}
    )


def simulated(case, shares, toy):
    with Progress("", None) as progress:
        return run(case, shares, toy, progress)


def close(metric_RG, wanted_G, slack=0.0):
    error_G = metric_RG.std(axis=0, ddof=1) / len(metric_RG) ** 0.5
    return (np.abs(metric_RG.mean(axis=0) - wanted_G) <= 4 * error_G + slack).all()


def test_real_tokens_kept_drift_as_the_exact_recursion_says():
    toy, share = small(), 0.6
    found = simulated("next_token_kept", [0.0, share, 1.0], toy)
    N, n, S_0 = 50, 75, (toy.p_V**2).sum()
    drift, a, wanted = 0.0, n / (N + n), []
    for generation in range(1, 13):
        wanted.append(1 + drift / ((1 - S_0) / N))
        drift = a**2 * ((1 - drift_formulas.concentration_partially_synthetic(S_0, N, n, generation)) / n + drift)
    assert close(found.metric_SRG[1], np.array(wanted))
    assert close(found.metric_SRG[2], N * (1 - (1 - 1 / N) ** np.arange(1, 13)))  # replace: Wright and Fisher's drift
    assert (found.metric_SRG[0] == found.metric_SRG[0, :, :1]).all()
    assert (found.recovered_SR[1] == found.metric_SRG[1, :, 0]).all()
    assert (found.recovered_SR[2] == found.metric_SRG[2, :, -1]).all()


def test_real_rows_kept_settle_at_the_common_formula():
    toy = small(d=3, T=300, generations=25, trials=800)
    found = simulated("regression_kept", [0.0, 0.4, 0.75, 1.0], toy)
    for place, share in ((1, 0.4), (2, 0.75)):
        settled_R = found.metric_SRG[place, :, 15:].mean(axis=1)
        error = settled_R.std(ddof=1) / 800**0.5
        assert settled_R.mean() == pytest.approx(settled(share), abs=4 * error + 0.02)
    assert close(found.metric_SRG[3][:, :5], np.arange(1, 6), 0.1)
    assert settled_at(1.25) == pytest.approx(1 / 3) and settled(settled_at(1.4)) == pytest.approx(1.4)
    assert settled_at(1.5) == np.inf
    assert relaxation_generations(0.75) == pytest.approx(drift_formulas.relaxation_generations(100, 300))


def test_redrawn_rows_cost_what_the_two_bounds_allow():
    """v (1 + n r) <= error <= v (1 + n r (2 - r)) for rows edited at random; share 1: n v exactly."""
    found = simulated("regression_replaced", [0.0, 0.3, 1.0], small())
    exact_GS, _ = exact.averaged(
        lambda X_Td: exact.random_edits(X_Td, np.full((11, 1), 0.3)), d=3, T=40, designs=60, seed=0
    )
    assert close(found.metric_SRG[1], exact_GS[:, 0], 0.02)
    rounds, mean_G = np.arange(12), found.metric_SRG[1].mean(axis=0)
    error_G = found.metric_SRG[1].std(axis=0, ddof=1) / 1500**0.5
    assert (mean_G >= 1 + 0.3 * rounds - 4 * error_G).all()
    assert (mean_G <= 1 + 0.3 * 1.7 * rounds + 4 * error_G).all()
    assert close(found.metric_SRG[2], 1 + rounds)


def test_redrawn_tokens_drift_without_end_and_cannot_come_back():
    found = simulated("next_token_replaced", [0.0, 0.3, 1.0], small())
    assert close(found.metric_SRG[2], 50 * (1 - (1 - 1 / 50) ** np.arange(1, 13)))
    mean_G = found.metric_SRG[1].mean(axis=0)
    assert (np.diff(mean_G) > 0).all()
    assert found.recovered_SR[1].mean() > 3 * mean_G[0]
    assert (found.recovered_SR[2] == found.metric_SRG[2, :, -1]).all()


def test_trials_in_batches_are_as_good_and_repeat(monkeypatch):
    whole = simulated("regression_kept", [0.0, 0.02, 0.5, 1.0], small(trials=900))
    monkeypatch.setattr(toys, "_NUMBERS", 40 * 11 * 100)
    parts, again = (simulated("regression_kept", [0.0, 0.02, 0.5, 1.0], small(trials=900)) for _ in range(2))
    assert (parts.metric_SRG == again.metric_SRG).all()
    assert (parts.metric_SRG[:, :100] != parts.metric_SRG[:, 100:200]).any()
    for one, other in zip(whole.metric_SRG, parts.metric_SRG, strict=True):
        error_G = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / 900)
        assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) <= 4 * error_G).all()


def test_too_few_rows_are_refused():
    with pytest.raises(BadConfiguration, match=r"^theory\.T=4: must be more than theory\.d \+ 1 = 4"):
        simulated("regression_kept", [0.0, 0.5, 1.0], small(T=4))


def test_too_few_resamples_for_so_many_shares_are_refused():
    runs = simulated("next_token_kept", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], small(trials=5))
    with pytest.raises(BadConfiguration, match=r"^theory\.threshold\.resamples=90: must be at least 100"):
        estimate("any", runs, {"resamples": 90, "seed": 0, "kappa": 1.5, "delta": 0.5})


def test_contours_in_closed_form():
    found = [fixed_contour(kappa) for kappa in (1.5, 2, 4, 10)]
    assert found == pytest.approx([0.215, 0.366, 0.651, 0.854], abs=1e-3)
    assert [(1 + 2 * r) / (1 - r * r) for r in found] == pytest.approx([1.5, 2, 4, 10])
    r = random_contour(3.0, 25)
    assert 1 + 25 * r * (2 - r) == pytest.approx(3.0) and random_contour(3.0, 1) == 1


def test_maps_of_regression_are_1_without_edits_and_count_generations_when_all_is_replaced():
    share_S = np.linspace(0, 1, 5)
    mean, error = regression_maps(share_S, {"generations": 6, "d": 3, "T": 50, "map_designs": 4, "seed": 0})
    assert mean.shape == (2, 7, 5)
    assert mean[:, :, 0] == pytest.approx(1) and (mean[:, :, -1] == pytest.approx(np.tile(np.arange(1, 8), (2, 1))))
    rounds = np.arange(7)[:, None]
    assert (mean[0] >= 1 + rounds * share_S - 1e-9).all()
    assert (mean[0] <= 1 + rounds * share_S * (2 - share_S) + 1e-9).all()
    assert (mean[1, -1, :-1] < (1 + 2 * share_S[:-1]) / (1 - share_S[:-1] ** 2) * 1.6).all() and (error >= 0).all()


def test_simulated_cells_agree_with_the_closed_form_where_tokens_are_many():
    rows = simulated_cells(zipf(8, 1.0), {"map_checks": 3, "trials": 300, "seed": 0})
    k = 2 / np.pi * np.sqrt(zipf(8, 1.0) * (1 - zipf(8, 1.0))).sum() ** 2
    for row in rows:
        closed = drift_bound(row["x"], row["y"], k)
        assert row["value"] <= closed * 1.1
        if row["x"] > 1000:
            assert row["value"] == pytest.approx(closed, rel=0.08)
    assert len(rows) == 8  # ten real tokens and ten thousand synthetic ones settle too slowly


def test_the_whole_command_of_the_maps(tmp_path):
    sizes = ("theory.T=30", "theory.d=2", "theory.generations=4", "theory.trials=20", "theory.threshold.map_shares=6")
    more = ("theory.threshold.map_designs=3", "theory.threshold.map_amounts=5", "theory.threshold.map_checks=2")
    run_command("stage=theory", "theory=phase_diagram", *sizes, *more, "out=done", cwd=tmp_path)
    with (tmp_path / "done" / "data.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["map"] for row in rows} == {"random rows", "fixed rows", "next token"}
    assert not any("nan" in cell for row in rows for cell in row.values())
    assert (tmp_path / "done" / "phase_diagram.png").stat().st_size > 9000
    with pytest.raises(BadConfiguration, match=r"^theory\.T=11: must be more than theory\.d \+ 1 = 11"):
        phase_diagram.settings(Config(theory=TheoryConfig(name="phase_diagram", T=11, d=10)))
