"""Rows in memory through the library: whatever their type, each text comes back in its own row, or a line says why."""

import collections
import datetime
from pathlib import Path

import datasets
import numpy
import pandas
import pytest
from conftest import repetitive_documents

import toedit

TEXTS = [document["text"] for document in repetitive_documents(6)]
P = {"p": 0.6, "temperature": 3, "settings": {"score.min_p": 0.5}}
Named = collections.namedtuple("Named", "a b c d e f")


@pytest.fixture(scope="module")
def edit(small_prior):
    return lambda data, **options: toedit.edit(data, small_prior, **{**P, **options})


@pytest.fixture(scope="module")
def edited(edit):
    texts = edit(TEXTS)
    assert texts != TEXTS
    return texts


def data_set(**columns):
    return datasets.Dataset.from_dict(columns)


ROWS = {
    "a data set of texts alone": (lambda: data_set(text=TEXTS), {}, lambda back: back["text"]),
    "a data set that was edited before": (
        lambda: data_set(text=TEXTS, toedit=[None] * 6), {}, lambda back: back["text"]
    ),
    "a data set seen through pandas": (
        lambda: data_set(text=TEXTS, n=[1] * 6).with_format("pandas"), {}, lambda back: back["text"]
    ),
    "a column of a data set": (lambda: data_set(text=TEXTS)["text"], {}, list),
    "a frame without names of columns": (lambda: pandas.DataFrame({0: TEXTS}), {"text": 0}, lambda back: back[0]),
    "a frame with two levels of columns": (
        lambda: pandas.DataFrame({("a", "x"): TEXTS, ("b", "y"): range(6)}), {"text": ("a", "x")},
        lambda back: back[("a", "x")],
    ),
    "a frame of categories": (
        lambda: pandas.DataFrame({"text": pandas.Categorical(TEXTS)}), {}, lambda back: back["text"]
    ),
    "a frame whose index repeats": (
        lambda: pandas.DataFrame({"text": TEXTS}, index=[0, 0, 1, 1, 2, 2]), {}, lambda back: back["text"]
    ),
    "a series": (lambda: pandas.Series(TEXTS, name="q", index=list("abcdef")), {}, list),
    "a named tuple": (lambda: Named(*TEXTS), {}, list),
    "a deque": (lambda: collections.deque(TEXTS), {}, list),
}  # fmt: skip


@pytest.mark.parametrize("which", ROWS)
def test_rows_of_every_type_come_back_edited(which, edit, edited):
    make, options, texts_of = ROWS[which]
    data = make()
    back = edit(data, **options)
    assert list(texts_of(back)) == edited
    if not isinstance(data, collections.abc.Sequence):
        assert isinstance(back, type(data))


def test_a_series_comes_back_as_a_series_and_a_frame_keeps_its_types(edit, edited):
    series = pandas.Series(TEXTS, name="q", index=list("abcdef"))
    back = edit(series)
    assert back.name == "q" and back.index.equals(series.index) and series.tolist() == TEXTS
    frame = pandas.DataFrame({"text": pandas.array([*TEXTS, pandas.NA], dtype="string")})
    back = edit(frame)
    assert back["text"].dtype == "string" and back["text"].tolist()[:6] == edited
    assert back["text"][6] is pandas.NA and back["toedit"][6] is None
    assert isinstance(edit(Named(*TEXTS)), Named)
    assert edit(data_set(text=TEXTS)).column_names == ["text", "toedit"]


def test_what_is_no_text_stays_as_it_is_and_is_counted(edit, capsys):
    odd = [b"The cat sat quietly.", datetime.date(2020, 1, 1), 5, float("inf"), None]
    back = edit([*TEXTS, *odd])
    assert back[6:] == odd and [type(value) for value in back[6:]] == [type(value) for value in odd]
    assert "5 of 11 rows stay as they were" in capsys.readouterr().err


EMPTY = {
    "no rows": [],
    "none and an empty one": [None, ""],
    "an empty tuple": (),
    "a frame": pandas.DataFrame({"text": [None, ""], "n": [1, 2]}),
    "an empty frame": pandas.DataFrame({"text": []}),
    "a frame of numbers": pandas.DataFrame({"text": [1, 2]}),
    "an empty series": pandas.Series([], dtype=object),
    "a data set": datasets.Dataset.from_dict({"text": [None, ""]}),
    "an empty data set": datasets.Dataset.from_dict({"text": []}),
}


@pytest.mark.parametrize("which", EMPTY)
def test_rows_without_any_text_come_back_as_they_are(which, edit, tmp_path):
    data = EMPTY[which]
    back = edit(data)
    assert type(back) is type(data) and len(back) == len(data)
    if isinstance(data, pandas.DataFrame):
        pandas.testing.assert_frame_equal(back[list(data.columns)], data)
        assert back["toedit"].tolist() == [None] * len(data)
    elif isinstance(data, datasets.Dataset):
        assert back["text"][:] == data["text"][:] and back["toedit"][:] == [None] * len(data)
    else:
        assert list(back) == list(data)
    with pytest.raises(toedit.ToEditError, match="no row holds a text"):
        edit(data, out=tmp_path / "nothing")


def test_there_are_no_scores_of_nothing(small_prior):
    with pytest.raises(toedit.ToEditError, match="no row holds a text"):
        toedit.score([None, ""], small_prior)


def test_what_happens_to_the_rows_after_scoring_moves_no_text(small_prior):
    frame = pandas.DataFrame({"text": TEXTS, "n": [3, 1, 2, 6, 5, 4]})
    scores = toedit.score(frame, small_prior, settings={"score.min_p": 0.5})
    before = frame.copy()
    frame["n"] = sorted(frame["n"])
    pandas.testing.assert_frame_equal(toedit.edit(scores, p=1.0)[["text", "n"]], before)
    texts = list(TEXTS)
    scores = toedit.score(texts, small_prior, settings={"score.min_p": 0.5})
    texts.reverse()
    del texts[0]
    assert toedit.edit(scores, p=1.0) == TEXTS


REFUSED = {
    "an array": (numpy.array(TEXTS), {}, "data: numpy.ndarray is neither"),
    "a set": ({*TEXTS}, {}, "data: set is neither"),
    "a generator": ((text for text in TEXTS), {}, "data: generator is neither"),
    "a mapping": ({"text": TEXTS}, {}, "data: dict is neither"),
    "nothing": (None, {}, "data: None is neither"),
    "bytes": (b"my.jsonl", {}, "data: bytes is neither"),
    "an index": (pandas.Index(TEXTS), {}, "data: pandas.*Index is neither"),
    "data sets": (datasets.DatasetDict(), {}, "DatasetDict is neither"),
    "paths": ([Path("a.jsonl")], {}, "row 0 is a path"),
    "two columns of one name": (
        pandas.DataFrame([[text, text] for text in TEXTS], columns=["text", "text"]), {}, "2 columns are named text"
    ),
    "a column for the counts": (pandas.DataFrame({"toedit": TEXTS}), {"text": "toedit"}, "text=toedit: "),
}  # fmt: skip


@pytest.mark.parametrize("which", REFUSED)
def test_what_is_not_rows_is_refused_in_one_line_without_its_content(which, edit):
    data, options, named = REFUSED[which]
    with pytest.raises(toedit.ToEditError, match=named) as found:
        edit(data, **options)
    assert "\n" not in str(found.value) and TEXTS[0] not in str(found.value)
