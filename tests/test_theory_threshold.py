"""Three estimators of a collapse threshold, on data whose threshold is known."""

import csv
import json

import numpy as np
import pytest
from conftest import run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from analysis.table_files import write_csv
from analysis.theory.threshold.estimate import holm
from analysis.theory.threshold.irreversibility import change_point, half_point, irreversibility
from analysis.theory.threshold.runs_file import read_runs
from analysis.theory.threshold.slope import slope_threshold, slopes
from analysis.theory.threshold.tolerance import crossing, increasing, tolerance_threshold
from toedit.config import ThresholdConfig
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


def test_the_names_of_the_transformers_regimes(runs_csv):
    text = runs_csv.read_text().replace("same_text", "real").replace("real_share 0.75", "mix_20")
    runs_csv.write_text(text.replace("real_share 0.5", "mix_50"))
    assert read_runs(runs_csv, "loss", "up", {}, None).share_S.tolist() == [0, 0.2, 0.5, 1]


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
        {"share_of": {"a": 2.0}}, {"share_of": {"a": "b"}}, {"share_of": 3},
        {"map_shares": 1}, {"map_designs": 1}, {"map_checks": 99}, {"contours": [0.5]},
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
                "theory.threshold.metric=loss", "theory.threshold.share_of={edit: 0.9}", cwd=tmp_path)  # fmt: skip
    summary = json.loads((tmp_path / "table" / "summary.json").read_text())
    found = summary["thresholds"]["loss"]
    assert found["slope"]["value"] == 0.5 and 0.25 < found["tolerance"]["value"] < 0.5
    assert (tmp_path / "table" / "collapse_threshold.png").stat().st_size > 9000
