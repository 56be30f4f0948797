"""`analysis=density`: densities of the documents of one corpus or two, drawn and told."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import run_command, write_jsonl

from analysis import stage
from analysis.selection.responses import mean_interval
from toedit.config import AnalysisConfig, Config, CorpusConfig, DensityConfig, SelectConfig, TokensConfig
from toedit.errors import UnusableInput

WORDS = [f"word{number}" for number in range(300)]
FILES = (
    "density.png", "density.pdf", "density.svg", "table.md", "table.tex", "table.csv", "documents.parquet",
    "histogram.csv", "counters.csv", "summary.json",
)  # fmt: skip


def texts(words: int, count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS[:words], 30)) for _ in range(count)]


def analyse(root: Path, *corpora: list[str], **density) -> Path:
    paths = [
        write_jsonl(root / f"corpus{place}.jsonl", [{"id": f"{n}", "text": text} for n, text in enumerate(corpus)])
        for place, corpus in enumerate(corpora)
    ]
    local = [CorpusConfig(kind="local", path=str(path)) for path in paths]
    others = {"other": local[1]} if len(local) > 1 else {}
    config = Config(
        corpus=local[0],
        analysis=AnalysisConfig(name="density", bins=20, resamples=99, **others),
        select=SelectConfig(buckets=500, density=DensityConfig(**{"rows": 200, "buckets": 1000, **density})),
        tokens=TokensConfig(processes=1),
        artifacts=str(root / "artifacts"),
    )  # fmt: skip
    return stage.plan(config).ensure()


def summary_of(folder: Path) -> list[dict]:
    return json.loads((folder / "summary.json").read_text())["corpora"]


def rows_of(folder: Path, name: str) -> list[dict]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_narrower_corpus_is_the_denser(tmp_path):
    folder = analyse(tmp_path, texts(300, 80, 0), texts(8, 60, 1))
    broad, narrow = summary_of(folder)
    assert narrow["low"] > broad["high"] and narrow["quantiles"]["0.5"] > 2 * broad["quantiles"]["0.5"]
    assert all((folder / name).stat().st_size for name in FILES)
    documents = pq.read_table(folder / "documents.parquet").to_pandas()
    for name, described in zip(documents["corpus"].unique(), (broad, narrow), strict=True):
        own = documents[documents["corpus"] == name]["density"]
        assert own.mean() == pytest.approx(described["mean"]) and own.max() == pytest.approx(described["largest"])
    histogram, counters = rows_of(folder, "histogram.csv"), rows_of(folder, "counters.csv")
    for corpus, size in (("corpus0", 80), ("corpus1", 60)):
        drawn = [row for row in histogram if row["corpus"] == corpus]
        assert len(drawn) == 20 and sum(int(row["documents"]) for row in drawn) == size
        held = [(int(row["documents"]), int(row["counters"])) for row in counters if row["corpus"] == corpus]
        assert sum(count for _, count in held) == 200 * 1000 and sum(n * count for n, count in held) == 200 * size


@pytest.mark.parametrize(
    ("corpora", "expected"),
    [
        ([["same words here"] * 12], [1.0]),
        ([["a b", "c d e"]], [0.0]),
        ([texts(20, 15, 3), texts(20, 15, 3)], None),  # a corpus and its copy
        ([["x", "y", "z"], ["one"] * 2], [0.0, 1.0]),
        ([["word", " ", "\n\n", "word"]], [1.0]),
    ],
)
def test_odd_corpora_have_an_answer_without_nan(corpora, expected, tmp_path):
    folder = analyse(tmp_path, *corpora, width=0.2, buckets=100_000)
    found = summary_of(folder)
    if expected is None:
        assert found[0]["mean"] == found[1]["mean"] and found[0]["low"] == found[1]["low"]
    else:
        assert [corpus["mean"] for corpus in found] == pytest.approx(expected, abs=1e-3)
    for name in ("table.md", "table.csv", "histogram.csv", "counters.csv", "summary.json"):
        assert "nan" not in (folder / name).read_text().lower(), name


@pytest.mark.parametrize("corpus", [["only one"], [" ", "\n"], ["one", " "]])
def test_without_a_pair_there_is_one_line(corpus, tmp_path):
    with pytest.raises(UnusableInput, match="density is about pairs") as caught:
        analyse(tmp_path, corpus)
    assert "\n" not in str(caught.value)


def test_the_interval_holds_the_mean_over_pairs():
    """Of 200 samples of a population with a known kernel about 95 % hold its mean."""
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        kind_D = generator.choice(4, 60, p=(0.4, 0.3, 0.2, 0.1))  # documents of a kind collide, others never
        share = np.bincount(kind_D, minlength=4)[kind_D]
        density_D = (share - 1) / 59
        low, high = mean_interval(density_D, np.arange(60), 400, seed)
        held += low <= 0.4**2 + 0.3**2 + 0.2**2 + 0.1**2 <= high
    assert 175 <= held <= 199


def test_density_is_a_command(tmp_path):
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts(50, 30, 5))]
    corpus = write_jsonl(tmp_path / "mine.jsonl", rows)
    asked = ["stage=analyze", "analysis=density", "corpus=local", f"corpus.path='{corpus}'", "select.density.rows=50",
             "tokens.processes=1", "out=found"]  # fmt: skip
    run = run_command(*asked, cwd=tmp_path)
    assert "mine" in run.stdout and "picture: found/density.png" in run.stdout
    pictures = {name: (tmp_path / "found" / name).read_bytes() for name in FILES[:3]}
    assert run_command(*asked, cwd=tmp_path).stdout.strip().endswith("already there: found")
    run_command(*asked[:-1], "artifacts=elsewhere", "out=again", cwd=tmp_path)
    assert all((tmp_path / "again" / name).read_bytes() == picture for name, picture in pictures.items())
