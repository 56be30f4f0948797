"""The one page of all reports: the paper's claims one by one, with verdicts, pictures, tables and commands.

Reads finished reports (`analysis/reports/cells.py`) and their svg pictures; writes one HTML file that needs nothing but
a browser: no network, no script, no file beside it. Links to manifests are relative. `stage=report report=all` calls it:

    python run.py stage=report report=all out=reports
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.page.claims import Claim, load_claims
from analysis.reports.cells import Report

TITLE = "How to Synthesize Text Data without Model Collapse? What we can reproduce"


def write_page(
    path: Path,
    reports: Sequence[Report],
    pictures: Mapping[str, Sequence[Path]],
    claims: Sequence[Claim] | None = None,
    *,
    edits: str | None = None,
    title: str = TITLE,
    made: str = "",
    home: Path | None = None,
) -> None:
    """Write the page.

    `pictures` has the svg files of a report by its name; `edits` is the HTML of the page of edits
    (`analysis.page.edits.edit_page`); `made` a date to show; `home` the folder that the page will lie in, where it is
    first written somewhere else: links to manifests start there. `claims`: those of `claims.yaml`.

    Raises MissingInput or UnusableInput naming a picture.
    """
    raise NotImplementedError
