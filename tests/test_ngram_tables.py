"""The compiled tables of n-gram counting against dictionaries and hashlib: growth, long words, every hash."""

import hashlib
import random
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ngrams import counted

from analysis.ngrams import counts as counting
from analysis.ngrams.counts import Tally, responses
from analysis.ngrams.hashing import Hasher
from analysis.ngrams.merge import merge
from analysis.ngrams.tables import PairSums
from analysis.ngrams.units import Words

BUCKETS = 997
WORD = re.compile(r"\w+|[^\w\s]+")
ODD = [
    "a" * 7,
    "a" * 8,
    "a" * 9,
    "a" * 55,
    "a" * 56,
    "a" * 63,
    "a" * 64,
    "é" * 200,
    "\0",
    "\0\0",
    "aaaaaaaaX",
    "aaaaaaaaY",
]


def some_texts(count: int, words: int, seed: int) -> list[str]:
    """Texts of many different words, short and long, with the same beginnings."""
    choose = random.Random(seed)
    beginnings = ("", "x", "longbegin", "éé", "a" * 30)

    def word() -> str:
        return choose.choice(ODD) if choose.random() < 0.1 else choose.choice(beginnings) + str(choose.randrange(10**6))

    return [" ".join(word() for _ in range(choose.randrange(words))) for _ in range(count)]


def bucket_of(*words: str) -> int:
    return int(hashlib.sha256(" ".join(words).encode()).hexdigest(), 16) % BUCKETS


def test_tables_that_grow_count_what_a_counter_counts():
    texts = some_texts(300, 400, seed=0)
    tally = Tally(Words())
    one, two, in_two = Counter(), Counter(), Counter()
    for start in range(0, len(texts), 50):
        tally.add(texts[start : start + 50])
    for text in texts:
        found = WORD.findall(text.lower())
        one.update(found)
        two.update(pairwise(found))
        in_two.update(set(pairwise(found)))
    assert len(one) > 20_000 and len(two) > 50_000  # both tables have grown
    names = tally.splitter.names().to_pylist()
    count_V, _ = tally.units.totals(len(names))
    assert dict(zip(names, count_V.tolist(), strict=True)) == one
    rows = tally.pairs.rows().T.tolist()
    assert {(names[first], names[second]): count for first, second, count, _ in rows} == two
    assert {(names[first], names[second]): documents for first, second, _, documents in rows} == in_two


def test_buckets_are_those_of_data_selection_also_when_tables_grow():
    texts = some_texts(60, 2000, seed=1)
    tally, hasher = Tally(Words()), Hasher("sha256", BUCKETS)
    for start in range(0, len(texts), 20):
        batch = texts[start : start + 20]
        document_E, bucket_E, count_E = responses(tally, hasher, *tally.add(batch)[1:])
        for number, text in enumerate(batch):
            words = WORD.findall(text.lower())
            expected = Counter(map(bucket_of, words)) + Counter(bucket_of(*pair) for pair in pairwise(words))
            mine = document_E == number
            found = np.bincount(bucket_E[mine], count_E[mine], minlength=BUCKETS)
            assert {bucket: int(found[bucket]) for bucket in np.flatnonzero(found).tolist()} == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=150), min_size=1, max_size=5, unique=True), st.integers(2, 2**31 - 1))
def test_sha256_is_hashlibs(names, buckets):
    names = [name.encode("utf-8", "ignore").decode() for name in names]
    hasher = Hasher("sha256", buckets)
    hasher.learn(pa.array(names, pa.string()))
    expected = [int.from_bytes(hashlib.sha256(name.encode()).digest()) % buckets for name in names]
    assert hasher.of_words(np.arange(len(names), dtype=np.int32)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(1, 9), st.integers(1, 3)), max_size=40), st.integers(1, 7))
def test_sums_of_rows_are_sums(rows, cut):
    sums, expected = PairSums(), {}
    for start in range(0, len(rows), cut):
        sums.add(*(np.array(column, np.int64) for column in zip(*rows[start : start + cut], strict=True)))
    for key, count, documents in rows:
        before = expected.get(key, (0, 0))
        expected[key] = (before[0] + count, before[1] + documents)
    keys, *values = (column.tolist() for column in sums.values())
    assert len(keys) == len(set(keys))
    assert dict(zip(keys, zip(*values, strict=True), strict=True)) == expected


def test_a_shard_with_more_bigrams_than_are_held_counts_the_same(tmp_path, monkeypatch):
    texts = some_texts(40, 60, seed=2)
    monkeypatch.setattr(counting, "_BATCH_CHARACTERS", 500)
    whole = merge(counted(tmp_path / "whole", [texts], "sha256"), 5, 10**6)
    monkeypatch.setattr(counting, "_HELD_BIGRAMS", 100)
    parts = merge(counted(tmp_path / "parts", [texts], "sha256"), 5, 10**6)
    assert (whole.names, whole.top, whole.bigrams) == (parts.names, parts.top, parts.bigrams)
    for key in ("count_V", "words_by_frequency", "bigrams_by_frequency"):
        np.testing.assert_array_equal(getattr(whole, key), getattr(parts, key))
    for folder in ("responses", "occurrences", "words"):
        one, other = (next((tmp_path / name / "counts" / folder).iterdir()).read_bytes() for name in ("whole", "parts"))
        assert one == other
