"""Domain, mathematics and knowledge tasks: right numbers for models that know and do not, groups, bad input.

The package lm_eval is no dependency: without it these tests are skipped, and say so; in continuous integration they
fail.
"""

import json
import math
import random
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run_command, write_jsonl
from domain_fixtures import (
    CHOICE,
    LABELS,
    MATH_PARTS,
    MMLU_STEM,
    REPLY,
    AnsweringModel,
    domain_rows,
    teach_replies,
    write_domain_tasks,
)
from task_fixtures import save_model, teach
from test_zz_downstream import evaluate, rows_of
from tokenizers_fixture import require_test_data

from eval.task_definitions.adaptllm import scoring
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

pytestmark = pytest.mark.usefixtures("harness")

METRICS = {
    "MQP": "acc", "ChemProt": "micro_f1", "PubMedQA": "acc", "RCT": "micro_f1", "USMLE": "acc",
    "Headline": "weighted_f1", "FPB": "weighted_f1", "FiQA_SA": "weighted_f1",
    "ConvFinQA": "exact_match", "NER": "exact_entity_f1",
}  # fmt: skip
SETTINGS = {
    **{name: {"metric": metric} for name, metric in METRICS.items()},
    "gsm8k": {"metric": "exact_match,strict-match", "also": ["exact_match,flexible-extract"]},
    "hendrycks_math": {"metric": "exact_match", "part_field": "type"},
    "mmlu_stem": {"part_field": "subject"},
}
HARNESS_CHOICE = {"mmlu_stem": 1 / 4, "gpqa_main_zeroshot": 1 / 4, "pubmedqa": 1 / 3, "medmcqa": 1 / 4,
                  "medqa_4options": 1 / 4}  # fmt: skip


def ask(root, model, folder, names, **settings):
    """`evaluate` with the settings that each task has in its preset."""
    settings = {name: dict(SETTINGS[name]) for name in names if name in SETTINGS} | settings
    return evaluate(root, model, folder, names, **settings)


def real_rows(name: str) -> list[dict]:
    lines = (require_test_data() / "domain_tasks" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random weights."""
    texts = [json.dumps(row) for name in (*CHOICE, "gsm8k", "mmlu_stem") for row in domain_rows(name, 10)]
    return save_model(tmp_path_factory.mktemp("model"), texts)


@pytest.fixture
def answering(monkeypatch):
    """Has every evaluation answered by the given function instead of the checkpoint."""

    def answer(logprob=None, reply=None):
        from eval import harness_model

        made = AnsweringModel(logprob, reply)
        monkeypatch.setattr(harness_model, "load_model", lambda *_: made)

    return answer


# --- real rows --------------------------------------------------------------------------------------------------------


def test_on_real_rows_knowing_the_answers_scores_one_and_guessing_scores_chance(model, answering, tmp_path):
    folder = require_test_data() / "domain_tasks"
    names = ["MQP", "ChemProt", "PubMedQA", "USMLE", "FPB", "FiQA_SA"]
    rows = {name: real_rows(name) for name in names}
    right = {(row["input"], " " + row["options"][row["gold_index"]]) for own in rows.values() for row in own}
    answering(lambda prompt, option: -1.0 if (prompt, option) in right else -50.0 * len(option.split()))
    knowing = rows_of(ask(tmp_path / "a", model, folder, names))
    assert {knowing[name]["value"] for name in names} == {1.0}
    choose = random.Random(0)
    answering(lambda prompt, option: -choose.random() * len(option.split()))
    guessing = rows_of(ask(tmp_path / "b", model, folder, names))
    for name in names:
        own = guessing[name]
        assert own["n"] == len(rows[name]) and own["metric"] == METRICS[name]
        assert abs(own["value"] - chance(rows[name], own["metric"])) < 4 * own["stderr"] < 0.2, name
        assert own["stderr_by"] == ("bootstrap of 1000" if own["metric"] == "weighted_f1" else "harness")


def chance(rows: list[dict], metric: str) -> float:
    """What guessing among a row's options gives: of accuracy one in their number; of weighted F1 the mean over labels
    of the F1 between a label's share and the share of guesses."""
    if metric != "weighted_f1":
        return math.fsum(1 / len(row["options"]) for row in rows) / len(rows)
    options = len(rows[0]["options"])
    share = [sum(row["gold_index"] == label for row in rows) / len(rows) for label in range(options)]
    return math.fsum(own * 2 * own / options / (own + 1 / options) for own in share)


def test_real_entities_through_the_harness(model, answering, tmp_path):
    """The reply is the label: 1 where name and kind must agree, what AdaptLLM's rule makes of it besides."""
    rows = {row["input"]: row["label"] for row in real_rows("NER")}
    answering(reply=lambda prompt: " " + rows[prompt])
    asked = {"metric": "entity_f1", "also": ["exact_entity_f1"]}
    done = ask(tmp_path / "a", model, require_test_data() / "domain_tasks", ["NER"], NER=asked)
    found = {row["metric"]: row for row in json.loads((done / "results.json").read_text())}
    assert found["exact_entity_f1"]["value"] == 1.0 and found["entity_f1"]["value"] == pytest.approx(0.84893, abs=1e-5)
    assert 0 < found["entity_f1"]["stderr"] < 0.05 and {row["n"] for row in found.values()} == {98}


def test_real_mathematics_and_knowledge(model, answering, tmp_path):
    """GSM8K with five real examples, MATH and MMLU told apart by their subjects: all right, and all wrong."""
    folder = require_test_data() / "tasks"
    names = ["gsm8k", "hendrycks_math", "mmlu"]
    settings = {"gsm8k": {**SETTINGS["gsm8k"], "shots": 5}, "mmlu": {"part_field": "subject"},
                "hendrycks_math": {**SETTINGS["hendrycks_math"], "folder": "math"}, "max_examples": 20}  # fmt: skip
    right = known_answers(folder)
    answering(lambda prompt, option: -1.0 if option == right[prompt.strip()] else -2.0, lambda prompt: right[prompt])
    done = ask(tmp_path / "a", model, folder, names, **settings)
    rows = json.loads((done / "results.json").read_text())
    assert {row["value"] for row in rows} == {1.0}
    heads = {(row["set"], row["metric"]): row["n"] for row in rows if row["group"] is None}
    assert heads == {("gsm8k", "exact_match,strict-match"): 20, ("gsm8k", "exact_match,flexible-extract"): 20,
                     ("hendrycks_math", "exact_match"): 140, ("mmlu", "acc"): 1140,
                     ("mean of tasks", "mixed"): 1300}  # fmt: skip
    assert (
        sum(row["group"] == "mmlu" for row in rows) == 57 and sum(row["group"] == "hendrycks_math" for row in rows) == 7
    )
    answering(lambda prompt, option: -2.0 if option == right[prompt.strip()] else -1.0, lambda prompt: " no idea")
    wrong = json.loads((ask(tmp_path / "b", model, folder, names, **settings) / "results.json").read_text())
    assert {row["value"] for row in wrong} == {0.0}


class KnownAnswers(dict):
    """Replies by the end of the prompt, which examples precede."""

    def __missing__(self, prompt: str) -> str:
        return self[prompt[prompt.rindex("Question: ") :]]


def known_answers(folder) -> KnownAnswers:
    import gzip

    def rows(name: str) -> list[dict]:
        with gzip.open(folder / name / "test.jsonl.gz", "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    right = KnownAnswers()
    for row in rows("gsm8k"):
        right[f"Question: {row['question']}\nAnswer:"] = f" {row['answer']}"
    for row in rows("math"):
        right[f"Problem: {row['problem']}\nAnswer:"] = f" so it is ${row['answer']}$ then"
    for row in rows("mmlu"):
        subject = (
            f"The following are multiple choice questions (with answers) about {row['subject'].replace('_', ' ')}."
        )
        listed = "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", row["choices"], strict=True))
        question = f"{subject}\n\n{row['question'].strip()}{listed}\nAnswer:"
        right[question.strip()] = " " + "ABCD"[row["answer"]]
    return right


# --- models that know and do not know ---------------------------------------------------------------------------------


def test_a_random_model_is_at_chance_wherever_one_of_several_is_chosen(model, tmp_path):
    names = [*(name for name in CHOICE if METRICS[name] != "weighted_f1"), *HARNESS_CHOICE]
    counts = dict.fromkeys(names, 76)
    rows = rows_of(ask(tmp_path / "a", model, write_domain_tasks(tmp_path / "tasks", counts), names, batch_size=32))
    for name in names:
        expected = HARNESS_CHOICE.get(name) or 1 / len(LABELS.get(name, "four"))
        assert rows[name]["n"] == 76 and abs(rows[name]["value"] - expected) < 3.5 * rows[name]["stderr"] < 0.25, name


def test_a_model_that_learned_the_answers_knows_them_on_every_choice(tmp_path):
    from eval.task_files import find_tasks
    from eval.tasks import load_task
    from toedit.config import TaskConfig

    names = [*CHOICE, "gpqa_main_zeroshot", "pubmedqa", "medmcqa", "medqa_4options"]
    folder = write_domain_tasks(tmp_path / "tasks", dict.fromkeys(names, 3))
    questions = []
    for local in find_tasks(folder, names):
        task, _ = load_task(local.name, TaskConfig(metric=METRICS.get(local.name, "acc")), local, 0)
        task.build_all_requests()
        for number, doc in enumerate(task.eval_docs):
            pairs = [request.arguments for request in task.instances if request.doc_id == number]
            gold = task.doc_to_target(doc)
            questions.append((pairs, gold if isinstance(gold, int) else task.doc_to_choice(doc).index(gold)))
    model = save_model(tmp_path / "model", [text for pairs, _ in questions for text in pairs[0]], width=64)
    assert teach(model, questions, a_token=True) > 0.97
    rows = rows_of(ask(tmp_path / "a", model, folder, names))
    assert rows["mean of tasks"]["value"] > 0.95 and all(row["value"] >= 0.7 for row in rows.values())


def test_a_model_that_learned_the_replies_says_them_and_one_that_did_not_does_not(tmp_path):
    """Real generation: the reply, where it ends, and what each rule makes of it."""
    names = [*REPLY, "gsm8k", "hendrycks_math"]
    folder = write_domain_tasks(tmp_path / "tasks", dict.fromkeys(names, 7))
    pairs = []
    for name in REPLY:
        pairs += [(row["input"], f" {row['label']}\n") for row in domain_rows(name, 7)]
    pairs += [(f"Question: {row['question']}\nAnswer:", f" {row['answer']}") for row in domain_rows("gsm8k", 7)]
    for row in domain_rows("hendrycks_math", 7):
        answer = row["solution"].partition("\\boxed{")[2].partition("}")[0]
        pairs.append((f"Problem: {row['problem']}\nAnswer:", f" It is ${answer}$."))
    model = save_model(tmp_path / "model", ["".join(pair) for pair in pairs], width=64)
    before = rows_of(ask(tmp_path / "a", model, folder, names))
    assert all(before[name]["value"] < 0.2 for name in names)
    assert teach_replies(model, pairs) > 0.99
    done = ask(tmp_path / "b", model, folder, names)
    after = rows_of(done)
    assert all(after[name]["value"] > 0.85 for name in names) and after["mean of tasks"]["value"] > 0.95
    replies = pq.read_table(done / "samples" / "NER.parquet")["replies"].to_pylist()
    assert any(reply == [f" {row['label']}"] for reply, row in zip(replies, domain_rows("NER", 7), strict=True))


# --- the harness's numbers --------------------------------------------------------------------------------------------


def test_a_group_is_the_harness_s_own_number(model, answering, tmp_path):
    """Parts of unequal size, from one file; the reference reads a file a part by its own keys."""
    from lm_eval.api.group import Group
    from lm_eval.evaluator import evaluate as harness_evaluate

    from eval.tasks import manager

    rows = domain_rows("hendrycks_math", 49)
    rows = [row for number, row in enumerate(rows) if number % 2 or row["type"] != "Algebra"]
    (tmp_path / "tasks" / "math").mkdir(parents=True)
    write_jsonl(tmp_path / "tasks" / "math" / "test.jsonl", rows)
    names = ["algebra", "counting_and_prob", "geometry", "intermediate_algebra", "num_theory", "prealgebra", "precalc"]
    listed = []
    for name, part in zip(names, MATH_PARTS, strict=True):
        file = write_jsonl(tmp_path / f"{name}.jsonl", [row for row in rows if row["type"] == part])
        files = {"train": str(file), "test": str(file)}
        listed.append({"task": f"hendrycks_math_{name}", "dataset_path": "json", "dataset_name": None,
                       "dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path / "cache")}})  # fmt: skip
    group = Group.from_config({"group": "reference", "aggregate_metric_list": [{"metric": "exact_match"}]})
    built = manager().load([{"group": "asked", "task": listed}])["tasks"]
    for task in built.values():
        group.add(task)

    def reply(prompt: str) -> str:
        number, row = next((number, row) for number, row in enumerate(rows) if row["problem"] in prompt)
        return row["solution"].partition("boxed{")[2].partition("}")[0] if number % 3 else "0"

    theirs = harness_evaluate(AnsweringModel(reply=reply), {"tasks": built, "groups": {"reference": group}})["results"]
    answering(reply=reply)
    settings = {**SETTINGS["hendrycks_math"], "folder": "math"}
    ours = rows_of(ask(tmp_path / "a", model, tmp_path / "tasks", ["hendrycks_math"], hendrycks_math=settings))
    assert 0 < ours["hendrycks_math"]["value"] < 1
    for name, reference in [("hendrycks_math", "reference"), *((row["task"], row["task"]) for row in listed)]:
        assert ours[name]["value"] == pytest.approx(theirs[reference]["exact_match,none"], abs=1e-12)
        assert ours[name]["stderr"] == pytest.approx(theirs[reference]["exact_match_stderr,none"], abs=1e-12)
    assert ours["hendrycks_math"]["n"] == len(rows) and ours["hendrycks_math"]["task_version"] == "1.0"


def test_gpqa_s_shuffle_is_the_harness_s_of_the_same_seed_and_holds_through_the_scoring(model, tmp_path):
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = write_domain_tasks(tmp_path / "tasks", {"gpqa_main_zeroshot": 12})
    files = {"train": str(folder / "gpqa_main_zeroshot" / "train.jsonl")}
    member = {"task": "gpqa_main_zeroshot", "dataset_path": "json", "dataset_name": None,
              "dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path / "cache")}}  # fmt: skip
    found = lm_eval.simple_evaluate(
        "hf", {"pretrained": str(model), "dtype": "float32"}, [{"group": "reference", "task": [member]}],
        batch_size=4, device="cpu", random_seed=7, task_manager=TaskManager(),
    )  # fmt: skip
    theirs = found["samples"]["gpqa_main_zeroshot"]
    done = ask(tmp_path / "a", model, folder, ["gpqa_main_zeroshot"], batch_size=4, seed=7)
    for own, sample in zip(pq.read_table(done / "samples/gpqa_main_zeroshot.parquet").to_pylist(), theirs, strict=True):
        assert own["logprobs"] == [reply[0][0] for reply in sample["resps"]]
        assert (own["prompt_hash"], own["acc"]) == (sample["prompt_hash"], sample["acc"])
    other = ask(tmp_path / "a", model, folder, ["gpqa_main_zeroshot"], batch_size=4, seed=8)
    assert pq.read_table(other / "samples/gpqa_main_zeroshot.parquet")["prompt_hash"].to_pylist() != [
        sample["prompt_hash"] for sample in theirs
    ]


def test_gpqa_is_right_where_the_right_answer_is(model, answering, tmp_path):
    folder = write_domain_tasks(tmp_path / "tasks", {"gpqa_main_zeroshot": 12})
    rows = {row["Question"]: row["Correct Answer"] for row in domain_rows("gpqa_main_zeroshot", 12)}

    def logprob(prompt: str, option: str) -> float:
        question = prompt.partition("this question:")[2].partition("\n")[0]
        return -1.0 if f"\n{option.strip()} {rows[question]}\n" in prompt else -2.0

    answering(logprob)
    done = rows_of(ask(tmp_path / "a", model, folder, ["gpqa_main_zeroshot"]))
    assert done["gpqa_main_zeroshot"]["value"] == 1.0


def test_gsm8k_is_read_strictly_and_flexibly_and_the_mean_takes_the_first(model, answering, tmp_path):
    folder = write_domain_tasks(tmp_path / "tasks", {"gsm8k": 8, "medmcqa": 8})
    answers = {row["question"]: row["answer"] for row in domain_rows("gsm8k", 8)}

    def reply(prompt: str) -> str:
        question = prompt.partition("Question: ")[2].partition("\n")[0]
        number = answers[question].partition("#### ")[2]
        return f"#### {number}" if list(answers).index(question) % 2 else f"It is {number}."

    answering(lambda prompt, option: -1.0 if option == " A" else -2.0, reply)
    done = ask(tmp_path / "a", model, folder, ["gsm8k", "medmcqa"])
    found = {(row["set"], row["metric"]): row for row in json.loads((done / "results.json").read_text())}
    strict, flexible = (found["gsm8k", f"exact_match,{name}"] for name in ("strict-match", "flexible-extract"))
    assert (strict["value"], flexible["value"], strict["n"], flexible["n"]) == (0.5, 1.0, 8, 8)
    mean = found["mean of tasks", "mixed"]
    assert mean["value"] == (strict["value"] + found["medmcqa", "acc"]["value"]) / 2 and mean["n"] == 16
    table = pq.read_table(done / "samples" / "gsm8k.parquet")
    assert table["exact_match"].to_pylist() == [0.0, 1.0] * 4
    assert table["exact_match,flexible-extract"].to_pylist() == [1.0] * 8


def test_a_prediction_can_be_made_again_from_the_samples(model, tmp_path):
    """Log-likelihoods and tokens of the options are stored; so is the pair that weighted F1 is made of."""
    folder = write_domain_tasks(tmp_path / "tasks", {"FPB": 30, "ChemProt": 30, "Headline": 45})
    done = ask(tmp_path / "a", model, folder, ["FPB", "ChemProt", "Headline"])
    rows = rows_of(done)
    for name in ("FPB", "ChemProt", "Headline"):
        samples = pq.read_table(done / "samples" / f"{name}.parquet").to_pylist()
        predicted = []
        for sample in samples:
            means = [logprob / tokens for logprob, tokens in zip(sample["logprobs"], sample["tokens"], strict=True)]
            predicted.append(means.index(max(means)))
        assert name != "ChemProt" or all(len(set(sample["tokens"])) > 1 for sample in samples)
        pairs = list(zip([sample["target"] for sample in samples], predicted, strict=True))
        if name == "ChemProt":
            assert [sample["micro_f1"] for sample in samples] == [float(a == b) for a, b in pairs]
            continue
        assert [tuple(sample["weighted_f1"][-2:]) for sample in samples] == pairs
        if name == "FPB":
            assert rows[name]["value"] == scoring.weighted_f1(pairs)


# --- where rows come from, and bad input ------------------------------------------------------------------------------


def test_rows_of_a_group_lie_in_one_file_or_in_folders_as_on_the_hub(model, tmp_path):
    rows = domain_rows("mmlu_stem", 38)
    one = write_domain_tasks(tmp_path / "one", {"mmlu_stem": 38})
    for subject in MMLU_STEM:
        inside = tmp_path / "folders" / "mmlu_stem" / subject
        inside.mkdir(parents=True)
        own = [row for row in rows if row["subject"] == subject]
        pq.write_table(pa.Table.from_pylist(own), inside / "test-00000-of-00001.parquet")
    found = [rows_of(ask(tmp_path / "a", model, where, ["mmlu_stem"])) for where in (one, tmp_path / "folders")]
    assert found[0] == found[1]
    group = found[0]["mmlu_stem"]
    assert group["n"] == 38 and group["aggregate"] and group["group"] is None
    parts = [row for row in found[0].values() if row["group"] == "mmlu_stem"]
    assert [row["set"] for row in parts] == [f"mmlu_{subject}" for subject in MMLU_STEM]
    assert group["value"] == pytest.approx(math.fsum(row["value"] * row["n"] for row in parts) / 38)


HUB = {
    **dict.fromkeys(("MQP", "ChemProt", "PubMedQA", "RCT", "USMLE"), "AdaptLLM/medicine-tasks"),
    **dict.fromkeys(("Headline", "FPB", "FiQA_SA", "ConvFinQA", "NER"), "AdaptLLM/finance-tasks"),
    "gpqa_main_zeroshot": "Idavidrein/gpqa", "mmlu_stem": "cais/mmlu", "hendrycks_math": "EleutherAI/hendrycks_math",
}  # fmt: skip


def test_without_a_folder_the_hub_s_data_sets_are_asked_by_name_and_give_the_same_numbers(model, tmp_path, monkeypatch):
    """The Hub's client is stood in for; everything from there on is what runs where there is a network."""
    import datasets
    from test_zz_downstream import configured

    from eval.stage import plan
    from toedit.config import EvalConfig

    folder = write_domain_tasks(tmp_path / "tasks", dict.fromkeys(HUB, 38))
    asked = []

    def load_dataset(path: str, name: str, **_: object) -> datasets.DatasetDict:
        asked.append((path, name))
        task = next(task for task, hub_id in HUB.items() if hub_id == path and ("AdaptLLM" not in path or task == name))
        rows = domain_rows(task, 38)
        if task in ("mmlu_stem", "hendrycks_math"):
            kind = "subject" if task == "mmlu_stem" else "type"
            rows = [row for row in rows if row[kind].lower().replace("&", "and").replace(" ", "_") == name]
        splits = {"train": rows} if "gpqa" in path else {"test": rows, "dev": rows, "train": rows}
        return datasets.DatasetDict({split: datasets.Dataset.from_list(own) for split, own in splits.items()})

    here = rows_of(ask(tmp_path / "a", model, folder, list(HUB)))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    settings = {name: dict(SETTINGS[name]) for name in HUB if name in SETTINGS}
    config = configured(tmp_path / "a", model, folder, list(HUB), **settings)
    config.eval = EvalConfig(name="test", kind="downstream", tasks=config.eval.tasks)
    there = rows_of(plan(config).ensure())
    assert {(path, name) for path, name in asked if path.startswith("AdaptLLM")} == {
        (hub_id, name) for name, hub_id in HUB.items() if hub_id.startswith("AdaptLLM")
    }
    assert len(asked) == 11 + 19 + 7
    for name, row in here.items():
        assert (row["value"], row["stderr"], row["n"]) == tuple(there[name][key] for key in ("value", "stderr", "n"))
    assert there["MQP"]["data"] == "AdaptLLM/medicine-tasks" and here["MQP"]["data"] == "local"


def test_without_folder_and_network_one_line_says_which_data_set_is_missing(model, tmp_path):
    from test_zz_downstream import configured

    from eval.stage import plan
    from toedit.config import EvalConfig

    config = configured(tmp_path, model, tmp_path, ["NER"], NER=dict(SETTINGS["NER"]))
    config.eval = EvalConfig(name="test", kind="downstream", tasks=config.eval.tasks)
    with pytest.raises(MissingInput, match=r"^eval\.tasks\.NER: .*AdaptLLM/finance-tasks.*eval\.tasks_path") as caught:
        plan(config).ensure()
    assert "\n" not in str(caught.value)


def test_every_preset_names_tasks_that_exist_with_metrics_that_they_have():
    """Also those whose rows are nowhere on this machine; nothing is asked of the Hub."""
    from conftest import REPOSITORY
    from hydra import compose, initialize_config_dir

    from eval.task_groups import check_group, check_overlap, members
    from eval.tasks import DEFINITIONS, definition_files, manager
    from toedit.config import EvalConfig

    ours = {path.stem for path in DEFINITIONS.glob("adaptllm/*.yaml")}
    assert ours == set(METRICS) and all(definition_files(name) for name in ours) and not definition_files("piqa")
    for preset in ("math", "sft_code", "sft_instruct", "biomed", "biomed_qa", "finance", "general", "gpt2"):
        with initialize_config_dir(str(REPOSITORY / "configs" / "eval"), version_base=None):
            settings = EvalConfig(**compose(preset))  # type: ignore[arg-type]
        units = {name: members(name) for name in settings.tasks}
        check_overlap(units)
        for name, own in units.items():
            if own != [name]:
                check_group(name, settings.tasks[name])
            for task in own:
                known = {entry["metric"] for entry in manager().task_index[task].cfg["metric_list"]}
                metrics = [settings.tasks[name].metric, *settings.tasks[name].also]
                assert {metric.partition(",")[0] for metric in metrics} <= known, (name, task)
    assert len(members("mmlu")) == 57 and len(members("hendrycks_math")) == 7


def test_the_definition_of_a_task_of_ours_decides_its_address(model, tmp_path, monkeypatch):
    from test_zz_downstream import configured

    from eval import tasks
    from eval.stage import plan

    folder = write_domain_tasks(tmp_path / "tasks", {"MQP": 3})
    plain = plan(configured(tmp_path, model, folder, ["MQP"], MQP={"metric": "acc"}))
    assert set(plain.identity["tasks"][0]["definition"]) >= {"MQP.yaml", "scoring.py", "_choice_template"}
    monkeypatch.setattr(tasks, "definition_files", lambda name: [folder / "MQP" / "test.jsonl"])
    assert plan(configured(tmp_path, model, folder, ["MQP"], MQP={"metric": "acc"})).path != plain.path


def without(field: str, number: int = 1):
    def change(rows):
        del rows[number][field]
        return rows

    return change


def with_value(field: str, value: object, number: int = 1):
    return lambda rows: [*rows[:number], {**rows[number], field: value}, *rows[number + 1 :]]


@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        ("FPB", without("options"), ["FPB", "test.jsonl", "field options is missing in row 2"]),
        ("MQP", with_value("gold_index", 2), ["MQP", "example 2", "answer 2", "2 choices"]),
        ("Headline", without("class_id"), ["Headline", "test.jsonl", "field class_id is missing in row 2"]),
        ("NER", without("label"), ["NER", "test.jsonl", "field label is missing in row 2"]),
        ("gsm8k", without("answer"), ["gsm8k", "test.jsonl", "field answer is missing in row 2"]),
        ("gpqa_main_zeroshot", without("Correct Answer", 0), ["train.jsonl", "field Correct Answer is missing"]),
        ("hendrycks_math", without("solution", 0), ["hendrycks_math", "test.jsonl", "field solution is missing"]),
        ("hendrycks_math", without("type"), ["hendrycks_math", "test.jsonl", "field type is missing in row 2"]),
        ("hendrycks_math", with_value("type", "Topology"), ["row 2", "Topology", "none of the 7"]),
        ("hendrycks_math", lambda rows: rows[:6], ["test.jsonl", "no row has the type precalculus"]),
        ("mmlu_stem", with_value("answer", 4, 20), ["mmlu_stem: mmlu_anatomy", "example 2", "answer 4"]),
        ("mmlu_stem", without("choices"), ["mmlu_stem", "test.jsonl", "field choices is missing in row 1 of anatomy"]),
    ],
)  # fmt: skip
def test_rows_that_are_not_the_tasks_are_refused_by_task_file_and_field(name, change, parts, model, tmp_path):
    folder = write_domain_tasks(tmp_path / "tasks", {name: 1})
    (file,) = [path for path in (folder / name).iterdir() if path.stem != "examples"]
    write_jsonl(file, change(domain_rows(name, 38)))
    with pytest.raises(UnusableInput) as caught:
        ask(tmp_path / "a", model, folder, [name])
    message = str(caught.value)
    assert f"eval.tasks.{name}" in message and "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("settings", "error", "part"),
    [
        ({"names": ["mmlu_stem"], "mmlu_stem": {}}, BadConfiguration, "eval.tasks.mmlu_stem.part_field: "),
        ({"names": ["mmlu_stem", "mmlu_anatomy"]}, BadConfiguration, "mmlu_anatomy is part of eval.tasks.mmlu_stem"),
        ({"names": ["gpqa"]}, BadConfiguration, "name its tasks one by one"),
        ({"names": ["mmlu_stem"], "mmlu_stem": {"metric": "f1"}}, BadConfiguration, "eval.tasks.mmlu_stem.metric=f1"),
        ({"names": ["mmlu_stem"], "mmlu_stem": {"part_field": "subject", "split": "dev"}}, MissingInput,
         "eval.tasks.mmlu_stem.split=test"),
        ({"names": ["gsm8k"], "gsm8k": {"metric": "exact_match,strict-match", "also": ["bleu"]}}, BadConfiguration,
         "eval.tasks.gsm8k.also=bleu: the task has exact_match"),
        ({"names": ["gsm8k"], "gsm8k": {"metric": "exact_match,loose"}}, BadConfiguration,
         "the harness gave exact_match,strict-match exact_match,flexible-extract"),
        ({"names": ["MQP"], "MQP": {"shots": 2}}, BadConfiguration, "the task fixes 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(settings, error, part, model, answering, tmp_path):
    names = settings.pop("names")
    answering(lambda *_: -1.0, lambda prompt: "")
    folder = write_domain_tasks(tmp_path / "tasks", {"mmlu_stem": 38, "gsm8k": 2, "MQP": 2})
    for name in ("mmlu_anatomy", "gpqa"):
        (folder / name).mkdir()
        write_jsonl(folder / name / "test.jsonl", [{"x": 1}])
    with pytest.raises(error) as caught:
        ask(tmp_path / "a", model, folder, names, **settings)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_that_counts_no_tokens_is_no_model_for_these_rules():
    with pytest.raises(ValueError, match="does not count them"):
        scoring.accuracy({"gold_index": 0}, [(SimpleNamespace(), True)])  # type: ignore[list-item]


def test_the_command_reads_a_group_and_domain_tasks(model, tmp_path):
    write_domain_tasks(tmp_path / "my-tasks", {"FPB": 6, "NER": 2})
    run = run_command("stage=eval", "eval=finance", "eval.tasks_path=my-tasks", "eval.only=[FPB,NER]", "out=done",
                      f"checkpoint.path='{model}'", cwd=tmp_path)  # fmt: skip
    assert "weighted_f1" in run.stdout and "exact_entity_f1" in run.stdout and "mean of tasks" in run.stdout
