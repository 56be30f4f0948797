"""The page of reports: complete, well-formed, escaped, and nothing in it acts or loads."""

import base64
import json
import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from artifact_fixtures import build_edited
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reader import Page
from report_fixtures import HOSTILE, all_reports, coverage, draw, generations, hostile, mixtures, unrun

from analysis.page.claims import FAILS, HOLDS, MIXED, MOSTLY, NOT_TRIED, UNDECIDED, Claim, load_claims, read_cells
from analysis.page.edits import edit_page
from analysis.page.markup import number
from analysis.page.page import write_page
from analysis.reports.cells import AGREES, CONTRADICTS, NOT_COMPARABLE, NOT_RUN, SAME_DIRECTION, VERDICTS, Cell, Report
from toedit.diff_page import visible
from toedit.errors import MissingInput, UnusableInput

KNOWN = {f"table{place}" for place in range(1, 19)} | {f"fig{place}" for place in range(2, 15)}
TAGS = {
    *("html", "head", "meta", "link", "title", "style", "body", "main", "header", "nav", "footer", "section", "h1"),
    *("h2", "h3", "p", "small", "b", "span", "a", "dl", "div", "dt", "dd", "ol", "ul", "li", "table", "thead", "tbody"),
    *("tr", "th", "td", "details", "summary", "pre", "code", "figure", "figcaption", "img", "svg", "rect", "iframe"),
    *("fieldset", "legend", "label", "input"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "rel", "href", "class", "id", "role", "aria-label", "title"),
    *("aria-labelledby", "aria-hidden", "x", "width", "height", "tabindex", "scope", "src", "alt", "type", "checked"),
    *("value", "sandbox", "open"),
}


def page_of(folder: Path, reports, pictures=None, **more) -> str:
    write_page(folder / "index.html", reports, pictures or {}, **more)
    return (folder / "index.html").read_text(encoding="utf-8")


def values_of(page: Page, name: str) -> list[str]:
    return [value for _, attribute, value in page.attributes if attribute == name]


# --- claims -----------------------------------------------------------------------------------------------------------


def test_every_table_and_figure_speaks_on_a_claim():
    claims = load_claims()
    named = {name for claim in claims for name in claim.reports}
    assert named == KNOWN
    configured = {file.stem for file in (REPOSITORY / "configs" / "report").glob("*.yaml")}
    assert {name for name in configured if re.fullmatch(r"(table|fig)\d+", name)} <= named
    assert len({claim.name for claim in claims}) == len(claims)
    for claim in claims:
        assert re.fullmatch("[a-z_]+", claim.name)
        assert claim.title and claim.says and claim.section
        assert len(set(claim.reports)) == len(claim.reports)


def cells_with(**counts) -> list[Cell]:
    names = {
        "agrees": AGREES,
        "same": SAME_DIRECTION,
        "against": CONTRADICTS,
        "undecided": NOT_COMPARABLE,
        "unrun": NOT_RUN,
    }
    return [Cell("", "", "", "1", verdict=names[name]) for name, cells in counts.items() for _ in range(cells)]


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({}, NOT_TRIED),
        ({"unrun": 3}, NOT_TRIED),
        ({"unrun": 3, "undecided": 1}, UNDECIDED),
        ({"unrun": 3, "undecided": 9, "same": 1}, HOLDS),
        ({"agrees": 1, "same": 1}, HOLDS),
        ({"agrees": 5, "same": 4, "against": 1}, MOSTLY),
        ({"same": 8, "against": 1}, MIXED),
        ({"same": 1, "against": 8}, MIXED),
        ({"against": 1, "undecided": 7}, FAILS),
    ],
)
def test_a_claim_is_read_from_its_cells(counts, verdict):
    assert read_cells(cells_with(**counts)).verdict == verdict


@given(
    st.fixed_dictionaries({name: st.integers(0, 40) for name in ("agrees", "same", "against", "undecided", "unrun")})
)
def test_the_sentence_holds_every_number(counts):
    sentence = read_cells(cells_with(**counts)).sentence
    found = Counter(int(digits) for digits in re.findall(r"\d+", sentence))
    total = sum(counts.values())
    decided = counts["agrees"] + counts["same"] + counts["against"]
    if total and counts["unrun"] < total:
        kinds = [counts[name] for name in ("agrees", "same", "against") if counts[name]]
        said = [total, counts["undecided"], counts["unrun"], decided, *(kinds if len(kinds) > 1 else [])]
        assert found == Counter(cells for cells in said if cells)
    assert sentence.endswith(".")


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    pictures = {"table1": [draw(folder / "figure.svg")], "fig3": [draw(folder / "other.svg", "share <b> & more")]}
    return page_of(folder, [*all_reports(), hostile()], pictures, edits="<p>edits & such</p>", made="2026-11-26")


def test_it_is_well_formed_and_harmless(whole):
    page = Page(whole)
    assert set(page.seen) <= TAGS
    assert {name for _, name, _ in page.attributes} <= ATTRIBUTES
    addresses = values_of(page, "src") + [value for tag, name, value in page.attributes if name == "href"]
    for address in addresses:
        assert re.match(
            r"#|data:(image/svg\+xml;base64,|text/html;charset=utf-8;base64,|,$)|(\.\./|artifacts/)", address
        )
    style = whole.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    policy = next(value for value in values_of(page, "content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy and "script" not in policy and "http" not in policy


def test_texts_come_out_as_they_are(whole):
    """Whatever a report holds is shown as text, invisible characters spelt out, commands to the letter."""
    page = Page(whole)
    commands = [unescape(line) for line in re.findall(r"<code>(.*?)</code>", whole, re.S)]
    assert visible(HOSTILE) in commands
    assert all(cell.command in commands for report in all_reports() for cell in report.cells)
    assert "\x1b" not in whole and "\u202e" not in whole
    assert page.seen["iframe"] == 1 and page.seen["img"] == 2


def test_a_reader_who_cannot_see_finds_the_way(whole):
    page = Page(whole)
    assert ("html", "lang", "en") in page.attributes
    assert "width=device-width, initial-scale=1" in values_of(page, "content")
    headings = [int(level) for level in re.findall(r"<h([1-6])>|<h([1-6]) ", whole) for level in level if level]
    assert headings.count(1) == 1 and headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    assert len(re.findall(r"<th[ >]", whole)) == len(re.findall(r"<th scope=", whole))
    ids = values_of(page, "id")
    assert len(set(ids)) == len(ids)
    assert set(values_of(page, "aria-labelledby")) <= set(ids)
    links = {value[1:] for value in values_of(page, "href") if value.startswith("#")}
    assert links <= set(ids)
    assert len(re.findall(r"<label><input ", whole)) == page.seen["input"]
    assert all(alt.strip() for alt in values_of(page, "alt"))


def test_every_cell_is_there_with_its_verdict(whole):
    cells = [cell for report in [*all_reports(), hostile()] for cell in report.cells]
    rows = re.findall(r'<tr class="cell (\w+)">', whole)
    assert len(rows) == len(cells)
    signs = {verdict: len(re.findall(rf'<tr class="cell {name}">', whole)) for verdict, name in STYLES.items()}
    assert signs == {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in VERDICTS}
    assert not re.search(r"\b(nan|inf)\b|>None<", re.sub(r"base64,[^\"]*", "", whole))


STYLES = {
    AGREES: "agrees",
    SAME_DIRECTION: "same",
    CONTRADICTS: "contradicts",
    NOT_COMPARABLE: "incomparable",
    NOT_RUN: "unrun",
}


def test_links_lead_to_manifests_wherever_the_page_lies(tmp_path, monkeypatch):
    """Relative to the page's home, whatever signs the folder's name holds, also where it is first written elsewhere."""
    monkeypatch.chdir(tmp_path)
    manifest = tmp_path / "artifacts" / "a folder, 100 % odd#1?" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    report = coverage()
    for cell in report.cells:
        cell.manifest = str(manifest.relative_to(tmp_path))
    home, elsewhere = tmp_path / "reports" / "all", tmp_path / "elsewhere"
    home.mkdir(parents=True)
    elsewhere.mkdir()
    for folder, more in ((home, {}), (elsewhere, {"home": home})):
        page = Page(page_of(folder, [report], **more))
        links = [value for value in values_of(page, "href") if value.endswith("manifest.json")]
        assert len(links) == len(report.cells)
        assert all((home / unquote(link)).samefile(manifest) for link in links)
        assert str(tmp_path) not in (folder / "index.html").read_text()


def test_pictures_are_in_the_page(tmp_path):
    svg = draw(tmp_path / "figure.svg")
    page = Page(page_of(tmp_path, [coverage()], {"fig3": [svg, svg]}))
    sources = [base64.b64decode(source.partition(",")[2]) for source in values_of(page, "src")]
    assert sources == [svg.read_bytes()] * 2
    assert ET.fromstring(sources[0]).tag.endswith("svg")


@pytest.mark.parametrize(("content", "error"), [(None, MissingInput), (b"\x89PNG....", UnusableInput)])
def test_a_picture_that_is_none_is_named(tmp_path, content, error):
    path = tmp_path / "figure.svg"
    if content:
        path.write_bytes(content)
    with pytest.raises(error, match=re.escape(str(path))):
        page_of(tmp_path, [coverage()], {"fig3": [path]})


def test_same_reports_same_bytes(tmp_path):
    assert page_of(tmp_path, all_reports()) == page_of(tmp_path, all_reports())


def test_a_report_is_shown_once_and_linked_to_afterwards(tmp_path):
    html = page_of(tmp_path, [mixtures("table14", "Table 14")])
    assert html.count('<section class="report" id="table14">') == 1
    assert 'Shown with an earlier claim: <a href="#table14">Table 14</a>' in html


def test_reports_that_are_not_there_show_their_command(tmp_path):
    html = page_of(tmp_path, [coverage()])
    for name in KNOWN - {"fig3"}:
        assert f"<code>python run.py stage=report report={name}</code>" in html


def test_a_report_of_no_claim_is_shown_all_the_same(tmp_path):
    html = page_of(tmp_path, [unrun("mine", "My own table")], claims=[Claim("only", "t", "s", "Section 1", ("fig3",))])
    assert '<section class="report" id="mine">' in html and "Further reports" in html


@pytest.mark.parametrize("reports", [[], [Report("table1", "Table 1", "empty", "table", "tiny", "", [])]])
def test_nothing_to_show_is_said(tmp_path, reports):
    page = Page(page_of(tmp_path, reports))
    assert set(page.seen) <= TAGS


def test_a_part_that_was_not_run_says_so_beside_one_that_was(tmp_path):
    html = page_of(tmp_path, [generations()])
    assert "<summary>Table 15: changed tokens: 3 published results, nothing of ours yet</summary>" in html
    assert "Table 15: eligible tokens, result by result:" in html


texts = st.text(max_size=12) | st.sampled_from([HOSTILE, "", "12.5", "a" * 300, "\x00", "]]>", "<!--", "&#x1b;"])
numbers = st.none() | st.floats()
cells = st.builds(
    Cell,
    *(part := [texts] * 4),
    *[numbers] * 6,
    scale=texts,
    seeds=st.integers(0, 9),
    verdict=st.sampled_from(VERDICTS),
    reason=texts,
    measure=texts,
    command=texts,
    manifest=texts,
)


@settings(max_examples=60, deadline=None)
@given(found=st.lists(cells, max_size=14), words=texts)
def test_any_report_makes_a_sound_page(tmp_path_factory, found, words):
    report = Report("table1", words, words, words, words, words, found, [words], [words], [], [words])
    html = page_of(tmp_path_factory.getbasetemp(), [report])
    page = Page(html)
    assert set(page.seen) <= TAGS
    assert {name for _, name, _ in page.attributes} <= ATTRIBUTES
    assert len(re.findall(r'<tr class="cell ', html)) == len(found)


@given(st.floats(-1e300, 1e300))
def test_numbers_are_short_and_true(value):
    shown = number(value)
    assert len(shown) <= 10
    assert math.isclose(float(shown.replace(",", "").replace("−", "-")), value, rel_tol=5.1e-3)


def test_no_number_is_a_dash():
    assert {number(value) for value in (None, math.nan, math.inf, -math.inf)} == {"–"}


# --- edits ------------------------------------------------------------------------------------------------------------


def test_edits_stand_in_a_frame_that_can_do_nothing(whole, tmp_path):
    frame = re.search(r'<iframe title="[^"]+" sandbox src="data:text/html;charset=utf-8;base64,([^"]+)">', whole)
    assert base64.b64decode(frame[1]).decode() == "<p>edits & such</p>"
    assert "iframe" not in Page(page_of(tmp_path, all_reports())).seen


def test_the_edits_of_a_corpus_are_the_page_of_stage_diff(tmp_path):
    sentence = "the cat sat on the mat, and the dog sat on the cat\n"
    edited = build_edited(tmp_path, [sentence * 9, sentence * 60, sentence * 8])
    name = json.loads((edited.path / "manifest.json").read_text())["name"]
    for most_tokens, lengths in ((50_000, [60, 9]), (500, [9, 8]), (3, [])):
        html = edit_page(edited.path, 2, most_tokens)
        assert [text.count("\n") for text in Page(html).originals] == lengths, "the most edited that fit"
        assert name in html
