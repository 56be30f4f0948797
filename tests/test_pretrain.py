"""Pre-training: shapes and recipes as published, the loss, the data order, and whole runs: resumed, sharded, refused."""

import json
import math
import os
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
from tokens_fixture import build_tokens

from pretrain import models
from pretrain.data import TokenSequences, total_steps
from pretrain.language_model import ChunkedLoss, LanguageModel, self_check
from pretrain.loop import random_seed, shares
from pretrain.optimisation import adamw, learning_rate
from pretrain.tracking import CsvTracker, read_metrics
from toedit.config import Config, ModelConfig, RecipeConfig
from toedit.errors import BadConfiguration, UnusableInput

GOLDEN = Path(__file__).parent / "golden"


def compose(*overrides: str) -> Config:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from toedit.command import build_config

    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        return build_config(OmegaConf.to_container(hydra_compose("config", overrides=list(overrides)), resolve=True))


# --- what was published -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "layers"), [("olmo_237m", 237.2e6, 2), ("olmo_1b", 1177e6, 16), ("gpt2_124m", 124.5e6, 12)]
)
def test_the_models_have_the_published_shape(name, parameters, layers):
    config = compose(f"model={name}")
    assert config.recipe.name == name  # a model brings its recipe
    model = config.model
    shape = models.architecture(model, model.vocabulary_size, model.eos_id)
    assert models.count_parameters(shape) == pytest.approx(parameters, rel=1e-3)
    assert shape.num_hidden_layers == layers
    if model.kind == "olmo":
        assert (shape.hidden_size, shape.num_attention_heads, shape.intermediate_size) == (2048, 16, 8192)
        assert (shape.vocab_size, model.vocabulary_size, model.eos_id, shape.pad_token_id) == (50304, 50280, 50279, 1)
        assert shape.tie_word_embeddings and not shape.attention_bias and shape.max_position_embeddings == 2048
        assert (shape.attention_dropout, model.initialisation) == (0.0, "mitchell")
    else:
        assert (shape.n_embd, shape.n_head, shape.n_positions, model.vocabulary_size) == (768, 12, 1024, 50257)


def test_the_recipes_are_the_published_ones():
    large, small, gpt2 = (compose(f"model={name}").recipe for name in ("olmo_1b", "olmo_237m", "gpt2_124m"))
    for recipe, rate, batch, warmup in ((large, 1e-5, 128, 1000), (small, 4e-4, 2048, 2000)):
        assert (recipe.learning_rate, recipe.batch_sequences, recipe.warmup_steps) == (rate, batch, warmup)
        assert (recipe.weight_decay, recipe.betas, recipe.final_learning_rate_share) == (0.1, [0.9, 0.95], 0.1)
        assert (recipe.sequence_length, recipe.epochs, recipe.gradient_clip) == (2048, 1.0, 1.0)
        assert recipe.dtype == "bfloat16" and recipe.steps is None
    assert gpt2.batch_sequences * gpt2.sequence_length == 262_144
    sequences = round(8.4e9) // gpt2.sequence_length
    assert total_steps(gpt2.steps, gpt2.epochs, gpt2.batch_sequences, sequences) == pytest.approx(160_280, rel=1e-3)


# --- initialisation, loss, optimizer ----------------------------------------------------------------------------------


def tiny(kind: str = "gpt2", **changes):
    names = {
        "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 32, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
                 "attn_pdrop": 0.0},
        "olmo": {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64,
                 "max_position_embeddings": 32, "tie_word_embeddings": True},
    }  # fmt: skip
    return models.architecture(ModelConfig(kind=kind, settings={**names[kind], **changes}), 101, 100)


@pytest.mark.parametrize("kind", ["gpt2", "olmo"])
def test_weights_follow_from_the_seed_alone(kind):
    initialisation = "mitchell" if kind == "olmo" else "transformers"
    torch.manual_seed(5)
    first, again, other = (models.fresh_model(tiny(kind), initialisation, seed) for seed in (1, 1, 2))
    assert torch.initial_seed() == 5
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    embedding = "get_input_embeddings"
    assert not torch.equal(getattr(first, embedding)().weight, getattr(other, embedding)().weight)


def test_mitchell_deviations_fall_with_width_and_depth():
    shape = tiny("olmo", hidden_size=256, intermediate_size=512, num_hidden_layers=3)
    model = models.fresh_model(shape, "mitchell", 0)
    cut = 0.98658  # deviation of a standard normal cut at three
    for number, layer in enumerate(model.model.layers):
        inputs = {"self_attn.q_proj": 256, "mlp.up_proj": 256, "self_attn.o_proj": 2 * 256 * (number + 1)}
        inputs["mlp.down_proj"] = 2 * 512 * (number + 1)
        for name, count in inputs.items():
            weight = layer.get_submodule(name).weight
            assert weight.std().item() == pytest.approx(cut / math.sqrt(count), rel=0.02)
            assert weight.abs().max().item() <= 3 / math.sqrt(count) + 1e-6
    with pytest.raises(BadConfiguration, match="mitchell"):
        models.fresh_model(tiny("gpt2"), "mitchell", 0)


@pytest.mark.parametrize("kind", ["gpt2", "olmo"])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_the_chunked_loss_is_the_models_own(kind, rows):
    model = models.fresh_model(tiny(kind), "transformers", 0).train()
    self_check(model)
    token_BL = torch.randint(0, 101, (3, 11), generator=torch.Generator().manual_seed(0))
    loss = LanguageModel(model, rows, False)(token_BL[:, :-1], token_BL[:, 1:])
    loss.backward()
    ours = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    theirs = model(input_ids=token_BL, labels=token_BL).loss * 30
    theirs.backward()
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(ours[name], weight.grad, rtol=1e-4, atol=1e-4)


def test_the_chunked_loss_has_the_right_gradient():
    generator = torch.Generator().manual_seed(0)
    hidden_RH = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    head_VH = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    target_R = torch.tensor([0, 5, 2, 2, 1])
    loss = ChunkedLoss.apply(hidden_RH, head_VH, target_R, 2, False)
    expected = torch.nn.functional.cross_entropy(hidden_RH @ head_VH.T, target_R, reduction="sum")
    for ours, theirs in zip(
        torch.autograd.grad(loss, (hidden_RH, head_VH)),
        torch.autograd.grad(expected, (hidden_RH, head_VH)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_head_with_more_than_a_matrix_is_refused():
    shape = models.architecture(
        ModelConfig(kind="granite", settings={"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "intermediate_size": 64, "logits_scaling": 8.0}), 101, 100)  # fmt: skip
    with pytest.raises(BadConfiguration, match="granite.*something unknown"):
        self_check(models.fresh_model(shape, "transformers", 0))


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    recipe = RecipeConfig(learning_rate=2.0, warmup_steps=10, final_learning_rate_share=0.1)
    rates = [learning_rate(step, 110, recipe) for step in range(110)]
    assert rates[9] == 2.0 and rates[0] == pytest.approx(0.2) and max(rates) == 2.0
    assert rates[60] == pytest.approx(1.1) and rates[-1] == pytest.approx(0.2, abs=2e-3)
    assert all(later < earlier for earlier, later in zip(rates[10:], rates[11:], strict=False))
    started = RecipeConfig(learning_rate=2.0, warmup_steps=10, warmup_start_share=0.1)
    assert learning_rate(0, 110, started) == pytest.approx(2.0 * (0.1 + 0.9 / 10))


def test_only_matrices_decay():
    model = models.fresh_model(tiny("gpt2"), "transformers", 0)
    parameters = dict(model.named_parameters())
    optimizer = adamw(
        parameters, {"transformer.wte.weight", "transformer.wpe.weight"}, RecipeConfig(decay_embeddings=False)
    )
    decayed = [w for group in optimizer.param_groups if group["weight_decay"] for w in group["params"]]
    assert len(decayed) == 2 * 4 and all(weight.ndim == 2 for weight in decayed)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(parameters)


# --- data order -------------------------------------------------------------------------------------------------------


def raw_tokens(folder: Path, lengths: list[int], dtype: str = "uint16") -> dict:
    start = 0
    for number, length in enumerate(lengths):
        np.arange(start, start + length).astype(dtype).tofile(folder / f"part-{number}.npy")
        start += length
    return {"identity": {"dtype": dtype}}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 5))
def test_every_epoch_reads_every_sequence_once_and_none_crosses_files(tmp_path_factory, lengths, length, seed):
    folder = tmp_path_factory.mktemp("tokens")
    manifest = raw_tokens(folder, lengths)
    expected = sum(max((count - 1) // length, 0) for count in lengths)
    if not expected:
        with pytest.raises(UnusableInput, match=f"recipe.sequence_length={length}"):
            TokenSequences(folder, manifest, length, seed, 10_000)
        return
    data = TokenSequences(folder, manifest, length, seed, 10_000)
    assert len(data) == expected
    token_BL = data.trained(0, 2 * expected)
    assert token_BL.shape == (2 * expected, length + 1) and (np.diff(token_BL) == 1).all()
    file_of = np.searchsorted(np.cumsum(lengths), token_BL, side="right")
    assert (file_of == file_of[:, :1]).all()
    first, second = set(token_BL[:expected, 0].tolist()), set(token_BL[expected:, 0].tolist())
    assert first == second and len(first) == expected
    # A rank that reads its part alone sees the same.
    assert (data.trained(1, expected) == token_BL[1 : expected + 1]).all()


def test_epochs_and_seeds_differ(tmp_path):
    manifest = raw_tokens(tmp_path, [1000], "uint32")
    first, other = (TokenSequences(tmp_path, manifest, 8, seed, 10_000).trained(0, 248) for seed in (0, 1))
    assert not (first[:124] == first[124:]).all() and not (first == other).all()


def test_token_ids_beyond_the_embedding_are_refused_where_they_stand(tmp_path):
    data = TokenSequences(tmp_path, raw_tokens(tmp_path, [100]), 8, 0, 50)
    with pytest.raises(UnusableInput, match=r"part-0\.npy.*beyond the model's 50 rows"):
        data.trained(0, len(data))


def test_shares_and_seeds_of_ranks():
    assert shares(8, 2, 8) == (4, 4) and shares(8, 1, 2) == (8, 2)
    with pytest.raises(BadConfiguration, match=r"trainer\.nproc=3"):
        shares(8, 3, 1)
    with pytest.raises(BadConfiguration, match=r"trainer\.micro_batch_sequences=3"):
        shares(8, 1, 3)
    assert len({random_seed(0, step, rank) for step in range(50) for rank in range(4)}) == 200
    with pytest.raises(BadConfiguration, match=r"recipe\.batch_sequences=9"):
        total_steps(None, 1.0, 9, 8)


def test_metrics_after_a_kill_keep_only_what_the_checkpoint_knows(tmp_path):
    path = tmp_path / "metrics.csv"
    tracker = CsvTracker(path, 0)
    for step in (1, 2, 3):
        tracker.log(step, {"tokens": step, "loss": 1 / step, "mfu": 1.0})
    tracker.close()
    with path.open("a") as file:
        file.write("4,4")  # cut short
    CsvTracker(path, 2).close()
    assert [row["step"] for row in read_metrics(path)] == ["1", "2"]


# --- whole runs -------------------------------------------------------------------------------------------------------

RECIPE = ("recipe.sequence_length=32", "recipe.batch_sequences=8", "recipe.steps=20", "recipe.warmup_steps=4",
          "trainer.log_every=1", "trainer.checkpoint_every=10", "trainer.micro_batch_sequences=4")  # fmt: skip
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
    assert "20 of 8 sequences" in (float32_run / "hf" / "README.md").read_text()


def test_micro_batches_and_ranks_change_nothing_but_the_order_of_sums(float32_run, tokens, held_out, tmp_path):
    """1 x 8, 2 x 4 accumulated and 2 ranks x 4."""
    whole, ranks = tmp_path / "whole", tmp_path / "ranks"
    extra = ("recipe.dtype=float32", f"validation_tokens.path={held_out}")
    train(tokens, whole, "trainer.micro_batch_sequences=8", *extra)
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


def kill_after_checkpoint(arguments: list[str], out: Path, victim: str) -> int:
    """Start the command; once its first checkpoint stands, SIGKILL the command or one of its ranks."""
    command = [sys.executable, str(REPOSITORY / "run.py"), *arguments]
    with (out.parent / f"{out.name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=out.parent, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not (out / "state" / "step-00000010").exists():
            assert process.poll() is None and time.monotonic() < deadline, (out.parent / f"{out.name}.log").read_text()
            time.sleep(0.01)
        ranks = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        os.kill(process.pid if victim == "command" else ranks[-1], signal.SIGKILL)
        code = process.wait(timeout=120)
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}/cwd").exists() for pid in ranks):  # no rank outlives the command
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return code


@pytest.mark.parametrize(("ranks", "victim"), [(1, "command"), (2, "command"), (2, "rank")])
def test_a_killed_training_ends_with_the_same_bytes(tokens, tmp_path, ranks, victim):
    """20 steps are 10 steps, SIGKILL, and 10 more; dropout on, so that the random state counts."""
    extra = [*DROPOUT, f"trainer.nproc={ranks}"]
    train(tokens, tmp_path / "whole", *extra)
    out = tmp_path / "killed"
    slow = ["recipe.steps=20", "trainer.checkpoint_every=10"]
    arguments = ["stage=pretrain", f"tokens.path={tokens}", *RECIPE, *extra, *slow, f"out={out}"]
    code = kill_after_checkpoint(arguments, out, victim)
    log = (tmp_path / "killed.log").read_text()
    if victim == "rank":
        assert code == 75 and "rank" in log and "SIGKILL" in log and "Traceback" not in log.splitlines()[-1]
    assert not (out / "manifest.json").exists()
    run = train(tokens, out, *extra)
    assert "resuming after step 10 of 20" in run.stderr
    assert content(out) == content(tmp_path / "whole")


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
        (["trainer.device=cuda"], ["trainer.device=cuda"]),
        (["tracker.kinds=[comet]"], ["tracker.kinds=comet"]),
        (["recipe.learning_rat=1"], ["recipe.learning_rat", "did you mean recipe.learning_rate?"]),
    ],
)
def test_bad_settings_are_one_line(tokens, tmp_path, overrides, parts):
    if "trainer.device=cuda" in overrides and torch.cuda.is_available():
        overrides = ["trainer.device=cuda", "trainer.nproc=2", "recipe.batch_sequences=9"]
        parts = ["trainer.nproc=2"]
    line = error_of(tokens, tmp_path / "refused", *overrides)
    for part in parts:
        assert part in line
    assert not (tmp_path / "refused").exists()


def test_missing_tokens_say_how_to_make_them(tmp_path):
    assert "stage=tokenize out=" in error_of(tmp_path / "nowhere", tmp_path / "out", expect=3)
    run = run_command("stage=pretrain", cwd=tmp_path, expect=2)
    assert "tokens.path=null" in run.stderr


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
    assert "parameters" in run.stdout and "FLOPs" in run.stdout and "5.12k" in run.stdout  # 20 x 8 x 32 tokens
