"""Pre-training, its parts: shapes and recipes as published, initialisation, loss, schedule, data order."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain import models
from pretrain.data import TokenSequences, shares, total_steps
from pretrain.language_model import ChunkedLoss, LanguageModel, self_check
from pretrain.loop import random_seed
from pretrain.optimisation import adamw, learning_rate
from pretrain.tracking import CsvTracker, read_metrics
from toedit.config import Config, ModelConfig, RecipeConfig
from toedit.errors import BadConfiguration, UnusableInput
from toedit.fingerprints import hash_file


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
        assert recipe.dtype == "bfloat16" and recipe.steps is None and recipe.seed == 6198
    assert gpt2.batch_sequences * gpt2.sequence_length == 262_144
    sequences = round(8.4e9) // gpt2.sequence_length
    assert total_steps(gpt2.steps, gpt2.epochs, gpt2.batch_sequences, sequences) == pytest.approx(160_280, rel=1e-3)


# --- initialisation, loss, optimizer ----------------------------------------------------------------------------------


def test_the_recipes_from_a_base_are_the_released_ones():
    olmo, scratch, llama = (compose(f"recipe={name}").recipe for name in
                            ("continual_olmo_1b", "olmo_1b", "continual_llama3_8b"))  # fmt: skip
    assert olmo.identity() == scratch.identity()
    assert (llama.learning_rate, llama.batch_sequences, llama.sequence_length) == (1e-4, 24 * 8 * 4, 1024)
    assert (llama.warmup(1000), llama.final_learning_rate_share, llama.epochs) == (100, 0, 1)
    for stage in ("continual_pretrain", "sft"):
        assert compose(f"stage={stage}").recipe.name == f"{stage.partition('_')[0]}_tiny"


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
    with pytest.raises(BadConfiguration, match=r"granite.*something unknown"):
        self_check(models.fresh_model(shape, "transformers", 0))


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    recipe = RecipeConfig(learning_rate=2.0, warmup_steps=10, final_learning_rate_share=0.1)
    rates = [learning_rate(step, 110, recipe) for step in range(110)]
    assert rates[9] == 2.0 and rates[0] == pytest.approx(0.2) and max(rates) == 2.0
    assert rates[60] == pytest.approx(1.1) and rates[-1] == pytest.approx(0.2, abs=2e-3)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
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
    batch = data.trained(0, 2 * expected)
    assert (batch.input_BL[:, 1:] == batch.target_BL[:, :-1]).all() and batch.position_BL is None
    token_BL = np.concatenate([batch.input_BL, batch.target_BL[:, -1:]], axis=1)
    assert token_BL.shape == (2 * expected, length + 1) and (np.diff(token_BL) == 1).all()
    file_of = np.searchsorted(np.cumsum(lengths), token_BL, side="right")
    assert (file_of == file_of[:, :1]).all()
    first, second = set(token_BL[:expected, 0].tolist()), set(token_BL[expected:, 0].tolist())
    assert first == second and len(first) == expected
    # A rank that reads its part alone sees the same.
    assert (data.trained(1, expected).input_BL == batch.input_BL[1 : expected + 1]).all()


def test_epochs_and_seeds_differ(tmp_path):
    manifest = raw_tokens(tmp_path, [1000], "uint32")
    first, other = (TokenSequences(tmp_path, manifest, 8, seed, 10_000).trained(0, 248).input_BL for seed in (0, 1))
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
    then = hash_file(path)
    with pytest.raises(UnusableInput, match=r"metrics\.csv: damaged: its rows up to step 1 .*remove .*state"):
        CsvTracker(path, 1, then)
    assert hash_file(path) == then
    CsvTracker(path, 2).close()
    assert [row["step"] for row in read_metrics(path)] == ["1", "2"]
