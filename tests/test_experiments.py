"""Whole experiments: points, dry runs at every scale, tables that equal the manifests, resumption, failures, jobs."""

import csv
import json
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import REPOSITORY, files_of, run_command
from test_end_to_end import own_inputs, start, stop_when

import toedit.config
from analysis.published import published_for, tables
from toedit.config import ExperimentConfig, PublishedConfig, ScaleConfig
from toedit.errors import BadConfiguration
from toedit.experiments import at_scale, compose_point, expand, own_overrides, parse_sweep
from toedit.sweeps import quoted

SHIPPED = sorted(
    file.relative_to(REPOSITORY / "configs" / "experiment").with_suffix("").as_posix()
    for file in (REPOSITORY / "configs" / "experiment").glob("*/**/*.yaml")
)
SCALES = sorted(file.stem for file in (REPOSITORY / "configs" / "scale").glob("*.yaml"))
ABLATION = ["experiment=paper/ablation_temperature", "scale.seeds=[0,3]"]


@pytest.fixture(scope="module")
def hydra():
    from hydra import initialize_config_dir
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=toedit.config.Config)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, corpus_file, small_prior):
    """A workplace with one experiment done, and what the command said."""
    work = tmp_path_factory.mktemp("experiment")
    run = run_command(*ABLATION, *own_inputs(corpus_file, small_prior), "out=done", cwd=work)
    return work, run


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def without_manifest(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_of(folder, ".").items() if name != "manifest.json"}


# --- points -----------------------------------------------------------------------------------------------------------


def test_points_are_arms_by_grid_by_seeds():
    experiment = ExperimentConfig(
        name="x",
        arms={"human": ["edit=none"], "edited": ["edit=paper", "edit.k=4"]},
        grid=["edit.p=0.9,0.99", "corpus.max_documents=1,2,3"],
        seed_keys=["seed", "edit.seed"],
        columns={"changed": "changed"},
    )
    points = expand(experiment, [5, 7])
    assert len(points) == 2 * 2 * 3 * 2 == len({point.role for point in points})
    assert points[0].setting == "human, p=0.9, max_documents=1"
    assert points[1].overrides == ("edit=none", "edit.p=0.9", "corpus.max_documents=1", "seed=7", "edit.seed=7")
    by_setting = {}
    for point in points:
        by_setting.setdefault(point.setting, []).append(point.seed)
    assert set(map(tuple, by_setting.values())) == {(5, 7)}  # the same seeds everywhere: differences are paired


def test_sweeps_are_read_as_the_command_line_reads_them():
    assert parse_sweep("edit.p=0.9,0.99") == ("edit.p", ["0.9", "0.99"])
    assert parse_sweep("edit=paper") == ("edit", ["paper"])
    assert parse_sweep("edit.k=range(1,4)") == ("edit.k", ["1", "2", "3"])
    with pytest.raises(BadConfiguration, match=r"experiment\.grid=edit\.p=\["):
        parse_sweep("edit.p=[")


def test_points_of_the_same_name_are_refused():
    experiment = ExperimentConfig(name="x", grid=["edit.p=0.9,0.9"], columns={"changed": "changed"})
    with pytest.raises(BadConfiguration, match=r"two settings are called p=0\.9"):
        expand(experiment, [0])


def test_a_key_that_is_set_twice_is_refused():
    arms, columns = {"a": ["edit.k=4"]}, {"changed": "changed"}
    for changes in ({"grid": ["edit.k=4,8"]}, {"seed_keys": ["edit.k"]}):
        with pytest.raises(BadConfiguration, match=r"edit\.k twice"):
            expand(ExperimentConfig(name="x", arms=arms, columns=columns, **changes), [0])


def test_an_override_that_the_points_would_undo_is_refused():
    experiment = ExperimentConfig(name="x", arms={"a": ["edit=none"]}, grid=["edit.p=0.9"], columns={"changed": "c"})
    points = expand(experiment, [0])
    for override in ("edit.p=0.5", "edit=official", "seed=3", "++edit.p=0.5"):
        with pytest.raises(BadConfiguration, match=re.escape(override)):
            own_overrides([override], points)
    assert own_overrides(["out=x", "stage=none", "dry_run=true", "edit.k=4"], points) == ["edit.k=4"]


@pytest.mark.parametrize("value", ["plain", "it's, a=b", "back\\slash", "a\\'b", "ünï {x: [1]} $!", " "])
def test_values_survive_quoting_for_hydra(value, hydra):
    assert compose_point([f"corpus.name={quoted(value)}"]).corpus.name == value


def test_arms_that_need_the_hub_are_left_out_where_nothing_is_downloaded():
    arms = {"one": ["edit.p=0.9"], "two": ["edit.p=0.99"]}
    experiment = ExperimentConfig(name="x", columns={"changed": "changed"}, arms=arms, hub_arms=["two"])
    assert at_scale(experiment, ScaleConfig(downloads=True)) == experiment
    left = at_scale(experiment, ScaleConfig(downloads=False))
    assert list(left.arms) == ["one"] and "two" in left.notes[-1] and "scale=tiny" in left.notes[-1]
    with pytest.raises(BadConfiguration, match=r"experiment\.hub_arms=three"):
        ExperimentConfig(name="x", columns={"changed": "changed"}, arms=arms, hub_arms=["three"])


@pytest.mark.parametrize("key", ["drawn", "panels"])
def test_figures_draw_published_columns_that_exist(key):
    with pytest.raises(BadConfiguration, match=rf"experiment\.published\.{key}=nothing"):
        published_for(PublishedConfig(table="selection_olmo", **{key: ["nothing"]}))
    assert published_for(PublishedConfig(table="selection_olmo", **{key: ["c4-en"]}))


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_the_shipped_experiments_are_those_of_the_paper():
    assert {f"paper/ablation_{name}" for name in ("p", "k", "sampler", "temperature", "deletion")} < set(SHIPPED)
    assert {"paper/mix_ratio", "paper/mix_ratio_pile", "paper/mix_ratio_olmo", "paper/pretrain_edited"} < set(SHIPPED)
    assert SCALES == ["paper", "small", "tiny"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", SHIPPED)
def test_every_shipped_experiment_dry_runs_at_every_scale_without_network(experiment, scale, tmp_path):
    arguments = [f"experiment={experiment}", f"scale={scale}", "experiment.seeds=[0]", "dry_run=true"]
    run = run_command(*arguments, cwd=tmp_path, HF_HOME=str(tmp_path))
    lines = [line.split() for line in run.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    kinds = Counter(line[0] for line in lines)
    assert lines[-1][0] == "experiment"
    assert not list((tmp_path / "artifacts").glob("*/*/manifest.json"))
    if kinds["figure"]:  # an analysis: no training, no edit
        return
    assert kinds["edited_corpus"] + kinds["checkpoint"] >= 4
    if "generation" not in experiment:  # all points share one pass of the prior; two where one arm leaves out prompts
        extra = experiment.startswith("paper/sft") + (experiment == "paper/selection")
        assert kinds["scores"] == (kinds["edited_corpus"] > 0) + extra
    assert "parameters" in run.stdout
    if kinds["checkpoint"] and scale != "tiny":  # the published models are known before there is a token
        assert run.stdout.count("FLOPs") >= kinds["checkpoint"]


@pytest.mark.parametrize("experiment", SHIPPED)
def test_published_rows_belong_to_settings_that_exist(experiment, hydra):
    config = compose_point([f"experiment={experiment}"])
    settings = {point.setting for point in expand(config.experiment, config.scale.seeds)}
    assert config.experiment.name == experiment
    published = published_for(config.experiment.published)
    assert published is None or set(published.cells) <= settings


def test_published_tables_are_whole_and_say_where_they_come_from():
    for name, table in tables().items():
        assert table["source"] and table["title"], name
        assert all(len(row) == len(table["columns"]) for row in table["rows"].values()), name
    # The averages of Table 5 are the means of their rows, as far as they were printed.
    for row in tables()["table5"]["rows"].values():
        _, *scores, average = row
        assert sum(scores) / len(scores) == pytest.approx(average, abs=0.011)
    for row in [*tables()["table2"]["rows"].values(), *tables()["mix_ratio_gpt2_pile"]["rows"].values()]:
        *scores, average = row
        assert sum(scores) / len(scores) == pytest.approx(average, abs=0.011)


def test_unknown_published_numbers_are_refused():
    for config, part in (
        (PublishedConfig(table="table99"), "table99"),
        (PublishedConfig(table="table8", rows={"k=8": "k = 9"}), "k = 9"),
        (PublishedConfig(table="table8", columns=["Pubmed"]), "Pubmed"),
    ):
        with pytest.raises(BadConfiguration, match=part):
            published_for(config)


# --- whole runs -------------------------------------------------------------------------------------------------------


def test_the_table_s_numbers_are_the_manifests(finished):
    work, run = finished
    folder = work / "done"
    points = {role: work / "done" / source["path"] for role, source in manifest(folder)["inputs"].items()}
    names = manifest(folder)["identity"]["points"]
    assert len(points) == 5 * 2
    with (folder / "points.csv").open() as file:
        tidy = list(csv.DictReader(file))
    for role, path in points.items():
        counts = manifest(path)["counts"]
        setting, seed = names[role][:2]
        rows = {row["measure"]: row for row in tidy if (row["setting"], row["seed"]) == (setting, str(seed))}
        assert float(rows["changed"]["value"]) == counts["changed"] / counts["tokens"]
        assert float(rows["eligible"]["value"]) == counts["eligible"] / counts["tokens"]
        assert float(rows["expected_changed"]["value"]) == counts["expected_changed"] / counts["tokens"]
        assert path.name.endswith(rows["changed"]["artifact"])
    with (folder / "table.csv").open() as file:
        wide = list(csv.DictReader(file))
    assert [row["setting"] for row in wide] == [f"temperature={value}" for value in ("1", "1.25", "1.5", "2", "3")]
    changed = [float(row["changed"]) for row in wide]
    assert changed == sorted(changed) and changed[-1] > 0
    for row in wide:
        seeds = [float(r["value"]) for r in tidy if (r["setting"], r["measure"]) == (row["setting"], "changed")]
        assert float(row["changed"]) == pytest.approx(sum(seeds) / 2)
        assert float(row["changed_low"]) <= float(row["changed"]) <= float(row["changed_high"])
    shown = (folder / "table.md").read_text()
    assert f"{changed[-1]:.4%} [" in shown and f"{changed[-1]:.4%} [" in run.stdout
    assert "not run" in shown and "published: MedQA" in shown and "27.34" in shown


def test_an_experiment_leaves_tables_and_a_figure_in_all_formats(finished):
    folder = finished[0] / "done"
    assert {file.name for file in folder.iterdir()} == {
        "manifest.json", "table.md", "table.tex", "table.csv", "table.json", "points.csv",
        "figure.png", "figure.pdf", "figure.svg",
    }  # fmt: skip
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    latex = (folder / "table.tex").read_text()
    assert latex.count(r"\\") == 6 and not re.search(r"(?<!\\)[%_#]", latex)


def test_the_same_experiment_again_computes_nothing(finished, corpus_file, small_prior):
    work, _ = finished
    before = files_of(work / "done", ".")
    run = run_command(*ABLATION, *own_inputs(corpus_file, small_prior), "out=done", cwd=work)
    assert run.stdout.strip().splitlines()[-1] == "already there: done"
    assert "temperature=1.5" in run.stdout and "point 1 of" not in run.stderr
    assert files_of(work / "done", ".") == before


def test_a_point_alone_is_an_ordinary_command_with_the_same_artifact(finished, corpus_file, small_prior):
    work, _ = finished
    alone = ["stage=edit", ABLATION[0], "edit.temperature=2", "edit.seed=3"]
    run = run_command(*alone, *own_inputs(corpus_file, small_prior), cwd=work)
    assert run.stdout.strip().splitlines()[-1].startswith("already there: ")


def test_several_processes_give_the_same_bytes(finished, corpus_file, small_prior, tmp_path):
    work, _ = finished
    run = run_command(*ABLATION, *own_inputs(corpus_file, small_prior), "experiment.jobs=2", "out=done", cwd=tmp_path)
    assert "point 10 of 10" in run.stderr
    assert without_manifest(tmp_path / "done") == without_manifest(work / "done")
    ours, theirs = (
        {name: content for name, content in files_of(folder, "artifacts").items() if "manifest" not in name}
        for folder in (tmp_path, work)
    )
    assert {name: content for name, content in ours.items() if ".cache" not in name} == {
        name: content for name, content in theirs.items() if ".cache" not in name
    }


def test_a_killed_experiment_resumes(finished, corpus_file, small_prior, tmp_path):
    work, _ = finished
    arguments = [*ABLATION, *own_inputs(corpus_file, small_prior), "out=done"]
    process = start(*arguments, cwd=tmp_path)
    stop_when(process, "edited_corpus/*t1.25*/manifest.json", tmp_path / "artifacts", signal.SIGKILL)
    assert not (tmp_path / "done" / "manifest.json").exists()
    there = {path: path.read_bytes() for path in tmp_path.glob("artifacts/edited_corpus/*/manifest.json")}
    run = run_command(*arguments, cwd=tmp_path)
    assert f"{len(there)} of 10 points: already there" in run.stderr
    assert all(path.read_bytes() == content for path, content in there.items())
    assert without_manifest(tmp_path / "done") == without_manifest(work / "done")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_scheduler_s_warning_ends_all_of_it_with_code_75(jobs, corpus_file, small_prior, tmp_path):
    arguments = [*ABLATION, *own_inputs(corpus_file, small_prior), f"experiment.jobs={jobs}"]
    process = start(*arguments, cwd=tmp_path)
    assert stop_when(process, "edited_corpus/*t1.25*", tmp_path / "artifacts", signal.SIGTERM) == 75
    deadline = time.monotonic() + 20
    while any(tmp_path.name in line for line in _command_lines()):
        assert time.monotonic() < deadline, "a point goes on without its experiment"
        time.sleep(0.1)


def test_a_killed_point_ends_all_of_it_with_code_75(corpus_file, small_prior, tmp_path):
    """As a scheduler has to know: nothing is wrong with the point."""
    arguments = [*ABLATION, *own_inputs(corpus_file, small_prior), "experiment.jobs=2"]
    process = start(*arguments, cwd=tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 120
    while not (points := [int(pid) for pid in children.read_text().split() if _is_point(int(pid))]):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(points[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert process.returncode == 75 and "SIGKILL" in line and "the same command resumes" in line, said


def _is_point(pid: int) -> bool:
    try:
        return b"stage=edit" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _command_lines() -> list[str]:
    lines = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid() and b"run.py" in (entry / "cmdline").read_bytes():
                lines.append(str((entry / "cwd").resolve()))
        except OSError:
            continue
    return lines


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_experiment_of_one_s_own_as_the_documentation_has_it(jobs, corpus_file, small_prior, tmp_path):
    own = re.search(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "experiments.md").read_text(), re.DOTALL)
    folder = tmp_path / "my configs" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(own[1])
    command = ["--config-dir=my configs", "experiment=mine", "scale.seeds=[1,2]", f"experiment.jobs={jobs}", "out=mine"]
    run_command(*command, *own_inputs(corpus_file, small_prior), cwd=tmp_path)
    with (tmp_path / "mine" / "table.csv").open() as file:
        rows = {row["setting"]: row for row in csv.DictReader(file)}
    assert set(rows) == {f"{arm}, p={p}" for arm in ("paper", "released") for p in ("0.9", "0.99")}
    assert float(rows["paper, p=0.99"]["changed_minus_baseline"]) == 0
    hotter = rows["released, p=0.9"]
    gained = float(hotter["changed"]) - float(rows["paper, p=0.99"]["changed"])
    assert float(hotter["changed_minus_baseline"]) == pytest.approx(gained) and gained > 0


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_point_is_shown_and_the_others_go_on(jobs, corpus_file, small_prior, tmp_path):
    """k = 64 cannot be planned with 8 candidates; the nucleus breaks while its point is being built."""
    arguments = [
        "experiment=paper/ablation_sampler", "experiment.seeds=[0]", f"experiment.jobs={jobs}", "score.top_k=8",
        '+experiment.arms.tight=["edit=top_p","edit.top_p=0.9999999"]', *own_inputs(corpus_file, small_prior),
    ]  # fmt: skip
    run = run_command(*arguments, cwd=tmp_path, expect=2)
    assert "Traceback" not in run.stderr
    rows = {line.split("  ")[1].strip(): line for line in run.stdout.splitlines() if line.startswith("  ")}
    assert rows["top-k, k = 64"].rstrip().endswith("failed (2)")
    assert rows["tight"].rstrip().endswith("failed (2)")
    for setting in ("top-k, k = 8", "top-p 0.999", "rejection, k = 8"):
        assert rows[setting].rstrip().endswith("ok")
    failed = [line for line in run.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2 and "score.top_k=64" in failed[0] and "score.top_k" in failed[1]
    assert re.search("^error: .*2 of 5 points failed", run.stderr, re.MULTILINE)
    assert not list(tmp_path.glob("artifacts/experiment/*/manifest.json"))
    assert len(list(tmp_path.glob("artifacts/edited_corpus/*/manifest.json"))) == 3


def test_what_all_points_need_fails_once(tmp_path):
    """Offline, the hub's corpus cannot be had: one error, exit code 3, however many points wait for it."""
    arguments = ["experiment=paper/ablation_k", "scale=small", "prior=tiny"]
    for jobs in (1, 2):
        run = run_command(*arguments, f"experiment.jobs={jobs}", cwd=tmp_path, expect=3, HF_HOME=str(tmp_path))
        assert run.stdout.count("failed (3)") == 5 and "15 of 15 points failed" in run.stderr
        assert "hub cannot be reached" in run.stderr
        assert not (tmp_path / "artifacts" / "checkpoint").exists()  # nothing is trained in vain


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["experiment=paper/ablatoin_p"], ["experiment=paper/ablatoin_p", "did you mean paper/ablation_p?"]),
        (["experiment=paper/ablation_p", "scale=huge"], ["scale=huge", "tiny"]),
        (["experiment=paper/ablation_p", "edit.p=0.5"], ["edit.p=0.5", "experiment.grid"]),
        (["experiment=paper/ablation_p", "experiment.jobs=0"], ["experiment.jobs=0"]),
        (["experiment=paper/ablation_p", "experiment.seeds=[1,1]"], ["experiment.seeds", "different"]),
        (["experiment=paper/ablation_p", "experiment.stage=edti"], ["edti"]),
        (["experiment=paper/ablation_p", "experiment.baseline='p=2'"], ["experiment.baseline=p=2", "p=0.9"]),
        (["experiment=paper/ablation_p", "edit.pp=1"], ["edit.pp", "did you mean edit.p?"]),
        (["experiment=paper/ablation_p", "experiment.grid=[edit.pp]"], ["experiment.grid=edit.pp", "key=value"]),
        (["scale=tiny"], ["stage", "edit"]),
    ],
)
def test_mistakes_are_one_line(arguments, parts, tmp_path):
    run = run_command(*arguments, "dry_run=true", cwd=tmp_path, expect=2)
    lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in run.stderr, run.stderr
    for part in parts:
        assert part in lines[0]


def test_experiments_can_be_swept_too(corpus_file, small_prior, tmp_path):
    sweep = "experiment=paper/ablation_k,paper/ablation_deletion"
    run = run_command("-m", sweep, "scale.seeds=[0]", *own_inputs(corpus_file, small_prior), cwd=tmp_path)
    assert run.stdout.count(" ok") == 2 and "paper/ablation_deletion" in run.stdout
    assert len(list(tmp_path.glob("artifacts/experiment/*/manifest.json"))) == 2
    assert len(list(tmp_path.glob("artifacts/scores/*/manifest.json"))) == 1
