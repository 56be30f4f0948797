"""Transformers over generations: the character tokenizer, passages, regimes, statistics, whole commands."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, repetitive_documents, run_command
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.theory.transformer.found import collect, summarize, table_of
from analysis.theory.transformer.measures import MeasureSettings, Rare, choose_contexts
from analysis.theory.transformer.passages import cut, is_held_out
from analysis.theory.transformer.regimes import Workshop, first_generation, following
from analysis.theory.transformer.stage import settings as study_settings
from toedit import command
from toedit.artifacts import Artifact
from toedit.character_tokenizer import character_tokenizer, characters_of, save_character_tokenizer
from toedit.command import Stage
from toedit.config import Config, EditConfig, RecipeConfig, SynthesisConfig, TheoryConfig, TransformerStudyConfig
from toedit.config.theory_transformer import mixed_share
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.named_tokenizers import NamedTokenizer
from toedit.tokenizing import load_tokenizer

STUDY = ("stage=theory", "theory=transformer_generations", "corpus=local", "corpus.path=text.txt")
TINY = (
    "model.settings.n_positions=48", "model.settings.n_embd=16", "model.settings.n_head=1", "model.settings.n_layer=1",
    "recipe.sequence_length=48", "recipe.steps=16", "recipe.warmup_steps=2", "trainer.validate_every=8",
    "recipe.learning_rate=0.03",
    "trainer.compile=false", "tokens.processes=1", "theory.transformer.passage_characters=40",
    "theory.transformer.tokens=3000", "theory.transformer.contexts=20", "theory.transformer.context_tokens=8",
    "theory.transformer.rare_ngram=6", "edit.p=0.05", "score.min_p=0.05",
)  # fmt: skip


# --- the character tokenizer ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_known_characters_come_back_byte_for_byte(text):
    tokenizer = character_tokenizer(characters_of([text, "<|endoftext|> <unk>"]))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if "<|endoftext|>" not in text and "<unk>" not in text:  # the library takes these names for the tokens
        assert len(ids) == len(text)
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_spans_are_the_characters_own_bytes_and_an_unknown_one_stands_for_no_text(tmp_path):
    text = "Zoë: 🙂 <unk>\n<|endoftext|> ▁ \0"
    save_character_tokenizer(characters_of([text]), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    known, unknown = tokenizer.encode([text, "Zäë🙃🙃"])
    assert len(known.token_ids_T) == len(text)  # even where it spells a special token
    whole = text.encode()
    assert [whole[start:end].decode() for start, end in known.span_T2] == list(text)
    pieces = [tokenizer.piece_bytes[token] for token in unknown.token_ids_T]
    assert pieces == [b"Z", None, "ë".encode(), None, None]  # one token each, never merged
    assert tokenizer.eos_id == tokenizer.bos_id == 0


def test_the_folder_is_an_ordinary_hugging_face_tokenizer(tmp_path):
    from transformers import AutoTokenizer

    save_character_tokenizer("abc é", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.eos_token == "<|endoftext|>" and tokenizer.unk_token == "<unk>"
    assert tokenizer.decode(tokenizer("cab é a").input_ids) == "cab é a"


# --- passages and measures --------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.text(st.sampled_from("ab .\n"), max_size=200), st.integers(1, 40))
def test_passages_lose_nothing_and_are_short(text, characters):
    pieces = cut(text, characters)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= characters for piece in pieces)


def test_passages_end_where_people_would_end_them():
    assert cut("one two. threes\nfour five", 12) == ["one two. ", "threes\n", "four five"]
    assert cut("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]


def test_the_held_out_part_is_the_share_asked_for_and_only_grows():
    names = [f"d#{number}" for number in range(20_000)]
    small, large = ({name for name in names if is_held_out(name, share)} for share in (0.1, 0.3))
    assert small < large
    for part, share in ((small, 0.1), (large, 0.3)):
        assert abs(len(part) / len(names) - share) < 4 * math.sqrt(share * (1 - share) / len(names))


def measure_settings(**changes) -> MeasureSettings:
    return MeasureSettings(
        **{"contexts": 5, "context_tokens": 3, "rare_ngram": 2, "rare_count": 1, "seed": 0, **changes}
    )


def test_contexts_are_distinct_pieces_of_single_passages():
    passages = [np.arange(10), np.arange(100, 102), np.arange(200, 206)]
    context_CL = choose_contexts(passages, measure_settings(contexts=12))  # 8 + 0 + 4 places: all of them
    assert len({tuple(row) for row in context_CL}) == 12 and (np.diff(context_CL) == 1).all()
    assert not (context_CL == 100).any()
    with pytest.raises(UnusableInput, match="12 places"):
        choose_contexts(passages, measure_settings(contexts=13))


def test_rare_ngrams_are_seldom_in_real_text_and_their_loss_is_where_they_end():
    real = [np.array([1, 2, 3, 1, 2]), np.array([3, 4])]
    held_out = [np.array([1, 2, 3, 4, 9])]
    rare = Rare(10, measure_settings(), held_out, real)
    assert rare.rare_N.tolist() == [23, 34]  # 12 comes twice, 49 never
    assert rare.recall(real) == 1
    assert rare.recall([np.array([2, 3]), np.array([4])]) == 0.5
    assert rare.ends(held_out[0]).tolist() == [False, False, True, True, False]
    none = Rare(10, measure_settings(), [np.array([7, 8])], real)
    assert not len(none.rare_N) and not none.ends(np.array([7, 8])).any()


# --- verdicts ---------------------------------------------------------------------------------------------------------


def pretended(folder: Path, loss_of) -> tuple[dict, dict[str, Path]]:
    """Settings and folders of a study in which `loss_of(regime, seed, generation)` bits per byte were measured."""
    settings = {
        "regimes": ["real", "replace", "edit_fixed"], "seeds": [0, 1, 2, 3], "generations": 4, "margin": 0.05,
        "panels": ["l1"], "curves": True, "model": "m", "contexts": 2, "rare_ngram": 2, "rare_count": 1,
        "edit": {"sampler": "top_k", "p": 0.99, "k": 8},
    }  # fmt: skip
    inputs = {}
    for regime in settings["regimes"]:
        for seed in settings["seeds"]:
            for generation in range(1, 6):
                role = f"{regime}.seed{seed}.generation{generation}"
                place = folder / role
                place.mkdir()
                np.save(place / "law.npy", np.array([[1.0, 0], [0.5, 0.5]]) if generation == 1 else np.eye(2)[::-1])
                (place / "measures.json").write_text(json.dumps({"bits_per_byte": loss_of(regime, seed, generation)}))
                (place / "metrics.csv").write_text("step,validation_loss\n1,\n2,0.5\n")
                inputs |= {f"{role}.measures": place, f"{role}.model": place}
    return settings, inputs


def test_verdicts_compare_with_the_same_initial_weights(tmp_path):
    """Initial weights move all regimes alike, far more than the text does; the excess over `real` sees through it."""
    weights = np.random.default_rng(0).normal(0, 1, (4, 6))
    own = np.random.default_rng(1).normal(0, 0.003, (3, 4, 6))
    rate = {"real": 0.0, "replace": 0.1, "edit_fixed": 0.0}
    order = list(rate)

    def loss_of(regime: str, seed: int, generation: int) -> float:
        return 3 + weights[seed, generation] + rate[regime] * generation + own[order.index(regime), seed, generation]

    settings, inputs = pretended(tmp_path, loss_of)
    rows, spread = collect(settings, inputs)
    regimes = summarize(settings, rows, spread)["regimes"]
    assert {regime: (entry["trend"] or {}).get("verdict") for regime, entry in regimes.items()} == {
        "real": None, "replace": "rises", "edit_fixed": "stable",
    }  # fmt: skip
    trend = regimes["replace"]["trend"]
    assert trend["low"] < 0.1 < trend["high"] and trend["slope"] == pytest.approx(0.1, abs=0.01)
    assert regimes["replace"]["last"]["l1"]["mean"] == pytest.approx((2 + 1) / 2)
    assert regimes["replace"]["last"]["l1_to_real"]["mean"] == 0
    assert {row["step"] for row in rows if row["metric"] == "validation_loss"} == {2}
    cells = {row[0]: row for row in table_of(settings, {"regimes": regimes}).rows}
    assert cells["edit_fixed"][5] == "stable" and cells["real"][-1] == "–"
    assert "nothing was edited" not in str(table_of(settings, {"regimes": regimes}).notes)
    regimes["edit_fixed"]["metrics"]["eligible"] = [{"mean": 0.0}]
    assert "nothing was edited: no token had P >= 0.99" in str(table_of(settings, {"regimes": regimes}).notes)


# --- regimes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def workshop(tmp_path, monkeypatch) -> Workshop:
    monkeypatch.setitem(command.STAGES, "pretrain", Stage("pretrain.stage", "", "", ""))
    config = Config(artifacts=str(tmp_path))
    config.edit.seed = 7
    tokenizer = NamedTokenizer("characters", tmp_path, "", "fingerprint", 60, 0, {})
    return Workshop(config, tokenizer, 1000, Artifact("corpus", "held-out", {}, tmp_path), seed=3)


def chain(workshop: Workshop, regime: str, count: int = 3):
    return following(workshop, first_generation(workshop, Artifact("corpus", "text", {}, Path())), regime, count)


def test_generations_read_what_their_regime_says(workshop):
    _, second, third, fourth = chain(workshop, "replace")
    assert [node.text.inputs["model"].fingerprint for node in (third, fourth)] == [
        second.model.fingerprint, third.model.fingerprint,
    ]  # fmt: skip
    real = chain(workshop, "real")
    assert len({node.text.fingerprint for node in real}) == 1 and len({node.model.fingerprint for node in real}) == 4
    first, second, third, _ = chain(workshop, "mix_20")
    for node in (second, third):  # the same real text, whatever the generation
        assert node.text.inputs["human"].fingerprint == first.text.fingerprint
        assert node.text.identity["synthetic_ratio"] == pytest.approx(0.2) and node.text.identity["seed"] == 3000
    assert third.text.inputs["synthetic"].inputs["model"].fingerprint == second.model.fingerprint


def test_accumulating_regimes_keep_everything(workshop):
    _, second, third, fourth = chain(workshop, "accumulate")
    assert [node.text.identity["tokens"] for node in (second, third, fourth)] == [2000, 3000, 4000]
    assert fourth.text.inputs["human"].fingerprint == third.text.fingerprint
    subsampled = chain(workshop, "accumulate_subsample")
    assert [node.text.identity["tokens"] for node in subsampled] == [1000] * 4
    assert subsampled[2].text.inputs["human"].identity["tokens"] == 3000
    assert len({node.text.identity["seed"] for node in subsampled[1:]}) == 3  # drawn anew


def test_editing_regimes_differ_in_their_prior_alone(workshop):
    first, second, third, fourth = chain(workshop, "edit_fixed")
    assert all(node.edited.inputs["prior"].fingerprint == first.model.fingerprint for node in (second, third, fourth))
    assert fourth.text.inputs["corpus"].fingerprint == third.text.fingerprint
    assert len({node.text.identity["seed"] for node in (second, third, fourth)}) == 3
    _, again, third, fourth = chain(workshop, "edit_reestimated")
    assert again.text.fingerprint == second.text.fingerprint  # generation 2 has one prior to choose from
    assert third.edited.inputs["prior"].fingerprint == again.model.fingerprint
    assert fourth.edited.inputs["prior"].fingerprint == third.model.fingerprint
    once = chain(workshop, "edit_once")
    assert [node.edited is not None for node in once] == [False, True, False, False]
    assert len({node.text.fingerprint for node in once[1:]}) == 1


def test_shares_of_mixtures_are_read_from_their_names():
    assert mixed_share("mix_50") == 0.5 and mixed_share("mix_2.5") == 0.025
    assert mixed_share("mix_0") is mixed_share("mix_100") is mixed_share("mixed") is None


# --- whole commands ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("transformers")
    text = "\n".join(document["text"] for document in repetitive_documents())
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(work) -> Path:
    regimes = "theory.transformer.regimes=[replace,mix_50,edit_reestimated]"
    run = run_command(*STUDY, *TINY, regimes, "theory.generations=2", "theory.transformer.seeds=[0,1]", cwd=work)
    assert "edit_reestimated" in run.stdout and "nan" not in run.stdout.lower()
    assert "training 14 of 14; about" in run.stderr
    return next((work / "artifacts" / "figure").glob("theory.transformer_generations--*"))


def test_a_study_measures_every_generation(finished):
    with (finished / "data.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["regime", "seed", "generation", "metric", "value", "step"]
    value = {
        (r["regime"], r["seed"], int(r["generation"]), r["metric"]): float(r["value"]) for r in rows if not r["step"]
    }
    assert {(regime, seed) for regime, seed, _, _ in value} == {
        (regime, seed) for regime in ("replace", "mix_50", "edit_reestimated") for seed in "01"
    }
    for regime, seed, generation, _ in list(value):
        here = regime, seed, generation
        assert (value[*here, "l1"] == 0) == (generation == 1) and value[*here, "l1"] <= 2
        assert value[*here, "rare_recall"] == 1 if generation == 1 else value[*here, "rare_recall"] <= 1
        assert value[*here, "bits_per_byte"] > 0 and value[*here, "rare_loss"] > 0
        if regime == "edit_reestimated" and generation > 1:
            assert 0 < value[*here, "changed"] <= value[*here, "eligible"] <= 1
    steps = {int(r["step"]) for r in rows if r["step"]}
    assert steps == {8, 16}
    assert all((finished / f"transformer_generations.{kind}").stat().st_size for kind in ("png", "pdf", "svg"))
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["regimes"]["replace"]["trend"]["verdict"] in ("rises", "stable", "rises, but stable", "undecided")


def test_generations_recompose_their_texts(work, finished):
    """The mixture holds the real share to the token, and the replacing generation nothing real."""
    inputs = json.loads((finished / "manifest.json").read_text())["inputs"]

    def text_of(role: str) -> Path:
        measures = finished / inputs[f"{role}.measures"]["path"]
        return measures / json.loads((measures / "manifest.json").read_text())["inputs"]["text"]["path"]

    def texts(role: str) -> list[str]:
        return [document["text"] for path in shard_paths(text_of(role)) for document in read_documents(path)]

    real = set(texts("replace.seed0.generation1"))
    assert not real & set(texts("replace.seed0.generation2"))
    mixed = json.loads((text_of("mix_50.seed0.generation3") / "manifest.json").read_text())["counts"]["mix"]
    assert mixed["human"]["achieved"] == mixed["synthetic"]["achieved"] == 1500
    assert texts("replace.seed0.generation1") != texts("replace.seed1.generation1")


def test_more_generations_train_only_what_is_not_there(work, finished):
    """A killed study resumes the same way: every step that was finished stays."""
    before = {path: path.stat().st_mtime_ns for path in (work / "artifacts" / "checkpoint").glob("*/manifest.json")}
    run = run_command(*STUDY, *TINY, "theory.transformer.regimes=[replace]", "theory.generations=3", cwd=work)
    assert "4 trainings, 3 of them there" in run.stderr
    after = {path: path.stat().st_mtime_ns for path in (work / "artifacts" / "checkpoint").glob("*/manifest.json")}
    assert len(after) == len(before) + 1 and before.items() <= after.items()


def test_a_dry_run_plans_every_generation_and_builds_nothing(tmp_path):
    (tmp_path / "text.txt").write_text("some text " * 200)
    seddik = ("stage=theory", "theory=seddik_transformer", "scale=paper", "corpus=local", "corpus.path=text.txt")
    run = run_command(*seddik, "theory.generations=9", "theory.transformer.tokens=null", "dry_run=true", cwd=tmp_path)
    assert run.stdout.count("gpt2_characters.generation-10--") == 4
    assert not list((tmp_path / "artifacts").glob("*/*/manifest.json"))


def test_the_published_hyper_parameters_are_those_of_the_table():
    import yaml

    model, recipe = (
        yaml.safe_load((REPOSITORY / "configs" / group / "gpt2_characters.yaml").read_text())
        for group in ("model", "recipe")
    )
    shape = {key: model["settings"][key] for key in ("n_layer", "n_head", "n_embd", "n_positions", "resid_pdrop")}
    assert shape == {"n_layer": 8, "n_head": 4, "n_embd": 256, "n_positions": 128, "resid_pdrop": 0.2}
    published = {"learning_rate": 1e-3, "batch_sequences": 256, "steps": 2000, "sequence_length": 128}
    assert {key: recipe[key] for key in published} == published


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("theory.transformer.tokens=999999", "theory.transformer.tokens=999999: the training part of the corpus has"),
        ("theory.transformer.contexts=99999", "theory.transformer.contexts=99999: the held-out text has"),
    ],
)
def test_too_little_text_is_one_clear_line(work, finished, override, line):
    run = run_command(*STUDY, *TINY, override, cwd=work, expect=2)
    errors = [text for text in run.stderr.splitlines() if text.startswith("error:")]
    assert len(errors) == 1 and errors[0].startswith(f"error: {line}"), run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"regimes": ["replace", "mix_0"]}, "regimes=mix_0: must be one of real, replace"),
        ({"regimes": []}, r"regimes=\[\]"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\]: names something twice"),
        ({"held_out_share": 1.0}, "held_out_share=1.0"),
        ({"panels": ["perplexity"]}, "panels=perplexity"),
        ({"tokens": 0}, "tokens=0"),
        ({"margin": 0.0}, "margin=0.0"),
    ],
)
def test_settings_that_cannot_be_are_named(keys, line):
    with pytest.raises(BadConfiguration, match=rf"^theory\.transformer\.{line}"):
        TransformerStudyConfig(**keys)


def test_settings_that_contradict_each_other_are_named():
    def refused(match: str, **keys):
        with pytest.raises(BadConfiguration, match=match):
            study_settings(Config(**keys))

    study_settings(Config())
    long = TheoryConfig(transformer=TransformerStudyConfig(passage_characters=128))
    refused(r"theory\.transformer\.passage_characters=128: must be below recipe\.sequence_length=128", theory=long)
    refused(r"theory\.transformer\.context_tokens=32: must not exceed", recipe=RecipeConfig(sequence_length=16))
    refused(r"edit\.budget=0\.01", edit=EditConfig(budget=0.01))
    refused(r"synthesis\.prompt_tokens=3", synthesis=SynthesisConfig(prompt_tokens=3))
    refused(r"theory\.generations=999: must be below", theory=TheoryConfig(generations=999))
