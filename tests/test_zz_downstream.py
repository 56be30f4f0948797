"""Tasks of lm-evaluation-harness: its numbers exactly, models that know and do not know the answers, bad input.

The package lm_eval is no dependency: without it these tests are skipped, and say so; in continuous integration they
fail.
"""

import csv
import json
import shutil

import pyarrow.parquet as pq
import pytest
from conftest import files_of, run_command, write_jsonl
from task_fixtures import CHANCE, SPLITS, save_model, task_rows, teach, with_code_of_its_own, write_tasks
from tokenizers_fixture import require_test_data
from tokens_fixture import build_tokens

from analysis.measures import measure
from eval import downstream
from eval.stage import plan
from toedit.config import CheckpointConfig, Config, EvalConfig, TaskConfig
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

pytestmark = pytest.mark.usefixtures("harness")
CHOICES = list(CHANCE)


def configured(root, model, folder, names, **settings) -> Config:
    tasks = {name: TaskConfig(**settings.pop(name, {})) for name in names}
    evaluation = EvalConfig(name="test", kind="downstream", tasks=tasks, tasks_path=str(folder), **settings)
    return Config(checkpoint=CheckpointConfig(path=str(model), name="m"), eval=evaluation, artifacts=str(root))


def evaluate(root, model, folder, names, **settings):
    """The folder of a finished eval artifact."""
    return plan(configured(root, model, folder, names, **settings)).ensure()


def rows_of(folder) -> dict[str, dict]:
    return {row["set"]: row for row in json.loads((folder / "results.json").read_text())}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random weights."""
    texts = [json.dumps(row) for name in CHOICES for row in task_rows(name, 10)]
    return save_model(tmp_path_factory.mktemp("model"), texts)


# --- the harness's numbers --------------------------------------------------------------------------------------------


def test_log_likelihoods_and_results_are_the_harness_s_own(model, tmp_path):
    """The reference: its own `hf` model on its own tasks, whose files are named by its own keys."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    names = ["piqa", "boolq", "winogrande"]
    folder = write_tasks(tmp_path / "tasks", names, 13, splits=("train",))
    members = [
        {
            "task": name,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {
                "data_files": {split: str(folder / name / f"{split}.jsonl") for split in ("train", "validation")},
                "cache_dir": str(tmp_path / "cache"),
            },
        }
        for name in names
    ]
    manager = TaskManager()
    loaded = manager.load([{"group": "reference", "task": members}])["tasks"]
    found = {}
    for name, task in loaded.items():
        found[name] = lm_eval.simple_evaluate(
            "hf", {"pretrained": str(model), "dtype": "float32"}, [task], num_fewshot=2 if name == "piqa" else 0,
            batch_size=4, device="cpu", fewshot_random_seed=1234, task_manager=manager,
        )  # fmt: skip
    ours = evaluate(tmp_path / "a", model, folder, names, batch_size=4, piqa={"shots": 2}, seed=1234)
    for name, theirs in found.items():
        samples = pq.read_table(ours / "samples" / f"{name}.parquet").to_pylist()
        assert len(samples) == 13
        for own, sample in zip(samples, theirs["samples"][name], strict=True):
            assert own["logprobs"] == [reply[0][0] for reply in sample["resps"]]
            assert own["greedy"] == [reply[0][1] for reply in sample["resps"]]
            assert (own["prompt_hash"], own["acc"]) == (sample["prompt_hash"], sample["acc"])
        row = rows_of(ours)[name]
        assert row["value"] == theirs["results"][name]["acc,none"]
        assert row["stderr"] == theirs["results"][name]["acc_stderr,none"]
    assert {row["shots"] for row in rows_of(ours).values()} == {2, 0, None}


def test_rows_say_how_they_were_measured_and_the_mean_is_the_plain_one(model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", ["piqa", "arc_easy"], 8)
    done = evaluate(tmp_path / "a", model, folder, ["piqa", "arc_easy"], max_examples=6, batch_size=3)
    rows = rows_of(done)
    assert list(rows) == ["piqa", "arc_easy", "mean of tasks"]
    first, mean = rows["piqa"], rows["mean of tasks"]
    wanted = {"model": "m", "metric": "acc", "n": 6, "shots": 0, "batch_size": 3, "dtype": "float32", "seed": 0,
              "backend": "hf", "split": "validation", "data": "local", "task_version": "1.0", "truncated": 0,
              "max_length": 1024}  # fmt: skip
    assert wanted.items() <= first.items() and first["harness"].startswith("lm-eval 0.")
    assert rows["arc_easy"]["split"] == "test" and mean["split"] is None and mean["aggregate"]
    assert mean["value"] == pytest.approx((first["value"] + rows["arc_easy"]["value"]) / 2)
    with (done / "results.csv").open() as file:
        assert [row["set"] for row in csv.DictReader(file)] == list(rows)
    assert measure(done)["mean of tasks.acc"].value == 100 * mean["value"]  # in per cent, as papers print them


# --- models that know and do not know ---------------------------------------------------------------------------------


def test_a_random_model_is_at_chance_on_every_task(model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", CHOICES, 60)
    rows = rows_of(evaluate(tmp_path / "a", model, folder, CHOICES, batch_size=32))
    for name, chance in CHANCE.items():
        assert rows[name]["n"] == 60 and 0 < rows[name]["stderr"] < 0.07
        assert abs(rows[name]["value"] - chance) < 3 * rows[name]["stderr"], name


def test_a_model_that_learned_the_answers_knows_them_on_every_task(tmp_path):
    from eval.task_files import find_tasks
    from eval.tasks import load_task

    folder = write_tasks(tmp_path / "tasks", CHOICES, 5)
    questions = []
    for local in find_tasks(folder, CHOICES):
        task, _ = load_task(local.name, TaskConfig(), local, 0)
        task.build_all_requests()
        for number, doc in enumerate(task.eval_docs):
            pairs = [request.arguments for request in task.instances if request.doc_id == number]
            gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
            questions.append((pairs, gold if isinstance(gold, int) else task.doc_to_choice(doc).index(gold)))
    model = save_model(tmp_path / "model", [text for pairs, _ in questions for text in pairs[0]], width=64)
    assert teach(model, questions) > 0.97
    rows = rows_of(evaluate(tmp_path / "a", model, folder, CHOICES))
    assert rows["mean of tasks"]["value"] > 0.95
    assert all(row["value"] >= 0.8 for row in rows.values())


def test_generated_answers_are_kept_with_their_scores(model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", ["truthfulqa_gen"], 2)
    done = evaluate(tmp_path / "a", model, folder, ["truthfulqa_gen"], truthfulqa_gen={"metric": "bleu_acc"})
    samples = pq.read_table(done / "samples" / "truthfulqa_gen.parquet").to_pylist()
    assert rows_of(done)["truthfulqa_gen"]["value"] == sum(row["bleu_acc"] for row in samples) / 2
    assert all(len(row["replies"]) == 1 and isinstance(row["replies"][0], str) for row in samples)


def test_real_tasks_in_their_own_layout(model, tmp_path):
    """Real questions, fields as on the Hub; the splits are those that are there."""
    folder = require_test_data() / "tasks"
    others = {name: {"split": "validation"} for name in ("openbookqa", "arc_easy", "arc_challenge", "sciq")}
    names = ["piqa", "boolq", "social_iqa", "winogrande", "pubmedqa", *others]
    rows = rows_of(evaluate(tmp_path / "a", model, folder, names, max_examples=3, **others))
    assert all(rows[name]["n"] == 3 and rows[name]["value"] is not None for name in names)
    assert rows["pubmedqa"]["split"] == "test" and rows["sciq"]["split"] == "validation"


# --- caching, resumption, identity ------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(model, tmp_path, monkeypatch):
    names = ["piqa", "boolq", "social_iqa"]
    folder = write_tasks(tmp_path / "tasks", names, 6)
    whole = evaluate(tmp_path / "a", model, folder, names)
    measured, own = [], downstream._measure

    def stop_at_the_second(*arguments):
        if len(measured) == 1:
            raise KeyboardInterrupt
        measured.append(arguments[3])
        own(*arguments)

    monkeypatch.setattr(downstream, "_measure", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "b", model, folder, names)
    again = []
    monkeypatch.setattr(downstream, "_measure", lambda *arguments: (again.append(arguments[3]), own(*arguments)))
    resumed = evaluate(tmp_path / "b", model, folder, names)
    assert (measured, again) == (["piqa"], ["boolq", "social_iqa"])
    assert files_of(resumed, "samples") == files_of(whole, "samples")
    for name in ("results.json", "results.csv"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_what_decides_the_numbers_decides_the_address(model, tmp_path):
    names = ["piqa", "boolq"]
    folder = write_tasks(tmp_path / "tasks", names, 4)

    def address(**settings):
        return plan(configured(tmp_path, model, folder, names, **settings)).path

    assert address() == address(batch_size=1)
    changed = [address(), address(dtype="bfloat16"), address(max_examples=2), address(only=["piqa"]),
               address(piqa={"metric": "acc_norm"})]  # fmt: skip
    write_tasks(tmp_path / "tasks", ["boolq"], 5)
    assert len({*changed, address()}) == 6


# --- bad input --------------------------------------------------------------------------------------------------------


def first_row(**changes):
    """A task's rows with the second one changed; None takes a field out."""

    def change(rows):
        for field, value in changes.items():
            if value is None:
                del rows[1][field]
            else:
                rows[1][field] = value[0]
        return rows

    return change


@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        ("piqa", first_row(goal=None), ["piqa", "validation.jsonl", "goal is missing in row 2"]),
        ("piqa", first_row(label=None), ["piqa", "validation.jsonl", "label is missing in row 2"]),
        ("piqa", first_row(label=[None]), ["label is null in row 2"]),
        ("piqa", first_row(label=[2]), ["example 2", "answer 2", "2 choices"]),
        ("hellaswag", first_row(ctx_b=None), ["hellaswag", "validation.jsonl", "ctx_b is missing in row 2"]),
        ("winogrande", first_row(option2=None), ["winogrande", "option2 is missing in row 2"]),
        ("winogrande", lambda rows: [{"sentence": "a _ b", "option1": "x", "option2": "y"}], ["answer is missing"]),
        ("hellaswag", lambda rows: [{"activity_label": "x", "ctx_a": "y", "label": "0"}], ["ctx_b is missing"]),
        ("arc_easy", first_row(answerKey=["Z"]), ["arc_easy", "example 2"]),
        ("boolq", lambda rows: [], ["boolq", "holds no row"]),
        ("boolq", lambda rows: [*rows, [1]], ["validation.jsonl line 5", "not an object"]),
    ],
)  # fmt: skip
def test_rows_that_are_not_the_tasks_are_refused_by_task_file_and_field(name, change, parts, model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", [name], 1)
    write_jsonl(folder / name / f"{SPLITS.get(name, 'validation')}.jsonl", change(task_rows(name, 4)))
    with pytest.raises(UnusableInput) as caught:
        evaluate(tmp_path / "a", model, folder, [name])
    message = str(caught.value)
    assert f"eval.tasks.{name}" in message and "\n" not in message
    for part in parts:
        assert part in message
    assert not list((tmp_path / "a").glob("eval/*"))


@pytest.mark.parametrize(
    ("settings", "error", "part"),
    [
        ({"piqa": {"shots": 3}}, MissingInput, "no split train, where examples are drawn"),
        ({"piqa": {"split": "test"}}, MissingInput, "eval.tasks.piqa.split=validation"),
        ({"piqa": {"metric": "bleu"}}, BadConfiguration, "the task has acc, acc_norm"),
        ({"names": ["sciq"]}, MissingInput, "task sciq is not there"),
        ({"names": ["mmlu"]}, BadConfiguration, "eval.tasks.mmlu.part_field"),
        ({"names": ["nothing"]}, BadConfiguration, "no task of this lm-eval"),
        ({"names": ["truthfulqa_mc1"], "truthfulqa_mc1": {"shots": 1}}, BadConfiguration, "the task fixes 0"),
        ({"names": []}, BadConfiguration, "eval.tasks: eval=test names no task"),
        ({"only": ["boolq"]}, BadConfiguration, "eval.only=boolq"),
        ({"window": 9}, BadConfiguration, "eval.window=9"),
    ],
)
def test_what_cannot_be_asked_is_refused(settings, error, part, model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", ["piqa"], 2)
    for name in ("mmlu", "nothing", "truthfulqa_mc1"):
        (folder / name).mkdir()
        write_jsonl(folder / name / "validation.jsonl", [{"x": 1}])
    names = settings.pop("names", ["piqa"])
    with pytest.raises(error) as caught:
        evaluate(tmp_path / "a", model, folder, names, **settings)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_tasks_may_come_as_the_command_line_has_them():
    given = {"sciq": {"shots": 2}, "piqa": None}
    assert EvalConfig(kind="downstream", tasks=given).tasks == {"sciq": TaskConfig(shots=2), "piqa": TaskConfig()}
    for section, line in (
        ({"shots": -1}, "eval.tasks.sciq.shots=-1: must be"),
        ({"shots": "many"}, "eval.tasks.sciq.shots=many: must be"),
        ({"shot": 1}, "eval.tasks.sciq.shot=1: no such key; shots, metric, split"),
        (3, "eval.tasks.sciq=3: must be a mapping"),
    ):
        with pytest.raises(BadConfiguration) as caught:
            EvalConfig(kind="downstream", tasks={"sciq": section})
        assert str(caught.value).startswith(line)


def test_without_the_harness_one_line_says_how_to_install_it(model, tmp_path, monkeypatch):
    from eval import tasks

    folder = write_tasks(tmp_path / "tasks", ["piqa"], 2)
    monkeypatch.setattr(tasks.util, "find_spec", lambda name: None)
    with pytest.raises(MissingInput, match=r"pip install 'lm-eval>=0\.4\.13"):
        plan(configured(tmp_path, model, folder, ["piqa"]))


def test_the_commit_of_a_hub_data_set_is_taken_from_where_its_files_came_from():
    from types import SimpleNamespace

    from datasets import Dataset, DatasetInfo

    from eval.tasks import hub_revision

    commit = "0123456789abcdef0123456789abcdef01234567"
    info = DatasetInfo(download_checksums={f"hf://datasets/owner/name@{commit}/data/test.parquet": {"num_bytes": 1}})
    task = SimpleNamespace(dataset={"test": Dataset.from_dict({"x": [1]}, info=info)})
    assert hub_revision(task) == {"owner/name": commit}
    assert hub_revision(SimpleNamespace(dataset={"test": Dataset.from_dict({"x": [1]})})) == {}


def test_keys_of_tasks_do_nothing_for_perplexity_and_are_refused():
    with pytest.raises(BadConfiguration, match=r"eval\.tasks_path=x"):
        EvalConfig(tasks_path="x")


def test_a_model_that_reads_too_little_is_named_and_cut_prompts_are_counted(model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", ["piqa", "truthfulqa_gen"], 3)
    short = save_model(tmp_path / "short", ["Question: Answer:"], positions=16)
    rows = rows_of(evaluate(tmp_path / "a", short, folder, ["piqa"]))
    assert rows["piqa"]["truncated"] == 6
    with pytest.raises(UnusableInput, match=r"eval\.tasks\.truthfulqa_gen: the model reads 16 tokens"):
        evaluate(tmp_path / "a", short, folder, ["truthfulqa_gen"], truthfulqa_gen={"metric": "bleu_acc"})


def test_code_that_comes_with_a_model_is_run_only_where_the_key_says_so(model, tmp_path):
    """An architecture of its own: refused by the name of the key; with the key its code runs."""
    own = with_code_of_its_own(model, tmp_path / "own")
    folder = write_tasks(tmp_path / "tasks", ["piqa"], 3)
    with pytest.raises(UnusableInput, match=r"eval\.trust_remote_code=true"):
        evaluate(tmp_path / "a", own, folder, ["piqa"])
    with_code = rows_of(evaluate(tmp_path / "a", own, folder, ["piqa"], trust_remote_code=True))
    assert with_code["piqa"]["value"] == rows_of(evaluate(tmp_path / "a", model, folder, ["piqa"]))["piqa"]["value"]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_trains_evaluates_and_is_done_the_second_time(tmp_path):
    build_tokens(tmp_path / "artifacts")
    (tokens,) = (tmp_path / "artifacts" / "tokens").iterdir()
    write_tasks(tmp_path / "my-tasks", ["piqa", "winogrande"], 5)
    command = ["stage=eval", "eval=general", "eval.tasks_path=my-tasks", "eval.only=[piqa,winogrande]", "out=done",
               "checkpoint.stage=pretrain", f"tokens.path='{tokens}'", "recipe.steps=3", "recipe.warmup_steps=1",
               "recipe.sequence_length=32", "trainer.compile=false"]  # fmt: skip
    first = run_command(*command, cwd=tmp_path)
    assert "mean of tasks" in first.stdout and "written: " in first.stdout
    assert "already there" in run_command(*command, cwd=tmp_path).stdout


def test_one_table_over_several_models(model, tmp_path):
    write_tasks(tmp_path / "my-tasks", ["piqa", "winogrande"], 6)
    shutil.copytree(model, tmp_path / "model-a")
    save_model(tmp_path / "model-b", ["another vocabulary"])
    run_command("experiment.name=models", "experiment.title=Accuracy", "experiment.stage=eval", "experiment.seeds=[0]",
                'experiment.grid=["checkpoint.path=model-a,model-b"]', '+experiment.columns={*.acc:"*"}',
                "eval=general", "eval.tasks_path=my-tasks", "eval.only=[piqa,winogrande]", "out=models",
                cwd=tmp_path)  # fmt: skip
    with (tmp_path / "models" / "points.csv").open() as file:
        found = {(row["setting"], row["measure"]): float(row["value"]) for row in csv.DictReader(file)}
    assert {name for name, _ in found} == {"path=model-a", "path=model-b"}
    for folder in (tmp_path / "artifacts" / "eval").iterdir():
        rows = rows_of(folder)
        setting = f"path={rows['piqa']['model']}"
        assert all(found[setting, f"{name}.acc"] == 100 * row["value"] for name, row in rows.items())
    assert "| piqa | winogrande | mean of tasks |" in (tmp_path / "models" / "table.md").read_text()


def test_bad_input_is_one_line_and_exit_code_two(model, tmp_path):
    folder = write_tasks(tmp_path / "my-tasks", ["piqa"], 3)
    write_jsonl(folder / "piqa" / "validation.jsonl", [{"sol1": "a", "sol2": "b", "label": 0}])
    run = run_command("stage=eval", "eval=general", "eval.tasks_path=my-tasks", "eval.only=[piqa]",
                      f"checkpoint.path='{model}'", cwd=tmp_path, expect=2)  # fmt: skip
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "piqa" in errors[0] and "validation.jsonl: field goal is missing" in errors[0]
    assert "Traceback" not in run.stderr
