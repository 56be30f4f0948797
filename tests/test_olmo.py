"""trainer=olmo. The first half needs no olmo-core; the second runs it, against a plain loop over the same data.

The environment of olmo-core takes minutes to make once. Absent, it is made with CI=true; otherwise the tests that need
it are skipped and say how to make it.
"""

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
from conftest import REPOSITORY, files_of, run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pretrain import compose
from tokens_fixture import build_tokens

from pretrain import models, olmo, stage
from pretrain.data import TokenSequences
from pretrain.tracking import read_metrics
from toedit.config import RecipeConfig
from toedit.errors import BadConfiguration, ToEditError, UnusableInput
from toedit.workspace import read_manifest

LENGTH, BATCH, STEPS, WARMUP, SEED = 32, 32, 20, 4, 5
COMMON = ("stage=pretrain", "model=olmo_tiny", "trainer=olmo", f"recipe.sequence_length={LENGTH}",
          f"recipe.batch_sequences={BATCH}", f"recipe.steps={STEPS}", f"recipe.warmup_steps={WARMUP}",
          f"recipe.seed={SEED}", "trainer.log_every=1", "trainer.checkpoint_every=10",
          "trainer.micro_batch_sequences=16")  # fmt: skip
FLOAT32 = "recipe.dtype=float32"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    return build_tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> Path:
    return build_tokens(tmp_path_factory.mktemp("held-out"), documents=12, seed=7, files=1)


# --- without olmo-core ------------------------------------------------------------------------------------------------


def plan(tokens: Path, *overrides: str):
    return stage.plan(compose(*COMMON[1:], f"tokens.path={tokens}", *overrides))


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["model=gpt2_tiny"], ["model.kind=gpt2", "trainer=olmo", "trainer=fsdp"]),
        (["recipe.warmup_start_share=1"], ["recipe.warmup_start_share=1", "below the peak"]),
        (["recipe.batch_sequences=480"], ["recipe.batch_sequences=480", "an epoch has 360 sequences"]),
        (["recipe.steps=null", "recipe.epochs=0.01"], ["recipe.epochs=0.01"]),
        (["trainer.loss_rows=64"], ["trainer.loss_rows=64", "trainer.micro_batch_sequences"]),
        (["trainer.compile=true", "trainer.device=cpu"], ["trainer.compile=true", "GPU"]),
        (["model.settings.attention_bias=true"], ["model.settings.attention_bias=True"]),
        (["+model.settings.hidden_act=gelu"], ["model.settings.hidden_act=gelu", "silu"]),
        (["model.settings.attention_dropout=0.1"], ["model.settings.attention_dropout=0.1"]),
        (["trainer.kind=olmo2"], ["trainer.kind=olmo2"]),
    ],
)
def test_what_olmo_core_cannot_do_is_refused_in_one_line(tokens, overrides, parts):
    with pytest.raises(ToEditError) as raised:
        plan(tokens, *overrides)
    assert "\n" not in str(raised.value) and raised.value.exit_code == 2
    for part in parts:
        assert part in str(raised.value)


def test_the_trainer_is_part_of_a_checkpoints_identity_but_not_how_it_is_run(tokens):
    ours, more_ranks = plan(tokens), plan(tokens, "trainer.nproc=2", "trainer.micro_batch_sequences=8")
    other = plan(tokens, "trainer=fsdp")
    assert ours.identity["trainer"] == {"kind": "olmo"} and "trainer" not in other.identity
    assert ours.fingerprint == more_ranks.fingerprint != other.fingerprint


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 5))
def test_sequences_are_whole_and_batches_do_not_cross_epochs(tmp_path_factory, lengths, length, batch):
    folder = tmp_path_factory.mktemp("tokens")
    for number, count in enumerate(lengths):
        np.arange(count, dtype=np.uint16).tofile(folder / f"part-{number}.npy")
    sequences = sum(len(range(0, count - length + 1, length)) for count in lengths)
    assert olmo.count_sequences(folder, "uint16", length) == sequences
    recipe = RecipeConfig(batch_sequences=batch, epochs=3.0)
    if sequences < batch:
        with pytest.raises(BadConfiguration, match=f"recipe.batch_sequences={batch}"):
            olmo.total_steps(recipe, sequences)
    else:
        assert olmo.total_steps(recipe, sequences) == 3 * len(range(0, sequences - batch + 1, batch))


def test_token_ids_beyond_the_embedding_are_refused_where_they_stand(tmp_path):
    for number, last in enumerate((3, 90)):
        np.array([1, 2, 3, 1, 2, last, 0], np.uint16).tofile(tmp_path / f"part-{number}.npy")
    files = olmo.token_files(tmp_path)
    token_BL = torch.tensor([[1, 2, 3], [1, 2, 90]])
    with pytest.raises(UnusableInput, match=r"part-1\.npy: token id 90 is beyond the model's 50 rows"):
        olmo.require_known_ids(token_BL, torch.tensor([0, 3]), files, 3, "uint16", 50)
    olmo.require_known_ids(token_BL, torch.tensor([0, 3]), files, 3, "uint16", 91)


def test_without_olmo_core_the_command_says_how_to_get_it(tokens, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(BadConfiguration, match=r"no nowhere/python; .*bash scripts/environment_olmo\.sh"):
        plan(tokens, f"out={out}", "trainer.python=nowhere/python").ensure()
    assert not out.exists()


def test_only_the_series_that_was_tried_serves():
    assert [olmo.serves(version) for version in (None, "2.9.0", "3.0.0", "3.0.1", "3.10.0")] == [0, 0, 1, 1, 0]
    if olmo.serves(olmo.installed_version()):
        olmo.require_package()
    else:
        with pytest.raises(
            BadConfiguration, match=r"ai2-olmo-core 3\.0 serves, .* has .*bash scripts/environment_olmo"
        ):
            olmo.require_package()


# --- with olmo-core ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment() -> None:
    """A Python that has olmo-core, where the command finds it by itself."""
    if olmo.serves(olmo.installed_version()):
        return
    python = REPOSITORY / os.environ.get("TOEDIT_OLMO_VENV", ".venv-olmo") / "bin" / "python"
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(
            "no olmo-core here: make its environment with `bash scripts/environment_olmo.sh` (2 GB), or CI=true"
        )
    script = str(REPOSITORY / "scripts" / "environment_olmo.sh")
    made = subprocess.run(["bash", script], capture_output=True, text=True, timeout=1800)
    assert made.returncode == 0, made.stderr


def train(tokens: Path, out: Path, *overrides: str, expect: int = 0):
    run = run_command(*COMMON, f"tokens.path={tokens}", *overrides, f"out={out}", cwd=out.parent, expect=expect)
    assert "Traceback" not in run.stderr
    return run


def column(out: Path, name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in read_metrics(out / "metrics.csv")])


def content(out: Path) -> dict[str, bytes]:
    return {**files_of(out, "hf", "state"), "metrics.csv": (out / "metrics.csv").read_bytes()}


@pytest.fixture(scope="module")
def whole_run(environment, tokens, held_out, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "whole"
    train(tokens, out, FLOAT32, f"validation_tokens.path={held_out}")
    return out


def batches(tokens: Path):
    """olmo-core's batches as its documentation has them: a permutation an epoch, whole batches of it."""
    files = [np.fromfile(file, np.uint16).astype(np.int64) for file in sorted(tokens.glob("*.npy"))]
    token_SL = np.concatenate([file[: len(file) // LENGTH * LENGTH].reshape(-1, LENGTH) for file in files])
    for epoch in range(1, 100):
        order = np.arange(len(token_SL), dtype=np.uint32)
        np.random.Generator(np.random.PCG64(seed=SEED + epoch)).shuffle(order)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            yield torch.from_numpy(token_SL[order[start : start + BATCH]])


def plain_run(tokens: Path):
    """The recipe, written down once more without any trainer: (model, rows of loss, learning rate, gradient norm)."""
    config = compose(*COMMON[1:], FLOAT32)
    recipe = config.recipe
    model = models.fresh_model(models.architecture(config.model, 320, 0), "mitchell", SEED)
    embedding = model.get_input_embeddings().weight
    others = [weight for weight in model.parameters() if weight is not embedding]
    groups = [{"params": [embedding], "weight_decay": 0.0}, {"params": others, "weight_decay": recipe.weight_decay}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=tuple(recipe.betas), eps=recipe.epsilon)
    rows, peak, start, end = [], recipe.learning_rate, recipe.warmup_start_share, recipe.final_learning_rate_share
    for step, token_BL in zip(range(1, STEPS + 1), batches(tokens), strict=False):
        rate = start + (1 - start) * step / WARMUP
        if step >= WARMUP:
            rate = end + (1 - end) * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2
        for group in optimizer.param_groups:
            group["lr"] = peak * rate
        loss = model(input_ids=token_BL, labels=token_BL).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        rows.append((loss.item(), peak * rate, norm.item()))
    return model, np.array(rows)


def test_it_trains_what_the_recipe_says_and_exports_what_it_trained(whole_run, tokens, held_out):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, rows = plain_run(tokens)
    for number, name in enumerate(("loss", "learning_rate", "gradient_norm")):
        np.testing.assert_allclose(column(whole_run, name), rows[:, number], rtol=2e-4, err_msg=name)
    exported = AutoModelForCausalLM.from_pretrained(whole_run / "hf")
    assert exported.config.model_type == "olmo" and exported.config.tie_word_embeddings
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(exported.state_dict()[name], weight, rtol=1e-2, atol=2e-4, msg=name)
    assert len(AutoTokenizer.from_pretrained(whole_run / "hf")) == 320
    held = TokenSequences(held_out, read_manifest(held_out), LENGTH, 0, 320)
    token_BL = torch.from_numpy(np.stack([held.sequence(index) for index in range(min(len(held), 256))]))
    with torch.no_grad():
        logit_BLV = exported(input_ids=token_BL[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logit_BLV.flatten(0, 1), token_BL[:, 1:].flatten()).item()
    assert float(read_metrics(whole_run / "metrics.csv")[-1]["validation_loss"]) == pytest.approx(loss, rel=1e-5)


def test_the_artifact_is_like_any_other_checkpoint(whole_run, tokens):
    manifest = json.loads((whole_run / "manifest.json").read_text())
    assert manifest["kind"] == "checkpoint" and manifest["runtime"]["export_difference"] < 1e-4
    assert manifest["runtime"]["ai2-olmo-core"].startswith("3.0.") and manifest["counts"]["sequences"] == 360
    assert sorted(path.name for path in (whole_run / "state").iterdir()) == [f"step{STEPS}"]
    assert "trainer=olmo" in (whole_run / "hf" / "README.md").read_text()
    planned = plan(tokens)
    assert planned.estimate is not None and planned.estimate()["tokens"] == "20.5k"


def test_two_ranks_in_bfloat16_differ_from_one_in_float32_by_rounding(whole_run, tokens, held_out, tmp_path):
    out = tmp_path / "ranks"
    train(tokens, out, "trainer.nproc=2", f"validation_tokens.path={held_out}")
    np.testing.assert_allclose(column(out, "loss"), column(whole_run, "loss"), rtol=5e-3)
    last = [float(read_metrics(path / "metrics.csv")[-1]["validation_loss"]) for path in (out, whole_run)]
    assert last[0] == pytest.approx(last[1], rel=5e-3) and last[0] != last[1]


def test_a_killed_training_ends_with_the_same_bytes_or_goes_on_with_two_ranks(whole_run, tokens, held_out, tmp_path):
    """On two ranks only the order of sums differs."""
    out, moved = tmp_path / "killed", tmp_path / "moved"
    extra = [FLOAT32, f"validation_tokens.path={held_out}"]
    kill_after_checkpoint([*COMMON, f"tokens.path={tokens}", *extra, f"out={out}"], out)
    assert not (out / "manifest.json").exists()
    shutil.copytree(out, moved)
    run = train(tokens, out, *extra)
    assert f"resuming after step 10 of {STEPS}" in run.stderr
    assert content(out) == content(whole_run)
    run = train(tokens, moved, *extra, "trainer.nproc=2")
    assert f"resuming after step 10 of {STEPS}" in run.stderr
    np.testing.assert_allclose(column(moved, "loss"), column(whole_run, "loss"), rtol=2e-5)


def kill_after_checkpoint(arguments: list[str], out: Path) -> None:
    """SIGKILL the command once its first checkpoint stands; its rank ends with it."""
    for _ in range(5):
        log = (out.parent / "killed.log").open("w")
        command = [sys.executable, str(REPOSITORY / "run.py"), *arguments]
        process = subprocess.Popen(command, cwd=out.parent, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not (out / "state" / "step10" / ".metadata.json").exists():
            assert process.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()
            time.sleep(0.005)
        ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in [process.pid, *map(int, ranks)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait(timeout=60)
        while any(Path(f"/proc/{pid}/exe").exists() for pid in ranks):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if not (out / "state" / f"step{STEPS}").exists():
            return
        shutil.rmtree(out)  # it was faster than we: once more
    raise AssertionError("the training always ended before it could be killed")


def test_a_loss_that_is_no_number_stops_the_training(environment, tokens, tmp_path):
    out = tmp_path / "diverged"
    extra = ["recipe.learning_rate=1e38", "recipe.warmup_steps=12", "recipe.warmup_start_share=0"]
    run = train(tokens, out, *extra, FLOAT32, "trainer.checkpoint_every=1", expect=2)
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert "not finite at step" in line and "step1 stands" in line and not (out / "manifest.json").exists()


def test_a_base_is_trained_further_with_its_optimizer_or_without(whole_run, tokens, tmp_path):
    """The first loss is the base's own on the first batch; kept moments move the weights otherwise than fresh ones."""
    from transformers import AutoModelForCausalLM

    common = ["stage=continual_pretrain", "trainer=olmo", *COMMON[3:], FLOAT32, f"tokens.path={tokens}",
              "recipe.learning_rate=1e-3"]  # fmt: skip
    hf = shutil.copytree(whole_run / "hf", tmp_path / "converted")
    runs = {
        "fresh": ["base.optimizer=fresh", f"base.path={hf}"],
        "kept": ["base.optimizer=kept", f"base.path={whole_run}"],
    }
    stderr = {
        name: run_command(*common, *more, f"out={tmp_path / name}", cwd=tmp_path).stderr for name, more in runs.items()
    }
    assert "AdamW's moments begin at zero" not in "".join(stderr.values())
    model, token_BL = AutoModelForCausalLM.from_pretrained(hf), next(batches(tokens))
    with torch.no_grad():
        loss = model(input_ids=token_BL, labels=token_BL).loss.item()
    found = {name: column(tmp_path / name, "loss") for name in runs}
    for name in runs:
        assert found[name][0] == pytest.approx(loss, rel=1e-5) and len(found[name]) == STEPS
        np.testing.assert_allclose(column(tmp_path / name, "learning_rate")[0], 1e-3 / WARMUP, rtol=1e-6)
    assert abs(found["fresh"] - found["kept"]).max() > 1e-4
    line = run_command(*common, "base.optimizer=kept", f"base.path={hf}", "recipe.steps=1", f"out={tmp_path / 'none'}",
                       cwd=tmp_path).stderr  # fmt: skip
    assert "brings no state of olmo-core; AdamW's moments begin at zero" in line
