"""The histogram of token probabilities: counts that add up, shares that numpy confirms, files that do not vary."""

import csv
import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from artifact_fixtures import build_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import token_probability
from analysis.token_probability import INTERVALS, QUARTILE_BINS, Histograms, count_bins
from toedit.artifacts import Artifact
from toedit.config import AnalysisConfig, ArtifactConfig, Config
from toedit.errors import MissingInput, UnusableInput
from toedit.scores import read_logprobs, scores_path
from toedit.workspace import Result

TEXTS = ["the cat sat on the mat, and the dog sat.\n" * 30, "naïve 🙂 <b>" * 9, "x", "the dog sat on a cat " * 40, "a"]
FILES = (
    "histogram.csv",
    "intervals.csv",
    "summary.json",
    "token_probability.png",
    "token_probability.pdf",
    "token_probability.svg",
)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return build_scores(tmp_path_factory.mktemp("scores"), TEXTS)


@pytest.fixture(scope="module")
def figure(scores, tmp_path_factory):
    config = analyze(scores, tmp_path_factory.mktemp("figure"))
    artifact = token_probability.plan(config)
    artifact.ensure()
    return config, artifact


def analyze(scores, root, **analysis):
    path = ArtifactConfig(path=str(scores.path))
    return Config(artifacts=str(root), scores=path, analysis=AnalysisConfig(**analysis))


def raw_logprobs(scores):
    return np.concatenate([read_logprobs(path) for path in sorted((scores.path / "scores").glob("*.parquet"))])


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_counts_add_up_to_the_scored_tokens(scores, figure):
    _, artifact = figure
    scored = len(raw_logprobs(scores))
    summary = json.loads((artifact.path / "summary.json").read_text())
    assert summary["scored"] == scored == scores.manifest()["counts"]["scored"]
    assert summary["tokens"] - scored == len(TEXTS)  # the first token of each document
    for name, count in (("histogram.csv", 300), ("intervals.csv", INTERVALS)):
        rows = rows_of(artifact.path / name)
        assert len(rows) == count
        assert sum(int(row["tokens"]) for row in rows) == scored
        assert sum(float(row["share"]) for row in rows) == pytest.approx(1)
    edges = [(float(row["bin_start"]), float(row["bin_end"])) for row in rows_of(artifact.path / "histogram.csv")]
    assert edges[0][0] == 0 and edges[-1][1] == 1
    assert all(before[1] == after[0] for before, after in pairwise(edges))


def test_shares_and_quartiles_agree_with_numpy(scores, figure):
    _, artifact = figure
    probability_T = np.exp(raw_logprobs(scores).astype(np.float64))
    summary = json.loads((artifact.path / "summary.json").read_text())
    for row in summary["intervals"]:
        low, high = map(float, row["interval"].split("-"))
        inside = (probability_T >= low) & (probability_T < high if high < 1 else probability_T <= high)
        assert row["tokens"] == inside.sum() and row["share"] == pytest.approx(inside.mean())
    for threshold, share in summary["shares_at_least"].items():
        assert share == pytest.approx((probability_T >= float(threshold)).mean())
    # numpy interpolates between tokens, which may lie further apart than a bin: compare the empirical distribution.
    for share, value in zip((0.25, 0.5, 0.75), summary["quartiles"], strict=True):
        assert (
            (probability_T < value - 1 / QUARTILE_BINS).mean()
            <= share
            <= (probability_T <= value + 1 / QUARTILE_BINS).mean()
        )
    np.testing.assert_array_equal(
        [int(row["tokens"]) for row in rows_of(artifact.path / "histogram.csv")],
        np.histogram(probability_T, 300, (0, 1))[0],
    )


logprobs = st.lists(
    st.floats(-200, 0, width=32) | st.sampled_from([0.0, -1e-7, float(np.log(0.9)), -200.0]), min_size=1
)


@settings(max_examples=100, deadline=None)
@given(first=logprobs, second=logprobs, bins=st.integers(1, 400))
def test_streaming_equals_one_pass(first, second, bins):
    streamed, whole = Histograms(bins), Histograms(bins)
    streamed.add(np.array(first, np.float32))
    streamed.add(np.array(second, np.float32))
    whole.add(np.array(first + second, np.float32))
    np.testing.assert_array_equal(streamed.count_B, whole.count_B)
    assert streamed.quartiles() == whole.quartiles()
    assert streamed.count_B.sum() == streamed.tokens == len(first + second)
    low, middle, high = streamed.quartiles()
    assert 0 <= low <= middle <= high <= 1
    probability_T = np.exp(np.array(first + second, np.float32).astype(np.float64))
    for share, value in zip((0.25, 0.5, 0.75), (low, middle, high), strict=True):
        expected = np.quantile(probability_T, share, method="inverted_cdf")
        assert abs(value - expected) <= 1.001 / QUARTILE_BINS


def test_edges_belong_to_the_bin_above():
    logprob_T = np.log(np.array([0.1, 0.5, 0.9, 1.0]))
    np.testing.assert_array_equal(np.flatnonzero(count_bins(logprob_T, 10)), [1, 5, 9])
    assert count_bins(logprob_T, 10)[9] == 2


def test_files_do_not_vary(scores, figure, tmp_path):
    _, artifact = figure
    again = token_probability.plan(analyze(scores, tmp_path))
    again.ensure()
    assert again.fingerprint == artifact.fingerprint
    for name in FILES:
        assert (again.path / name).read_bytes() == (artifact.path / name).read_bytes(), name
    assert token_probability.plan(analyze(scores, tmp_path, bins=50)).fingerprint != artifact.fingerprint


def test_report_shows_the_intervals_and_the_picture(figure, capsys):
    config, artifact = figure
    row = token_probability.report(config, artifact)
    output = capsys.readouterr().out
    assert "0.9-1.0" in output and str(artifact.path / "token_probability.png") in output
    assert row["P>=0.9"].endswith("%")
    assert sorted(item["path"] for item in artifact.manifest()["outputs"]) == sorted(FILES)


def test_a_single_token_is_enough(tmp_path):
    scores = build_scores(tmp_path, ["x1"])
    assert len(read_logprobs(scores_path(scores.path, "00000"))) == 1
    assert token_probability.plan(analyze(scores, tmp_path, bins=1)).ensure().is_dir()


def test_scores_without_a_scored_token_are_refused_in_one_line(tmp_path):
    scores = build_scores(tmp_path, ["x"])
    with pytest.raises(UnusableInput, match="no scored token") as raised:
        token_probability.plan(analyze(scores, tmp_path)).ensure()
    assert "\n" not in str(raised.value)


def test_missing_or_other_scores_are_refused(tmp_path):
    with pytest.raises(MissingInput, match="stage=score"):
        token_probability.plan(Config(scores=ArtifactConfig(path=str(tmp_path / "gone"))))
    other = Artifact("corpus", "other", {}, tmp_path, build=lambda _: Result())
    other.ensure()
    with pytest.raises(UnusableInput, match="wanted scores"):
        token_probability.plan(Config(scores=ArtifactConfig(path=str(other.path))))


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, analysis.token_probability; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=token_probability.__file__.rpartition("/analysis/")[0])
