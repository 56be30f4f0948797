"""Questions put as a chat, and the harness's own command on a checkpoint of ours.

The package lm_eval is no dependency: without it these tests are skipped, and say so; in continuous integration they
fail.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import run_command
from task_fixtures import save_model, task_rows, write_tasks
from test_zz_downstream import configured, evaluate, rows_of
from tokens_fixture import build_tokens

from eval.stage import plan
from toedit.errors import BadConfiguration, UnusableInput

pytestmark = pytest.mark.usefixtures("harness")
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}<assistant>"
TALKS = [
    {"chat_template": True},
    {"chat_template": True, "system_instruction": "Be brief."},
    {"chat_template": True, "fewshot_as_multiturn": True},
    {"system_instruction": "Be brief."},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    import transformers

    folder = save_model(tmp_path_factory.mktemp("model"), [json.dumps(row) for row in task_rows("piqa", 10)])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@cache
def harness_tasks():
    """Its index of tasks: it takes long to read."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def reference(model: Path, folder: Path, shots: int, folder_of_cache: Path, **talk) -> list[dict]:
    """The harness's own samples of piqa."""
    import lm_eval

    files = {split: str(folder / "piqa" / f"{split}.jsonl") for split in ("train", "validation")}
    member = {"task": "piqa", "dataset_path": "json", "dataset_name": None,
              "dataset_kwargs": {"data_files": files, "cache_dir": str(folder_of_cache)}}  # fmt: skip
    manager = harness_tasks()
    (task,) = manager.load([{"group": "reference", "task": [member]}])["tasks"].values()
    asked = {"apply_chat_template": talk.get("chat_template", False), "fewshot_random_seed": 0}
    asked |= {key: value for key, value in talk.items() if key != "chat_template"}
    found = lm_eval.simple_evaluate(
        "hf", {"pretrained": str(model), "dtype": "float32"}, [task], num_fewshot=shots, batch_size=4, device="cpu",
        task_manager=manager, **{"fewshot_as_multiturn": False, **asked},
    )  # fmt: skip
    return found["samples"]["piqa"]


@pytest.mark.parametrize("talk", TALKS)
def test_a_chat_is_put_as_the_harness_puts_it(talk, model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", ["piqa"], 5, splits=("train",))
    done = evaluate(tmp_path / "a", model, folder, ["piqa"], batch_size=4, piqa={"shots": 2}, **talk)
    own = pq.read_table(done / "samples" / "piqa.parquet").to_pylist()
    theirs = reference(model, folder, 2, tmp_path / "cache", **talk)
    assert [sample["prompt_hash"] for sample in own] == [sample["prompt_hash"] for sample in theirs]
    assert [sample["logprobs"] for sample in own] == [[r[0][0] for r in sample["resps"]] for sample in theirs]
    row = rows_of(done)["piqa"]
    expected = {"chat_template": False, "system_instruction": None, "fewshot_as_multiturn": False, **talk}
    assert expected.items() <= row.items()


def test_every_way_of_talking_is_another_evaluation(model, tmp_path):
    folder = write_tasks(tmp_path / "tasks", ["piqa"], 3)
    addresses = {plan(configured(tmp_path, model, folder, ["piqa"], **talk)).path for talk in ({}, *TALKS)}
    assert len(addresses) == 5


def test_a_tokenizer_without_a_template_is_one_line(tmp_path):
    folder = write_tasks(tmp_path / "tasks", ["piqa"], 3)
    silent = save_model(tmp_path / "silent", ["Question: Answer:"])
    with pytest.raises(
        UnusableInput, match=r"^eval\.chat_template=true: the tokenizer in .*silent has no chat template$"
    ):
        evaluate(tmp_path / "a", silent, folder, ["piqa"], chat_template=True)
    with pytest.raises(BadConfiguration, match=r"eval\.fewshot_as_multiturn=True: takes eval\.chat_template=true"):
        evaluate(tmp_path / "a", silent, folder, ["piqa"], fewshot_as_multiturn=True)


def test_the_harness_s_own_command_takes_a_checkpoint_of_ours_unchanged(tmp_path):
    """And gives the number that our stage gives: the task is the user's own YAML."""
    build_tokens(tmp_path / "artifacts")
    (tokens,) = (tmp_path / "artifacts" / "tokens").iterdir()
    run_command("stage=pretrain", f"tokens.path='{tokens}'", "recipe.steps=3", "recipe.warmup_steps=1",
                "recipe.sequence_length=32", "trainer.compile=false", "out=trained", cwd=tmp_path)  # fmt: skip
    write_tasks(tmp_path / "tasks", ["piqa"], 12)
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml" / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\noutput_type: multiple_choice\nvalidation_split: validation\n"
        f"dataset_kwargs: {{data_files: {{validation: '{tmp_path}/tasks/piqa/validation.jsonl'}}}}\n"
        'doc_to_text: "Question: {{goal}}\\nAnswer:"\ndoc_to_target: label\n'
        'doc_to_choice: "{{[sol1, sol2]}}"\nmetric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n'
    )
    command = [str(Path(sys.executable).parent / "lm_eval"), "--model", "hf", "--model_args", "pretrained=trained/hf",
               "--tasks", "mine", "--include_path", "yaml", "--output_path", "found", "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache")}
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=600)
    assert run.returncode == 0, run.stderr
    (results,) = (tmp_path / "found").rglob("results_*.json")
    found = json.loads(results.read_text())["results"]["mine"]["acc,none"]
    ours = evaluate(tmp_path / "a", tmp_path / "trained", tmp_path / "tasks", ["piqa"])
    assert rows_of(ours)["piqa"]["value"] == found
