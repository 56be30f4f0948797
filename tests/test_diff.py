"""What people look at: the page and the terminal show the text truly, and nothing in a corpus acts on either."""

import re
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from artifact_fixtures import build_edited, ledger_ids, make_view
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reader import Page, assert_harmless

from toedit.config import ArtifactConfig, Config, DiffConfig, EditConfig
from toedit.diff_page import visible, write_page
from toedit.diff_style import PROBABILITY_CLASSES
from toedit.diff_terminal import excerpt, print_views
from toedit.document_views import Run, load_views, sample_edits
from toedit.documents import read_documents, shard_paths
from toedit.errors import MissingInput, UnusableInput
from toedit.scores import read_scores, scores_path
from toedit.stages import diff

TEXTS = [
    "the cat sat on the mat, and the dog sat on the cat\n" * 4,
    "naïve 🙂🙂 日本語 \x1b[31mred\x1b[0m \x00 <script>alert('x')</script> & \u202eevil\u202c tab\tb\r\nend",
    "x",
    "the dog sat on a \"quoted\" 'mat' </div></style><!-- &amp; &#x1b;\n\n" * 6,
    "\n\nthe cat",
]
MANIFEST = {
    "name": "fixture <script>",
    "identity": {"sampler": "top_k", "p": 0.9, "strict": False, "k": 4, "temperature": 1.0, "seed": 0},
    "inputs": {"corpus": {"name": "corpus & co"}, "prior": {"name": "prior"}},
    "counts": dict.fromkeys(("documents", "tokens", "eligible", "changed", "unspliceable"), 1)
    | {"expected_changed": 0.5},
}
AWKWARD = (
    *("<script>alert(1)</script>", "</div>", "</style>", "<!--", "]]>", "&amp;", "&#x1b;", "&", "'", '"', "<b title='"),
    *("\x1b[2J", "\x1b]0;title\x07", "\x00", "\x7f", "\x9b", "\r\n", "\r", "\n", "\t", "\u2028", "\u2029", "\ufeff"),
    *("\u202e", "\u2066", "\u200b", "\u200d", "\u00ad", "\U000e0041", "\ufffe", "e\u0301"),
    *("🙂", "日本", "👨\u200d👩\u200d👧", "سلام"),
    *("the cat sat", " on the mat", "Ünïcödé", "http://example.org/"),
)
documents = st.lists(st.sampled_from(AWKWARD) | st.text(max_size=8), min_size=1, max_size=12).map("".join)
odd_texts = documents.filter(bool)


def page_of(views, path, manifest=MANIFEST):
    write_page(path, manifest, views)
    return path.read_text(encoding="utf-8")


@settings(max_examples=120, deadline=None)
@given(
    text=odd_texts, document_id=odd_texts, seed=st.integers(0, 99), family=st.sampled_from(["byte_level", "wordpiece"])
)
def test_page_text_is_the_documents_text(tmp_path_factory, text, document_id, seed, family):
    view, edited = make_view(text, document_id, seed, family)
    html = page_of([view], tmp_path_factory.getbasetemp() / "page.html")
    page = Page(html)
    assert_harmless(html, page)
    assert page.originals == [visible(text)]
    assert page.edited == [visible(edited)]
    assert page.seen["ins"] == 1 + 2 * len(view.edits)  # the legend, the list of edits and the text


@given(text=odd_texts)
def test_visible_spells_out_what_acts_or_hides(text):
    shown = visible(text)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\u2028\u2029\ufeff]", shown
    )
    assert visible(shown) == shown


@settings(max_examples=60, deadline=None)
@given(text=odd_texts, seed=st.integers(0, 99), family=st.sampled_from(["byte_level", "wordpiece"]))
def test_runs_are_the_text_and_hold_every_edit(text, seed, family):
    view, _ = make_view(text, seed=seed, family=family)
    runs = list(view.runs())
    assert "".join(run.text if isinstance(run, Run) else run for run in runs) == text
    tokens = [run for run in runs if isinstance(run, Run)]
    assert [run.edit.position for run in tokens if run.edit] == list(view.edits)
    assert all(run.text == run.edit.old_text for run in tokens if run.edit)
    assert all(before.last < after.first for before, after in pairwise(tokens))
    if family == "byte_level":  # every token is in a run, none is unaccounted for
        assert [position for run in tokens for position in range(run.first, run.last + 1)] == list(range(view.tokens))


@settings(max_examples=60, deadline=None)
@given(
    text=odd_texts, document_id=odd_texts, max_characters=st.sampled_from([1, 7, 50, 10_000]), seed=st.integers(0, 9)
)
def test_terminal_shows_escapes_and_obeys_none(text, document_id, max_characters, seed):
    view, _ = make_view(text, document_id, seed)
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toedit.diff_terminal.say", lambda line="": said.append(line))
        patch.setenv("NO_COLOR", "1")
        print_views([view], max_characters)
    output = "\n".join(said)
    assert "\n" not in said[0]  # the line about the document
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", output)


@settings(max_examples=80, deadline=None)
@given(
    repeats=st.integers(1, 60),
    max_characters=st.integers(1, 3000),
    seed=st.integers(0, 30),
    rate=st.sampled_from([0.0, 0.01, 0.2]),
)
def test_excerpt_keeps_to_its_limit_and_to_the_text(repeats, max_characters, seed, rate):
    text = "the cat sat on the mat, and the dog sat on the cat\n" * repeats
    view, _ = make_view(text, seed=seed, rate=rate)
    pieces = excerpt(view, max_characters)
    shown = sum(len(piece.text) for piece in pieces if piece.kind != "mark")
    first = next(iter(view.edits.values()), None)
    floor = len(first.old_text) + len(first.new_text) + 40 if first else 0
    assert shown <= max(max_characters, floor) + 40  # a gap shorter than its mark is shown instead
    assert not first or any(piece.kind == "old" for piece in pieces)
    place = 0
    for piece in pieces:
        if piece.kind in ("same", "old"):
            place = text.find(piece.text, place)
            assert place >= 0
            place += len(piece.text)
    if len(text) + sum(len(edit.new_text) for edit in view.edits.values()) <= max_characters:
        assert "".join(piece.text for piece in pieces if piece.kind in ("same", "old")) == text


def test_colour_only_on_a_terminal_that_wants_it(capsys, monkeypatch):
    view, _ = make_view("the cat sat on the mat " * 5, rate=0.4)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    print_views([view], 1000)
    plain = capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_views([view], 1000)
    coloured = capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    print_views([view], 1000)
    assert "\x1b[31m[-" in coloured and "\x1b[32m{+" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain == capsys.readouterr().out
    assert "[-" in plain and "-]{+" in plain


def test_views_are_the_corpus_the_scores_and_the_ledger(tmp_path):
    edited = build_edited(tmp_path, TEXTS)
    views = load_views(edited.path, [], 99)
    assert {view.id: view.text for view in views} == {f"doc/{number}": text for number, text in enumerate(TEXTS)}
    changed = Counter(ledger_ids(edited.path))
    assert changed and changed == {view.id: len(view.edits) for view in views if view.edits}
    by_rank = sorted(views, key=lambda view: (-changed[view.id], view.id))
    assert [view.id for view in views] == [view.id for view in by_rank]
    assert [view.id for view in load_views(edited.path, [], 2)] == [view.id for view in by_rank[:2]]
    scores = read_scores(scores_path(edited.inputs["scores"].path, "00001"))  # documents 2 and 3
    view = next(view for view in views if view.id == "doc/3")
    tokens = slice(scores.token_offset_D1[1], scores.token_offset_D1[2])
    np.testing.assert_array_equal(view.logprob_T, scores.logprob_T[tokens])
    np.testing.assert_array_equal(view.span_T2, scores.span_T2[tokens])
    written = {document["id"]: document for path in shard_paths(edited.path) for document in read_documents(path)}
    for view in views:
        assert written[view.id]["metadata"]["toedit"]["eligible"] == view.eligible
        for edit in view.edits.values():
            assert view.text.encode()[edit.start : edit.end].decode() == edit.old_text
            assert np.isclose(view.logprob_T[edit.position], edit.old_logprob)


def test_page_of_a_real_artifact(tmp_path):
    edited = build_edited(tmp_path, TEXTS)
    views = load_views(edited.path, [], 99)
    html = page_of(views, tmp_path / "page.html", edited.manifest())
    page = Page(html)
    assert_harmless(html, page)
    written = {
        document["id"]: document["text"] for path in shard_paths(edited.path) for document in read_documents(path)
    }
    assert page.originals == [visible(view.text) for view in views]
    assert page.edited == [visible(written[view.id]) for view in views]
    assert page_of(views, tmp_path / "again.html", edited.manifest()) == html


def test_tint_follows_the_probability(tmp_path):
    view, _ = make_view("the cat sat on the mat", rate=0)
    html = page_of([view], tmp_path / "page.html").partition('class="text"')[2]
    for position, probability in enumerate(np.exp(view.logprob_T)):
        (tag, name), *others = re.findall(rf'<([ib]) class=(\w) title="[^"]* #{position}">', html)
        assert not others
        expected = "u" if np.isnan(probability) else PROBABILITY_CLASSES[min(int(probability * 20), 19)]
        assert (tag, name) == ("b" if probability >= 0.9 else "i", expected)


def test_pieces_of_a_character_make_one_run(tmp_path):
    view, _ = make_view("a🙂b", rate=0)
    runs = list(view.runs())
    assert view.tokens == 6 and [run.text for run in runs] == ["a", "🙂", "b"]
    assert (runs[1].first, runs[1].last) == (1, 4)
    assert runs[1].logprob == pytest.approx(view.logprob_T[1:5].sum())
    assert "#1-4" in page_of([view], tmp_path / "page.html")


def test_a_long_document_makes_a_page_of_bounded_size(tmp_path):
    view, _ = make_view("the cat sat on the mat, and the dog sat. " * 1500, rate=0.01)
    size = len(page_of([view], tmp_path / "page.html"))
    assert view.tokens > 15_000 and size < 60 * view.tokens + 20_000


def test_documents_by_id(tmp_path):
    edited = build_edited(tmp_path, TEXTS, ids=["a b", "c=d, e", "../f", "<g>", "\u202eh"])
    assert [view.id for view in load_views(edited.path, ["<g>", "a b", "<g>"], 1)] == ["<g>", "a b"]
    with pytest.raises(UnusableInput, match=r"^diff\.ids: .* holds no document 'nobody'$") as raised:
        load_views(edited.path, ["a b", "nobody"], 1)
    assert "\n" not in str(raised.value)


def test_an_empty_ledger_is_an_ordinary_one(tmp_path, capsys):
    edited = build_edited(tmp_path, TEXTS, edit=EditConfig(sampler="none"))
    views = load_views(edited.path, [], 2)
    assert [view.id for view in views] == ["doc/0", "doc/1"]
    assert sample_edits(edited.path, 5) == []
    page = Page(page_of(views, tmp_path / "page.html", edited.manifest()))
    assert page.originals == page.edited == [visible(text) for text in TEXTS[:2]]
    print_views(views, 30)
    assert "changed 0 (0.00%)" in capsys.readouterr().out


def test_samples_are_spread_and_repeatable(tmp_path):
    edited = build_edited(tmp_path, TEXTS)
    total = len(ledger_ids(edited.path))
    samples = sample_edits(edited.path, 5)
    assert len(samples) == 5 and samples == sample_edits(edited.path, 5)
    assert len({sample.id for sample in samples}) > 1
    originals = {f"doc/{number}": text for number, text in enumerate(TEXTS)}
    for sample in sample_edits(edited.path, total + 10):
        assert sample.left + sample.old + sample.right in originals[sample.id]
        assert len(sample.left) <= 40 and len(sample.right) <= 40
    assert [sample.id for sample in sample_edits(edited.path, total + 10)] == ledger_ids(edited.path)


def test_stage_builds_once_and_reports(tmp_path, capsys):
    edited = build_edited(tmp_path, TEXTS, out=tmp_path / "edited, p=0.9")
    config = Config(artifacts=str(tmp_path), edited=ArtifactConfig(path=str(edited.path)), diff=DiffConfig(documents=2))
    artifact = diff.plan(config)
    artifact.ensure()
    page = artifact.path / diff.PAGE
    before = page.stat().st_mtime_ns
    assert diff.plan(config).state() == "cached" and diff.plan(config).ensure() == artifact.path
    assert page.stat().st_mtime_ns == before
    row = diff.report(config, artifact)
    output = capsys.readouterr().out
    assert row["documents"] == "2" and str(page) in output and "\x1b" not in output
    assert len(Page(page.read_text(encoding="utf-8")).originals) == 2


def test_stage_says_how_to_make_a_missing_corpus(tmp_path):
    missing = tmp_path / "gone"
    with pytest.raises(MissingInput, match=f"python run.py stage=edit out={missing}"):
        diff.plan(Config(edited=ArtifactConfig(path=str(missing))))
