"""The paper's `olmo` package on what `trainer=olmo_legacy` writes. Last in order, for its environment takes minutes.

Absent, the environment is made with CI=true; otherwise the tests that need it are skipped and say how to make it.

Shapes: B sequences, L tokens of a sequence, V rows of the embedding.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, run_command
from omegaconf import OmegaConf
from test_pretrain import compose
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokens_fixture import END, build_tokens
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from pretrain import stage
from pretrain.tracking import read_metrics
from toedit.artifacts import Artifact
from toedit.errors import BadConfiguration
from toedit.workspace import Result, Workspace

LENGTH, BATCH, STEPS, STOP = 32, 16, 20, 7
TINY = ("model=olmo_tiny", "seed=3", f"recipe.sequence_length={LENGTH}", f"recipe.batch_sequences={BATCH}",
        f"recipe.steps={STEPS}", "recipe.warmup_steps=4", "recipe.dtype=float32",
        "trainer.log_every=1", "trainer.micro_batch_sequences=5")  # fmt: skip

DESCRIBE = """
import dataclasses, json, sys
from olmo.config import TrainConfig
from olmo.model import OLMo
found = {}
for path in sys.argv[1:]:
    config = TrainConfig.load(path, ["model.init_device=meta"])
    found[path] = {**dataclasses.asdict(config), "parameters": OLMo(config.model).num_params()}
print(json.dumps(found, default=str))
"""


@pytest.fixture(scope="module")
def environment() -> Path:
    """The Python that has the package."""
    python = REPOSITORY / os.environ.get("TOEDIT_OLMO_LEGACY_VENV", ".venv-olmo-legacy") / "bin" / "python"
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip("no olmo here: make its environment with `bash scripts/environment_olmo_legacy.sh`, or set CI=true")
    made = subprocess.run(
        ["bash", str(REPOSITORY / "scripts" / "environment_olmo_legacy.sh")],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert made.returncode == 0, made.stderr
    assert (REPOSITORY / made.stdout.strip()).samefile(python)
    return python


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    return build_tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def paper_tokens(tmp_path_factory) -> Path:
    """Three batches of OLMo-237M, all zeros, with a tokenizer of the paper's size."""

    def build(workspace: Workspace) -> Result:
        pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"filler{number}" for number in range(50279 - 256))]
        model = models.BPE(vocab={piece: number for number, piece in enumerate([*pieces, END])}, merges=[])
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
        wrapped.save_pretrained(workspace.path / "tokenizer")
        with (workspace.path / "00000.npy").open("wb") as file:
            file.truncate(2 * 3 * 2048 * 2048)
        return Result()

    identity = {"dtype": "uint16", "eos_id": 50279}
    return Artifact("tokens", "paper", identity, tmp_path_factory.mktemp("paper"), build=build).ensure()


def configure(tokens: Path, out: Path, *overrides: str) -> None:
    """What `stage=pretrain` writes, in this process; one test below runs the command."""
    stage.plan(compose("trainer=olmo_legacy", f"tokens.path={tokens}", *overrides, f"out={out}")).ensure()


def run_package(python: Path, *command: str | Path, cwd: Path) -> str:
    variables = {**os.environ, "TOEDIT_OLMO_LEGACY_VENV": str(python.parents[1])}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, env=variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def described(environment, tokens, paper_tokens, tmp_path_factory) -> dict[str, dict]:
    """What the package's own loader makes of each YAML, and the parameters of the model that it builds from it."""
    folder = tmp_path_factory.mktemp("yaml")
    configure(tokens, folder / "olmo_tiny", *TINY)
    configure(paper_tokens, folder / "olmo_237m", "model=olmo_237m", "trainer.micro_batch_sequences=36")
    configure(paper_tokens, folder / "olmo_1b", "model=olmo_1b", "trainer.nproc=4")
    names = ("olmo_tiny", "olmo_237m", "olmo_1b")
    paths = [str(folder / name / "olmo.yaml") for name in names]
    found = json.loads(run_package(environment, environment, "-c", DESCRIBE, *paths, cwd=folder).splitlines()[-1])
    for name in names:
        found[name] = found.pop(str(folder / name / "olmo.yaml"))
        found[name]["ours"] = json.loads((folder / name / "manifest.json").read_text())["counts"]
    return found


# --- what the package reads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["olmo_237m", "olmo_1b"])
def test_the_package_reads_the_published_settings(described, name):
    small, held = name == "olmo_237m", described[name]
    published = {
        "d_model": 2048, "n_heads": 16, "n_layers": 2 if small else 16, "mlp_ratio": 8, "activation_type": "swiglu",
        "rope": True, "alibi": False, "weight_tying": True, "include_bias": False, "layer_norm_with_affine": False,
        "layer_norm_type": "default", "max_sequence_length": 2048, "vocab_size": 50280, "embedding_size": 50304,
        "eos_token_id": 50279, "pad_token_id": 1, "init_fn": "mitchell", "attention_dropout": 0.0,
        "residual_dropout": 0.0, "embedding_dropout": 0.0, "flash_attention": False, "mlp_hidden_size": None,
    }  # fmt: skip
    assert {key: held["model"][key] for key in published} == published
    optimizer = {"name": "adamw", "learning_rate": 4e-4 if small else 1e-5, "weight_decay": 0.1, "betas": [0.9, 0.95]}
    assert {key: held["optimizer"][key] for key in optimizer} == optimizer
    assert (held["optimizer"]["eps"], held["optimizer"]["decay_embeddings"]) == (1e-5, False)
    schedule = {"name": "cosine_with_warmup", "t_warmup": 2000 if small else 1000, "alpha_f": 0.1, "t_max": None}
    assert {key: held["scheduler"][key] for key in schedule} == schedule
    assert held["scheduler"]["warmup_min_lr"] is None  # a tenth of the peak
    assert held["global_train_batch_size"] == (2048 if small else 128)
    assert held["device_train_microbatch_size"] == (36 if small else 12)
    assert (held["max_duration"], held["max_grad_norm"]) == ("1ep", 1.0)
    assert (held["precision"], held["seed"], held["evaluators"]) == ("amp_bf16", 6198, [])
    assert (held["fsdp"]["precision"], held["fsdp"]["wrapping_strategy"]) == ("mixed", None)
    assert (held["data"]["memmap_dtype"], held["data"]["drop_last"]) == ("uint16", True)
    assert held["stop_at"] == held["ours"]["steps"] == 3 * 2048 * 2048 // (2048 * (2048 if small else 128))


@pytest.mark.parametrize(
    ("name", "expected"), [("olmo_tiny", 151_552), ("olmo_237m", 237_240_320), ("olmo_1b", 1_176_764_416)]
)
def test_its_model_has_as_many_parameters_as_ours(described, name, expected):
    assert described[name]["parameters"] == described[name]["ours"]["parameters"] == expected


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(environment, tokens, tmp_path_factory) -> Path:
    """Trained on one rank, to the end."""
    folder = tmp_path_factory.mktemp("whole")
    configure(tokens, folder / "config", *TINY)
    run_package(environment, "bash", "config/train.sh", "run", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def halves(environment, tokens, tmp_path_factory) -> Path:
    """Trained on two ranks, stopped half-way, resumed."""
    folder = tmp_path_factory.mktemp("halves")
    configure(tokens, folder / "config", *TINY, "trainer.nproc=2")
    run_package(environment, "bash", "config/train.sh", "run", f"stop_at={STOP}", cwd=folder)
    shutil.copytree(folder / "run" / "hf", folder / "hf-at-the-stop")
    run_package(environment, "bash", "config/train.sh", "run", cwd=folder)
    return folder


def losses(folder: Path) -> np.ndarray:
    rows = read_metrics(folder / "run" / "metrics.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    return np.array([float(row["loss"]) for row in rows])


def test_it_learns_from_our_token_files(whole):
    loss = losses(whole)
    assert np.log(320) - 0.7 < loss[0] < np.log(320) + 1
    assert loss[-1] < loss[0] - 3


def test_stopped_and_resumed_on_two_ranks_it_is_the_same_training(whole, halves):
    np.testing.assert_allclose(losses(halves), losses(whole), rtol=2e-4)


def test_our_architecture_has_its_loss_on_the_sequences_that_it_reads(halves, tokens):
    """The exported model at the stop, in Transformers, predicts the loss of the next step.

    So architecture, export, resumption, order of the data and reduction of the loss are what docs/olmo_legacy.md says.
    """
    model = AutoModelForCausalLM.from_pretrained(halves / "hf-at-the-stop")
    assert type(model).__name__ == "OlmoForCausalLM"
    files = [np.fromfile(file, np.uint16).astype(np.int64) for file in sorted(tokens.glob("*.npy"))]
    token_SL = np.concatenate([file[: len(file) // LENGTH * LENGTH].reshape(-1, LENGTH) for file in files])
    order_S = np.arange(len(token_SL), dtype=np.uint32)
    np.random.Generator(np.random.PCG64(3)).shuffle(order_S)  # the seed, plus the number of the epoch
    token_BL = torch.from_numpy(token_SL[order_S[STOP * BATCH : (STOP + 1) * BATCH]])
    with torch.no_grad():
        logit_BLV = model(token_BL).logits[:, :-1]
    total = torch.nn.functional.cross_entropy(logit_BLV.flatten(0, 1), token_BL[:, 1:].flatten(), reduction="sum")
    assert losses(halves)[STOP] == pytest.approx(total.item() / token_BL.numel(), rel=1e-4)


def test_a_whole_checkpoint_is_exported_on_request(environment, whole, tokens):
    checkpoint = f"run/step{STEPS}-unsharded"
    command = ("config/train.py", "config/olmo.yaml", "--export", checkpoint, "exported")
    run_package(environment, environment, *command, cwd=whole)
    assert (whole / "exported" / "model.safetensors").read_bytes() == (
        whole / "run" / "hf" / "model.safetensors"
    ).read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(whole / "exported")
    assert len(tokenizer) == AutoModelForCausalLM.from_pretrained(whole / "exported").config.vocab_size == 320


def test_a_killed_launcher_leaves_no_rank_behind(environment, tokens, tmp_path):
    """Torch's launcher gives ranks sessions of their own: a kill of the whole group does not reach them."""
    configure(tokens, tmp_path / "config", *TINY, "recipe.steps=1000000", "trainer.checkpoint_every=1000000")
    variables = {**os.environ, "TOEDIT_OLMO_LEGACY_VENV": str(environment.parents[1])}
    metrics = tmp_path / "run" / "metrics.csv"
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen(
            ["bash", "config/train.sh", "run"], cwd=tmp_path, stdout=log, stderr=log, env=variables
        )
        deadline = time.monotonic() + 300
        while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 3):
            assert started.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[-4000:]
            time.sleep(0.1)
        started.kill()
        started.wait()
    time.sleep(2)
    after = metrics.read_bytes()
    time.sleep(2)
    assert metrics.read_bytes() == after


# --- without the package ----------------------------------------------------------------------------------------------


def test_the_artifact_names_no_place_of_this_machine(tokens, tmp_path):
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        shutil.copytree(tokens, place / "my-tokens")
        configure(place / "my-tokens", place / "config", *TINY)
    one, two = (tmp_path / name / "config" for name in ("one", "two"))
    for file in ("olmo.yaml", "train.py", "train.sh"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
        assert str(tmp_path) not in (one / file).read_text()
    first, second = (json.loads((folder / "manifest.json").read_text()) for folder in (one, two))
    assert first["fingerprint"] == second["fingerprint"] and first["kind"] == "trainer_config"


def test_each_epoch_drops_what_does_not_fill_a_batch(tokens, tmp_path):
    """As the package counts; our own loop runs batches on into the next epoch."""
    sequences = sum(file.stat().st_size // 2 // LENGTH for file in tokens.glob("*.npy"))
    batch = sequences * 2 // 5  # an epoch holds two and a half: three of them six, not seven
    overrides = ("recipe.steps=null", "recipe.epochs=3", f"recipe.batch_sequences={batch}")
    configure(tokens, tmp_path / "config", *TINY, *overrides)
    held = OmegaConf.load(tmp_path / "config" / "olmo.yaml")
    assert (held.max_duration, held.stop_at) == ("3ep", 6)
    counts = json.loads((tmp_path / "config" / "manifest.json").read_text())["counts"]
    assert (counts["sequences"], counts["steps"], counts["tokens_seen"]) == (sequences, 6, 6 * batch * LENGTH)


def test_without_the_environment_it_names_the_command_that_makes_it(tokens, tmp_path):
    absent = {"TOEDIT_OLMO_LEGACY_VENV": str(tmp_path / "absent")}
    arguments = ("stage=pretrain", "trainer=olmo_legacy", f"tokens.path={tokens}", *TINY, "out=config")
    said = run_command(*arguments, cwd=tmp_path, **absent).stdout
    assert "bash scripts/environment_olmo_legacy.sh" in said and "bash config/train.sh my-run" in said
    variables = {**os.environ, **absent}
    started = subprocess.run(
        ["bash", "config/train.sh", "my-run"], cwd=tmp_path, capture_output=True, text=True, env=variables
    )
    assert started.returncode == 3 and "bash scripts/environment_olmo_legacy.sh" in started.stderr
    assert not (tmp_path / "my-run").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=gpt2_tiny", "model.kind=gpt2: trainer=olmo_legacy trains OLMo only"),
        ("+model.settings.hidden_act=gelu", "model.settings.hidden_act=gelu"),
        ("model.settings.attention_bias=true", "model.settings.attention_bias=true"),
        ("recipe.warmup_start_share=1", "recipe.warmup_start_share=1"),
        ("trainer.compile=true", "trainer.compile=True"),
        ("tracker=wandb", "tracker.kinds=['wandb']"),
        ("trainer.nproc=3", "trainer.nproc=3"),
        ("recipe.batch_sequences=100000", "recipe.batch_sequences=100000"),
    ],
)
def test_what_the_package_does_not_have_is_refused_in_one_line(tokens, tmp_path, override, said):
    with pytest.raises(BadConfiguration) as error:
        configure(tokens, tmp_path / "config", *TINY, override)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
    assert not (tmp_path / "config").exists()
