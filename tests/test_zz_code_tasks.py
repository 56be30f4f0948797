"""HumanEval and MBPP through the whole stage: the harness's prompts, models that know and do not know, bad input.

The package lm_eval is no dependency: without it these tests are skipped, and say so; in continuous integration they
fail.
"""

import json
import sys
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from code_fixtures import humaneval_rows, mbpp_rows, teach_replies, write_code_tasks
from conftest import run_command, write_jsonl
from task_fixtures import save_model
from test_zz_downstream import configured, evaluate, rows_of
from tokenizers_fixture import require_test_data

from eval.stage import plan
from eval.task_files import find_tasks
from eval.tasks import load_task, manager
from toedit.config import ExecutionConfig, TaskConfig
from toedit.errors import BadConfiguration, UnusableInput
from toedit.workspace import read_manifest

pytestmark = pytest.mark.usefixtures("harness")
PASS = {"metric": "pass@1", "max_new_tokens": 32}
NAMES = ["humaneval", "mbpp"]
ALLOWED = {"execute_code": True, "execution": ExecutionConfig(seconds=60)}


def loaded(folder, name, shots=0, **asked):
    (local,) = find_tasks(folder, [name])
    settings = TaskConfig(**{"metric": "pass@1", "shots": shots, **asked})
    return load_task(name, settings, local, 0, execution=ExecutionConfig())


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return write_code_tasks(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="module")
def ignorant(questions, tmp_path_factory):
    """Random weights."""
    texts = [json.dumps(row) for row in (*humaneval_rows(), *mbpp_rows())]
    return save_model(tmp_path_factory.mktemp("ignorant"), texts, width=64)


@pytest.fixture(scope="module")
def knowing(questions, ignorant, tmp_path_factory):
    """A model that was taught the replies, and what comes after them."""
    import shutil

    pairs = []
    for name, shots, reply in (
        ("humaneval", 0, lambda doc: f"{doc['canonical_solution']}\ndef next(): pass"),
        ("mbpp", 3, lambda doc: f"{doc['code']}\n[DONE]\n"),
    ):
        task, _ = loaded(questions, name, shots)
        task.build_all_requests()
        pairs += [(request.arguments[0], reply(request.doc)) for request in task.instances]
    folder = shutil.copytree(ignorant, tmp_path_factory.mktemp("knowing") / "model")
    teach_replies(folder, pairs)
    return folder


# --- the harness's prompts --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference_manager():
    """The harness's tasks without ours."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


@pytest.mark.parametrize(("name", "shots"), [("humaneval", 0), ("mbpp", 3)])
def test_prompts_tests_and_stop_sequences_are_the_harness_s_own(name, shots, reference_manager, monkeypatch):
    """On the real rows. Its own tasks load a metric from the Hub when they are read: one stands in here."""
    metric = SimpleNamespace(load=lambda name: SimpleNamespace(compute=lambda **_: ({"pass@1": 0.0}, {})))
    monkeypatch.setitem(sys.modules, "evaluate", metric)
    task, split = loaded(require_test_data() / "tasks", name, shots)
    rows = list(task.eval_docs)
    assert split == "test" and len(rows) == {"humaneval": 164, "mbpp": 500}[name]
    changes = {"custom_dataset": lambda **_: dict(task.dataset), "dataset_kwargs": None, "num_fewshot": shots,
               "training_split": None, "validation_split": None}  # fmt: skip
    reference = reference_manager.load([{"group": "reference", "task": [{"task": name, **changes}]}])["tasks"][name]
    for own in (task, reference):
        own.build_all_requests()
    ours, theirs = ([request.arguments for request in own.instances] for own in (task, reference))
    assert [prompt for prompt, _ in ours] == [prompt for prompt, _ in theirs]
    assert ours[0][1] == theirs[0][1]
    setups = 0
    for doc in rows:
        setup = doc.get("test_setup_code", "")
        setups += setup != ""
        assert task.doc_to_target(doc) == (f"{setup}\n" if name == "mbpp" else "") + reference.doc_to_target(doc)
    assert setups == (name == "mbpp")


def test_ours_take_the_place_of_the_harness_s():
    for name in NAMES:
        assert "task_definitions/code" in str(manager().task_index[name].yaml_path)


# --- models that know and do not know ---------------------------------------------------------------------------------


def test_a_model_that_knows_the_replies_gets_100_and_another_0(knowing, ignorant, questions, tmp_path):
    asked = {"humaneval": PASS, "mbpp": {**PASS, "shots": 3}, **ALLOWED}
    done = evaluate(tmp_path / "a", knowing, questions, NAMES, **asked)
    rows = rows_of(done)
    assert {name: (row["value"], row["n"]) for name, row in rows.items()} == {
        "humaneval": (1.0, 5), "mbpp": (1.0, 3), "mean of tasks": (1.0, 8)
    }  # fmt: skip
    assert rows["mbpp"]["split"] == "test" and rows["mbpp"]["shots"] == 3
    (reply,) = pq.read_table(done / "samples" / "humaneval.parquet").to_pylist()[0]["replies"]
    assert reply == humaneval_rows()[0]["canonical_solution"].rstrip("\n") + "\n"  # cut before "\ndef"
    guards = read_manifest(done)["runtime"]["execution"]["guards"]
    assert "limits" in guards and "network hook" in guards
    other = evaluate(tmp_path / "a", ignorant, questions, NAMES, **asked)
    assert all(row["value"] == 0.0 for row in rows_of(other).values())
    for sample in pq.read_table(other / "samples" / "mbpp.parquet").to_pylist():
        assert sample["pass@1"] == 0 and sample["reasons"] != ["passed"]


def test_pass_at_k_of_several_draws(knowing, questions, tmp_path):
    asked = {**PASS, "metric": "pass@2", "also": ["pass@1"], "samples": 4, "temperature": 1.5, "top_p": 1.0}
    done = evaluate(tmp_path / "a", knowing, questions, ["humaneval"], humaneval=asked, **ALLOWED)
    rows = {row["metric"]: row for row in json.loads((done / "results.json").read_text())}
    samples = pq.read_table(done / "samples" / "humaneval.parquet").to_pylist()
    passed = [sum(reason == "passed" for reason in sample["reasons"]) for sample in samples]
    assert all(len(sample["replies"]) == len(sample["reasons"]) == 4 for sample in samples)
    assert rows["pass@1"]["value"] == pytest.approx(sum(passed) / 20)
    assert rows["pass@2"]["value"] == pytest.approx(sum(1 - (4 - c) * (3 - c) / 12 for c in passed) / 5)
    assert len({reply for sample in samples for reply in sample["replies"]}) > 5
    assert (rows["pass@2"]["samples"], rows["pass@2"]["temperature"]) == (4, 1.5)


def test_limits_are_part_of_what_is_asked_and_keys_left_alone_are_not(ignorant, questions, tmp_path):
    def address(**settings):
        return plan(configured(tmp_path, ignorant, questions, ["mbpp"], mbpp={"metric": "pass@1"}, **settings)).path

    allowed = {"execute_code": True}
    others = [{}, allowed, {"execute_code": True, "execution": ExecutionConfig(seconds=3)}]
    assert len({address(**settings) for settings in others}) == 3
    assert address(**allowed) == address(**allowed, execution=ExecutionConfig(workers=1))
    identity = plan(configured(tmp_path, ignorant, questions, ["mbpp"], mbpp={"metric": "pass@1"})).identity
    assert set(identity["tasks"][0]) == {"name", "shots", "metric", "split", "definition"}
    assert "chat_template" not in identity


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asked", "settings", "part"),
    [
        ("humaneval", {}, {}, "eval.tasks.humaneval: its score comes from running what the model writes"),
        ("mbpp", {}, {}, "eval.execute_code=true allows it"),
        ("humaneval", {"metric": "acc"}, ALLOWED, "eval.tasks.humaneval.metric=acc: the task has pass@1"),
        ("humaneval", {"metric": "pass@10"}, ALLOWED, "takes as many samples; eval.tasks.humaneval.samples is 1"),
        ("humaneval", {"samples": 3}, ALLOWED, "all would be the same; set eval.tasks.humaneval.temperature"),
        ("humaneval", {"shots": 1}, ALLOWED, "eval.tasks.humaneval.shots=1: the task fixes 0"),
        ("mbpp", {"shots": 4}, ALLOWED, "eval.tasks.mbpp.shots=4: the task has 3 examples"),
        ("humaneval_plus", {}, ALLOWED, "the harness would run what the model writes in its own process"),
        ("piqa", {"metric": "acc", "samples": 2}, ALLOWED, "eval.tasks.piqa.samples=2: is read for tasks whose"),
    ],
)
def test_what_cannot_be_run_is_refused(name, asked, settings, part, ignorant, questions, tmp_path, monkeypatch):
    metric = SimpleNamespace(load=lambda name: SimpleNamespace(compute=lambda **_: ({"pass@1": 0.0}, {})))
    monkeypatch.setitem(sys.modules, "evaluate", metric)
    folder = questions
    if name not in NAMES:
        (tmp_path / "tasks" / name).mkdir(parents=True)
        write_jsonl(tmp_path / "tasks" / name / "validation.jsonl", [{"x": 1}])
        folder = tmp_path / "tasks"
    with pytest.raises(BadConfiguration) as caught:
        evaluate(tmp_path / "a", ignorant, folder, [name], **{name: {"metric": "pass@1", **asked}}, **settings)
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["samples", "temperature", "top_p", "max_new_tokens"])
def test_settings_of_the_draw_are_checked(key):
    with pytest.raises(BadConfiguration, match=rf"task\.{key}=0: must"):
        TaskConfig(**{key: 0})


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda rows: [{k: v for k, v in row.items() if k != "test_setup_code"} for row in rows],
         ["mbpp", "full.jsonl", "field test_setup_code is missing in row 1"]),
        (lambda rows: [{**row, "task_id": None} for row in rows], ["full.jsonl: field task_id is missing in row 1"]),
        (lambda rows: [{**row, "task_id": "x"} for row in rows], ["field task_id is no whole number in row 1"]),
        (lambda rows: [row for row in rows if row["task_id"] < 11], ["no row has a task_id from 11 to 510"]),
        (lambda rows: [row for row in rows if row["task_id"] > 4], ["no row has a task_id from 1 to 10"]),
    ],
)  # fmt: skip
def test_rows_of_mbpp_that_do_not_fit_are_refused(change, parts, ignorant, questions, tmp_path):
    (tmp_path / "tasks" / "mbpp").mkdir(parents=True)
    write_jsonl(tmp_path / "tasks" / "mbpp" / "full.jsonl", change(mbpp_rows()))
    with pytest.raises(UnusableInput) as caught:
        evaluate(tmp_path / "a", ignorant, tmp_path / "tasks", ["mbpp"], mbpp={**PASS, "shots": 3}, **ALLOWED)
    for part in parts:
        assert part in str(caught.value)


def test_splits_of_mbpp_may_also_lie_in_files_of_their_own(tmp_path):
    (tmp_path / "mbpp").mkdir()
    write_jsonl(tmp_path / "mbpp" / "test.jsonl", mbpp_rows())
    task, _ = loaded(tmp_path, "mbpp")
    assert len(task.eval_docs) == len(mbpp_rows())


def test_the_command_refuses_in_one_line_and_runs_with_the_key(ignorant, questions, tmp_path):
    command = ["stage=eval", "eval=code", f"eval.tasks_path='{questions}'", f"checkpoint.path='{ignorant}'", "out=done",
               "eval.tasks.humaneval.max_new_tokens=8", "eval.tasks.mbpp.max_new_tokens=8"]  # fmt: skip
    refused = run_command(*command, cwd=tmp_path, expect=2)
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "eval.execute_code=true" in errors[0] and "Traceback" not in refused.stderr
    assert not (tmp_path / "done").exists()
    run = run_command(*command, "eval.execute_code=true", cwd=tmp_path)
    assert "pass@1" in run.stdout and "execution: 5 programs" in run.stderr
