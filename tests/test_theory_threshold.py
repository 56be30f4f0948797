"""Three estimators of a collapse threshold on data whose threshold is known; the toy models against exact formulas."""

import csv
import json

import numpy as np
import pytest
from conftest import run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from analysis.table_files import write_csv
from analysis.theory.next_token import drift_formulas
from analysis.theory.next_token.distributions import zipf
from analysis.theory.regression import exact
from analysis.theory.safe_mix.amounts import drift_bound
from analysis.theory.threshold.estimate import holm
from analysis.theory.threshold.irreversibility import change_point, half_point, irreversibility
from analysis.theory.threshold.phase_diagram import fixed_contour, random_contour, regression_maps, simulated_cells
from analysis.theory.threshold.runs_file import read_runs
from analysis.theory.threshold.slope import relaxation_generations, slope_threshold, slopes
from analysis.theory.threshold.stage import estimate
from analysis.theory.threshold.tolerance import crossing, increasing, tolerance_threshold
from analysis.theory.threshold.toys import Toy, run, settled, settled_at
from toedit.config import ThresholdConfig
from toedit.console import Progress
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

SHARE_S = np.array([0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])


def metric(generator, slope_S, trials=12, generations=12, noise=1.0):
    """[S, R, G]: lines of those slopes with noise."""
    line_SG = np.outer(slope_S, np.arange(generations))
    return line_SG[:, None] + noise * generator.normal(size=(len(slope_S), trials, generations))


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_isotonic_regression_is_that_of_scikit_learn(values):
    found = increasing(np.array([values]))[0]
    assert found == pytest.approx(IsotonicRegression().fit_transform(range(len(values)), values), abs=1e-9)


def test_a_crossing_is_interpolated_or_there_is_none():
    value_BS = np.array([[1.0, 2, 3], [1, 1, 1], [2, 2, 3], [1, 1, 5]])
    found = crossing(np.array([0.0, 0.5, 1.0]), value_BS, np.array([1.5, 1.5, 1.5, 2.0]))
    assert found.tolist() == [0.25, np.inf, 0.0, 0.625]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_procedure(p_values):
    adjusted = holm(np.array([p_values]))[0]
    order, largest = np.argsort(p_values, kind="stable"), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        assert adjusted[place] == pytest.approx(largest)


def test_slopes_are_those_of_the_last_half():
    generations = np.arange(20)
    bent = np.where(generations < 10, 7.0 * generations, 70 + 0.5 * (generations - 10))
    assert slopes(bent[None, None])[0, 0] == pytest.approx(0.5)
    assert slopes(np.arange(2.0)[None, None])[0, 0] == 1


def test_the_smallest_rising_share_is_found_and_covered():
    """Slopes of 0 up to share 0.4, then clear ones."""
    found, covered = [], []
    for seed in range(60):
        values = metric(np.random.default_rng(seed), [0, 0, 0, 0, 0.6, 0.9, 1.2])
        result = slope_threshold(SHARE_S, values, 600, seed)
        found.append(result.threshold.value)
        covered.append(result.threshold.low <= 0.6 <= result.threshold.high)
        assert result.p_S[0] == 1  # nothing synthetic: not tested
    assert np.mean(np.array(found) == 0.6) >= 0.85 and np.mean(covered) >= 0.9


def test_where_nothing_rises_a_threshold_is_found_as_rarely_as_the_level_says():
    falls = [slope_threshold(SHARE_S, metric(np.random.default_rng(seed), np.zeros(7)), 400, seed).threshold.is_found
             for seed in range(150)]  # fmt: skip
    assert np.mean(falls) <= 0.05 + 4 * (0.05 * 0.95 / 150) ** 0.5
    falling = slope_threshold(SHARE_S, metric(np.random.default_rng(0), np.full(7, -1.0)), 200, 0)
    assert not falling.threshold.is_found and falling.threshold.low == np.inf


def test_metrics_that_do_not_move_have_no_threshold_and_certain_ones_have():
    still = slope_threshold(SHARE_S, np.full((7, 5, 8), 0.1), 200, 0)
    assert not still.threshold.is_found and (still.slope_S == 0).all()
    certain = slope_threshold(SHARE_S, metric(np.random.default_rng(0), SHARE_S, noise=0.0), 200, 0)
    assert certain.threshold.value == 0.1


def test_the_tolerance_interval_covers_the_crossing():
    """Level 1 + 2 share; 1.5 times the baseline at share 0.25."""
    covered = []
    for seed in range(150):
        generator = np.random.default_rng(seed)
        level_SR = 1 + 2 * SHARE_S[:, None] + 0.3 * generator.normal(size=(7, 25))
        found = tolerance_threshold(SHARE_S, level_SR, level_SR[0], 1.5, 200, seed)
        covered.append(found.low <= 0.25 <= found.high)
    assert np.mean(covered) >= 0.93 - 4 * (0.07 * 0.93 / 150) ** 0.5
    none = tolerance_threshold(SHARE_S, level_SR, level_SR[0], 9.0, 200, 0)
    assert not none.is_found and none.high == np.inf


def test_a_metric_of_which_less_is_worse_comes_negated():
    level_SR = -np.tile(1 - 0.5 * SHARE_S[:, None], (1, 4))  # recall 1 .. 0.5
    found = tolerance_threshold(SHARE_S, level_SR, level_SR[0], 1.25, 100, 0)
    assert found.value == pytest.approx(0.4)  # recall 0.8 = 1 / 1.25


def test_the_profile_interval_covers_the_half_point():
    share_S, covered, found = np.linspace(0, 1, 9), [], []
    p_S = 1 / (1 + np.exp(-12 * (share_S - 0.43)))
    for seed in range(80):
        failed_S = np.random.default_rng(seed).binomial(30, p_S)
        threshold = half_point(share_S, failed_S, 30)
        covered.append(threshold.low <= 0.43 <= threshold.high)
        found.append(threshold.value)
    assert np.mean(covered) >= 0.95 - 4 * (0.05 * 0.95 / 80) ** 0.5
    assert np.mean(found) == pytest.approx(0.43, abs=4 * np.std(found) / 80**0.5 + 0.003)


def test_trials_that_separate_have_the_gap_as_their_interval():
    found = half_point(SHARE_S, np.array([0, 0, 0, 0, 40, 40, 40]), 40)
    assert found.value == pytest.approx(0.5, abs=0.02) and 0.39 < found.low < 0.45 and 0.55 < found.high < 0.61
    assert not half_point(SHARE_S, np.zeros(7, int), 40).is_found
    assert half_point(SHARE_S, np.zeros(7, int), 40).low == np.inf


def test_irreversible_is_what_retraining_does_not_bring_back():
    start, end = np.ones((7, 50)), 1 + np.tile(SHARE_S[:, None] * 4, (1, 50))
    recovered = np.where(SHARE_S[:, None] > 0.5, end, start)
    found = irreversibility(SHARE_S, start, end, recovered, 1.0, 0.5)
    assert found.fraction_S.tolist() == [np.inf, 0, 0, 0, 1, 1, 1]  # nothing lost without synthetic data
    assert found.failed_S.tolist() == [0, 0, 0, 0, 50, 50, 50] and 0.4 < found.threshold.value < 0.6


def test_the_change_point_of_a_broken_line():
    share_S = np.linspace(0, 1, 21)
    assert change_point(share_S, np.maximum(0, share_S - 0.35)) == pytest.approx(0.35, abs=0.01)
    assert change_point(share_S, np.full(21, 0.3)) == np.inf
    assert change_point(share_S, 1 - share_S) == np.inf


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


def test_too_few_resamples_for_so_many_shares_are_refused():
    runs = simulated("next_token_kept", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], small(trials=5))
    with pytest.raises(BadConfiguration, match=r"^theory\.threshold\.resamples=90: must be at least 100"):
        estimate("any", runs, {"resamples": 90, "seed": 0, "kappa": 1.5, "delta": 0.5})


def test_too_few_rows_are_refused():
    with pytest.raises(BadConfiguration, match=r"^theory\.T=4: must be more than theory\.d \+ 1 = 4"):
        simulated("regression_kept", [0.0, 0.5, 1.0], small(T=4))


@pytest.fixture
def runs_csv(tmp_path):
    """A study of language models: regimes by name, two metrics."""
    generator, rows = np.random.default_rng(0), []
    for arm, slope in (
        ("same_text", 0.0),
        ("real_share 0.75", 0.0),
        ("real_share 0.5", 0.4),
        ("replace", 1.0),
        ("edit", 9),
    ):
        for seed in range(5):
            for generation in range(8):
                value = 5 + slope * generation + 0.05 * generator.normal()
                shared = {"arm": arm, "seed": seed, "generation": generation}
                rows.append({**shared, "metric": "loss", "value": value})
                rows.append({**shared, "metric": "recall", "value": 1 / value})
    write_csv(tmp_path / "runs.csv", rows)
    return tmp_path / "runs.csv"


def test_runs_are_read_from_a_table_by_the_names_of_their_regimes(runs_csv):
    runs = read_runs(runs_csv, "loss", "up", {}, None)
    assert runs.share_S.tolist() == [0, 0.25, 0.5, 1] and runs.metric_SRG.shape == (4, 5, 8)
    assert slope_threshold(runs.share_S, runs.metric_SRG, 200, 0).threshold.value == 0.5
    less = read_runs(runs_csv, "recall", "down", {"edit": 0.9}, None)
    assert less.share_S.tolist() == [0, 0.25, 0.5, 0.9, 1] and (less.metric_SRG < 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": None}, r"theory\.threshold\.metric=None: .* has loss, recall"),
        ({"metric": "x"}, r"theory\.threshold\.metric=x: .* has loss, recall"),
        ({"recovered": "x"}, r"theory\.threshold\.recovered=x"),
        ({"text": "a,b\n1,2\n"}, r"theory\.threshold\.path=.*needs the columns share"),
        ({"text": "share,seed,generation,value\n0,0,0,nan\n"}, r"theory\.threshold\.path=.*line 2 has the value nan"),
        ({"text": "share,seed,generation,value\n0,0,x,1\n", "metric": None}, r"theory\.threshold\.path=.*line 2: "),
        ({"text": "share,seed,generation,value\n0,0,0,1\n", "metric": None}, r"has 1 shares with 1 seeds"),
    ],
)
def test_tables_that_cannot_be_read_are_one_line(runs_csv, change, message):
    given = {"metric": "loss", "recovered": None} | change
    if "text" in given:
        runs_csv.write_text(given["text"])
        given["metric"] = None
    with pytest.raises(UnusableInput, match=message):
        read_runs(runs_csv, given["metric"], "up", {}, given["recovered"])
    with pytest.raises(MissingInput, match=r"theory\.threshold\.path="):
        read_runs(runs_csv.parent / "gone.csv", "loss", "up", {}, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cases": ["x"]}, {"cases": []}, {"shares": [0.0, 0.5, 1.2]}, {"shares": [0.1, 0.5, 0.9]}, {"support": 1},
        {"shares": [0.0, 1.0]}, {"real": 0}, {"kappa": 1.0}, {"delta": 0.0}, {"resamples": 10}, {"worse": "left"},
        {"share_of": {"a": 2.0}}, {"map_shares": 1}, {"map_designs": 1}, {"map_checks": 99}, {"contours": [0.5]},
        {"epsilon": [3.0]},
    ],
)  # fmt: skip
def test_bad_settings_are_one_line_that_names_the_key(wrong):
    with pytest.raises(BadConfiguration, match=rf"^theory\.threshold\.{next(iter(wrong))}="):
        ThresholdConfig(**wrong)


def test_the_whole_command_with_toy_models_and_with_a_table(tmp_path, runs_csv):
    sizes = ("theory.trials=40", "theory.generations=12", "theory.threshold.shares=[0,0.1,0.5,1]")
    run_command("stage=theory", "theory=collapse_threshold", *sizes, "out=done", cwd=tmp_path)
    with (tmp_path / "done" / "data.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == set(ThresholdConfig().cases)
    assert not any("nan" in cell for row in rows for cell in row.values())
    found = json.loads((tmp_path / "done" / "summary.json").read_text())["thresholds"]
    assert found["regression_replaced"]["slope"]["value"] == 0.1
    run_command("stage=theory", "theory=collapse_threshold", f"theory.threshold.path={runs_csv}", "out=table",
                        "theory.threshold.metric=loss", cwd=tmp_path)  # fmt: skip
    found = json.loads((tmp_path / "table" / "summary.json").read_text())["thresholds"]["loss"]
    assert found["slope"]["value"] == 0.5 and 0.25 < found["tolerance"]["value"] < 0.5
    assert (tmp_path / "table" / "collapse_threshold.png").stat().st_size > 9000


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
    bad = run_command("stage=theory", "theory=phase_diagram", "theory.T=11", "theory.d=10", cwd=tmp_path, expect=2)
    assert "theory.T=11: must be more than theory.d + 1 = 11" in bad.stderr and "Traceback" not in bad.stderr
