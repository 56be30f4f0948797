"""Means, intervals and tables of experiments, without running any."""

import csv
import json
import math
import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.experiment_figure import draw
from analysis.experiment_rows import (
    Measured,
    difference,
    experiment_table,
    lines,
    readable,
    summary_of,
    summary_rows,
    with_columns_found,
)
from analysis.intervals import Summary, student, summarize, wilson
from analysis.measures import Measure, measure
from analysis.table_files import Table, write_csv, write_latex, write_markdown
from toedit.artifacts import Artifact
from toedit.config import ExperimentConfig
from toedit.errors import BadConfiguration, UnusableInput
from toedit.experiments import Point, expand
from toedit.workspace import Result


def point(setting: str, seed: int) -> Point:
    return Point(0, setting, setting, (("edit.p", "0.9"),), seed, (f"edit={setting}", f"seed={seed}"))


def measured(setting: str, seed: int, **values: float) -> Measured:
    return Measured(point(setting, seed), f"{setting}{seed}", {name: Measure(value) for name, value in values.items()})


@given(st.integers(1, 10**7), st.data())
def test_the_interval_of_a_share_holds_it_and_mirrors(trials, data):
    hits = data.draw(st.integers(0, trials))
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1 and low < high
    mirrored = wilson(trials - hits, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_wilson_s_interval_covers_the_truth_in_95_of_100_cases():
    """Exact: the binomial probability of all outcomes whose interval holds the true share, averaged over shares."""
    trials, shares = 60, [number / 100 for number in range(2, 99)]
    coverage = []
    for share in shares:
        held = [hits for hits in range(trials + 1) if wilson(hits, trials)[0] <= share <= wilson(hits, trials)[1]]
        coverage.append(sum(math.comb(trials, h) * share**h * (1 - share) ** (trials - h) for h in held))
    assert sum(coverage) / len(coverage) == pytest.approx(0.95, abs=0.01)


def test_student_s_interval_by_hand():
    low, high = student([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert student([1.0]) is None and student([2.0, 2.0]) is None
    narrow, wide = student([1.0, 2.0] * 4), student([1.0, 2.0])
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_counts_are_pooled_over_seeds():
    runs = [Measure(hits / 1000, "tokens", hits, 100, 1000) for hits in (4, 6)]
    summary = summarize(runs)
    low, high = wilson(10, 200)
    assert summary.mean == pytest.approx(0.005)
    assert (summary.low, summary.high) == pytest.approx((low * 0.1, high * 0.1))
    assert summary.runs == 2 and summary.deviation == pytest.approx(0.001 * math.sqrt(2))


def test_a_seed_that_changes_nothing_is_one_run():
    """Deletions draw nothing: three seeds are one artifact, and no interval may be made of them."""
    runs = [Measured(point("delete", seed), "same", {"changed": Measure(0.04, "tokens")}) for seed in range(3)]
    summary = summary_of(runs, "delete", "changed")
    assert summary == Summary(0.04, "tokens", 1)
    assert readable(summary) == "4.0000%"


def test_differences_are_taken_seed_by_seed():
    """Seeds move both settings far more than the settings differ: only pairs show it."""
    runs = [measured("source", seed, score=10.0 * seed) for seed in (1, 2, 3)]
    runs += [measured("edited", seed, score=10.0 * seed + 1 + 0.1 * seed) for seed in (3, 1, 2)]
    gained = difference(runs, "edited", "source", "score")
    assert gained["score_minus_baseline"] == pytest.approx(1.2)
    assert 0.9 < gained["score_minus_low"] < 1.2 < gained["score_minus_high"] < 1.5
    config = ExperimentConfig(name="x", columns={"score": "score"}, baseline="source")
    rows = summary_rows(config, ["source", "edited"], runs, None)
    assert [row["score_minus_baseline"] for row in rows] == pytest.approx([0, 1.2])
    assert rows[0]["edit.p"] == "0.9" and rows[1]["score_low"] < 21.2 < rows[1]["score_high"]


def test_numbers_keep_the_digits_they_need():
    assert readable(Summary(2.44e-6, "tokens", 3, 0.0, 1.43e-6, 4.18e-6)) == "0.00024% [0.00014, 0.00042]"
    assert readable(Summary(0.1094973, "tokens", 1)) == "10.9497%"
    assert readable(Summary(0.0, "tokens", 1)) == "0.0000%"
    assert readable(Summary(1775595, "", 1)) == "1,775,595"
    assert readable(Summary(38.691, "", 3, 0.1, 38.1, 39.26)) == "38.69 [38.1, 39.26]"
    assert readable(None) == ""


def test_an_unknown_measure_is_refused():
    for pattern in ("chnaged", "*.score", "score*"):
        config = ExperimentConfig(name="x", columns={pattern: "changed"})
        with pytest.raises(BadConfiguration, match=rf"experiment\.columns\.{re.escape(pattern)}: .*score"):
            with_columns_found(config, [measured("a", 0, score=1.0)])


def test_a_pattern_gives_a_column_for_every_measure_that_fits():
    columns = {"score": "score", "*.perplexity": "of *"}
    config = ExperimentConfig(name="x", columns=columns, figure=["*.perplexity"])
    points = [measured("a", 0, score=1.0, **{"c4.perplexity": 9.0, "c4.nll": 2.0, ".perplexity": 1.0}),
              measured("b", 0, **{"wiki.perplexity": 8.0})]  # fmt: skip
    found = with_columns_found(config, points)
    assert found.columns == {"score": "score", "c4.perplexity": "of c4", "wiki.perplexity": "of wiki"}
    assert found.figure == ["c4.perplexity", "wiki.perplexity"]
    # At another scale the same experiment measures something else: a pattern may find nothing, as long as one does.
    either = ExperimentConfig(name="x", columns={"*.acc": "*", "*.perplexity": "of *"})
    assert list(with_columns_found(either, points).columns) == ["c4.perplexity", "wiki.perplexity"]
    assert with_columns_found(config, []) == config  # where every point failed, their errors are what is shown


def test_lines_go_by_the_grid_s_number_and_leave_out_what_is_none():
    config = ExperimentConfig(name="x", columns={"loss": "loss"}, grid=["mix.synthetic_ratio=1,0,0.5"])
    points = expand(config, [0, 1])
    settings = {point.setting: point for point in points}
    measures = [Measured(point, point.role, {"loss": Measure(point.number)}) for point in points if point.number != 4]
    found = lines("mix.synthetic_ratio", ["loss"], settings, partial(summary_of, measures))
    assert [(x, summary.mean) for x, summary in found["loss"]] == [(0.0, 2.5), (0.5, 5.0), (1.0, 0.5)]
    assert lines("mix.synthetic_ratio", ["loss"], settings, lambda setting, name: None) == {}


def test_the_table_shows_what_a_setting_has_more_than_the_baseline():
    config = ExperimentConfig(name="x", columns={"loss": "loss"}, baseline="a")
    values = {("a", 0): 1.0, ("a", 1): 5.0, ("b", 0): 1.5, ("b", 1): 5.6}
    points = [measured(setting, seed, loss=value) for (setting, seed), value in values.items()]
    shown = experiment_table("t", config, ["a", "b"], points, None)
    assert [row[0] for row in shown.rows] == ["a", "b", "b minus a"]
    assert shown.rows[-1][1].startswith("+0.55 [-0.08")


def test_results_of_evaluations_can_be_measured(tmp_path):
    rows = [
        {"model": "m", "set": "arxiv", "metric": "perplexity", "value": 21.5, "stderr": None, "n": 3},
        {"model": "m", "set": "arxiv", "metric": "nll", "value": 3.07, "stderr": 0.1, "n": 3},
    ]

    def build(workspace):
        with workspace.shard("0", "results.json") as ((path,), _):
            path.write_text(json.dumps(rows))
        return Result()

    folder = Artifact("eval", "m", {}, tmp_path, build=build).ensure()
    assert {name: value.value for name, value in measure(folder).items()} == {
        "arxiv.perplexity": 21.5,
        "arxiv.nll": 3.07,
    }
    other = Artifact("diff", "m", {}, tmp_path, build=lambda workspace: Result()).ensure()
    with pytest.raises(UnusableInput, match="diff"):
        measure(other)


def test_tables_are_escaped_in_every_format(tmp_path):
    table = Table("50 % of {x}_1", ["a|b", "c & d"], [["#1", "~^\\"], ["<x>", "$5"]], ["100 % & more"])
    write_markdown(tmp_path / "t.md", table)
    write_latex(tmp_path / "t.tex", table)
    write_csv(tmp_path / "t.csv", [{"a": "x,y", "b": None}, {"a": '"', "b": 0.1}])
    markdown = (tmp_path / "t.md").read_text().splitlines()
    assert markdown[2] == r"| a\|b | c & d |" and markdown[-1] == "* 100 % & more"
    latex = (tmp_path / "t.tex").read_text()
    assert r"\#1 & \textasciitilde{}\textasciicircum{}\textbackslash{} \\" in latex
    assert r"50 \% of \{x\}\_1" in latex and r"\textless{}x\textgreater{} & \$5" in latex
    with (tmp_path / "t.csv").open() as file:
        assert list(csv.reader(file)) == [["a", "b"], ["x,y", ""], ['"', "0.1"]]


def test_the_figure_of_odd_names_and_zeros_has_the_same_bytes_twice(tmp_path):
    settings = ["a $x$ 漢", "b"]
    runs = [
        Measured(point(setting, 0), setting, {"changed": Measure(value, "tokens", 1, 2, 9), "score": Measure(value)})
        for setting, value in zip(settings, (0.0, 0.2), strict=True)
    ]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths = {extension: tmp_path / folder / f"f.{extension}" for extension in ("png", "pdf", "svg")}
        names = {"changed": "changed $", "score": "score $"}
        ours = {name: [summary_of(runs, setting, name) for setting in settings] for name in names}
        draw("title 漢 $", names, settings, ours, {"so $ many": [Summary(0.1, "tokens", 1), None]}, paths)
    for extension in ("png", "pdf", "svg"):
        one, two = ((tmp_path / folder / f"f.{extension}").read_bytes() for folder in ("one", "two"))
        assert one == two and len(one) > 1000
