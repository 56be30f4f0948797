"""Reports: verdicts as exact rules, which measure stands beside which column, and whole commands on a small prior."""

import csv
import json
import shlex
from pathlib import Path

import pytest
from conftest import REPOSITORY, run_command
from hypothesis import given
from hypothesis import strategies as st

from analysis.published import tables
from analysis.reports.cells import (
    AGREES,
    CONTRADICTS,
    NOT_COMPARABLE,
    SAME_DIRECTION,
    Cell,
    Ours,
    Report,
    count,
    report_from,
    verdict_on_difference,
    verdict_on_number,
    verdict_on_statement,
)
from analysis.reports.parts import measure_for, usual_columns

REPORTS = REPOSITORY / "configs" / "report"
PLACES = [f"table{number}" for number in range(1, 19)] + [f"fig{number}" for number in range(2, 15)]
numbers = st.floats(-1e6, 1e6, allow_nan=False)


def ours_around(value: float, half: float) -> Ours:
    return Ours(value, value - half, value + half)


@given(numbers, numbers, st.floats(1e-6, 1e6), st.floats(0, 10))
def test_a_difference_mirrored_on_both_sides_has_the_same_verdict(published, value, half, noise):
    plain, _ = verdict_on_difference(published, ours_around(value, half), noise)
    mirrored, _ = verdict_on_difference(-published, ours_around(-value, half), noise)
    turned, _ = verdict_on_difference(-published, ours_around(value, half), noise)
    assert plain == mirrored
    assert {plain, turned} in ({NOT_COMPARABLE}, {SAME_DIRECTION, CONTRADICTS})
    if plain != NOT_COMPARABLE:
        assert abs(value) > half and abs(published) > noise
        assert (plain == SAME_DIRECTION) == (value * published > 0)


@given(numbers, numbers)
def test_one_run_never_decides_a_direction(published, value):
    assert verdict_on_difference(published, Ours(value), 0)[0] == NOT_COMPARABLE


@given(numbers, numbers, st.floats(1e-6, 1e3))
def test_numbers_are_compared_at_the_published_size_alone(published, value, half):
    assert verdict_on_number(published, ours_around(value, half), False, 0.05)[0] == NOT_COMPARABLE
    verdict, _ = verdict_on_number(published, ours_around(value, half), True, 0.05)
    inside = value - half <= published <= value + half
    close = abs(published - value) <= 0.05 * max(abs(published), abs(value))
    assert verdict == (AGREES if inside or close else CONTRADICTS)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(1, 2, SAME_DIRECTION), (3, 4, CONTRADICTS), (2, 4, NOT_COMPARABLE)]
)
def test_a_statement_holds_where_the_whole_interval_lies_on_its_side(low, high, verdict):
    assert verdict_on_statement(Ours((low + high) / 2, low, high), "below", 3)[0] == verdict
    assert verdict_on_statement(Ours(-(low + high) / 2, -high, -low), "above", -3)[0] == verdict


def test_a_measure_without_a_value_decides_nothing():
    assert verdict_on_statement(Ours(float("nan")), "below", 3)[0] == NOT_COMPARABLE


def test_columns_find_their_measures():
    known = ["c4_en.perplexity", "c4_en.nll", "mean of sets.perplexity", "arc_easy.acc", "mc4.perplexity", "PIQA.acc"]
    found = {
        column: measure_for(column, {}, known) for column in ("c4-en", "mean of sets", "ARC-e", "mc4-en", "average")
    }
    assert list(found.values()) == [known[0], known[2], known[3], known[4], known[2]]
    assert measure_for("PIQA", {}, known) == "PIQA.acc" and measure_for("BoolQ", {}, known) is None
    assert measure_for("BoolQ", {"BoolQ": ["x", "PIQA.acc"]}, known) == "PIQA.acc"
    printed = {column for table in tables().values() for column in table["columns"]}
    assert set(usual_columns()) <= printed, "columns.yaml names a column that is not published"


def test_a_report_survives_its_file():
    cells = [Cell("", "0%", "c4-en", "37.56", 38.0, 37.0, 39.0, verdict=AGREES), Cell("a", "b", "c", "1")]
    made = Report("table1", "Table 1", "A title", "table", "tiny", "python run.py", cells, pictures=["figure"])
    again = report_from(json.loads(json.dumps(made.as_json())))
    assert again == made and again.counts() == count(cells) == {AGREES: 1, "not run": 1}


def test_there_is_a_report_for_every_table_and_figure():
    assert sorted(path.stem for path in REPORTS.glob("*.yaml")) == sorted([*PLACES, "all", "downstream"])


@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_every_report_dry_runs_without_network(scale, tmp_path):
    run = run_command(
        "stage=report", "report=all", f"scale={scale}", "dry_run=true", cwd=tmp_path, HF_HOME=str(tmp_path / "hub")
    )
    for place in PLACES:
        assert f"/{place}.{scale}--" in run.stdout, place
    assert "Traceback" not in run.stderr and not (tmp_path / "artifacts").exists()


# --- whole commands ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(corpus_file, small_prior) -> list[str]:
    return [
        "corpus=local", f"corpus.path='{corpus_file}'", "prior=local", f"prior.path='{small_prior}'",
    ]  # fmt: skip


def cells_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "cells.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, own):
    """A report whose missing input is made by the very command that its error names."""
    work = tmp_path_factory.mktemp("reports")
    report = ["stage=report", "report=table15", *own, "edit.p=0.5", "score.min_p=0.5", "experiment.seeds=[0,1]"]
    refused = run_command(*report, cwd=work, expect=3)
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    named = shlex.split(line.split("`")[1])
    assert named[:2] == ["python", "run.py"] and "build_missing=true" in line
    made = run_command(*named[2:], cwd=work)
    return work, report, made, run_command(*report, "out=done", cwd=work)


def test_the_named_command_makes_what_is_missing_and_the_report_holds_its_numbers(finished):
    work, _, _, run = finished
    (experiment,) = (work / "artifacts" / "experiment").iterdir()
    with (experiment / "table.csv").open(newline="") as file:
        rows = {row["setting"]: row for row in csv.DictReader(file)}
    cells = {(cell["row"], cell["column"]): cell for cell in cells_of(work / "done")}
    assert [cell["published"] for cell in cells.values()][:3] == ["12.5", "11.76", "11.08"]
    for generation in (1, 2, 3):
        setting = f"as released, generation={generation}"
        cell = cells[setting, "eligible, %"]
        assert float(cell["ours"]) == pytest.approx(100 * float(rows[setting]["eligible"]))
        assert cell["measure"] == "eligible" and cell["scale"] == "tiny"
        manifest = json.loads((work / cell["manifest"]).read_text())
        assert manifest["kind"] == "experiment" and cell["command"].startswith(
            "python run.py experiment=paper/generations"
        )
    third = cells["as released, generation=3", "eligible, %"]
    expected = float(rows["as released, generation=3"]["eligible"]) - float(
        rows["as released, generation=1"]["eligible"]
    )
    assert float(third["difference"]) == pytest.approx(100 * expected)
    assert "Table 15" in run.stdout and third["verdict"] in run.stdout


def test_a_report_is_written_in_every_format(finished):
    folder = finished[0] / "done"
    for name in (
        "table.md",
        "table.tex",
        "table.csv",
        "cells.csv",
        "report.json",
        "figure.png",
        "figure.pdf",
        "figure.svg",
    ):
        assert (folder / name).stat().st_size > 0, name
    stored = json.loads((folder / "report.json").read_text())
    assert stored["place"] == "Table 15" and sum(stored["verdicts"].values()) == len(stored["cells"]) == 4
    assert "12.5" in (folder / "table.md").read_text() and r"\toprule" in (folder / "table.tex").read_text()


def test_the_same_report_again_computes_nothing(finished):
    work, report, _, _ = finished
    run = run_command(*report, "out=done", cwd=work)
    assert run.stdout.strip().splitlines()[-1] == "already there: done"


def test_build_missing_builds_and_the_page_holds_what_there_is(finished, own):
    work, report, _, _ = finished
    settings = report[2:]
    run_command("stage=report", "report=fig5", *settings, "build_missing=true", cwd=work)
    chosen = "report.only=[table15,fig5,table18,table1]"
    run = run_command("stage=report", "report=all", *settings, chosen, "out=page", cwd=work)
    reports = [report_from(entry) for entry in json.loads((work / "page" / "reports.json").read_text())]
    ran = {made.name: sum(cell.ours is not None for cell in made.cells) for made in reports}
    assert ran == {"table15": 4, "fig5": 3, "table18": 0, "table1": 0}
    page = (work / "page" / "index.html").read_text()
    assert "experiment=paper/mix_ratio_pile" in page and page.count("data:image/svg+xml") == 2
    assert "table1" in run.stdout and "build_missing=true" in run.stdout


def test_what_cannot_be_built_is_named_and_the_others_go_on(tmp_path, own):
    """Figure 11 needs a synthetic corpus, which is not there; Figure 5 does not."""
    settings = [*own, "analysis.other.path=nowhere.jsonl", "build_missing=true", "report.only=[fig5,fig11]"]
    run = run_command("stage=report", "report=all", *settings, "out=page", cwd=tmp_path)
    reports = {entry["name"]: entry for entry in json.loads((tmp_path / "page" / "reports.json").read_text())}
    assert all(cell["ours"] is not None for cell in reports["fig5"]["cells"])
    assert all(cell["ours"] is None for cell in reports["fig11"]["cells"])
    assert "nowhere.jsonl" in run.stderr and "Traceback" not in run.stderr


def test_figures_of_two_corpora_of_the_user(tmp_path, own, corpus_file):
    settings = [*own, f"analysis.other.path='{corpus_file}'", "analysis.resamples=99", "analysis.unit_fields=[]"]
    run_command("stage=report", "report=fig11", *settings, "build_missing=true", "out=ngrams", cwd=tmp_path)
    verdicts = {cell["column"]: cell for cell in cells_of(tmp_path / "ngrams")}
    assert float(verdicts["over-concentration"]["ours"]) == 0  # a corpus against itself
    assert verdicts["over-concentration"]["verdict"] != SAME_DIRECTION
    run_command("stage=report", "report=fig3", *settings, "build_missing=true", "out=perplexities", cwd=tmp_path)
    quarter = {cell["column"]: cell for cell in cells_of(tmp_path / "perplexities")}["lower quarter"]
    assert float(quarter["ours"]) == pytest.approx(25, abs=2) and quarter["verdict"] == NOT_COMPARABLE


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["report=table99"], "report=table99: no such choice; did you mean table9?"),
        (["report=all", "report.only=[table99]"], "report.only=table99: there are table1"),
        (["report=table1", "experiment=paper/mix_ratio"], "experiment=paper/mix_ratio: a report names its experiments"),
        (["report=table5", "report.parts.tokens.rows={x: y}"], "report.parts.tokens.rows=y: table5 has p >= 0.99"),
    ],
)
def test_bad_reports_are_refused_in_one_line(overrides, message, tmp_path):
    run = run_command("stage=report", *overrides, "build_missing=true", cwd=tmp_path, expect=2)
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
