"""The page of reports in a real browser: headless Chromium opens it from disk, wide and narrow, light and dark.

Where `.venv-browser` is absent these tests are skipped and say how to make it; with CI=true it is made.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from artifact_fixtures import make_view
from conftest import REPOSITORY
from report_fixtures import all_reports, draw, hostile
from test_diff import MANIFEST

from analysis.page.page import write_page
from analysis.reports.cells import count
from toedit.diff_page import page_parts

VIEWS = ("1280-light", "1280-dark", "360-light", "360-dark")


@pytest.fixture(scope="module")
def browser_python() -> Path:
    """The Python that has Playwright and a Chromium."""
    python = REPOSITORY / os.environ.get("TOEDIT_BROWSER_VENV", ".venv-browser") / "bin" / "python"
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip("no browser here: make one with `bash scripts/environment_browser.sh` (410 MB), or set CI=true")
    made = subprocess.run(
        ["bash", str(REPOSITORY / "scripts" / "environment_browser.sh")], capture_output=True, text=True, timeout=900
    )
    assert made.returncode == 0, made.stderr
    return python


def visit(python: Path, page: Path, *screenshots: str) -> dict:
    chromium = python.parents[1] / "chromium" / "chromium"
    script = Path(__file__).with_name("browser_visit.py")
    command = [str(python), str(script), page.as_uri(), str(chromium), *screenshots]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def reports():
    return [*all_reports(), hostile()]


@pytest.fixture(scope="module")
def seen(browser_python, reports, tmp_path_factory) -> dict:
    """What a reader sees. $TOEDIT_SCREENSHOTS names a folder for pictures of it."""
    folder = tmp_path_factory.mktemp("page with a space")
    view, _ = make_view("the cat sat on the mat, and the dog sat on the cat\n" * 40, rate=0.2)
    write_page(
        folder / "index.html",
        reports,
        {"table1": [draw(folder / "figure.svg")], "fig3": [draw(folder / "other.svg", "share of documents, %")]},
        edits="".join(page_parts(MANIFEST, [view])),
        made="2026-11-26",
    )
    screenshots = [os.environ["TOEDIT_SCREENSHOTS"]] if "TOEDIT_SCREENSHOTS" in os.environ else []
    found = visit(browser_python, folder / "index.html", *screenshots)
    return {**found, "address": (folder / "index.html").as_uri()}


def test_nothing_is_said_and_nothing_leaves_the_machine(seen):
    assert seen["said"] == []
    assert {request for request in seen["requests"] if not request.startswith("data:")} == {seen["address"]}


def test_a_bad_page_is_caught(browser_python, tmp_path):
    """The check itself: a page that loads something, scrolls sideways, whispers and links to nothing."""
    (tmp_path / "index.html").write_text(
        "<!DOCTYPE html><title>bad</title><p style='width:2000px;color:#ccc'>faint</p><a href='#nowhere'>link</a>"
        "<img src='http://127.0.0.1:9/picture.png'><input type=radio id=show-all>"
    )
    found = visit(browser_python, tmp_path / "index.html")
    assert any(request.startswith("http://127.0.0.1:9/") for request in found["requests"])
    assert found["said"]
    assert found["dead_links"] == ["#nowhere"]
    assert found["views"]["360-light"]["page_width"] > 1000
    assert any("faint" in low for low in found["views"]["1280-light"]["low_contrast"])


@pytest.mark.parametrize("view", VIEWS)
def test_it_is_readable(seen, view):
    found = seen["views"][view]
    assert found["page_width"] <= int(view.partition("-")[0]), "the page scrolls sideways"
    assert found["low_contrast"] == []
    assert len(found["pictures"]) == 2
    assert all(width > 100 for width in found["pictures"]), "a picture that cannot be shown"


def test_dark_is_dark(seen):
    def brightness(view):
        return sum(int(part) for part in seen["views"][view]["paper"].strip("rgb()").split(","))

    assert brightness("1280-dark") < 150 < 600 < brightness("1280-light")


def test_links_lead_somewhere_and_focus_shows(seen):
    assert seen["dead_links"] == []
    assert seen["focused"] == "A"
    assert seen["focus"] == "solid"


def test_a_choice_shows_its_verdict_alone(seen, reports):
    """Without a script; rows in folded lists come into sight."""
    counts = count([cell for report in reports for cell in report.cells])
    assert len(seen["choices"]) == 1 + len(counts)
    for verdict, name in (("contradicts", "contradicts"), ("same direction", "same"), ("not run", "unrun")):
        assert seen["choices"][f"show-{name}"] == [f"cell {name}"] * counts[verdict]


def test_edits_are_shown_in_a_frame(seen):
    assert "the cat sat on the mat" in seen["edits"]["text"].replace("\n", " ")
    assert seen["edits"]["scrolled"] > 0, "a link inside the frame leads nowhere"


def test_it_prints(seen):
    assert seen["printed"] > 20_000
