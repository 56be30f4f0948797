"""One table over many evaluations: the numbers of their results.json, and what makes them hard to compare."""

import csv

import pytest
from conftest import run_command
from eval_fixtures import evaluation, row

from analysis.downstream_table import gather, headings_of, plan, readable_table, wide_rows
from toedit.config import Config, ReportConfig
from toedit.errors import BadConfiguration, MissingInput, UnusableInput


def test_a_row_a_checkpoint_a_column_a_task_and_their_mean(tmp_path):
    first = evaluation(tmp_path / "a", [row("piqa", 0.5), row("boolq", 0.7)], "base", "1" * 64)
    second = evaluation(tmp_path / "b", [row("boolq", 0.6), row("piqa", 0.8)], "edited", "2" * 64)
    lines = gather([first, second])
    shown = readable_table(lines, headings_of(lines))
    assert (shown.title, shown.columns) == ("Downstream tasks, acc", ["checkpoint", "piqa", "boolq", "mean of tasks"])
    assert shown.rows == [
        ["base", "0.5000 ± 0.0300", "0.7000 ± 0.0300", "0.6000 ± 0.0212"],
        ["edited", "0.8000 ± 0.0300", "0.6000 ± 0.0300", "0.7000 ± 0.0212"],
    ]
    assert shown.notes == ["Value ± standard error over examples."]
    (base, _) = wide_rows(lines, headings_of(lines))
    assert base["piqa"] == 0.5 and base["mean of tasks"] == pytest.approx(0.6)
    assert base["mean of tasks stderr"] == pytest.approx(0.03 * 2**0.5 / 2) and base["fingerprint"] == "1" * 64


def test_evaluations_of_one_checkpoint_share_a_row_and_equal_names_are_told_apart(tmp_path):
    folders = [
        evaluation(tmp_path / "a", [row("piqa", 0.5)], "m", "1" * 64),
        evaluation(tmp_path / "b", [row("gsm8k", 0.1, "exact_match")], "m", "1" * 64),
        evaluation(tmp_path / "c", [row("piqa", 0.6), row("gsm8k", 0.2, "exact_match")], "m", "2" * 64),
    ]
    lines = gather(folders)
    shown = readable_table(lines, headings_of(lines))
    assert shown.columns == ["checkpoint", "piqa (acc)", "gsm8k (exact_match)", "mean of tasks"]
    assert [cells[0] for cells in shown.rows] == ["m (11111111)", "m (22222222)"]
    assert [cells[-1][:6] for cells in shown.rows] == ["0.3000", "0.4000"]


def test_what_is_missing_or_measured_differently_is_said(tmp_path):
    folders = [
        evaluation(tmp_path / "a", [row("piqa", 0.5), row("boolq", 0.7)], "a", "1" * 64),
        evaluation(tmp_path / "b", [row("piqa", 0.5, shots=5, backend="vllm")], "b", "2" * 64),
        evaluation(tmp_path / "c", [row("piqa", None), row("boolq", 0.7)], "c", "3" * 64),
    ]
    lines = gather(folders)
    shown = readable_table(lines, headings_of(lines))
    assert "piqa: shots differs (0: a, c; 5: b)." in shown.notes
    assert "piqa: backend differs (hf: a, c; vllm: b)." in shown.notes
    assert "boolq: not measured of b." in shown.notes
    assert [cells[-1] for cells in shown.rows][1:] == ["", ""]  # a mean of fewer tasks is another number
    assert shown.rows[2][1] == ""


def test_tasks_inside_a_group_stay_out_and_the_first_metric_makes_the_mean(tmp_path):
    rows = [
        row("mmlu", 0.3, aggregate=True),
        row("mmlu_law", 0.9, group="mmlu"),
        row("arc", 0.5),
        row("arc", 0.7, "acc_norm"),
    ]
    lines = gather([evaluation(tmp_path / "a", rows)])
    shown = readable_table(lines, headings_of(lines))
    assert shown.columns == ["checkpoint", "mmlu (acc)", "arc (acc)", "arc (acc_norm)", "mean of tasks"]
    assert shown.rows[0][-1].startswith("0.4000")


@pytest.mark.parametrize(
    ("asked", "error", "part"),
    [
        ([], BadConfiguration, "report.evals: names the eval artifacts"),
        (["none"], MissingInput, "none does not exist; `python run.py stage=eval"),
        (["none*"], MissingInput, "nothing fits"),
        (["other"], UnusableInput, "is no evaluation on tasks"),
        (["a", "a2"], BadConfiguration, "both have piqa of m; leave one out"),
    ],
)
def test_what_cannot_stand_in_one_table_is_refused(asked, error, part, tmp_path):
    evaluation(tmp_path / "a", [row("piqa", 0.5)])
    evaluation(tmp_path / "a2", [row("piqa", 0.5)])
    evaluation(tmp_path / "other", [row("piqa", 0.5)], kind="corpus")
    with pytest.raises(error) as caught:
        plan(Config(report=ReportConfig(evals=[str(tmp_path / name) for name in asked])))
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_writes_the_table_and_finds_it_again(tmp_path):
    evaluation(tmp_path / "general-a", [row("piqa", 0.5), row("boolq", 0.7)], "base_1", "1" * 64)
    evaluation(tmp_path / "general-b", [row("piqa", 0.8)], "edited", "2" * 64)
    command = ["stage=report", "report=downstream", 'report.evals=["general-*"]', "out=results"]
    run = run_command(*command, cwd=tmp_path)
    assert "base_1" in run.stdout and "written: results" in run.stdout
    assert "| base_1 | 0.5000 ± 0.0300 | 0.7000 ± 0.0300 |" in (tmp_path / "results" / "table.md").read_text()
    assert r"base\_1 & 0.5000 ± 0.0300" in (tmp_path / "results" / "table.tex").read_text()
    with (tmp_path / "results" / "rows.csv").open() as file:
        assert [(line["eval"], line["set"]) for line in csv.DictReader(file)] == [
            ("general-a", "piqa"), ("general-a", "boolq"), ("general-a", "mean of tasks"), ("general-b", "piqa")
        ]  # fmt: skip
    assert "already there" in run_command(*command, cwd=tmp_path).stdout
    assert "choose" not in run.stderr and "report=" in run_command(cwd=tmp_path).stdout
