"""The real LLaMA-Factory on what `trainer=llamafactory` writes. Last, for its environment takes minutes to make.

Absent, the environment is made with CI=true; otherwise the tests that need it are skipped and say how to make it.

Shapes: B sequences, L tokens of a sequence.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import transformers
from conftest import REPOSITORY, files_of, repetitive_documents
from instruction_fixtures import LIVELY, alpaca_rows, edit, responses_of, rows_of, sharegpt_rows, write_array
from llamafactory_fixtures import build_base, configure, environment_python, local, plan, texts_file
from safetensors.torch import load_file

from pretrain import llamafactory
from pretrain.llamafactory_environment import find
from pretrain.llamafactory_files import DATASET, write_settings
from pretrain.tracking import read_metrics
from toedit.artifacts import Artifact, load_artifact
from toedit.config import TrainerConfig
from toedit.errors import UnusableInput

LENGTH = 64
SHORT = (f"recipe.sequence_length={LENGTH}", "recipe.batch_sequences=8", "recipe.steps=20",
         "trainer.checkpoint_every=5", "trainer.micro_batch_sequences=4")  # fmt: skip
ALL_AT_ONCE = (
    "recipe.steps=2",
    "recipe.warmup_steps=0",
    "recipe.batch_sequences=512",
    "trainer.micro_batch_sequences=64",
)
IGNORED = -100


@pytest.fixture(scope="module", autouse=True)
def environment() -> Path:
    """The Python that has LLaMA-Factory."""
    python = environment_python()
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(
            "no LLaMA-Factory here: make its environment with `bash scripts/environment_llamafactory.sh` (2.2 GB), or "
            "set CI=true"
        )
    script = ["bash", str(REPOSITORY / "scripts" / "environment_llamafactory.sh")]
    made = subprocess.run(script, capture_output=True, text=True, timeout=1800)
    assert made.returncode == 0, made.stderr
    assert (REPOSITORY / made.stdout.strip()).samefile(python)
    return python


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return build_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return texts_file(tmp_path_factory.mktemp("texts"))


def make(method: str, root: Path, base: Path, *overrides: str, corpus: Artifact | None = None) -> Artifact:
    artifact = plan(configure(method, root, base, *overrides), method, corpus)
    artifact.ensure()
    return artifact


def counts(artifact: Artifact) -> dict:
    return artifact.manifest()["counts"]


def losses(checkpoint: Path) -> list[float]:
    return [float(row["loss"]) for row in read_metrics(checkpoint / "metrics.csv")]


@pytest.fixture(scope="module")
def continued(environment, tmp_path_factory, base, texts) -> Artifact:
    """Stage pt, all weights, 20 steps."""
    return make("pt", tmp_path_factory.mktemp("continued"), base, *local(texts), *SHORT)


# --- what comes back --------------------------------------------------------------------------------------------------


def test_a_checkpoint_artifact_comes_back(continued, base, texts):
    folder = continued.path
    assert sorted(entry.name for entry in folder.iterdir()) == ["hf", "llamafactory", "manifest.json", "metrics.csv",
                                                                "state"]  # fmt: skip
    assert [entry.name for entry in (folder / "state").iterdir()] == ["checkpoint-20"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokens = sum(len(tokenizer(document["text"])["input_ids"]) + 1 for document in repetitive_documents(60))
    parameters = transformers.AutoModelForCausalLM.from_pretrained(base).num_parameters()
    assert counts(continued) | {"tokens_seen": 0} == {
        "steps": 20, "tokens_seen": 0, "rows": 60, "sequences": tokens // LENGTH, "parameters": parameters,
        "trained_parameters": parameters,
    }  # fmt: skip
    assert counts(continued)["tokens_seen"] == pytest.approx(20 * 8 * LENGTH, rel=0.05)
    rows = read_metrics(folder / "metrics.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 21))
    assert float(rows[0]["learning_rate"]) == 0  # its warm-up begins at nothing
    assert all(float(row["gradient_norm"]) > 0 for row in rows)
    assert losses(folder)[-1] < losses(folder)[0] - 0.1


def test_the_model_is_an_ordinary_folder(continued, base, harness):
    folder = continued.path / "hf"
    trained = transformers.AutoModelForCausalLM.from_pretrained(folder)
    kept = load_file(continued.path / "state" / "checkpoint-20" / "model.safetensors")
    for name, weight in trained.state_dict().items():
        torch.testing.assert_close(weight, kept[name], rtol=0, atol=0)
    assert trained.config.use_cache
    assert files_of(folder, ".")["tokenizer.json"] == files_of(base, ".")["tokenizer.json"]
    assert files_of(folder, ".")["tokenizer_config.json"] == files_of(base, ".")["tokenizer_config.json"]
    assert "LLaMA-Factory 0.9.5" in (folder / "README.md").read_text()
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(folder), device="cpu", batch_size=1)
    asked = [Instance("loglikelihood", {}, ("The cat", " sat quietly"), 0)]
    assert model.loglikelihood(asked, disable_tqdm=True)[0][0] < 0


def test_what_is_done_around_it_takes_under_five_seconds(continued):
    manifest = continued.manifest()
    own = manifest["timings"]["seconds"] - manifest["runtime"]["llamafactory"]["seconds"]
    assert 0 < own < 5, own


def test_its_own_command_on_the_same_yaml_gives_the_same_losses(continued, environment, tmp_path):
    """As a user would: no variable of ours, another folder, a path with a space elsewhere in the environment."""
    folder = tmp_path / "by hand"
    shutil.copytree(continued.path, folder)
    yaml = continued.path / "llamafactory" / "train.yaml"
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [environment.parent / "llamafactory-cli", "train", yaml]
    run = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-2000:]
    output = continued.path / "llamafactory" / "output"
    state = json.loads((output / "trainer_state.json").read_text())
    try:
        assert [f"{row['loss']:.9g}" for row in state["log_history"] if "loss" in row] == [
            row["loss"] for row in read_metrics(continued.path / "metrics.csv")
        ]
        ours = load_file(continued.path / "hf" / "model.safetensors")
        assert all(torch.equal(weight, ours[name]) for name, weight in load_file(output / "model.safetensors").items())
    finally:
        shutil.rmtree(output)
        shutil.rmtree(output.with_name("tokenized"))
    assert continued.state() == "cached"


def test_killed_it_goes_on_where_it_was(continued, base, texts, tmp_path):
    """SIGKILL to the command that started it: LLaMA-Factory ends, too; the same command ends with the same model."""
    driver = [sys.executable, str(REPOSITORY / "tests" / "llamafactory_fixtures.py"), "pt", str(tmp_path), str(base)]
    command = [*driver, *local(texts), *SHORT]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("checkpoint/*/llamafactory/output/checkpoint-5/trainer_state.json")):
            assert time.monotonic() < deadline
            assert process.poll() is None, "it ended too early"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    again = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    assert "LLaMA-Factory resumes at step" in again.stderr
    folder = Path(again.stdout.strip())
    assert files_of(folder, "hf") == files_of(continued.path, "hf")
    assert (folder / "metrics.csv").read_bytes() == (continued.path / "metrics.csv").read_bytes()


def test_two_ranks_learn_the_same(continued, base, texts, tmp_path):
    made = make("pt", tmp_path, base, *local(texts), *SHORT, "trainer.nproc=2")
    assert made.fingerprint == continued.fingerprint
    assert losses(made.path) == pytest.approx(losses(continued.path), abs=2e-4)


# --- what is learnt ---------------------------------------------------------------------------------------------------


def mean_loss(base: Path, sequences: list[tuple[list[int], list[int]]]) -> float:
    """Of the base, over all targets of (input ids, labels), one sequence at a time."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    total = targets = 0.0
    for input_ids, labels in sequences:
        with torch.no_grad():
            logits_LV = model(input_ids=torch.tensor([input_ids])).logits[0, :-1]
        label_L = torch.tensor(labels[1:])
        total += torch.nn.functional.cross_entropy(logits_LV, label_L, ignore_index=IGNORED, reduction="sum").item()
        # The Trainer divides by all labels; the first of a sequence, which nothing predicts, is one where it is text.
        targets += sum(label != IGNORED for label in labels)
    return total / targets


def test_text_is_packed_end_to_end_and_an_adapter_merges_exactly(base, texts, tmp_path):
    made = make("pt", tmp_path, base, *local(texts), f"recipe.sequence_length={LENGTH}", "adapter=lora", *ALL_AT_ONCE,
                "recipe.learning_rate=1e-2")  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    end = tokenizer.eos_token_id
    stream = [
        token for document in repetitive_documents(60) for token in [*tokenizer(document["text"])["input_ids"], end]
    ]
    blocks = [stream[start : start + LENGTH] for start in range(0, len(stream) - LENGTH + 1, LENGTH)]
    # Where a base has no padding token it pads with the end of a text, and padding is no target.
    expected = mean_loss(base, [(block, [IGNORED if token == end else token for token in block]) for block in blocks])
    assert losses(made.path)[0] == pytest.approx(expected, abs=1e-4)

    adapter, before = load_file(made.path / "adapter/adapter_model.safetensors"), load_file(base / "model.safetensors")
    after = load_file(made.path / "hf" / "model.safetensors")
    pairs = {name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"): name for name in adapter
             if name.endswith(".lora_A.weight")}  # fmt: skip
    assert len(pairs) == 14  # seven linear layers in each of two blocks
    for name, weight in before.items():
        layer = name.removesuffix(".weight")
        if layer in pairs:
            down, up = adapter[pairs[layer]], adapter[pairs[layer].replace("lora_A", "lora_B")]
            assert up.abs().max() > 0
            weight = weight + 16 / 8 * up @ down
        torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-6)
    assert counts(made)["trained_parameters"] == sum(weight.numel() for weight in adapter.values())


ALPACA_SYSTEM = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)


@pytest.mark.parametrize("packing", ["true", "false"])
def test_only_responses_are_learnt_and_packed_ones_do_not_see_each_other(base, tmp_path, packing):
    """The loss of the first step, over all rows, is that of the base on each response alone after its own prompt."""
    rows = [row for row in alpaca_rows() if "history" not in row]
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    expected = []
    for row in rows:
        asked = "\n".join(part for part in (row["instruction"], row["input"]) if part)
        prompt = encode(row.get("system", ALPACA_SYSTEM)) + encode(f"### Instruction:\n{asked}\n\n### Response:\n")
        response = [*encode(row["output"]), tokenizer.eos_token_id, *encode("\n\n")]
        expected.append((prompt + response, [IGNORED] * len(prompt) + response))
    longest = max(len(ids) for ids, _ in expected)
    length = (3 * longest // 8 + 1) * 8  # a packed sequence keeps a place free
    made = make("sft", tmp_path, base, *local(write_array(tmp_path / "rows.json", rows), "alpaca"), *ALL_AT_ONCE,
                f"recipe.sequence_length={length}", f"sft.packing={packing}")  # fmt: skip
    assert losses(made.path)[0] == pytest.approx(mean_loss(base, expected), abs=1e-4)
    held = counts(made)
    assert (held["rows"], held["examples"], held["dropped"], held["truncated"]) == (len(rows), len(rows), 0, 0)
    assert held["tokens_seen"] == 2 * sum(len(ids) for ids, _ in expected)
    assert (held["sequences"] == len(rows)) == (packing == "false")
    assert "### Instruction:" in (made.path / "hf" / "chat_template.jinja").read_text()


def test_an_edited_corpus_is_learnt_straight_from_the_editor(base, small_prior, tmp_path):
    rows = [row for row in sharegpt_rows() if all(turn["from"] != "function_call" for turn in row["conversations"])]
    edited = edit(tmp_path, write_array(tmp_path / "rows.json", rows), "sharegpt", small_prior, *LIVELY)
    assert rows_of(edited) != rows, "nothing was edited"
    corpus = load_artifact(edited, ("edited_corpus",), "edited.path", "python run.py stage=edit")
    made = make("sft", tmp_path, base, "adapter=lora", "recipe.sequence_length=96", "sft.packing=false",
                "recipe.steps=3", corpus=corpus)  # fmt: skip
    lines = (made.path / "llamafactory" / "data.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [responses_of(json.loads(line)) for line in lines] == [responses_of(row) for row in rows_of(edited)]
    held = counts(made)
    assert held["examples"] == len(rows)
    assert 0 < held["truncated"] <= len(rows)
    assert held["trained_parameters"] < held["parameters"]
    transformers.AutoModelForCausalLM.from_pretrained(made.path / "hf")


def test_a_template_may_bring_tokens_where_the_key_says_so(base, tmp_path):
    rows = write_array(tmp_path / "rows.json", [row for row in alpaca_rows() if "history" not in row])
    made = make("sft", tmp_path, base, *local(rows, "alpaca"), "adapter=lora", "sft.template=llama3", "recipe.steps=2",
                "recipe.sequence_length=96", "+llamafactory.settings.resize_vocab=true")  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(made.path / "hf")
    model = transformers.AutoModelForCausalLM.from_pretrained(made.path / "hf")
    assert tokenizer.eos_token == "<|eot_id|>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert len(tokenizer) <= model.get_input_embeddings().num_embeddings
    ids = tokenizer("x<|eot_id|>", add_special_tokens=False)["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    adapter = load_file(made.path / "adapter" / "adapter_model.safetensors")
    trained = next(weight for name, weight in adapter.items() if "embed_tokens" in name)
    torch.testing.assert_close(model.get_input_embeddings().weight.detach(), trained)


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_a_key_that_it_does_not_know_is_its_own_error_in_one_line(base, texts, tmp_path):
    with pytest.raises(UnusableInput) as caught:
        make("pt", tmp_path, base, *local(texts), *SHORT, "+llamafactory.settings.learning_rat=1")
    message = str(caught.value)
    assert "learning_rat" in message
    assert "\n" not in message
    log = Path(message.rpartition("its log: ")[2])
    assert "Traceback" in log.read_text()


def test_its_templates_are_those_that_we_read(environment):
    found = find(TrainerConfig())
    code = "from llamafactory.data.template import TEMPLATES; import json; print(json.dumps(sorted(TEMPLATES)))"
    run = subprocess.run([environment, "-c", code], capture_output=True, text=True, timeout=300)
    names = json.loads(run.stdout.splitlines()[-1])
    assert len(names) > 100
    for name in names:
        assert found.template(name).name == name
    assert found.template("llama3").tokens == ("<|eot_id|>",)


_PARSE = """
import contextlib, json, sys
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from llamafactory.hparams import get_train_args
from omegaconf import OmegaConf
read = HfDeepSpeedConfig(sys.argv[1])
found = {"zero3": read.is_zero3(), "batch": read.get_value("train_batch_size"), "parsed": []}
for path in sys.argv[2:]:
    with contextlib.redirect_stdout(sys.stderr):
        model, data, training, finetuning, _ = get_train_args(OmegaConf.to_container(OmegaConf.load(path)))
    found["parsed"].append([finetuning.stage, finetuning.finetuning_type, data.template, data.neat_packing])
    found["fsdp"] = [str(training.fsdp), (training.fsdp_config or {}).get("version")]
print(json.dumps(found, default=str))
"""


def test_its_own_parser_takes_every_yaml(environment, base, tmp_path):
    """Sharded ones, too, which run on GPUs alone; DeepSpeed's own parser is not there, Accelerate's reads its file."""
    variants = [("pt", "adapter=lora"), ("sft", "sft.template=default", "recipe.warmup_share=0.1"),
                ("sft", "sft.packing=false", "adapter=lora", "trainer.deterministic=true"),
                ("pt", "llamafactory.sharding=fsdp", "trainer.device=auto")]  # fmt: skip
    files = []
    for number, (method, *overrides) in enumerate(variants):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_settings(folder, base, configure(method, tmp_path, base, *overrides), method, use_cpu=True)
        files.append(folder / "train.yaml")
    sharded = configure("pt", tmp_path, base, "llamafactory.sharding=deepspeed", "trainer.device=auto")
    write_settings(tmp_path, base, sharded, "pt", use_cpu=False)
    command = [environment, "-c", _PARSE, tmp_path / "ds_z3.json", *files]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert (found["zero3"], found["batch"]) == (True, "auto")
    assert found["parsed"] == [
        ["pt", "lora", "empty", False], ["sft", "full", "default", True], ["sft", "lora", "alpaca", False],
        ["pt", "full", "empty", False],
    ]  # fmt: skip
    assert "full_shard" in found["fsdp"][0].lower()
    assert found["fsdp"][1] == 2


def test_the_dataset_is_what_dataset_info_calls_it(continued):
    assert DATASET in json.loads((continued.path / "llamafactory" / "dataset_info.json").read_text())
    assert (
        llamafactory.report(configure("pt", continued.root, None), continued)["loss"]
        == f"{losses(continued.path)[-1]:.4f}"
    )


ENCODES = """
import json, sys
from transformers import AutoTokenizer
from llamafactory.data.template import TEMPLATES
tokenizer, template = AutoTokenizer.from_pretrained(sys.argv[1]), TEMPLATES["alpaca"]
for system, messages in json.load(sys.stdin):
    pairs = template.encode_multiturn(tokenizer, messages, system, None)
    print(json.dumps([[ids, learnt] for pair in pairs for ids, learnt in zip(pair, (False, True))]))
"""


def test_our_alpaca_template_is_its_own_token_for_token(environment, base):
    """What trainer=fsdp learns of a row is what this trainer learns."""
    from sft.templates import load_template
    from toedit.conversation import Turn

    said = [["Say it.", "The cat sat."], ["First.\n", " one", "Then?", "two \n"], ["", "é🙂"]]
    asked = [(system, texts) for system in ("", "You tell stories.\n") for texts in said]
    rows = [
        (system, [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)])
        for system, texts in asked
    ]
    run = subprocess.run([str(environment), "-c", ENCODES, str(base)], input=json.dumps(rows), capture_output=True,
                         text=True, timeout=300)  # fmt: skip
    assert run.returncode == 0, run.stderr
    template = load_template(base, configure("sft", base.parent, base).sft.templates["alpaca"])
    for line, (system, messages) in zip(run.stdout.splitlines(), rows, strict=True):
        turns = [Turn(message["role"], message["content"]) for message in messages]
        ours = template.encode([*([Turn("system", system)] if system else []), *turns])
        theirs = [(token, learnt) for ids, learnt in json.loads(line) for token in ids]
        assert list(zip(*ours, strict=True)) == theirs
