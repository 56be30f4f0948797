"""Pre-training, whole runs of the command: resumed after SIGKILL, on one rank and two, refused, tracked."""

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
from test_pretrain import compose
from tokens_fixture import build_tokens
from torch.distributed.checkpoint import CheckpointException

from pretrain import checkpoints, stage
from pretrain.ranks import Ranks
from pretrain.tracking import read_metrics
from toedit.errors import Interrupted, ToEditError, UnusableInput

GOLDEN = Path(__file__).parent / "golden"
RECIPE = ("recipe.sequence_length=32", "recipe.batch_sequences=32", "recipe.steps=20", "recipe.warmup_steps=4",
          "trainer.log_every=1", "trainer.checkpoint_every=10", "trainer.micro_batch_sequences=16")  # fmt: skip
DROPOUT = ("model.settings.resid_pdrop=0.1", "model.settings.attn_pdrop=0.1", "model.settings.embd_pdrop=0.1")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    return build_tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> Path:
    return build_tokens(tmp_path_factory.mktemp("held-out"), documents=12, seed=7, files=1)


def train(tokens: Path, out: Path, *overrides: str, expect: int = 0):
    arguments = ["stage=pretrain", f"tokens.path={tokens}", *RECIPE, *overrides, f"out={out}"]
    return run_command(*arguments, cwd=out.parent, expect=expect)


def losses(out: Path) -> np.ndarray:
    return np.array([float(row["loss"]) for row in read_metrics(out / "metrics.csv")])


def content(out: Path) -> dict[str, bytes]:
    return {**files_of(out, "hf", "state"), "metrics.csv": (out / "metrics.csv").read_bytes()}


@pytest.fixture(scope="module")
def float32_run(tokens, held_out, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "float32"
    train(tokens, out, "recipe.dtype=float32", f"validation_tokens.path={held_out}")
    return out


def test_the_checkpoint_is_an_ordinary_folder_and_its_loss_is_the_reported_one(float32_run, held_out):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    manifest = json.loads((float32_run / "manifest.json").read_text())
    assert manifest["kind"] == "checkpoint" and manifest["runtime"]["export_difference"] < 1e-4
    assert {"tokens_per_second", "mfu"} <= set(manifest["runtime"])
    assert sorted(folder.name for folder in (float32_run / "state").iterdir()) == ["step-00000020"]
    model = AutoModelForCausalLM.from_pretrained(float32_run / "hf")
    tokenizer = AutoTokenizer.from_pretrained(float32_run / "hf")
    assert len(tokenizer) == model.config.vocab_size == 320 and tokenizer.eos_token_id == model.config.eos_token_id == 0
    token_S = np.fromfile(held_out / "part-00000.npy", np.uint16).astype(np.int64)
    count = min((len(token_S) - 1) // 32, 256)
    index_BL = np.arange(count)[:, None] * 32 + np.arange(33)
    token_BL = torch.from_numpy(token_S[index_BL])
    with torch.no_grad():
        logit_BLV = model(input_ids=token_BL[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logit_BLV.flatten(0, 1), token_BL[:, 1:].flatten()).item()
    last = read_metrics(float32_run / "metrics.csv")[-1]
    assert float(last["validation_loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(last["validation_perplexity"]) == pytest.approx(math.exp(loss), rel=1e-5)
    assert "20 of 32 sequences" in (float32_run / "hf" / "README.md").read_text()


def test_micro_batches_and_ranks_change_nothing_but_the_order_of_sums(float32_run, tokens, held_out, tmp_path):
    """1 x 32, 2 x 16 accumulated and 2 ranks x 16."""
    whole, ranks = tmp_path / "whole", tmp_path / "ranks"
    extra = ("recipe.dtype=float32", f"validation_tokens.path={held_out}")
    train(tokens, whole, "trainer.micro_batch_sequences=32", *extra)
    train(tokens, ranks, "trainer.nproc=2", *extra)
    for other in (whole, ranks):
        np.testing.assert_allclose(losses(other), losses(float32_run), rtol=2e-5)
        rows = [read_metrics(out / "metrics.csv")[-1] for out in (other, float32_run)]
        assert float(rows[0]["validation_loss"]) == pytest.approx(float(rows[1]["validation_loss"]), rel=2e-5)
    # What two ranks wrote, one process resumes, and the other way round: the finished state loads on both.
    fingerprints = {
        json.loads((out / "manifest.json").read_text())["fingerprint"] for out in (whole, ranks, float32_run)
    }
    assert len(fingerprints) == 1


def test_compiled_steps_give_the_same_losses(float32_run, tokens, tmp_path):
    """Compilation brings the compiled loss and, on a CPU, another attention."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("torch.compile needs a C++ compiler")
    train(tokens, tmp_path / "compiled", "recipe.dtype=float32", "trainer.compile=true", "recipe.steps=20")
    np.testing.assert_allclose(losses(tmp_path / "compiled"), losses(float32_run), rtol=1e-4)


def test_a_full_disk_is_told_as_such(tmp_path):
    """Torch wraps what its writer meets; the command has to see the disk's own error, or what torch makes of it."""
    for error in (OSError(28, "No space left on device"), RuntimeError("unexpected pos 576 vs 534")):
        with pytest.raises(Interrupted, match="the disk is full"), checkpoints._quietly():
            raise CheckpointException("save", {0: (error, None)})


def test_a_damaged_checkpoint_is_refused(float32_run, tokens, tmp_path):
    """Else a training would go on from wrong weights. Every file of it, wherever it is hit."""
    shutil.copytree(float32_run / "state", tmp_path / "state")
    folder, alone = checkpoints.newest(tmp_path / "state"), Ranks(0, 1, torch.device("cpu"))
    checkpoints._refuse_damage(folder, alone)
    assert checkpoints._position(folder)["step"] == 20
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("files-"))
    assert [file.name for file in files] == [".metadata", "__0_0.distcp", "position.json"]
    for file in files:
        content = file.read_bytes()
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        for damaged in (bytes(flipped), content[:-3], b""):
            file.write_bytes(damaged)
            with pytest.raises(UnusableInput, match=rf"{file.name}: damaged; remove .*step-00000020,"):
                checkpoints.load(folder, {}, None, alone)
        file.write_bytes(content)
    (folder / "files-0.json").write_text("{")
    with pytest.raises(UnusableInput, match=r"files-0\.json: damaged"):
        checkpoints.load(folder, {}, None, alone)


def kill_after_checkpoint(arguments: list[str], out: Path, victim: str) -> int:
    """Start the command; once its first checkpoint stands, SIGKILL the command or one of its ranks."""
    for _ in range(5):
        code = _kill_once([sys.executable, str(REPOSITORY / "run.py"), *arguments], out, victim)
        if not (out / "state" / "step-00000020").exists():
            return code
        shutil.rmtree(out)  # it was faster than we: once more
    raise AssertionError("the training always ended before it could be killed")


def _kill_once(command: list[str], out: Path, victim: str) -> int:
    log_path = out.parent / f"{out.name}.log"
    with log_path.open("w") as log:
        process = subprocess.Popen(command, cwd=out.parent, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not (out / "state" / "step-00000010").exists():
            assert process.poll() is None and time.monotonic() < deadline, log_path.read_text()
            time.sleep(0.005)
        try:
            ranks = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
            os.kill(process.pid if victim == "command" else ranks[-1], signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            ranks = []  # it has ended
        code = process.wait(timeout=120)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/exe").exists() for pid in ranks):  # no rank outlives the command
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return code


@pytest.fixture(scope="module")
def whole_runs(tokens, tmp_path_factory) -> dict[int, Path]:
    """By number of ranks. Dropout is on, so that the random state counts."""
    folder = tmp_path_factory.mktemp("whole")
    for ranks in (1, 2):
        train(tokens, folder / f"{ranks}", *DROPOUT, f"trainer.nproc={ranks}")
    return {ranks: folder / f"{ranks}" for ranks in (1, 2)}


@pytest.mark.parametrize(("ranks", "victim"), [(1, "command"), (2, "command"), (2, "rank")])
def test_a_killed_training_ends_with_the_same_bytes(whole_runs, tokens, tmp_path, ranks, victim):
    """20 steps are 10 steps, SIGKILL, and 10 more."""
    extra = [*DROPOUT, f"trainer.nproc={ranks}"]
    out = tmp_path / "killed"
    arguments = ["stage=pretrain", f"tokens.path={tokens}", *RECIPE, *extra, f"out={out}"]
    code = kill_after_checkpoint(arguments, out, victim)
    log = (tmp_path / "killed.log").read_text()
    if victim == "rank":
        assert code == 75 and "rank" in log and "SIGKILL" in log and "Traceback" not in log
    assert not (out / "manifest.json").exists()
    run = train(tokens, out, *extra)
    assert "resuming after step 10 of 20" in run.stderr
    assert content(out) == content(whole_runs[ranks])


def test_another_number_of_ranks_goes_on_where_the_first_stopped(float32_run, tokens, held_out, tmp_path):
    out = tmp_path / "moved"
    extra = ["recipe.dtype=float32", f"validation_tokens.path={held_out}"]
    arguments = ["stage=pretrain", f"tokens.path={tokens}", *RECIPE, *extra, f"out={out}"]
    kill_after_checkpoint(arguments, out, "command")
    run = train(tokens, out, *extra, "trainer.nproc=2")
    assert "resuming after step 10 of 20" in run.stderr
    np.testing.assert_allclose(losses(out), losses(float32_run), rtol=2e-5)


@pytest.mark.parametrize("name", ["gpt2_tiny", "olmo_tiny"])
def test_the_loss_curve_is_the_golden_one(name, tokens, tmp_path):
    """Recorded with torch 2.13; TOEDIT_RECORD_GOLDEN=1 records anew."""
    train(tokens, tmp_path / name, f"model={name}", "recipe=gpt2_tiny", *RECIPE, "recipe.dtype=float32")
    golden = GOLDEN / f"pretrain_{name}.csv"
    if os.environ.get("TOEDIT_RECORD_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_bytes((tmp_path / name / "metrics.csv").read_bytes())
    expected = np.array([float(row["loss"]) for row in read_metrics(golden)])
    np.testing.assert_allclose(losses(tmp_path / name), expected, rtol=1e-3)
    assert expected[-1] < expected[0] - 1


def test_a_loss_that_is_no_number_stops_and_the_last_checkpoint_stands(tokens, tmp_path):
    out = tmp_path / "diverged"
    run = train(tokens, out, "recipe.learning_rate=1e38", "recipe.warmup_steps=12", "recipe.warmup_start_share=0",
                "recipe.dtype=float32", "trainer.checkpoint_every=1", expect=2)  # fmt: skip
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert "not finite at step" in line and "stands" in line and "Traceback" not in run.stderr
    kept = sorted((out / "state").glob("step-*"))
    assert kept and not (out / "manifest.json").exists()
    from torch.distributed.checkpoint import FileSystemReader, load

    held = {"weight.transformer.wte.weight": torch.zeros(320, 64)}
    load(held, storage_reader=FileSystemReader(kept[-1]), no_dist=True)
    assert torch.isfinite(held["weight.transformer.wte.weight"]).all()


def error_of(tokens: Path, out: Path, *overrides: str, expect: int = 2) -> str:
    run = train(tokens, out, *overrides, expect=expect)
    assert "Traceback" not in run.stderr
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["recipe.sequence_length=256"], ["recipe.sequence_length=256", "128 positions"]),
        (["model=gpt2_124m"], ["tokens.path=", "vocabulary_size is 320", "model.vocabulary_size=50257"]),
        (["model.eos_id=5"], ["eos_id is 0", "model.eos_id=5"]),
        (["model.embedding_rows=300"], ["model.embedding_rows=300", "320"]),
        (["+model.settings.n_layers=3"], ["model.settings.n_layers", "did you mean n_layer?"]),
        (["model.kind=gpt"], ["model.kind=gpt", "did you mean"]),
        (["recipe.dtype=float16"], ["recipe.dtype=float16"]),
        (["recipe.batch_sequences=9", "trainer.nproc=2"], ["trainer.nproc=2", "recipe.batch_sequences=9"]),
        (["tracker.kinds=[comet]"], ["tracker.kinds=comet"]),
        (["+recipe.learning_rat=1"], ["recipe.learning_rat", "did you mean recipe.learning_rate?"]),
    ],
)
def test_bad_settings_are_one_line_before_anything_is_written(tokens, tmp_path, overrides, parts):
    """In this process; the next test asks the command."""
    with pytest.raises(ToEditError) as raised:
        stage.plan(compose(f"tokens.path={tokens}", *RECIPE, *overrides, f"out={tmp_path / 'refused'}"))
    assert "\n" not in str(raised.value) and raised.value.exit_code == 2
    for part in parts:
        assert part in str(raised.value)
    assert not (tmp_path / "refused").exists()


def test_what_only_a_rank_can_know_reaches_the_command(tokens, tmp_path):
    """A token beyond the embedding, met while two ranks train."""
    broken = tmp_path / "broken"
    shutil.copytree(tokens, broken)
    token_S = np.fromfile(broken / "part-00001.npy", np.uint16)
    token_S[len(token_S) // 2 :] = 60_000
    token_S.tofile(broken / "part-00001.npy")
    line = error_of(broken, tmp_path / "out", "trainer.nproc=2")
    assert "part-00001.npy" in line and "token id 60000" in line and "320 rows" in line


def test_missing_tokens_say_how_to_make_them(tmp_path):
    assert "stage=tokenize out=" in error_of(tmp_path / "nowhere", tmp_path / "out", expect=3)


def test_tokens_are_made_of_the_same_settings(tmp_path):
    run = run_command("stage=pretrain", "tokens.source=edited", "dry_run=true", cwd=tmp_path)
    planned = [line.split()[0] for line in run.stdout.splitlines() if " to build " in line]
    assert planned[-2:] == ["tokens", "checkpoint"] and "edited_corpus" in planned, run.stdout


def test_a_changed_configuration_is_refused_on_resumption_naming_the_keys(tokens, tmp_path):
    out = tmp_path / "unfinished"
    arguments = ["stage=pretrain", f"tokens.path={tokens}", *RECIPE, f"out={out}"]
    kill_after_checkpoint(arguments, out, "command")
    line = error_of(tokens, out, "recipe.learning_rate=0.5", "model.settings.n_layer=3")
    assert "unfinished" in line and "recipe.learning_rate=0.003 instead of 0.5" in line
    assert "model.settings.n_layer=2 instead of 3" in line and "recipe.steps" not in line
    train(tokens, out, "trainer.log_every=5", "trainer.compile=false")  # how it is run may change


def test_curves_go_to_tensorboard_and_wandb_without_a_login(tokens, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "tracked"
    (tmp_path / "home").mkdir()
    run_command("stage=pretrain", f"tokens.path={tokens}", *RECIPE, "recipe.steps=4", "tracker=all", f"out={out}",
                cwd=tmp_path, HOME=str(tmp_path / "home"), WANDB_API_KEY="")  # fmt: skip
    curves = tmp_path / "outputs" / "tracking" / "tracked"
    events = EventAccumulator(str(curves / "tensorboard"))
    events.Reload()
    np.testing.assert_allclose([event.value for event in events.Scalars("loss")], losses(out), rtol=1e-6)
    assert {"mfu", "tokens_per_second", "learning_rate"} <= set(events.Tags()["scalars"])
    assert list((curves / "wandb").glob("offline-run-*/*.wandb"))
    assert not [path for path in out.rglob("*") if "wandb" in path.name or "tfevents" in path.name]


def test_a_dry_run_says_what_it_would_cost(tokens, tmp_path):
    run = run_command("stage=pretrain", f"tokens.path={tokens}", *RECIPE, "dry_run=true", cwd=tmp_path)
    assert "parameters" in run.stdout and "FLOPs" in run.stdout and "20.5k" in run.stdout  # 20 x 32 x 32 tokens
