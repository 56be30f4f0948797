"""Continual pre-training and fine-tuning, whole runs of the command: from a base, resumed, on two ranks, refused."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, files_of, run_command, write_jsonl
from instruction_fixtures import alpaca_rows, sharegpt_rows
from task_fixtures import with_code_of_its_own
from test_pretrain import compose
from test_pretraining_runs import content, losses
from tokens_fixture import build_tokens

from continual_pretrain import stage as continual_pretrain
from pretrain import checkpoints
from pretrain import stage as pretrain_stage
from pretrain.tracking import read_metrics
from sft import stage as sft
from toedit.errors import ToEditError

RECIPE = ("recipe.sequence_length=32", "recipe.batch_sequences=16", "recipe.steps=8", "recipe.warmup_steps=2",
          "recipe.dtype=float32", "trainer.log_every=1", "trainer.checkpoint_every=4")  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("continuing")


@pytest.fixture(scope="module")
def tokens(work) -> Path:
    return build_tokens(work / "first")


@pytest.fixture(scope="module")
def more_tokens(work) -> Path:
    """Of the same tokenizer, other documents."""
    return build_tokens(work / "more", seed=5)


@pytest.fixture(scope="module")
def base(tokens, work) -> Path:
    run_command("stage=pretrain", f"tokens.path={tokens}", *RECIPE, "recipe.learning_rate=1e-2", f"out={work / 'base'}",
                cwd=work)  # fmt: skip
    return work / "base"


def go_on(base: Path, tokens: Path, out: Path, *overrides: str, expect: int = 0):
    return run_command("stage=continual_pretrain", f"base.path={base}", f"tokens.path={tokens}", *RECIPE, *overrides,
                       f"out={out}", cwd=out.parent, expect=expect)  # fmt: skip


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


# --- continual pre-training -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def continued(base, more_tokens, work) -> Path:
    go_on(base, more_tokens, work / "continued")
    return work / "continued"


def test_the_first_loss_is_the_bases_own(base, more_tokens, continued):
    from transformers import AutoModelForCausalLM

    from pretrain.data import TokenSequences
    from toedit.workspace import read_manifest

    data = TokenSequences(more_tokens, read_manifest(more_tokens), 32, 0, 320)
    batch = data.trained(0, 16)
    model = AutoModelForCausalLM.from_pretrained(base / "hf")
    with torch.no_grad():
        logit_BLV = model(input_ids=torch.from_numpy(batch.input_BL)).logits
    loss = torch.nn.functional.cross_entropy(
        logit_BLV.flatten(0, 1), torch.from_numpy(batch.target_BL.copy()).flatten()
    )
    assert losses(continued)[0] == pytest.approx(loss.item(), rel=1e-5)
    manifest = json.loads((continued / "manifest.json").read_text())
    assert set(manifest["inputs"]) == {"tokens", "base"} and "model" not in manifest["identity"]
    assert manifest["runtime"]["export_difference"] < 1e-4
    assert "trained further by `python run.py stage=continual_pretrain`" in (continued / "hf" / "README.md").read_text()


def test_a_learning_rate_of_almost_nothing_gives_the_base_back(base, more_tokens, tmp_path):
    """From the artifact, from its hf/, and from a copy that is any Hugging Face folder."""
    copy = shutil.copytree(base / "hf", tmp_path / "another model")
    for number, folder in enumerate((base, base / "hf", copy)):
        go_on(folder, more_tokens, tmp_path / f"same-{number}", "recipe.learning_rate=1e-30", "recipe.steps=1")
        found, expected = weights_of(tmp_path / f"same-{number}" / "hf"), weights_of(base / "hf")
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())
        theirs, ours = (
            {file.name for file in (place / "hf").iterdir()} for place in (base, tmp_path / f"same-{number}")
        )
        assert {"tokenizer.json", "tokenizer_config.json"} <= ours and theirs <= ours


def test_kept_moments_go_on_and_fresh_ones_begin(base, more_tokens, tmp_path, continued):
    run = go_on(base, more_tokens, tmp_path / "kept", "base.optimizer=kept")
    assert "brings no optimizer state" not in run.stderr
    newest = checkpoints.newest(tmp_path / "kept" / "state")
    position = json.loads((newest / checkpoints.POSITION).read_text())
    assert {**position, "step": 8, "optimizer_steps": 16, "ranks": 1} == position
    first, other = losses(tmp_path / "kept"), losses(continued)
    assert first[0] == pytest.approx(other[0]) and abs(first[-1] - other[-1]) > 1e-4
    run = go_on(base / "hf", more_tokens, tmp_path / "hf", "base.optimizer=kept")
    assert "brings no optimizer state" not in run.stderr  # hf/ of an artifact is the artifact
    bare = shutil.copytree(base / "hf", tmp_path / "bare")
    run = go_on(bare, more_tokens, tmp_path / "none", "base.optimizer=kept")
    assert "brings no optimizer state of ours; AdamW's moments begin at zero" in run.stderr
    np.testing.assert_allclose(losses(tmp_path / "none"), losses(continued), rtol=1e-6)


def killed_and_resumed(arguments: list[str], out: Path) -> str:
    """SIGKILL after the first checkpoint; the same command then goes on."""
    command = [sys.executable, str(REPOSITORY / "run.py"), *arguments, f"out={out}"]
    process = subprocess.Popen(command, cwd=out.parent, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for _ in range(1200):
        if checkpoints.newest(out / "state") or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists(), "it ended before it could be killed"
    return run_command(*arguments, f"out={out}", cwd=out.parent).stderr


def test_a_killed_continuation_with_kept_moments_ends_byte_identical(base, more_tokens, tmp_path):
    steps = ("recipe.steps=60", "trainer.checkpoint_every=4", "base.optimizer=kept")
    arguments = ["stage=continual_pretrain", f"base.path={base}", f"tokens.path={more_tokens}", *RECIPE, *steps]
    arguments = [value for value in arguments if value not in ("recipe.steps=8",)]
    run_command(*arguments, f"out={tmp_path / 'whole'}", cwd=tmp_path)
    assert "resuming after step" in killed_and_resumed(arguments, tmp_path / "killed")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_two_ranks_continue_alike(base, more_tokens, continued, tmp_path):
    go_on(base, more_tokens, tmp_path / "ranks", "trainer.nproc=2")
    np.testing.assert_allclose(losses(tmp_path / "ranks"), losses(continued), rtol=2e-5)


def test_the_default_base_is_the_prior_and_text_is_tokenised_for_it(small_prior, corpus_file, tmp_path):
    """prior=local stands for the prior that would be trained here."""
    given = ["stage=continual_pretrain", "prior=local", f"prior.path={small_prior}", "corpus=local",
             f"corpus.path={corpus_file}", "recipe.sequence_length=32", "recipe.steps=4"]  # fmt: skip
    run = run_command(*given, cwd=tmp_path)
    assert "Hugging Face folder: " in run.stdout
    (tokens,) = (tmp_path / "artifacts" / "tokens").iterdir()
    assert (tokens / "tokenizer" / "tokenizer.json").read_bytes() == (small_prior / "tokenizer.json").read_bytes()
    # An edited corpus of the same command, in a row.
    edited = [f"base.path={small_prior}", "tokens.source=edited", "edit.p=0.9"]
    plan = run_command(*given, *edited, "dry_run=true", cwd=tmp_path).stdout
    kinds = [line.split()[0] for line in plan.splitlines()[1:] if line.startswith("  ") and line[2] != " "]
    assert kinds == ["corpus", "model", "scores", "edited_corpus", "tokens", "checkpoint", "checkpoint"]


def refusal(stage, *overrides: str) -> str:
    with pytest.raises(ToEditError) as raised:
        stage.plan(compose(*overrides)).ensure()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_cannot_be_a_base_is_one_line(base, tokens, more_tokens, tmp_path):
    name, given = "stage=continual_pretrain", f"tokens.path={more_tokens}"
    assert "base.path: stage=continual_pretrain starts from a model" in refusal(continual_pretrain, name, "base=none")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/model"}))
    line = refusal(continual_pretrain, name, "base=none", f"base.path={adapter}", given)
    assert f"base.path={adapter}: is an adapter of another model (somebody/model)" in line
    assert "LoRA is trainer=llamafactory's" in refusal(
        continual_pretrain, name, "base=none", f"base.path={base}", given, "adapter=lora"
    )
    for more, line in (("trainer=llamafactory", "starts from a base"), ("adapter=lora", "trains all weights")):
        assert line in refusal(pretrain_stage, "stage=pretrain", given, more)
    assert "trainer=olmo_legacy: pre-trains only" in refusal(
        continual_pretrain, name, "base=none", f"base.path={base}", "trainer=olmo_legacy", given
    )
    others = build_tokens(tmp_path / "others", entries=310)
    line = refusal(continual_pretrain, name, "base=none", f"base.path={base}", f"tokens.path={others}", *RECIPE)
    assert line.startswith(f"tokens.path={others}: made with another tokenizer than that of base.path={base}")
    line = refusal(continual_pretrain, name, "base=none", f"base.path={base}", given, *RECIPE,
                   "recipe.sequence_length=256")  # fmt: skip
    assert "recipe.sequence_length=256: the model has 128 positions" in line


def test_a_base_with_code_of_its_own_needs_a_key(base, more_tokens, tmp_path):
    own = with_code_of_its_own(base / "hf", tmp_path / "own")
    line = refusal(continual_pretrain, "stage=continual_pretrain", "base=none", f"base.path={own}",
                   f"tokens.path={more_tokens}", *RECIPE, f"out={tmp_path / 'out'}")  # fmt: skip
    assert "base.trust_remote_code=true allows it" in line


# --- fine-tuning ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(work) -> dict[str, Path]:
    return {
        "alpaca": write_jsonl(work / "alpaca.jsonl", alpaca_rows()),
        "sharegpt": write_jsonl(work / "sharegpt.jsonl", sharegpt_rows()),
    }


def tune(small_prior: Path, rows: dict[str, Path], layout: str, *overrides: str) -> list[str]:
    return ["stage=sft", f"base.path={small_prior}", "corpus=local", f"corpus.path={rows[layout]}",
            f"corpus.layout={layout}", "recipe.sequence_length=48", "recipe.batch_sequences=8", "recipe.steps=6",
            "recipe.dtype=float32", "trainer.log_every=1", "sft.template=plain", *overrides]  # fmt: skip


@pytest.mark.parametrize(("layout", "packing"), [("alpaca", True), ("sharegpt", False)])
def test_responses_are_learnt(small_prior, rows, tmp_path, layout, packing):
    run = run_command(*tune(small_prior, rows, layout, f"sft.packing={packing}".lower(), "recipe.steps=30"),
                      f"out={tmp_path / 'sft'}", cwd=tmp_path)  # fmt: skip
    found = losses(tmp_path / "sft")
    assert len(found) == 30 and found[-5:].mean() < found[:5].mean() - 0.3
    counts = json.loads((tmp_path / "sft" / "manifest.json").read_text())["counts"]
    assert counts["rows"] == counts["examples"] + counts["dropped"] and counts["steps"] == 30
    if counts["dropped"] or counts["truncated"]:
        assert "were cut at recipe.sequence_length=48" in run.stderr
    assert "the responses of `" in (tmp_path / "sft" / "hf" / "README.md").read_text()
    assert weights_of(tmp_path / "sft" / "hf")


def test_a_model_that_learnt_the_answers_gives_them(tmp_path, small_prior):
    """Trained on a few pairs until it knows them, it answers, and stops."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pairs = {f"say {letter}": f"{letter}, as the story goes." for letter in "abcdef"}
    file = write_jsonl(tmp_path / "pairs.jsonl", [{"instruction": q, "output": a} for q, a in pairs.items()])
    more = ["recipe.learning_rate=3e-3", "recipe.batch_sequences=6", "sft.packing=false", "recipe.steps=150"]
    run_command(*tune(small_prior, {"alpaca": file}, "alpaca", *more), f"out={tmp_path / 'sft'}", cwd=tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "sft" / "hf")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "sft" / "hf")
    for question, answer in pairs.items():
        ids = tokenizer(f"{question}\n", return_tensors="pt", add_special_tokens=False).input_ids
        if tokenizer.bos_token_id is not None:
            ids = torch.cat([torch.tensor([[tokenizer.bos_token_id]]), ids], dim=1)
        with torch.no_grad():
            out = model.generate(ids, max_new_tokens=30, do_sample=False, pad_token_id=0)
        assert tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True) == answer


def test_two_ranks_and_micro_batches_change_nothing_but_the_order_of_sums(small_prior, rows, tmp_path):
    """Sequences differ in how much of them is learnt: every token of the step weighs the same wherever it lies."""
    runs = {"one": [], "micro": ["trainer.micro_batch_sequences=2"], "ranks": ["trainer.nproc=2"],
            "padded": ["sft.packing=false", "trainer.micro_batch_sequences=2"]}  # fmt: skip
    for name, more in runs.items():
        run_command(*tune(small_prior, rows, "alpaca", *more), f"out={tmp_path / name}", cwd=tmp_path)
    for name in ("micro", "ranks"):
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "one"), rtol=2e-5)
    padded = tmp_path / "padded-whole"
    run_command(*tune(small_prior, rows, "alpaca", "sft.packing=false"), f"out={padded}", cwd=tmp_path)
    np.testing.assert_allclose(losses(tmp_path / "padded"), losses(padded), rtol=2e-5)


def test_a_killed_fine_tuning_ends_byte_identical(small_prior, rows, tmp_path):
    arguments = tune(small_prior, rows, "alpaca", "trainer.checkpoint_every=5")
    arguments[arguments.index("recipe.steps=6")] = "recipe.steps=80"
    run_command(*arguments, f"out={tmp_path / 'whole'}", cwd=tmp_path)
    assert "resuming after step" in killed_and_resumed(arguments, tmp_path / "killed")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_edited_responses_come_straight_from_the_editor_and_validation_is_held_out(small_prior, rows, tmp_path):
    prior = ["prior=local", f"prior.path={small_prior}", "score.min_p=0.3", "edit.p=0.3", "edit.temperature=2",
             "corpus.split=train", "corpus.split_shares=[70,30,0]", "sft.validation_split=validation"]  # fmt: skip
    for source in ("corpus", "edited"):
        run_command(*tune(small_prior, rows, "alpaca", *prior, f"sft.source={source}"), f"out={tmp_path / source}",
                    cwd=tmp_path)  # fmt: skip
    manifests = [json.loads((tmp_path / source / "manifest.json").read_text()) for source in ("corpus", "edited")]
    held_out = {manifest["inputs"]["validation"]["fingerprint"] for manifest in manifests}
    assert len(held_out) == 1 and manifests[0]["counts"]["rows"] == manifests[1]["counts"]["rows"] < 30
    last = [read_metrics(tmp_path / source / "metrics.csv")[-1] for source in ("corpus", "edited")]
    assert float(last[0]["validation_loss"]) != float(last[1]["validation_loss"])
    for row in last:
        assert float(row["validation_perplexity"]) == pytest.approx(math.exp(float(row["validation_loss"])), rel=1e-6)
    assert files_of(tmp_path / "edited", "hf")


def test_what_fine_tuning_refuses_is_one_line(small_prior, rows, tmp_path):
    def line(*overrides: str) -> str:
        return refusal(sft, *tune(small_prior, rows, "alpaca", f"artifacts={tmp_path}", *overrides))

    assert "trainer=olmo: has no fine-tuning" in line("trainer=olmo")
    assert "LoRA is trainer=llamafactory's" in line("adapter=lora")
    assert "sft.validation_split=test: corpus.split=null holds nothing back" in line("sft.validation_split=test")
    assert "no chat template" in line("sft.template=chat")
    assert "sft.on_long=shorten" in line("sft.on_long=shorten")
    assert "validation_tokens.path: stage=sft validates on responses" in line(f"validation_tokens.path={tmp_path}")
    text = write_jsonl(tmp_path / "text.jsonl", [{"text": "plain"}])
    assert "is no instruction row" in refusal(
        sft, "stage=sft", f"base.path={small_prior}", "corpus=local", f"corpus.path={text}",
        f"artifacts={tmp_path}")  # fmt: skip
