"""N-grams counted at once are those counted one by one, however a corpus is cut; differences of corpora are found."""

import csv
import hashlib
import json
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import run_command, write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers_fixture import tokenizer_folder

from analysis import stage
from analysis.ngrams.counts import CountShard, Rules
from analysis.ngrams.merge import by_group, grouped, merge, parts, unit_names
from analysis.ngrams.units import Words
from toedit.config import AnalysisConfig, Config, CorpusConfig, NgramsConfig, TokensConfig
from toedit.documents import ShardWriter, read_documents, shard_paths
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.tokenizing import load_tokenizer
from toedit.workspace import Workspace

BUCKETS = 50
WORD = re.compile(r"\w+|[^\w\s]+")
TEXTS = [
    "The cat sat on the mat; the cat ran.",
    "A naïve café — ¿no? 你好，世界 🙂🙂 e\u0301 ΟΔΟΣ İstanbul snake_case x2",
    "the cat",
    "one",
    " \n\t ",
    "The dog sat on the mat, the dog ran. " * 5,
]


def words_of(text):
    """What data-selection and NLTK's WordPunctTokenizer make of a text."""
    return WORD.findall(text.lower())


def reference(texts):
    """`(words, bigrams, documents with each word, documents with each bigram)`, counted one by one."""
    counters = Counter(), Counter(), Counter(), Counter()
    for text in texts:
        found = words_of(text)
        for counter, grams in zip(
            counters, (found, list(pairwise(found)), set(found), set(pairwise(found))), strict=True
        ):
            counter.update(grams)
    return counters


def sha256_bucket(gram):
    return int(hashlib.sha256(gram.encode()).hexdigest(), 16) % BUCKETS


def counted(folder, shards, kind="mixed", origins=()):
    """Counts of shards of texts, with the little of a manifest that merging reads."""
    count, number = CountShard(Rules(None, kind, BUCKETS, ("metadata.origin",))), 0
    (folder / "corpus").mkdir(parents=True)
    for place, texts in enumerate(shards):
        shard = folder / "corpus" / f"{place:05d}.jsonl.zst"
        with ShardWriter(shard) as writer:
            for text in texts:
                origin = {"origin": origins[number]} if origins else {}
                writer.write({"id": f"d{number}", "text": text, "source": "s", "metadata": origin})
                number += 1
        Workspace(folder / "counts", {})
        count(folder / "counts", shard)
    records = [json.loads(path.read_text())["record"] for path in (folder / "counts" / ".progress").iterdir()]
    totals = {key: sum(record[key] for record in records) for key in ("documents", "units", "bigram_rows")}
    manifest = {"kind": "ngram_counts", "fingerprint": "", "identity": {}, "counts": totals}
    (folder / "counts" / "manifest.json").write_text(json.dumps(manifest))
    return folder / "counts"


def analyze(root, corpus, other=None, resamples=99, processes=1, **ngrams):
    return Config(
        artifacts=str(root),
        corpus=CorpusConfig(kind="local", path=str(corpus), shard_bytes=200),
        tokens=TokensConfig(processes=processes),
        analysis=AnalysisConfig(
            name="ngrams",
            other=CorpusConfig(kind="local", path=other and str(other)),
            resamples=resamples,
            ngrams=NgramsConfig(**{"buckets": BUCKETS, "zipf_ranks": [1, 10], **ngrams}),
        ),
    )


def ran(config):
    """`(summary, folder)`; a number that is none (NaN) is refused."""
    artifact = stage.plan(config)
    path = artifact.ensure()
    stage.report(config, artifact)

    def refuse(constant):
        raise AssertionError(constant)

    text = (path / "summary.json").read_text(encoding="utf-8")
    for name in ("statistics.csv", "table.md", "table.csv", "table.tex"):
        assert "nan" not in (path / name).read_text(encoding="utf-8").lower()
    return json.loads(text, parse_constant=refuse), path


def corpus_of(path, texts, origin=None):
    rows = [
        {"id": f"{path.stem}/{number}", "text": text, "source": "s"}
        | ({"metadata": {"origin": origin(number)}} if origin else {})
        for number, text in enumerate(texts)
    ]
    return write_jsonl(path, rows)


# --- counting ---------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=30) | st.text("aB_1 .,\n\u00a0é²ΣÉİK你🙂", max_size=30), max_size=5))
def test_words_are_those_of_the_stated_rule(texts):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    splitter = Words()
    units = splitter(texts)
    names = splitter.names().to_pylist()
    assert len(set(names)) == len(names)
    found = [[] for _ in texts]
    for number, document in zip(units.id_N.tolist(), units.document_N.tolist(), strict=True):
        found[document].append(names[number])
    assert found == [words_of(text) for text in texts]


def test_counts_are_those_of_a_counter(tmp_path):
    counts = counted(tmp_path, [TEXTS])
    one, two, in_one, in_two = reference(TEXTS)
    totals = merge(counts, top=4, max_rows=10**6)
    assert dict(zip(totals.names, totals.count_V.tolist(), strict=True)) == one
    assert (totals.units, totals.bigrams, totals.documents) == (one.total(), two.total(), len(TEXTS))
    best = sorted(two.items(), key=lambda entry: (-entry[1], entry[0]))[:4]
    assert totals.top == [(*pair, count) for pair, count in best]
    for documents, (frequency_F, grams_F) in (
        (in_one, totals.words_by_frequency),
        (in_two, totals.bigrams_by_frequency),
    ):
        assert dict(zip(frequency_F.tolist(), grams_F.tolist(), strict=True)) == Counter(documents.values())
    (part,) = parts(counts, "documents", "words", "bigrams", "occurrences")
    names = part["words"]["word"].to_pylist()
    rows = part["bigrams"].to_pylist()
    assert {(names[row["first"]], names[row["second"]]): row["count"] for row in rows} == two
    for number, text in enumerate(TEXTS):
        mine = [row for row in part["occurrences"].to_pylist() if row["document"] == number]
        assert {names[row["word"]]: row["count"] for row in mine} == Counter(words_of(text))
    assert part["documents"]["units"].to_pylist() == [len(words_of(text)) for text in TEXTS]


@pytest.mark.parametrize("kind", ["mixed", "sha256"])
def test_every_document_has_a_response_of_all_its_grams(tmp_path, kind):
    counts = counted(tmp_path, [TEXTS[:2], TEXTS[2:]], kind)
    response_DB = by_group(counts, "responses", np.arange(len(TEXTS)), len(TEXTS), BUCKETS)
    for number, text in enumerate(TEXTS):
        found = words_of(text)
        assert response_DB[number].sum() == len(found) + max(len(found) - 1, 0)
        if kind == "sha256":  # data-selection's own buckets
            expected = Counter(map(sha256_bucket, [*found, *(" ".join(pair) for pair in pairwise(found))]))
            np.testing.assert_array_equal(response_DB[number], [expected[bucket] for bucket in range(BUCKETS)])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text("ab .", max_size=12), min_size=1, max_size=6),
    cuts=st.sets(st.integers(1, 5)),
    max_rows=st.integers(1, 4),
)
def test_any_cut_into_shards_gives_the_same(texts, cuts, max_rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    edges = [0, *sorted(cut for cut in cuts if cut < len(texts)), len(texts)]
    whole = counted(folder / "whole", [texts])
    cut = counted(folder / "cut", [texts[start:stop] for start, stop in pairwise(edges)])
    one, other = merge(whole, 3, 10**6), merge(cut, 3, max_rows)
    assert (one.names, one.top, one.bigrams, one.units) == (other.names, other.top, other.bigrams, other.units)
    for key in ("count_V", "words_by_frequency", "bigrams_by_frequency"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
    rows = np.arange(len(texts))
    matrices = [by_group(counts, "responses", rows, len(texts), BUCKETS) for counts in (whole, cut)]
    np.testing.assert_array_equal(*matrices)


def test_units_are_origins_or_documents_and_groups_hold_whole_units(tmp_path):
    name_D, what = unit_names(counted(tmp_path / "a", [["a", "b"], ["c", "d"]], origins=["x", "y", "x", None]))
    assert what == "origin" and name_D[0] == name_D[2] and len(set(name_D.tolist())) == 3
    name_D, what = unit_names(counted(tmp_path / "b", [["a", "b"]], origins=["x", "x"]))
    assert what == "document" and len(set(name_D.tolist())) == 2
    many_D = np.repeat(np.arange(500, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15), 2)
    group_D, groups = grouped(many_D, 20)
    assert groups == 20 and set(group_D.tolist()) == set(range(20))
    assert (group_D[::2] == group_D[1::2]).all()
    assert grouped(many_D, 500)[1] == 500


def test_tokens_are_those_of_the_tokenizer(tmp_path):
    folder = tokenizer_folder("gpt2", tmp_path)
    corpus = corpus_of(tmp_path / "c.jsonl", TEXTS)
    summary, path = ran(analyze(tmp_path, corpus, tokenizer=str(folder)))
    tokenizer = load_tokenizer(folder)
    ids = [document.token_ids_T.tolist() for document in tokenizer.encode(TEXTS)]
    two = Counter(pair for tokens in ids for pair in pairwise(tokens))
    assert summary["corpora"][0]["units"] == sum(map(len, ids))
    assert summary["corpora"][0]["different_bigrams"] == len(two)
    rows = list(csv.DictReader((path / "bigrams.csv").open(encoding="utf-8", newline="")))
    assert int(rows[0]["count"]) == max(two.values())
    assert tuple(int(rows[0][key].rpartition("#")[2]) for key in ("first", "second")) in two


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two corpora of works of four documents each; the second one repeats itself more."""
    folder, generator = tmp_path_factory.mktemp("pair"), np.random.default_rng(0)
    paths = []
    for name, power in (("broad", 0.6), ("narrow", 1.4)):
        p = np.arange(1, 201.0) ** -power
        texts = [" ".join(f"w{word}" for word in generator.choice(200, 60, p=p / p.sum())) for _ in range(80)]
        paths.append(
            corpus_of(folder / f"{name}.jsonl", texts, origin=lambda number, name=name: f"{name} {number // 4}")
        )
    return paths


@pytest.fixture(scope="module")
def compared(pair, tmp_path_factory):
    return ran(analyze(tmp_path_factory.mktemp("compared"), *pair, resamples=199))


def test_a_narrower_corpus_is_found_to_be_one(compared):
    summary, path = compared
    for key, sign in (("gini", 1), ("top_share", 1), ("zipf_slope", -1)):
        found = summary["differences"][key]
        assert found["low"] * sign > 0 and found["high"] * sign > 0, key
        for entry in summary["statistics"][key]:
            assert entry["low"] <= entry["value"] <= entry["high"]
    for key in ("distinct_1", "distinct_2"):
        broad, narrow = (entry["value"] for entry in summary["statistics"][key])
        assert 0 < narrow < broad <= 1
    divergence = summary["jensen_shannon"]
    assert divergence["corrected"]["p_value"] == 1 / 200
    assert 0 < divergence["corrected"]["low"] < divergence["corrected"]["value"] < divergence["plug_in"]["value"]
    assert [corpus["resampling_units"] for corpus in summary["corpora"]] == [20, 20]
    assert not summary["is_paired"]
    written = {item.name for item in path.iterdir()}
    assert {"ngrams.png", "ngrams.pdf", "ngrams.svg", "table.tex", "responses.csv", "bigrams.csv"} <= written
    rows = list(csv.DictReader((path / "responses.csv").open(encoding="utf-8", newline="")))
    assert sum(float(row["share"]) for row in rows) == pytest.approx(2)


def test_groups_of_units_say_the_same_a_little_coarser(pair, compared, tmp_path):
    exact, _ = compared
    coarse, _ = ran(analyze(tmp_path, *pair, max_groups=10))
    assert max(corpus["groups"] for corpus in coarse["corpora"]) <= 5
    for key in ("gini", "distinct_2"):
        one, other = ([entry["value"] for entry in each["statistics"][key]] for each in (exact, coarse))
        assert one == pytest.approx(other)
    assert coarse["jensen_shannon"]["corrected"]["p_value"] <= 0.05


def test_a_copy_is_no_different(pair, tmp_path):
    summary, _ = ran(analyze(tmp_path, pair[0], pair[0]))
    assert summary["is_paired"]
    divergence = summary["jensen_shannon"]
    assert divergence["plug_in"]["value"] == 0 == divergence["corrected"]["value"]
    assert divergence["corrected"]["p_value"] == 1
    for found in summary["differences"].values():
        assert found == {"value": 0, "low": 0, "high": 0, "p_value": None}


def test_a_small_change_of_every_document_is_seen_because_units_are_paired(pair, tmp_path):
    rows = [json.loads(line) for line in pair[0].read_text(encoding="utf-8").splitlines()]
    edited = write_jsonl(tmp_path / "edited.jsonl", [{**row, "text": row["text"] + " edited edited"} for row in rows])
    summary, _ = ran(analyze(tmp_path, pair[0], edited))
    assert summary["is_paired"] and summary["jensen_shannon"]["corrected"]["p_value"] == 0.01


@pytest.mark.parametrize(
    ("texts", "others"),
    [
        (["one"], None),
        (["one"], ["b b b"]),
        (["a", "b", "c"], ["a", "a b", "c"]),
        (["same text here"] * 4, ["a", "c"]),
        (["the $x^2 $ <b> \x1b[31m 你好"], ["a", "b"]),
    ],
)
def test_small_corpora_have_an_answer(texts, others, tmp_path):
    other = others and corpus_of(tmp_path / "other.jsonl", others)
    summary, path = ran(analyze(tmp_path, corpus_of(tmp_path / "c.jsonl", texts), other))
    gini = summary["statistics"]["gini"][0]
    assert 0 <= gini["value"] <= 1 and (gini["low"] is None) == (len(texts) == 1)
    if others and min(len(texts), len(others)) == 1:
        assert summary["jensen_shannon"]["corrected"]["p_value"] is None
    assert (path / "ngrams.png").stat().st_size > 1000


def test_a_corpus_without_a_word_is_refused_in_one_line(tmp_path):
    corpus = corpus_of(tmp_path / "blank.jsonl", [" \n ", "\t\u00a0"])
    with pytest.raises(UnusableInput, match=r"blank.*holds no word") as raised:
        stage.plan(analyze(tmp_path, corpus)).ensure()
    assert "\n" not in str(raised.value)


def test_processes_and_interruptions_change_no_byte(pair, tmp_path):
    made = []
    for processes in (1, 2):
        artifact = stage.plan(analyze(tmp_path / str(processes), pair[0], processes=processes))
        artifact.ensure()
        made.append(artifact)
    counts = [artifact.inputs["counts"].path for artifact in made]
    assert len(list((counts[0] / "words").iterdir())) > 2
    # As a killed run leaves it: one shard done.
    broken = stage.plan(analyze(tmp_path / "3", pair[0])).inputs["counts"]
    corpus = broken.inputs["corpus"].ensure()
    Workspace(broken.path, {})
    CountShard(Rules(None, "mixed", BUCKETS, ("metadata.origin", "metadata.origin_path")))(
        broken.path, shard_paths(corpus)[1]
    )
    (broken.path / ".building.json").write_text(
        json.dumps({"kind": broken.kind, "name": broken.name, "fingerprint": broken.fingerprint, "identity": {}})
    )
    assert broken.state() == "unfinished"
    counts.append(broken.ensure())
    for path in sorted(counts[0].rglob("*.parquet")):
        for folder in counts[1:]:
            assert (folder / path.relative_to(counts[0])).read_bytes() == path.read_bytes()
    for path in sorted(made[0].path.iterdir()):
        if path.name != "manifest.json":
            assert (made[1].path / path.name).read_bytes() == path.read_bytes(), path.name
    assert sum(pq.read_metadata(path).num_rows for path in (counts[0] / "documents").iterdir()) == 80
    assert sum(1 for shard in shard_paths(corpus) for _ in read_documents(shard)) == 80


def test_bad_keys_name_themselves(tmp_path, pair):
    with pytest.raises(MissingInput, match=r"^analysis\.other\.path"):
        stage.plan(analyze(tmp_path, pair[0], tmp_path / "gone.jsonl"))
    with pytest.raises(BadConfiguration, match=r"ngrams\.zipf_ranks"):
        NgramsConfig(zipf_ranks=[10, 11])
    run = run_command("stage=analyze", "analysis=ngrams", "analysis.ngrams.hash=md5", cwd=tmp_path, expect=2)
    assert "analysis.ngrams.hash=md5: must be one of mixed, sha256" in run.stderr


def test_the_command(pair, tmp_path):
    first, second = pair
    command = [
        "stage=analyze",
        "analysis=ngrams",
        "corpus=local",
        f"corpus.path={first}",
        f"analysis.other.path={second}",
    ]
    run = run_command(*command, "analysis.resamples=99", "tokens.processes=1", "out=made", cwd=tmp_path)
    assert "Jensen-Shannon" in run.stdout and "p = 0.0100" in run.stdout and "made/ngrams.png" in run.stdout
    assert "already there" in run_command(*command, "analysis.resamples=99", "out=made", cwd=tmp_path).stdout
