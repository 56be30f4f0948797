"""Selections are those of the published methods, nested, resumable; DSIR's are those of the package data-selection."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from artifact_fixtures import build_scores
from conftest import files_of, run_command, write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from selection_fixtures import classifier_folder

from analysis.selection import density
from analysis.selection import stage as select_stage
from analysis.selection.choosing import gumbel, keys, ranked, take
from analysis.selection.density import Hashing, add, densities
from analysis.selection.features import count_features
from toedit.config import (
    ClassifierConfig,
    Config,
    CorpusConfig,
    DensityConfig,
    SelectConfig,
    TokensConfig,
)
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

BUCKETS = 500
HUMAN = ("river", "stone", "quiet", "morning", "walked", "under", "grey", "sky", "bread", "letter", "window", "rain")
MACHINE = ("overall", "crucial", "delve", "additionally", "furthermore", "landscape", "testament", "key", "aspect")


def written(words, count: int, seed: int, least: int = 3, prefix: str = "d") -> list[dict]:
    generator = np.random.default_rng(seed)
    return [
        {"id": f"{prefix}{number}", "text": " ".join(generator.choice(words, generator.integers(least, 40)))}
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> dict[str, Path]:
    """A target, and a corpus of which a quarter resembles it."""
    folder = tmp_path_factory.mktemp("corpora")
    raw = written(MACHINE, 90, 1, prefix="machine") + written(HUMAN, 30, 2, prefix="human")
    raw = [raw[place] for place in np.random.default_rng(3).permutation(len(raw))]
    return {
        "target": write_jsonl(folder / "target.jsonl", written(HUMAN, 40, 4)),
        "raw": write_jsonl(folder / "raw.jsonl", raw),
    }


def config_for(root: Path, corpora: dict[str, Path], **select) -> Config:
    select = {"min_words": 0, "buckets": BUCKETS, **select}
    if "target" in corpora:
        select.setdefault("target", CorpusConfig(kind="local", path=str(corpora["target"])))
    return Config(
        corpus=CorpusConfig(kind="local", path=str(corpora["raw"]), shard_bytes=1500),
        select=SelectConfig(**select),
        tokens=TokensConfig(processes=1),
        artifacts=str(root),
    )


def documents_of(corpus: Path) -> list[dict]:
    return [document for path in shard_paths(corpus) for document in read_documents(path)]


def selected(root: Path, corpora: dict[str, Path], **select) -> list[dict]:
    return documents_of(select_stage.plan(config_for(root, corpora, **select)).ensure())


def ids(documents: list[dict]) -> list[str]:
    return [document["id"] for document in documents]


# --- DSIR is that of the package --------------------------------------------------------------------------------------


@pytest.fixture
def package(monkeypatch):
    """data-selection with the words that it has had with every NLTK up to 3.9: those of Python's `re`.

    NLTK 3.10 compiles with the package `regex`, to which combining marks are letters: other words in many scripts.
    """
    module = pytest.importorskip("data_selection.hashed_ngram_dsir", reason="pip install data-selection")
    monkeypatch.setattr(module.wpt, "_regexp", re.compile(module.wpt._pattern))
    return module


TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60), min_size=1, max_size=6
)


@given(TEXTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_features_are_those_of_the_package(package, texts):
    found = count_features([{"id": str(n), "text": text} for n, text in enumerate(texts)], BUCKETS)
    for number, text in enumerate(texts):
        dense_B = np.zeros(BUCKETS, int)
        part = slice(found.offset_D1[number], found.offset_D1[number + 1])
        dense_B[found.bucket_E[part]] = found.count_E[part]
        expected_B = package.get_ngram_counts(text, num_buckets=BUCKETS)
        assert np.array_equal(dense_B, expected_B)
        length = (expected_B.sum() + 1) // 2  # as the package has it
        assert found.words_D[number] == length


def test_weights_and_selection_are_those_of_the_package(package, corpora, tmp_path, monkeypatch):
    """Given the same noise, the same documents; with top_k as with our `noise=false`; short ones left out alike."""
    theirs = package.HashedNgramDSIR(
        [str(corpora["raw"])], [str(corpora["target"])], str(tmp_path / "cache"), num_proc=1, num_buckets=BUCKETS,
        min_example_length=10,
    )  # fmt: skip
    theirs.fit_importance_estimator(num_tokens_to_fit="all")
    theirs.compute_importance_weights()
    expected = np.load(theirs.log_importance_weights_dir / "0.npy")
    rows = [json.loads(line) for line in corpora["raw"].read_text().splitlines()]
    short = {row["id"] for row in rows if len(row["text"].split()) < 10}
    assert short

    config = config_for(tmp_path / "ours", corpora, share=0.25, min_words=10, seed=7)
    artifact = select_stage.plan(config)
    artifact.ensure()
    values = [
        value
        for shard in shard_paths(artifact.inputs["corpus"].path)
        for value in select_stage.read_values(artifact.inputs["values"].path, shard)[1]
    ]
    assert [math.isnan(value) for value in values] == [row["id"] in short for row in rows]
    kept = ~np.isnan(values)
    assert np.allclose(np.array(values)[kept], expected[kept], rtol=1e-9, atol=1e-9)

    noise = gumbel(7, [row["id"] for row in rows])
    monkeypatch.setattr(np.random, "gumbel", lambda size: noise[kept])
    for top_k in (False, True):
        theirs.resample(str(tmp_path / f"resampled-{top_k}"), 30, str(tmp_path / f"cache-{top_k}"), top_k=top_k)
        drawn = [json.loads(line)["id"] for line in (tmp_path / f"resampled-{top_k}" / "0.jsonl").open()]
        ours = selected(tmp_path / "ours", corpora, documents=30, min_words=10, seed=7, noise=not top_k)
        assert drawn == ids(ours) and not short & set(drawn)


def test_dsir_prefers_what_resembles_the_target(corpora, tmp_path):
    chosen = selected(tmp_path, corpora, documents=30, noise=False)
    assert all(name.startswith("human") for name in ids(chosen))
    assert sorted(document["metadata"]["selection"]["rank"] for document in chosen) == list(range(1, 31))
    by_rank = sorted(chosen, key=lambda document: document["metadata"]["selection"]["rank"])
    scores = [document["metadata"]["selection"]["score"] for document in by_rank]
    assert scores == sorted(scores, reverse=True)


def test_a_corpus_towards_itself_has_weights_of_zero(corpora, tmp_path):
    both = {"raw": corpora["raw"], "target": corpora["raw"]}
    chosen = selected(tmp_path, both, share=1.0)
    assert len(chosen) == 120 and all(document["metadata"]["selection"]["score"] == 0 for document in chosen)


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_noise_is_gumbel_and_belongs_to_the_document():
    names = [str(number) for number in range(20_000)]
    noise = gumbel(0, names)
    assert np.isfinite(noise).all() and noise.mean() == pytest.approx(np.euler_gamma, abs=0.04)
    assert noise.var() == pytest.approx(math.pi**2 / 6, abs=0.08)
    assert np.array_equal(gumbel(0, names[::-1]), noise[::-1]) and not np.array_equal(gumbel(1, names), noise)


def test_draws_are_proportional_to_the_weights():
    """The first of the ranked documents is drawn with probability weight / sum of weights."""
    weight = np.array([1.0, 2.0, 5.0])
    first = []
    for seed in range(4000):
        select = SelectConfig(method="dsir", documents=1, seed=seed)
        first.append(int(ranked(keys(select, ["a", "b", "c"], np.log(weight)))[0]))
    share = np.bincount(first, minlength=3) / len(first)
    expected = weight / weight.sum()
    assert np.all(np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(first)))
    inverse = [
        int(ranked(keys(SelectConfig(method="density", documents=1, seed=seed), ["a", "b", "c"], weight))[0])
        for seed in range(4000)
    ]
    expected = (1 / weight) / (1 / weight).sum()
    share = np.bincount(inverse, minlength=3) / len(inverse)
    assert np.all(np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(inverse)))


@given(
    st.lists(st.one_of(st.floats(0.5, 1e6), st.just(float("nan"))), min_size=1, max_size=30),
    st.sampled_from(["dsir", "density", "perplexity", "classifier", "random"]),
    st.sampled_from(["highest", "lowest", "middle"]),
)
@settings(max_examples=200, deadline=None)
def test_selections_are_nested_and_leave_out_what_has_no_value(values, method, keep):
    names, value_D = [str(n) for n in range(len(values))], np.array(values)
    select = SelectConfig(method=method, keep=keep, share=1.0)
    ranked_S = ranked(keys(select, names, value_D))
    usable = len(values) if method == "random" else int((~np.isnan(value_D)).sum())
    assert len(ranked_S) == usable == len(set(ranked_S.tolist()))
    if usable:
        assert take(SelectConfig(method=method, documents=usable), ranked_S, None, len(values)) == usable
    with pytest.raises(UnusableInput, match=r"select\.documents"):
        take(SelectConfig(method=method, documents=usable + 1), ranked_S, None, len(values))
    if method == "perplexity" and usable > 1:
        taken = value_D[ranked_S[: usable // 2]]
        rest = value_D[ranked_S[usable // 2 :]]
        if keep == "highest" and len(taken):
            assert taken.min() >= rest.max()
        if keep == "lowest" and len(taken):
            assert taken.max() <= rest.min()


def test_tokens_are_reached_with_as_few_documents_as_possible():
    ranked_S, tokens_D = np.array([2, 0, 1]), np.array([5, 7, 4])
    for asked, taken in ((1, 1), (4, 1), (5, 2), (9, 2), (10, 3), (16, 3)):
        assert take(SelectConfig(method="random", tokens=asked), ranked_S, tokens_D, 3) == taken
    with pytest.raises(UnusableInput, match=r"select\.tokens=17: there are 16"):
        take(SelectConfig(method="random", tokens=17), ranked_S, tokens_D, 3)


# --- density ----------------------------------------------------------------------------------------------------------


def collision(distance: float, width: float) -> float:
    """Of an interval hash (Datar et al. 2004)."""
    if not distance:
        return 1.0
    ratio = width / distance
    tail = math.erfc(ratio / math.sqrt(2)) / 2
    return 1 - 2 * tail - 2 / (math.sqrt(2 * math.pi) * ratio) * (1 - math.exp(-(ratio**2) / 2))


def test_densities_are_a_kernel_estimate():
    """Against the sum over all pairs of the probability that they share all hashes of a row."""
    documents = written(HUMAN + MACHINE, 60, 5) + written(HUMAN[:3], 20, 6, prefix="narrow")
    sketch = DensityConfig(rows=3000, buckets=100_000, projections=3000, hashes=3, width=1.5)
    features = count_features(documents, BUCKETS)
    hashing = Hashing(BUCKETS, sketch)
    counter_DR = hashing(features)
    sketch_RB = np.zeros((sketch.rows, sketch.buckets), np.int32)
    add(sketch_RB, counter_DR)
    assert (sketch_RB.sum(axis=1) == len(documents)).all()
    found = densities(sketch_RB, counter_DR, len(documents))

    point_DB = np.zeros((len(documents), BUCKETS))
    point_DB[features.document_E, features.bucket_E] = features.count_E
    point_DB = np.sqrt(point_DB / point_DB.sum(axis=1, keepdims=True))
    distance_DD = np.sqrt(np.maximum(2 - 2 * point_DB @ point_DB.T, 0))
    np.fill_diagonal(distance_DD, 0)
    kernel_DD = np.vectorize(lambda c: collision(c, sketch.width) ** sketch.hashes)(distance_DD)
    expected = kernel_DD.mean(axis=1)
    assert np.abs(found / expected - 1).max() < 0.12 and np.abs(found / expected - 1).mean() < 0.02
    assert np.corrcoef(found, expected)[0, 1] > 0.99
    assert found[60:].mean() > 1.3 * found[:60].mean()  # the narrow ones resemble each other


def test_density_of_copies_is_one_and_of_strangers_their_own_share(tmp_path):
    copies = {"raw": write_jsonl(tmp_path / "copies.jsonl", [{"id": str(n), "text": "the same"} for n in range(30)])}
    chosen = selected(tmp_path / "a", copies, method="density", share=0.5)
    assert len(chosen) == 15 and all(document["metadata"]["selection"]["score"] == 1 for document in chosen)
    rows = [{"id": str(n), "text": f"word{n} other{n}"} for n in range(30)]
    strangers = {"raw": write_jsonl(tmp_path / "strangers.jsonl", rows)}
    chosen = selected(
        tmp_path / "b", strangers, method="density", share=1.0, density=DensityConfig(width=0.5, hashes=16)
    )
    scores = [document["metadata"]["selection"]["score"] for document in chosen]
    assert max(scores) < 1.1 / 30 and min(scores) >= 1 / 30 - 1e-12


def test_rare_documents_are_drawn_more_often(tmp_path):
    rows = [{"id": f"common{n}", "text": "the same old words again"} for n in range(90)]
    rows += written(HUMAN, 10, 8, prefix="rare")
    raw = {"raw": write_jsonl(tmp_path / "raw.jsonl", rows)}
    drawn = [ids(selected(tmp_path, raw, method="density", documents=10, seed=seed)) for seed in range(3)]
    assert min(sum(name.startswith("rare") for name in names) for names in drawn) >= 5  # at random: 1


def test_killed_densities_go_on_with_the_sketch_that_was_counted(corpora, tmp_path, monkeypatch):
    settings = {"method": "density", "share": 0.5, "density": DensityConfig(rows=50, buckets=100)}
    whole = select_stage.plan(config_for(tmp_path / "whole", corpora, **settings)).inputs["values"]
    whole.ensure()
    killed = select_stage.plan(config_for(tmp_path / "killed", corpora, **settings)).inputs["values"]
    calls = []

    def failing(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        return densities(*arguments)

    monkeypatch.setattr(density, "densities", failing)
    with pytest.raises(KeyboardInterrupt):
        killed.ensure()
    monkeypatch.setattr(density, "densities", densities)
    monkeypatch.setattr(density, "add", lambda *arguments: pytest.fail("the sketch is counted again"))
    again = select_stage.plan(config_for(tmp_path / "killed", corpora, **settings)).inputs["values"]
    again.ensure()
    found = [files_of(artifact.path, "values") for artifact in (whole, again)]
    assert found[0] == found[1] and len(found[0]) > 3


# --- whole selections -------------------------------------------------------------------------------------------------

METHODS = {
    "dsir": {"method": "dsir"},
    "density": {"method": "density", "density": DensityConfig(rows=50, buckets=100)},
    "random": {"method": "random"},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_selection_is_a_part_of_the_corpus_with_its_reasons(method, corpora, tmp_path):
    artifact = select_stage.plan(config_for(tmp_path, corpora, share=0.3, **METHODS[method]))
    folder = artifact.ensure()
    chosen = documents_of(folder)
    whole = {document["id"]: document for document in documents_of(artifact.inputs["corpus"].path)}
    assert len(chosen) == 36 and [name for name in whole if name in set(ids(chosen))] == ids(chosen)
    for document in chosen:
        assert document["text"] == whole[document["id"]]["text"]
        assert document["metadata"]["selection"]["method"] == method
        assert ("score" in document["metadata"]["selection"]) == (method != "random")
    counts = artifact.manifest()["counts"]
    assert counts["documents_in"] == counts["documents_out"] + counts["rejected"] == 36
    assert counts["selection"]["of_documents"] == 120
    smaller = selected(tmp_path, corpora, share=0.1, **METHODS[method])
    assert set(ids(smaller)) < set(ids(chosen)) and len(smaller) == 12
    other = selected(tmp_path, corpora, share=0.3, seed=1, **METHODS[method])
    assert ids(other) != ids(chosen)


@pytest.mark.parametrize("method", METHODS)
def test_shards_change_nothing(method, corpora, tmp_path):
    config = config_for(tmp_path / "a", corpora, share=0.3, **METHODS[method])
    few = select_stage.plan(config)
    config = config_for(tmp_path / "b", corpora, share=0.3, **METHODS[method])
    config.corpus.shard_bytes = 10**6
    one = select_stage.plan(config)
    chosen, whole = documents_of(few.ensure()), documents_of(one.ensure())
    assert len(shard_paths(few.inputs["corpus"].path)) > 3 and len(shard_paths(one.path)) == 1
    assert ids(chosen) == ids(whole)
    for ours, theirs in zip(chosen, whole, strict=True):
        a, b = ours["metadata"]["selection"], theirs["metadata"]["selection"]
        assert a["rank"] == b["rank"] and a.get("score", 0) == pytest.approx(b.get("score", 0), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_selection_goes_on(method, corpora, tmp_path, monkeypatch):
    config = config_for(tmp_path / "whole", corpora, share=0.5, **METHODS[method])
    whole = select_stage.plan(config)
    whole.ensure()
    config = config_for(tmp_path / "killed", corpora, share=0.5, **METHODS[method])
    killed = select_stage.plan(config)
    written_files = []
    original = select_stage.write_group

    def failing(path, *arguments):
        if len(written_files) == 2:
            raise KeyboardInterrupt
        written_files.append(path)
        return original(path, *arguments)

    monkeypatch.setattr(select_stage, "write_group", failing)
    with pytest.raises(KeyboardInterrupt):
        killed.ensure()
    assert killed.state() == "unfinished"
    monkeypatch.setattr(select_stage, "write_group", original)
    again = select_stage.plan(config)
    again.ensure()
    files = [[(path.name, path.read_bytes()) for path in shard_paths(folder.path)] for folder in (whole, again)]
    assert files[0] == files[1] and len(files[0]) > 2


@pytest.mark.parametrize(
    ("texts", "select", "error", "parts"),
    [
        (["only one"], {"method": "random", "documents": 1}, None, 1),
        (["only one"], {"method": "dsir", "share": 0.1}, None, 1),
        (["only one"], {"method": "density", "share": 0.1}, None, 1),
        (["x", "y", "z"], {"method": "density", "documents": 2}, None, 2),
        (["x", "y", "z"], {"method": "dsir", "documents": 2}, None, 2),
        (["same same"] * 6, {"method": "dsir", "documents": 3}, None, 3),
        (["same same"] * 6, {"method": "density", "documents": 3}, None, 3),
        ([" ", "\n", "word"], {"method": "density", "documents": 2}, UnusableInput, ["documents=2", "there are 1"]),
        ([" ", "\n"], {"method": "dsir", "documents": 1}, UnusableInput, ["no word"]),
        (["a b"] * 4, {"method": "dsir", "documents": 1, "min_words": 3}, UnusableInput, ["select.min_words=3"]),
        (["a b"] * 4, {"method": "random", "documents": 5}, UnusableInput, ["select.documents=5", "there are 4"]),
        (["a b"], {"method": "random"}, BadConfiguration, ["select.share"]),
    ],
)  # fmt: skip
def test_odd_corpora_give_an_answer_or_one_line(texts, select, error, parts, corpora, tmp_path):
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    raw = {**corpora, "raw": write_jsonl(tmp_path / "raw.jsonl", rows)}
    config = config_for(tmp_path / "artifacts", raw, **select)
    if error is None:
        assert len(documents_of(select_stage.plan(config).ensure())) == parts
        return
    with pytest.raises(error) as caught:
        select_stage.plan(config).ensure()
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)


def test_a_target_must_be_named_and_hold_words(corpora, tmp_path):
    config = config_for(tmp_path, {"raw": corpora["raw"]}, share=0.1)
    with pytest.raises(BadConfiguration, match=r"select\.target\.path"):
        select_stage.plan(config)
    blank = write_jsonl(tmp_path / "blank.jsonl", [{"id": "a", "text": " "}])
    with pytest.raises(UnusableInput, match=r"select\.target: holds no word"):
        select_stage.plan(config_for(tmp_path, {"raw": corpora["raw"], "target": blank}, share=0.1)).ensure()
    with pytest.raises(MissingInput, match=r"select\.target\.path"):
        missing = {"raw": corpora["raw"], "target": tmp_path / "nowhere.jsonl"}
        select_stage.plan(config_for(tmp_path, missing, share=0.1))


def test_sizes_exclude_each_other():
    with pytest.raises(BadConfiguration, match=r"select\.documents and select\.share"):
        SelectConfig(documents=1, share=0.1)


# --- perplexity and classifier ----------------------------------------------------------------------------------------


def test_perplexity_keeps_the_end_that_is_asked_for(tmp_path):
    from analysis.perplexity.document import mean_nll
    from toedit.scores import read_document_logprobs, scores_path

    texts = ["the cat sat on the mat", "a bold claim and a quoted one", "the dog", "x", "the cat and the dog sat on it"]
    scores = build_scores(tmp_path, texts)
    expected = {}
    for path in sorted((scores.path / "scores").glob("*.parquet")):
        names, offsets, logprobs = read_document_logprobs(scores_path(scores.path, path.stem))
        expected |= dict(zip(names, np.exp(mean_nll(offsets, logprobs, 2048, True)[1]), strict=True))
    measured = sorted((name for name in expected if np.isfinite(expected[name])), key=lambda name: expected[name])
    for keep, best in (("lowest", measured), ("highest", measured[::-1])):
        config = Config(
            corpus=CorpusConfig(kind="local", path=str(scores.inputs["corpus"].path)),
            select=SelectConfig(method="perplexity", keep=keep, documents=2, skip_first_token=True),
            artifacts=str(tmp_path / "out"),
        )
        config.scores.path = str(scores.path)
        chosen = documents_of(select_stage.plan(config).ensure())
        found = {document["metadata"]["selection"]["rank"]: document for document in chosen}
        assert [found[1]["id"], found[2]["id"]] == best[:2]
        assert found[1]["metadata"]["selection"]["score"] == pytest.approx(expected[best[0]])
    config.corpus = CorpusConfig(kind="local", path=str(write_jsonl(tmp_path / "other.jsonl", [{"text": "other"}])))
    with pytest.raises(UnusableInput, match="scores of another corpus"):
        select_stage.plan(config)


@pytest.mark.parametrize(("classes", "label"), [(1, None), (3, 2)])
def test_the_classifier_takes_what_it_likes_best(classes, label, corpora, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = classifier_folder(tmp_path / "model", classes)
    settings = ClassifierConfig(path=str(folder), label=label, max_tokens=12, batch_documents=7, device="cpu")
    raw = {"raw": corpora["raw"]}
    chosen = selected(tmp_path / "a", raw, method="classifier", documents=10, classifier=settings)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    scores = {}
    for row in map(json.loads, corpora["raw"].read_text().splitlines()):  # one at a time: no padding
        with torch.inference_mode():
            encoded = tokenizer(row["text"], return_tensors="pt", truncation=True, max_length=12)
            logits = model(**encoded).logits[0].double()
        scores[row["id"]] = float(logits[0] if label is None else logits.log_softmax(-1)[label])
    assert len({round(score, 3) for score in scores.values()}) > 8
    taken = set(ids(chosen))
    worst = min(scores[name] for name in taken)
    assert len(taken) == 10 and all(score <= worst + 1e-4 for name, score in scores.items() if name not in taken)
    for document in chosen:
        assert document["metadata"]["selection"]["score"] == pytest.approx(scores[document["id"]], abs=1e-4)


def test_a_classifier_that_is_none_is_one_line(corpora, small_prior, tmp_path):
    raw = {"raw": corpora["raw"]}

    def refused(**settings) -> str:
        with pytest.raises((BadConfiguration, UnusableInput, MissingInput)) as caught:
            classifier = ClassifierConfig(device="cpu", **settings)
            selected(tmp_path / "a", raw, method="classifier", documents=10, classifier=classifier)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "select.classifier.path" in refused(path=str(tmp_path / "nowhere"))
    assert "no sequence-classification model" in refused(path=str(small_prior))
    three = classifier_folder(tmp_path / "three", 3)
    assert "select.classifier.label=None: the model has 3 classes" in refused(path=str(three))
    assert "select.classifier.label=3" in refused(path=str(three), label=3)
    assert "one output" in refused(path=str(classifier_folder(tmp_path / "one")), label=0)


# --- as commands ------------------------------------------------------------------------------------------------------


def test_every_method_is_a_command_and_its_result_a_corpus(corpora, small_prior, tmp_path):
    source = [f"corpus.path='{corpora['raw']}'", "corpus=local", "tokens.processes=1"]
    prior = ["prior=local", f"prior.path='{small_prior}'"]
    size = ["select.share=0.25", "select.min_words=0", "select.density.rows=20"]
    own = {
        "dsir": [f"select.target.path='{corpora['target']}'"],
        "density": [],
        "random": [],
        "perplexity": prior,
        "classifier": [f"select.classifier.path='{classifier_folder(tmp_path / 'judge')}'"],
    }
    for method, overrides in own.items():
        asked = ["stage=select", f"select.method={method}", *source, *size, *overrides, f"out={method}"]
        run = run_command(*asked, cwd=tmp_path)
        assert f"written: {method}" in run.stdout and "30 of 120 documents" in run.stdout, method
        assert run_command(*asked, cwd=tmp_path).stdout.strip().endswith(f"already there: {method}")
    dsir_ids = ids(documents_of(tmp_path / "dsir"))
    # What comes after: tokens of the selection, and a mixture of it.
    tokens = ["stage=tokenize", "tokens.source=select", "select.method=dsir", *source, *size, *own["dsir"], *prior]
    run_command(*tokens, "out=tokens", cwd=tmp_path)
    assert json.loads((tmp_path / "tokens" / "manifest.json").read_text())["counts"]["documents"] == 30
    mixed = ["stage=mix", "mix.synthetic_ratio=1", "mix.tokens=300", "mix.select_synthetic=true",
             "mix.allow_repeat=true", f"mix.synthetic.path='{corpora['raw']}'", "select.method=dsir", *size, *prior,
             f"mix.human.path='{corpora['target']}'"]  # fmt: skip
    run_command(*mixed, "tokens.processes=1", "out=mixed", cwd=tmp_path)
    taken = documents_of(tmp_path / "mixed")
    assert taken and {document["id"].partition("--")[0] for document in taken} <= set(dsir_ids)
    assert all(document["metadata"]["selection"]["method"] == "dsir" for document in taken)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["select.share=0"], ["select.share=0", "(0, 1]"]),
        (["select.method=best"], ["select.method=best", "dsir"]),
        (["select.documents=3", "select.tokens=3"], ["select.documents and select.tokens"]),
        (["select.density.rows=0"], ["select.density.rows=0"]),
        (["select.density.hashes=3000"], ["select.density.hashes=3000", "density.projections"]),
        (["select.classifier.batch_documents=0"], ["select.classifier.batch_documents=0"]),
        (["select.targt.path=x"], ["select.targt", "did you mean select.target"]),
        (["select.share=0.5"], ["select.target.path"]),
        (["select.method=random"], ["select.share"]),
    ],
)
def test_bad_settings_are_one_line(overrides, parts, corpora, tmp_path):
    run = run_command(
        "stage=select", "corpus=local", f"corpus.path='{corpora['raw']}'", *overrides, cwd=tmp_path, expect=2
    )
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert all(part in line for part in parts) and "Traceback" not in run.stderr
