"""One table or figure on the page: what was found, pictures, numbers, commands, notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.page.cell_table import tables
from analysis.page.markup import command, picture, tally, text
from analysis.reports.cells import NOT_RUN, Report, count


def section(report: Report, pictures: Sequence[Path], home: Path) -> Iterator[str]:
    """The section of `report`; its anchor is the report's name."""
    yield f'<section class="report" id="{text(report.name)}">\n'
    yield f"<h3>{text(report.place)}<small>{text(report.title)}</small></h3>\n"
    yield f"<p class=tally>{tally(count(report.cells))} {text(_run(report))}</p>\n"
    for path in pictures:
        yield _picture(report, path)
    missing, others = _commands(report)
    anchors = {line: f"{report.name}-command-{place}" for place, line in enumerate([*missing, *others], start=1)}
    yield from tables(report, home, anchors)
    yield from _made_by(report, missing, others, anchors)
    yield from _notes(report)
    yield "</section>\n"


def _run(report: Report) -> str:
    """Scale and seeds of our numbers."""
    ours = [cell for cell in report.cells if cell.ours is not None]
    if not ours:
        return ""
    scales = sorted({cell.scale for cell in ours if cell.scale})
    seeds = sorted({cell.seeds for cell in ours if cell.seeds})
    said = [f"scale {' and '.join(scales)}"] if scales else []
    if seeds:
        many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        said.append(f"{many} seed{'s' if seeds != [1] else ''}")
    return f"Ours: {', '.join(said)}." if said else ""


def _picture(report: Report, path: Path) -> str:
    caption = f"{report.place}, ours: {report.title}"
    return (
        '<figure>\n<div class="scroll picture" tabindex="0" role="region" '
        f'aria-label="{text(report.place)}, picture"><img src="{picture(path)}" alt="{text(caption)}"></div>\n'
        f"<figcaption>{text(caption)}</figcaption>\n</figure>\n"
    )


def _commands(report: Report) -> tuple[list[str], list[str]]:
    """(commands that make what is not there, all others that are behind the report), each once."""
    missing = [*report.missing, *(cell.command for cell in report.cells if cell.verdict == NOT_RUN)]
    missing = [line for line in dict.fromkeys(missing) if line]
    others = dict.fromkeys([report.command, *(cell.command for cell in report.cells)])
    return missing, [line for line in others if line and line not in missing]


def _made_by(report: Report, missing: Sequence[str], others: Sequence[str], anchors: dict[str, str]) -> Iterator[str]:
    """The commands, numbered; those of what is not there stay in sight."""

    def item(line: str) -> str:
        return f'<li id="{anchors[line]}" value="{anchors[line].rpartition("-")[2]}">{command(line)}</li>\n'

    if missing:
        yield f"<p>To run what is missing:</p>\n<ol>\n{''.join(map(item, missing))}</ol>\n"
    if others:
        what = f"The command that makes this {report.kind}" if others == [report.command] else "The commands behind it"
        yield f"<details><summary>{text(what)}</summary>\n<ol>\n{''.join(map(item, others))}</ol>\n</details>\n"


def _notes(report: Report) -> Iterator[str]:
    if not report.notes and not report.published_sources:
        return
    yield "<details><summary>Notes, and where the published numbers are from</summary>\n"
    for title, lines in (("Notes", report.notes), ("Published numbers", report.published_sources)):
        if lines:
            yield f"<p>{title}</p>\n<ul>\n{''.join(f'<li>{text(line)}</li>' for line in lines)}\n</ul>\n"
    yield "</details>\n"
