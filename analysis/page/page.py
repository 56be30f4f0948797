"""The one page of all reports: the paper's claims one by one, with verdicts, pictures, tables and commands.

Reads finished reports (`analysis/reports/cells.py`) and their svg pictures; writes one HTML file that needs nothing but
a browser: no network, no script, no file beside it. Links to manifests are relative. The command:

    python run.py stage=report report=all out=reports
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.page.claims import Claim, load_claims, read_claim
from analysis.page.markup import command, text
from analysis.page.report_section import section
from analysis.page.style import STYLE
from analysis.page.summary import choice, reading_badge, summary
from analysis.reports.cells import Report
from toedit.diff_style import STYLE as EDIT_STYLE

TITLE = "How to Synthesize Text Data without Model Collapse? What we find"

_FOOT = (
    "<footer>\n<p>Every number links to the manifest of the artifact that it was read from, and to its command. This "
    "page is one file and loads nothing.</p>\n</footer>\n</main>\n</body>\n</html>\n"
)


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
    claims = load_claims() if claims is None else claims
    folder = path.parent if home is None else home
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_head(title, edits is not None))
        file.writelines(summary(reports, claims, title, made))
        file.write(choice(reports))
        file.writelines(_claims(reports, pictures, claims, folder))
        file.writelines(_edits(edits))
        file.write(_FOOT)


# --- head -------------------------------------------------------------------------------------------------------------


def _head(title: str, has_edits: bool) -> str:
    styles = " ".join(_hash(style) for style in ([STYLE, EDIT_STYLE] if has_edits else [STYLE]))
    frame = "frame-src data:; " if has_edits else ""
    policy = f"default-src 'none'; style-src {styles}; img-src data:; {frame}base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )


def _hash(style: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


# --- claims -----------------------------------------------------------------------------------------------------------


def _claims(
    reports: Sequence[Report], pictures: Mapping[str, Sequence[Path]], claims: Sequence[Claim], home: Path
) -> Iterator[str]:
    """Each claim with its reports: shown where the first claim names them, linked to afterwards."""
    by_name = {report.name: report for report in reports}
    shown: set[str] = set()
    for claim in claims:
        reading = read_claim(claim, by_name)
        yield f'<section class="claim" id="{text(claim.name)}">\n<h2>{text(claim.title)}</h2>\n'
        yield f'<p class="says">{text(claim.says)} <small>({text(claim.section)})</small></p>\n'
        yield f"<p>{reading_badge(reading)} {text(reading.sentence)}</p>\n"
        if claim.note:
            yield f"<p>{text(claim.note)}</p>\n"
        here = [by_name[name] for name in claim.reports if name in by_name]
        yield _links("Tables and figures", [report for report in here if report.name not in shown])
        yield _links("Shown with an earlier claim", [report for report in here if report.name in shown])
        yield from _absent([name for name in claim.reports if name not in by_name])
        for name in claim.reports:
            if name in by_name and name not in shown:
                shown.add(name)
                yield from section(by_name[name], pictures.get(name, ()), home)
        yield "</section>\n"
    if rest := [report for report in reports if report.name not in shown]:
        yield '<section class="claim" id="others">\n<h2>Further reports</h2>\n'
        for report in rest:
            yield from section(report, pictures.get(report.name, ()), home)
        yield "</section>\n"


def _links(what: str, reports: Sequence[Report]) -> str:
    links = ", ".join(f'<a href="#{text(report.name)}">{text(report.place)}</a>' for report in reports)
    return f"<p>{what}: {links}.</p>\n" if links else ""


def _absent(names: Sequence[str]) -> Iterator[str]:
    """Reports that nobody made for this page, with their commands."""
    if names:
        yield "<details>\n<summary>Not on this page</summary>\n<ul>\n"
        yield from (f"<li>{command(f'python run.py stage=report report={name}')}</li>\n" for name in names)
        yield "</ul>\n</details>\n"


def _edits(edits: str | None) -> Iterator[str]:
    """The page of edits in a frame of its own, whose text can do nothing here.

    A `data:` address and not `srcdoc`, in which links to anchors would mean this page's.
    """
    if edits is not None:
        yield '<section class="claim edits" id="edits">\n<h2>The edits themselves</h2>\n'
        yield "<p>Documents of the edited corpus with the most changed tokens.</p>\n"
        address = f"data:text/html;charset=utf-8;base64,{base64.b64encode(edits.encode()).decode()}"
        yield f'<iframe title="Edited documents" sandbox src="{address}"></iframe>\n</section>\n'
