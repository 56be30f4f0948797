"""The regression studies of `stage=theory`: whole commands at small size, their numbers, what they refuse."""

import csv
import json
import math

import pytest
from conftest import run_command

from analysis.figure_files import FORMATS
from analysis.theory.regression import bound, generations, map, one_edit, sweep
from toedit.config import Config
from toedit.config.theory import TheoryConfig
from toedit.errors import BadConfiguration


def settings(study, **theory):
    return study.settings(Config(theory=TheoryConfig(**theory)))


def computed(study, **theory):
    return study.compute(settings(study, **theory), {})


def lines(**theory):
    found = computed(bound.STUDY, designs=20, **theory)
    return {row["quantity"]: row for row in found.rows}, found


# --- theory=bound -----------------------------------------------------------------------------------------------------


def test_bound_of_fresh_masks():
    row, found = lines(T=40, share=0.3, generations=20, noise=2.0)
    exact = row["exact given X, 20 rounds"]
    assert exact["error_by_v"] == pytest.approx(9.58, abs=0.1)
    assert exact["error"] == pytest.approx(exact["error_by_v"] * 4 * 10 / 29)
    assert row["corrected interval, lower"]["error_by_v"] == pytest.approx(7)
    assert row["corrected interval, upper"]["error_by_v"] == pytest.approx(1 + 20 * 0.3 * 1.7)
    assert row["where it settles"]["is_infinite"] and row["where it settles"]["error_by_v"] is None
    assert row["Theorem 2, first bound"]["status"] == "does not hold as printed"
    assert found.summary["assumptions"] == {
        "disjoint": False, "edited_rows_at_most_T": False, "geometric_with_all_rounds_at_most_T": None
    }  # fmt: skip
    assert any("E <= 2 v after 20 rounds: does not hold" in note for note in found.table.notes)


def test_bound_of_disjoint_masks():
    row, found = lines(T=40, masks="disjoint", share=0.5, generations=2)
    assert row["exact given X, 2 rounds"]["error_by_v"] == pytest.approx(2.499, abs=0.07)
    assert row["large T, 2 rounds"]["error_by_v"] == pytest.approx(2.6875)
    assert row["Theorem 1, as printed"]["error_by_v"] == pytest.approx(2)
    assert found.summary["assumptions"]["disjoint"] and found.summary["assumptions"]["edited_rows_at_most_T"]


def test_bound_of_fixed_masks_says_where_the_error_has_no_limit():
    row, _ = lines(T=400, masks="fixed", share=0.5, generations=30)
    assert row["exact given X, where it settles"]["error_by_v"] == pytest.approx(2.761, abs=0.05)
    row, _ = lines(T=40, masks="fixed", share=0.8, generations=30)
    assert row["exact: where it settles"]["is_infinite"]


def test_bound_of_confident_masks_is_simulated():
    row, _ = lines(T=200, masks="confidence", share=0.125, generations=20, trials=200)
    simulated = row["simulated, 20 rounds"]
    assert abs(simulated["error_by_v"] - 2.16) < 4 * math.hypot(0.05, (simulated["high"] - simulated["low"]) / 3.92)
    assert row["residual variance (real: 0.95)"]["error_by_v"] == pytest.approx(2.50, abs=0.05)


def test_bound_of_measured_shares_predicts_where_the_error_settles():
    row, found = lines(T=400, masks=[0.125, 0.1176, 0.1108], generations=20)
    ratio = row["estimated ratio of shares"]
    assert ratio["error_by_v"] == pytest.approx(0.9415, abs=5e-4)
    assert ratio["low"] < ratio["error_by_v"] < ratio["high"]
    plateau = row["where it settles, at most"]
    assert plateau["low"] < 5.10 < plateau["high"]
    assert row["exact given X, the 3 measured rounds"]["error_by_v"] < row["exact given X, 20 rounds"]["error_by_v"]
    assert not found.summary["assumptions"]["geometric_with_all_rounds_at_most_T"]
    assert len(found.summary["case"]["share_N"]) == 20


def test_bound_of_shares_that_do_not_fall():
    row, found = lines(masks=[0.1, 0.2])
    assert row["where it settles, at most"]["is_infinite"]
    assert any("no plateau" in note for note in found.table.notes)
    assert len(found.summary["case"]["share_N"]) == 2  # no decay to continue


@pytest.mark.parametrize("masks", ["fresh", "fixed", "disjoint", "geometric", [0.0, 0.0, 0.0]])
def test_bound_of_no_edit_at_all(masks):
    row, _ = lines(masks=masks, share=0.0, generations=3)
    assert row["exact given X, 3 rounds"]["error_by_v"] == pytest.approx(1)
    assert not any(line["is_infinite"] for line in row.values())


# --- the figures' studies ---------------------------------------------------------------------------------------------


def test_generations_agree_with_the_exact_curves():
    found = computed(generations.STUDY, sizes=[40], generations=6, trials=1500, designs=50)
    assert len(found.rows) == 10 * 7
    for row in found.rows:
        error = (row["high"] - row["low"]) / 2 / 1.96
        expected = row["closed_form"] if row["closed_form_is"] == "exact" else row["exact"]
        if expected is not None:
            assert abs(row["mean"] - expected) <= 4 * (error + (row["exact_standard_error"] or 0)), row
        if row["closed_form_is"] == "upper bound":
            assert row["exact"] <= row["closed_form"] + 1e-9


def test_one_edit_lies_above_the_printed_theorem():
    found = computed(one_edit.STUDY, sizes=[40], points=5, trials=4000)
    for row in found.rows:
        assert abs(row["edit"] - row["exact"]) <= 2.1 * (row["edit_half_interval"] + row["exact_half_interval"])
        assert abs(row["printed"] - row["theorem_1"]) <= 2.1 * row["printed_half_interval"]
        assert row["theorem_1"] - 1e-9 <= row["exact"] <= row["large_T"] + 1e-9
    assert found.rows[2]["rho"] == 0.5 and found.rows[2]["exact"] - 1.5 > 0.15


def test_map_finds_where_the_bound_holds():
    found = computed(map.STUDY, T=200, points=41, generations=20, designs=10)
    shares = {int(row[0]): [float(cell) for cell in row[1:]] for row in found.table.rows}
    assert shares[1] == [1, 1, 1, 1]
    fresh, fresh_large, fixed, fixed_large = shares[20]
    assert fresh_large == pytest.approx(1 - (1 - 1 / 20) ** 0.5, abs=1e-3) and fresh >= fresh_large
    assert fixed_large == pytest.approx(0.366, abs=2e-3) and 0.3 < fixed < fixed_large


def test_sweep_agrees_with_the_closed_forms():
    found = computed(sweep.STUDY, dimensions=[1, 3], sizes=[10, 20], generations=5, trials=600)
    assert len(found.rows) == 2 * 2 * 3
    for row in found.rows:
        if row["closed_form_is"] == "exact":
            assert abs(row["mean"] - row["closed_form"]) <= 4 / 1.96 * (row["high"] - row["mean"])


# --- whole commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("study", "theory"),
    [
        (one_edit, {"sizes": [40, 41], "points": 3}),
        (map, {"T": 20, "points": 5, "generations": 4}),
        (map, {"T": 20, "points": 2, "generations": 1}),  # nothing to draw a contour through
        (sweep, {"dimensions": [1, 2], "sizes": [4, 8], "generations": 2}),
        (sweep, {"dimensions": [1, 2], "sizes": [4, 8], "generations": 2, "fresh_X": True}),
    ],
)
def test_a_study_draws_its_figure(study, theory, tmp_path):
    paths = {extension: tmp_path / f"figure.{extension}" for extension in FORMATS}
    study.STUDY.draw(computed(study.STUDY, trials=20, designs=4, **theory), paths)
    assert all(path.stat().st_size > 5000 for path in paths.values())


def test_a_study_as_a_command_writes_its_table_and_figure(tmp_path):
    run_command(
        "stage=theory", "theory=regression_generations", "theory.sizes=[40]", "theory.generations=3",
        "theory.share=0.3", "theory.trials=20", "theory.designs=4", "out=o", cwd=tmp_path,
    )  # fmt: skip
    files = {file.name for file in (tmp_path / "o").iterdir()}
    assert {"table.md", "table.tex", "data.csv", "summary.json", "manifest.json"} <= files
    assert {f"regression_generations.{extension}" for extension in FORMATS} <= files
    assert "nan" not in (tmp_path / "o" / "data.csv").read_text().lower()


def test_bound_as_a_command_and_its_refusals(tmp_path):
    command = ("stage=theory", "theory=bound", "theory.designs=5")
    run = run_command(*command, "theory.masks=[0.125,0.1176,0.1108]", "seed=3", "out=o", cwd=tmp_path)
    assert "corrected interval, upper" in run.stdout and "more than T, which no disjoint masks can do" in run.stdout
    with (tmp_path / "o" / "data.csv").open() as file:
        assert len(list(csv.DictReader(file))) > 8
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["settings"]["seed"] == 3 and summary["formulas"]["theorem_1_error"]["status"]
    refused = run_command(*command, "theory.T=11", cwd=tmp_path, expect=2)
    assert refused.stderr.strip() == "error: theory.T=11: the mean error is infinite unless T > d + 1 (here 11)"


@pytest.mark.parametrize(
    ("study", "theory", "message"),
    [
        (bound, {"T": 11}, r"theory.T=11: .* T > d \+ 1"),
        (bound, {"masks": "disjoint", "share": 0.125, "generations": 9}, "theory.generations=9: .* after 8 rounds"),
        (map, {"T": 5}, "theory.T=5: the mean error is infinite"),
        (one_edit, {"sizes": [40, 11]}, "theory.sizes=11: the mean error is infinite"),
        (generations, {"sizes": [30]}, "theory.sizes=30: accumulate-subsample needs T >= 3"),
        (sweep, {"sizes": [2, 5]}, "theory.sizes=.*at least 3"),
        (sweep, {"sizes": [1, 5], "fresh_X": True}, "theory.sizes=.*at least 2"),
        (sweep, {"trials": 1}, "theory.trials=1: an interval needs at least 2"),
        (map, {"designs": 1}, "theory.designs=1: an interval needs at least 2"),
        (map, {"d": 400, "T": 100_000}, "theory.T=100000: exact errors take"),
        (sweep, {"dimensions": [1, 2, 3, 4, 5, 6]}, "theory.dimensions=.*at most 5"),
        (bound, {"masks": [0.1, "many"]}, "theory.masks=.*many is not a number in"),
        (bound, {"masks": [0.1, True]}, "theory.masks=.*True is not a number in"),
        (bound, {"masks": [0.1, 1.2]}, "theory.masks=.*1.2 is not a number in"),
        (bound, {"masks": [0.1, float("nan")]}, "theory.masks=.*nan is not a number in"),
        (bound, {"masks": []}, "theory.masks=.*at least one share"),
        (bound, {"masks": "random"}, "theory.masks=random: must be one of fresh"),
        (bound, {"share": 1.1}, "theory.share=1.1: must lie in"),
        (bound, {"real_share": -0.1}, "theory.real_share=-0.1: must lie in"),
        (bound, {"generations": 0}, "theory.generations=0: must be at least 1"),
        (bound, {"designs": 0}, "theory.designs=0: must be at least 1"),
        (bound, {"noise": 0.0}, "theory.noise=0.0: must be"),
        (bound, {"sizes": []}, "theory.sizes=.*must be a list"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_line(study, theory, message):
    with pytest.raises(BadConfiguration, match=message) as refused:
        settings(study.STUDY, **theory)
    assert "\n" not in str(refused.value)
