"""Perplexities of the documents of two corpora: the arithmetic, real runs with a small model, odd and bad input."""

import csv
import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import repetitive_documents, run_command, write_jsonl
from hypothesis import given
from hypothesis import strategies as st
from task_fixtures import save_model

from analysis import stage
from analysis.perplexity.document import DocumentPerplexities, mean_nll
from analysis.perplexity.stage import DATA, FORMATS, TABLES
from toedit.config import AnalysisConfig, ArtifactConfig, Config, CorpusConfig, PriorConfig, ScoreConfig
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.scores import read_document_logprobs

NAME = "perplexity_distribution"
FILES = (
    *TABLES,
    *DATA,
    *(f"{NAME}.{extension}" for extension in FORMATS),
)
HUMAN = repetitive_documents(24)
OTHER = [
    {
        "id": f"other/{number}",
        "text": "zq 9# " * (number + 2),
        "source": "made",
        "metadata": {"origin": f"book {number // 4}"},
    }
    for number in range(20)
] + [{"id": "short", "text": "x", "source": "made"}]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("perplexities")
    save_model(folder / "model", [document["text"] for document in HUMAN])
    write_jsonl(folder / "human.jsonl", HUMAN)
    write_jsonl(folder / "other.jsonl", OTHER)
    return folder


def configured(root, corpus="human", other="other", **settings):
    def local(name):
        return CorpusConfig(kind="local", path=str(root / f"{name}.jsonl"), shard_bytes=2000)

    values = {"bins": 20, "resamples": 99, "max_tokens": 30} | settings
    return Config(
        corpus=local(corpus),
        prior=PriorConfig(kind="local", path=str(root / "model")),
        score=ScoreConfig(window=128, min_p=1.0, top_k=1),
        analysis=AnalysisConfig(name=NAME, other=local(other), **values),
        artifacts=str(root / "artifacts"),
    )


@pytest.fixture(scope="module")
def figure(root):
    artifact = stage.plan(configured(root))
    artifact.ensure()
    return artifact


def summary_of(artifact):
    return json.loads((artifact.ensure() / "summary.json").read_text())


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [number for item in value for number in numbers_in(item)] if isinstance(value, list) else [value]


documents = st.lists(st.lists(st.none() | st.floats(-50, 0), max_size=6), min_size=1, max_size=6)


@given(documents=documents, most=st.none() | st.integers(2, 7), skip_first=st.booleans())
def test_perplexity_is_the_mean_over_the_scored_first_tokens(documents, most, skip_first):
    offset_D1 = np.cumsum([0, *map(len, documents)])
    logprob_T = np.array([math.nan if value is None else value for document in documents for value in document])
    measured_D, nll_D = mean_nll(offset_D1, logprob_T, most, skip_first)
    for number, document in enumerate(documents):
        counted = [value for value in document[int(skip_first) : most] if value is not None]
        assert measured_D[number] == len(counted)
        assert nll_D[number] == pytest.approx(-np.mean(counted)) if counted else math.isnan(nll_D[number])


def test_rows_are_the_scores_own_and_name_their_works(figure):
    rows = pq.read_table(figure.path / "documents.parquet").to_pylist()
    assert [row["id"] for row in rows] == [document["id"] for document in HUMAN + OTHER]
    assert [row["unit"] for row in rows[24:]] == [f"book {number // 4}" for number in range(20)] + ["short"]
    by_id = {row["id"]: row for row in rows}
    for role in ("scores", "other_scores"):
        for path in sorted((figure.inputs[role].path / "scores").glob("*.parquet")):
            ids, offset_D1, logprob_T = read_document_logprobs(path)
            for own, start, end in zip(ids, offset_D1, offset_D1[1:], strict=False):
                counted = logprob_T[start + 1 : min(end, start + 30)].astype(float)
                assert by_id[own]["tokens"] == end - start
                assert by_id[own]["measured_tokens"] == len(counted)
                if len(counted):
                    assert by_id[own]["perplexity"] == pytest.approx(np.exp(-counted.mean()))
    assert by_id["short"]["perplexity"] is None and by_id["short"]["measured_tokens"] == 0


def test_numbers_agree_with_the_rows(figure):
    summary = summary_of(figure)
    first, second = summary["corpora"]
    assert (first["units"], first["unit"], second["units"], second["unit"]) == (24, "document", 5, "origin")
    assert second["without_perplexity"] == 1 == figure.manifest()["counts"]["other_without_perplexity"]
    rows = [row for row in pq.read_table(figure.path / "documents.parquet").to_pylist() if row["perplexity"]]
    for name, entry in zip(summary["names"], (first, second), strict=True):
        own = [row["perplexity"] for row in rows if row["corpus"] == name]
        assert entry["quantiles"]["q0.5"]["value"] == pytest.approx(np.quantile(own, 0.5, method="inverted_cdf"))
    assert all(0 < found["p_value"] <= 1 and found["low"] <= found["value"] for found in summary["distances"].values())
    histogram = list(csv.DictReader((figure.path / "histogram.csv").open()))
    assert sum(int(row["documents"]) for row in histogram) == 24
    assert sum(int(row["other_documents"]) for row in histogram) == 20
    assert sum(float(row["other_share"]) for row in histogram) == pytest.approx(1)


def test_files_do_not_vary(root, figure, tmp_path):
    config = configured(root)
    config.out = str(tmp_path / "again")
    again = stage.plan(config)
    assert again.fingerprint == figure.fingerprint
    again.ensure()
    for name in FILES:
        assert (again.path / name).read_bytes() == (figure.path / name).read_bytes(), name
    assert stage.plan(configured(root, seed=1)).fingerprint != figure.fingerprint


def test_the_report_says_what_was_left_out(root, figure, capsys):
    row = stage.report(configured(root), figure)
    output = capsys.readouterr().out
    assert (
        "1 of 21 documents have no scored token" in output and "99 resamples each of 24 documents and 5 works" in output
    )
    assert "Kolmogorov-Smirnov" in output and str(figure.path / f"{NAME}.png") in output
    assert set(row) == {"median", "other median", "KS", "p (permutation)", "W1"}
    assert "lower quartile" in (figure.path / "table.md").read_text()
    assert r"\toprule" in (figure.path / "distances.tex").read_text()


def test_a_corpus_is_no_distance_from_itself(root):
    artifact = stage.plan(configured(root, other="human"))
    summary = summary_of(artifact)
    assert summary["names"] == ["human (corpus)", "human (other)"] and summary["shared_ids"] == 24
    for found in summary["distances"].values():
        assert (found["value"], found["low"], found["p_value"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "texts", [["The cat sat."], ["The cat sat."] * 9, ["x", "The cat sat on the mat."]], ids=["one", "alike", "short"]
)
def test_small_corpora_get_an_answer_without_nan(root, texts, capsys):
    name = f"small{len(texts)}"
    write_jsonl(root / f"{name}.jsonl", [{"id": str(number), "text": text} for number, text in enumerate(texts)])
    for corpus, other in ((name, "other"), (name, name)):
        config = configured(root, corpus, other)
        artifact = stage.plan(config)
        numbers = [number for number in numbers_in(summary_of(artifact)) if isinstance(number, float)]
        assert numbers and np.isfinite(numbers).all()
        stage.report(config, artifact)
        for written in ("table.md", "table.csv", "distances.md", "histogram.csv"):
            assert "nan" not in (artifact.path / written).read_text().split()
    assert "nan" not in capsys.readouterr().out.split()


def test_documents_of_one_token_alone_are_refused_in_one_line(root):
    write_jsonl(root / "tokens.jsonl", [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
    with pytest.raises(UnusableInput, match="no document with a scored token among 2") as raised:
        stage.plan(configured(root, other="tokens")).ensure()
    assert "\n" not in str(raised.value)


def test_a_perplexity_that_is_no_number_is_refused(root, figure, monkeypatch):
    scores = root / "nowhere.parquet"
    monkeypatch.setattr(
        "analysis.perplexity.document.read_document_logprobs",
        lambda path: (["d"], np.array([0, 2]), np.array([-1, -np.inf], np.float32)),
    )
    monkeypatch.setattr("analysis.perplexity.document.shard_paths", lambda corpus: [scores])
    monkeypatch.setattr("analysis.perplexity.document.read_documents", lambda shard: [{"id": "d"}])
    with pytest.raises(UnusableInput, match="document d has a perplexity that is no finite number"):
        stage.plan(configured(root, seed=5)).ensure()


def test_what_is_missing_or_wrong_is_named(root):
    with pytest.raises(BadConfiguration, match=r"analysis\.other\.path"):
        stage.plan(Config(analysis=AnalysisConfig(name=NAME)))
    with pytest.raises(MissingInput, match=r"^analysis\.other\.path=.*gone\.jsonl"):
        stage.plan(configured(root, other="gone")).ensure()
    for key, value in {"resamples": 10, "bins": 0, "max_tokens": 1, "seed": -1, "name": "perplexities"}.items():
        with pytest.raises(BadConfiguration, match=rf"^analysis\.{key}={value}"):
            AnalysisConfig(**{key: value})


def test_scores_by_path_must_have_been_made_alike(root, figure):
    config = configured(root)
    config.scores = ArtifactConfig(path=str(figure.inputs["scores"].path))
    assert stage.plan(config).fingerprint == figure.fingerprint
    config.score = ScoreConfig(window=64, min_p=1.0, top_k=1)
    with pytest.raises(BadConfiguration, match=r"window=128, analysis\.other would be with 64"):
        stage.plan(config)
    config.score = ScoreConfig(window=128)  # other candidates, same log-probabilities
    assert stage.plan(config).inputs["other_scores"].fingerprint != figure.inputs["other_scores"].fingerprint
    save_model(root / "another", [document["text"] for document in OTHER])
    config.prior = PriorConfig(kind="local", path=str(root / "another"))
    with pytest.raises(BadConfiguration, match="made by the prior"):
        stage.plan(config)


def test_origins_can_be_told_or_ignored(root):
    by_document = summary_of(stage.plan(configured(root, unit_fields=[])))
    assert by_document["corpora"][1]["units"] == 20 and by_document["corpora"][1]["unit"] == "document"


def test_documents_keep_their_rows_without_a_perplexity():
    entry = DocumentPerplexities(["a", "b"], [None, "w"], np.array([1, 3]), np.array([0, 2]), np.array([math.nan, 0.5]))
    nll_D, unit_D, unit = entry.sample()
    assert (nll_D.tolist(), unit_D.tolist(), unit) == ([0.5], [0], "document")
    assert entry.table("c").column("perplexity").null_count == 1


def test_the_command_takes_a_pair(root):
    overrides = ["corpus=local", f"corpus.path={root / 'human.jsonl'}", "corpus.shard_bytes=2000", "score.window=128"]
    overrides += ["prior=local", f"prior.path={root / 'model'}", "corpus@analysis.other=local"]
    overrides += [f"analysis.other.path={root / 'other.jsonl'}", "analysis.resamples=99", "dry_run=true"]
    planned = run_command("stage=analyze", f"analysis={NAME}", *overrides, cwd=root)
    assert planned.stdout.count("scores") >= 2 and "figure" in planned.stdout
    refused = run_command("stage=analyze", f"analysis={NAME}", "analysis.othr.path=x", cwd=root, expect=2)
    assert "analysis.other" in refused.stderr
