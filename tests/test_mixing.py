"""Mixtures: exact in tokens, nested, whole documents in the order of a hash, resumed to the same bytes."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from artifact_fixtures import TRAINING_TEXT, tokenizer_definition
from conftest import REPOSITORY, files_of, run_command, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import toedit.mixing
from toedit.command import build_config
from toedit.config import Config, CorpusConfig, MixConfig
from toedit.corpora import plan_corpus
from toedit.cutting import count_tokens, cut
from toedit.documents import read_documents, shard_paths
from toedit.errors import UnusableInput
from toedit.mixing import plan_mix
from toedit.mixing_choice import Side, choose
from toedit.mixing_files import draw_files
from toedit.mixing_order import budgets, merge, shards_of, take
from toedit.named_tokenizers import find_tokenizer
from toedit.tokenizing import plain_tokenizer
from toedit.workspace import Workspace

WORDS = [*TRAINING_TEXT[0].split(), *TRAINING_TEXT[1].split(), "🙂", "日本語", "naïve", "\n\n", "   ", "e\u0301", "<b>"]
TEXTS = st.lists(st.sampled_from([*WORDS, " "]) | st.characters(codec="utf-8"), min_size=1, max_size=25).map("".join)


def unigram() -> Tokenizer:
    """A tokenizer whose split of a beginning need not be the beginning of its split."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer


TOKENIZERS = {
    "byte_level": plain_tokenizer(tokenizer_definition("byte_level")),
    "wordpiece": plain_tokenizer(tokenizer_definition("wordpiece")),
    "unigram": plain_tokenizer(unigram().to_str()),
}


@pytest.mark.parametrize("family", TOKENIZERS)
@given(text=TEXTS, data=st.data())
def test_a_cut_text_has_the_tokens_that_were_asked_for_or_the_next_fewer(family, text, data):
    tokenizer = TOKENIZERS[family]
    whole = count_tokens(tokenizer, text)
    if whole < 2:
        return
    asked = data.draw(st.integers(1, whole - 1))
    left, count = cut(tokenizer, text, asked)
    assert text.startswith(left) and count == count_tokens(tokenizer, left) <= asked
    if count < asked:  # one character more is too much: no cut would be right
        assert count_tokens(tokenizer, text[: len(left) + 1]) > asked


@given(tokens=st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(any), budget=st.integers(0, 500))
def test_a_budget_takes_whole_documents_and_the_rest_of_it_fits_into_the_next(tokens, budget):
    taken = take(np.array(tokens), budget)
    repeated = tokens * (budget // sum(tokens) + 2)
    assert sum(repeated[: taken.whole]) + taken.rest == budget
    assert taken.rest == 0 or taken.rest < repeated[taken.whole]


@given(tokens=st.integers(1, 10**12), ratio=st.floats(0, 1))
def test_the_two_budgets_add_up(tokens, ratio):
    human, synthetic = budgets(tokens, ratio)
    assert human + synthetic == tokens and min(human, synthetic) >= 0
    assert abs(synthetic - ratio * tokens) <= 0.5 + 1e-6 * tokens


@given(lengths=st.lists(st.integers(0, 40), min_size=2, max_size=2))
def test_sides_are_merged_evenly_and_keep_their_order(lengths):
    places = merge(lengths)
    assert sorted(np.concatenate(places).tolist()) == list(range(sum(lengths)))
    for place_S in places:
        assert (np.diff(place_S) > 0).all()
    for stretch in range(1, sum(lengths) + 1):  # any beginning has about its share of both
        for place_S, length in zip(places, lengths, strict=True):
            assert abs((place_S < stretch).sum() - stretch * length / sum(lengths)) <= 1.5


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=60), shard_bytes=st.integers(1, 200))
def test_shards_are_numbered_without_holes(sizes, shard_bytes):
    shard_S = shards_of(np.array(sizes), shard_bytes)
    assert shard_S[0] == 0 and set(np.diff(shard_S)) <= {0, 1}
    by_shard = np.bincount(shard_S, sizes)
    assert by_shard.max() < shard_bytes + max(sizes)


# --- whole mixtures of small corpora ----------------------------------------------------------------------------------


def made_up(name: str, count: int, seed: int) -> list[dict]:
    """Documents of a few awkward words, none empty."""
    generator = random.Random(seed)
    rows = []
    for number in range(count):
        text = " ".join(generator.choices(WORDS[:-7] if number % 3 else WORDS, k=generator.randint(1, 40)))
        rows.append({"id": f"{name}/{number}", "text": text, "source": name, "metadata": {"n": number}})
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two corpora and a tokenizer."""
    folder = tmp_path_factory.mktemp("mixing")
    write_jsonl(folder / "human.jsonl", made_up("human", 120, 1))
    write_jsonl(folder / "synthetic.jsonl", made_up("synthetic", 90, 2))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text(tokenizer_definition())
    return folder


def corpora_of(folder: Path) -> dict:
    return {
        side: plan_corpus(CorpusConfig(kind="local", path=str(folder / f"{side}.jsonl"), shard_bytes=1500), folder)
        for side in ("human", "synthetic")
    }


def planned(folder: Path, out: Path | None = None, **mix):
    tokenizer = find_tokenizer(str(folder / "tokenizer"), "mix.tokenizer")
    return plan_mix(corpora_of(folder), MixConfig(**mix), tokenizer, 1, folder, out)


def documents_of(mixture: Path) -> dict[str, dict[str, str]]:
    """{side: {id: text}}"""
    sides: dict[str, dict[str, str]] = {"human": {}, "synthetic": {}}
    for path in shard_paths(mixture):
        for document in read_documents(path):
            texts = sides[document["metadata"]["mix"]["side"]]
            assert document["id"] not in texts
            texts[document["id"]] = document["text"]
    return sides


def tokens_of(texts) -> int:
    return sum(count_tokens(TOKENIZERS["byte_level"], text) for text in texts)


@pytest.fixture(scope="module")
def sides(folder) -> dict[str, Side]:
    mixture = planned(folder, tokens=100)
    for source in mixture.inputs.values():
        source.ensure()
    workspace = Workspace(folder / "looked-at", {role: source.path for role, source in mixture.inputs.items()})
    return {name: Side(workspace, name, 0) for name in ("human", "synthetic")}


def chosen_texts(side: Side, asked: int) -> dict[int, str]:
    choice = choose(side, asked, False, TOKENIZERS["byte_level"])
    return {
        int(document): choice.cut_text.get(s, side.text(int(document))) for s, document in enumerate(choice.document_S)
    }


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_choice_is_exact_and_a_smaller_one_lies_inside_a_larger(sides, data):
    side = sides[data.draw(st.sampled_from(["human", "synthetic"]))]
    there = int(side.tokens_D.sum())
    larger = data.draw(st.integers(1, there))
    smaller = data.draw(st.integers(1, larger))
    outer, inner = chosen_texts(side, larger), chosen_texts(side, smaller)
    assert tokens_of(outer.values()) == larger and tokens_of(inner.values()) == smaller
    if larger - smaller > side.tokens_D.max():
        assert inner.keys() <= outer.keys()
        assert all(outer[document].startswith(text) for document, text in inner.items())
    # All but the last one or two are whole, and no document is there twice.
    whole = [document for document, text in outer.items() if text == side.text(document)]
    assert len(whole) >= len(outer) - 2


def test_a_mixture_has_the_tokens_of_both_sides_and_says_so(folder):
    artifact = planned(folder, tokens=1500, synthetic_ratio=0.25, shard_bytes=700)
    texts = documents_of(artifact.ensure())
    assert tokens_of(texts["human"].values()) == 1125 and tokens_of(texts["synthetic"].values()) == 375
    manifest = artifact.manifest()
    counts = manifest["counts"]
    assert manifest["kind"] == "corpus" and len(shard_paths(artifact.path)) > 3
    assert counts["documents_in"] == counts["documents_out"] == sum(map(len, texts.values()))
    assert counts["mix"]["synthetic_ratio"] == {"asked": 0.25, "achieved": 0.25}
    assert counts["mix"]["tokens"] == {"asked": 1500, "achieved": 1500}
    for side, asked in (("human", 1125), ("synthetic", 375)):
        facts = counts["mix"][side]
        assert facts["asked"] == facts["achieved"] == asked and facts["documents"] == len(texts[side])
        originals = {row["id"]: row["text"] for row in made_up(side, 120, 1 if side == "human" else 2)}
        cut_short = [name for name, text in texts[side].items() if originals[name] != text]
        assert len(cut_short) == facts["documents_cut"] <= 2
        assert all(originals[name].startswith(texts[side][name]) for name in cut_short)
    for output in manifest["outputs"]:
        path = artifact.path / output["path"]
        assert output["rows"] == len(list(read_documents(path)))


def test_mixtures_are_nested_and_another_seed_takes_others(folder):
    quarter = documents_of(planned(folder, tokens=1200, synthetic_ratio=0.25).ensure())
    half = documents_of(planned(folder, tokens=1200, synthetic_ratio=0.5).ensure())
    other = documents_of(planned(folder, tokens=1200, synthetic_ratio=0.5, seed=1).ensure())
    assert half["human"].keys() < quarter["human"].keys() and quarter["synthetic"].keys() < half["synthetic"].keys()
    assert not other["human"].keys() <= quarter["human"].keys()


def test_one_side_alone_needs_no_other(folder):
    corpora = corpora_of(folder)
    tokenizer = find_tokenizer(str(folder / "tokenizer"), "mix.tokenizer")
    only = plan_mix({"human": corpora["human"]}, MixConfig(tokens=500, synthetic_ratio=0), tokenizer, 1, folder)
    texts = documents_of(only.ensure())
    assert tokens_of(texts["human"].values()) == 500 and not texts["synthetic"]


def test_a_corpus_that_is_too_small_is_refused_or_repeated(folder, tmp_path):
    there = sum(count_tokens(TOKENIZERS["byte_level"], row["text"]) for row in made_up("synthetic", 90, 2))
    with pytest.raises(UnusableInput, match=f"{2 * there + 9} of them .* has {there} tokens; .*mix.allow_repeat=true"):
        planned(folder, tmp_path / "out", tokens=2 * there + 9, synthetic_ratio=1).ensure()
    assert not (tmp_path / "out").exists()
    repeated = planned(folder, tmp_path / "out", tokens=2 * there + 9, synthetic_ratio=1, allow_repeat=True)
    texts = documents_of(repeated.ensure())["synthetic"]  # ids are unique, or `documents_of` complains
    assert tokens_of(texts.values()) == 2 * there + 9
    assert {"synthetic/0", "synthetic/0--2"} <= texts.keys()
    assert repeated.manifest()["counts"]["mix"]["synthetic"]["documents_repeated"] >= 90


def test_an_id_on_both_sides_stays_with_the_human_document(folder, tmp_path):
    """An edited corpus has the ids of its original."""
    rows = made_up("human", 40, 1)
    write_jsonl(tmp_path / "human.jsonl", rows)
    write_jsonl(tmp_path / "synthetic.jsonl", [{**row, "text": row["text"] + " the cat"} for row in rows])
    (tmp_path / "tokenizer").symlink_to(folder / "tokenizer")
    for ratio in (0.3, 0.7):
        texts = documents_of(planned(tmp_path, tokens=600, synthetic_ratio=ratio).ensure())
        assert all("--" not in name for name in texts["human"])
        assert all(name.endswith("--2") for name in texts["synthetic"])


def test_a_killed_mixture_goes_on_to_the_same_bytes(folder, tmp_path, monkeypatch):
    settings = {"tokens": 1500, "synthetic_ratio": 0.4, "shard_bytes": 500}
    planned(folder, tmp_path / "whole", **settings).ensure()
    written = toedit.mixing.write_partition

    def killed_at_the_fourth(workspace, unit, *rest):
        if unit == "part-003":
            raise KeyboardInterrupt
        written(workspace, unit, *rest)

    monkeypatch.setattr(toedit.mixing, "write_partition", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        planned(folder, tmp_path / "killed", **settings).ensure()
    monkeypatch.setattr(toedit.mixing, "write_partition", written)
    monkeypatch.setattr(toedit.mixing, "scatter", None)  # it is done already
    planned(folder, tmp_path / "killed", **settings).ensure()
    assert files_of(tmp_path / "killed", "documents") == files_of(tmp_path / "whole", "documents") != {}


# --- whole files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "synthetic", "human"), [(0.25, 16, 77), (0.5, 33, 51), (0.75, 50, 25), (0.9, 60, 10)]
)
def test_files_are_drawn_as_the_released_lists_have_them(ratio, synthetic, human):
    drawn = draw_files({"human": 103, "synthetic": 67}, ratio, 0)
    assert [side for side, _ in drawn].count("human") == human
    assert [side for side, _ in drawn].count("synthetic") == synthetic
    assert len(set(drawn)) == len(drawn) and drawn != sorted(drawn)
    assert drawn != draw_files({"human": 103, "synthetic": 67}, ratio, 1)


def test_a_mixture_of_files_copies_them_whole(folder, tmp_path):
    section = ["shard_bytes=1500", "kind=local"]
    arguments = ["stage=mix", "mix=files", "mix.synthetic_ratio=0.5", f"mix.tokenizer={folder / 'tokenizer'}"]
    arguments += [f"mix.{side}.{setting}" for side in ("human", "synthetic") for setting in section]
    arguments += [f"mix.{side}.path={folder / side}.jsonl" for side in ("human", "synthetic")]
    run_command(*arguments, "out=mixed", cwd=tmp_path)
    mixed = json.loads((tmp_path / "mixed" / "manifest.json").read_text())["counts"]["mix"]
    texts = documents_of(tmp_path / "mixed")
    for side in ("human", "synthetic"):
        files = shard_paths(next((tmp_path / "artifacts" / "corpus").glob(f"{side}--*")))
        assert mixed[side]["files"] == len(files) // 2 > 1
        assert mixed[side]["tokens"] == tokens_of(texts[side].values())
        whole = [{document["id"] for document in read_documents(file)} for file in files]
        assert sum(names <= texts[side].keys() for names in whole) == len(files) // 2
    assert mixed["synthetic_ratio"]["measured_in"] == "tokens"
    assert 0 < mixed["synthetic_ratio"]["achieved"] < 1


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_mixes_two_paths_twice_to_the_same_bytes(folder, tmp_path):
    arguments = [
        "stage=mix", f"mix.human.path={folder / 'human.jsonl'}", f"mix.synthetic.path={folder / 'synthetic.jsonl'}",
        "mix.synthetic_ratio=0.25", "mix.tokens=1000", f"mix.tokenizer={folder / 'tokenizer'}",
    ]  # fmt: skip
    run = run_command(*arguments, "out=a", cwd=tmp_path)
    assert "750" in run.stdout and "25.0000%" in run.stdout
    run_command(*arguments, "out=b", "artifacts=others", cwd=tmp_path)
    assert files_of(tmp_path / "a", "documents") == files_of(tmp_path / "b", "documents") != {}
    assert "already there" in run_command(*arguments, "out=a", cwd=tmp_path).stdout


def test_each_side_takes_any_corpus_configuration():
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)

    def sides(*overrides: str) -> tuple[CorpusConfig, CorpusConfig]:
        composed = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
        mix = build_config(composed).mix
        return mix.human, mix.synthetic

    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        human, synthetic = sides()
        assert (human.kind, human.split, synthetic.kind) == ("pydocs", None, "synthesized")
        human, synthetic = sides("mix.human.path=h", "mix.synthetic.path=s")
        assert (human.kind, human.split, synthetic.kind) == ("local", None, "local")
        human, synthetic = sides("corpus@mix.human=openwebmath", "corpus@mix.synthetic=cosmopedia")
        assert (human.kind, human.id_field, synthetic.kind) == ("hub", "url", "hub")


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["mix.synthetic_ratio=1.5"], 2, ["mix.synthetic_ratio=1.5", "[0, 1]"]),
        (["mix.synthetic_ratio=-0.1"], 2, ["mix.synthetic_ratio=-0.1"]),
        (["mix.tokens=0"], 2, ["mix.tokens=0"]),
        (["mix.tokens=null"], 2, ["mix.tokens"]),
        (["mix.mode=files"], 2, ["mix.mode=files", "mix=files"]),
        (["mix.human.path=nowhere.jsonl"], 3, ["mix.human.path=nowhere.jsonl", "does not exist"]),
        (["mix.human.path=null", "mix.human.kind=synthesized"], 2, ["mix.human.kind=synthesized"]),
        (["mix.human.shard_bytes=0"], 2, ["mix.human.shard_bytes=0"]),
        (["mix.synthetic.split=half"], 2, ["mix.synthetic.split=half"]),
        (["mix.tokenizer=no/such/folder"], 3, ["mix.tokenizer=no/such/folder"]),
        (["mix.tokenizer=owner/name"], 3, ["mix.tokenizer=owner/name", "Hub"]),
        (["mix.tokens=100000000"], 2, ["mix.tokens=100000000", "mix.allow_repeat=true"]),
        (["corpus.kind=synthesized", "stage=corpus"], 2, ["corpus.kind=synthesized", "mix.synthetic"]),
    ],
)
def test_bad_input_is_one_line_that_names_the_key(arguments, code, parts, folder, tmp_path):
    own = [f"mix.human.path={folder / 'human.jsonl'}", f"mix.synthetic.path={folder / 'synthetic.jsonl'}"]
    own = [word for word in own if word.partition("=")[0] not in {key.partition("=")[0] for key in arguments}]
    tokenizer = [] if "mix.tokenizer" in arguments[0] else [f"mix.tokenizer={folder / 'tokenizer'}"]
    run = run_command("stage=mix", *own, *tokenizer, *arguments, cwd=tmp_path, expect=code)
    lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in run.stderr
    for part in parts:
        assert part in lines[0]
