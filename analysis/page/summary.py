"""What stands at the top of the page: all verdicts in numbers, the claims in a line each, how to read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from analysis.page.claims import (
    FAILS,
    HOLDS,
    MIXED,
    MOSTLY,
    NOT_TRIED,
    UNDECIDED,
    Claim,
    Reading,
    read_cells,
    read_claim,
)
from analysis.page.markup import badge, tally, text, verdict_class
from analysis.reports.cells import AGREES, CONTRADICTS, NOT_COMPARABLE, NOT_RUN, SAME_DIRECTION, Cell, Report, count

_MEANINGS = {
    AGREES: "At scale=paper, the published number lies within our 95 % interval or, without one, within the tolerance.",
    SAME_DIRECTION: (
        "Our difference from the baseline has the sign of the published one, and its 95 % interval excludes 0; or a "
        "published statement holds here."
    ),
    CONTRADICTS: "The sign is the other one and the interval excludes 0, or the statement does not hold here.",
    NOT_COMPARABLE: "Neither: the reason stands beside it.",
    NOT_RUN: "There is none of ours; the command that makes it stands below the table.",
}
_READING_CLASS = {
    HOLDS: "same",
    MOSTLY: "same",
    MIXED: "incomparable",
    FAILS: "contradicts",
    UNDECIDED: "incomparable",
    NOT_TRIED: "unrun",
}
_HOW_READ = (
    "A claim holds here where none of its results that can be decided contradicts, mostly holds where at least nine in "
    "ten point the published way, is contradicted where all of them point the other way, and is mixed in between. "
    "Results of one table come from the same few models, so they are not independent evidence. At a small scale, "
    "another model on other text is asked the same question."
)


def summary(reports: Sequence[Report], claims: Sequence[Claim], title: str, made: str) -> Iterator[str]:
    cells = [cell for report in reports for cell in report.cells]
    yield f"<header>\n<h1>{text(title)}</h1>\n"
    yield f"<p>{text(read_cells(cells).sentence)}</p>\n{_bar(count(cells), len(cells))}"
    yield f'<p class="tally">{tally(count(cells))}</p>\n'
    yield '<dl class="facts">\n'
    for name, value in _facts(reports, cells, made).items():
        yield f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>\n"
    yield "</dl>\n</header>\n"
    by_name = {report.name: report for report in reports}
    yield '<nav aria-labelledby="claims">\n<h2 id="claims">Claim by claim</h2>\n<ol class="claims">\n'
    for claim in claims:
        reading = read_claim(claim, by_name)
        yield f'<li><a href="#{text(claim.name)}">{text(claim.title)}</a> {reading_badge(reading)}\n'
        yield f"<p>{text(reading.sentence)}</p></li>\n"
    yield "</ol>\n</nav>\n"
    yield from _meanings(count(cells))


def _facts(reports: Sequence[Report], cells: Sequence[Cell], made: str) -> dict[str, str]:
    ours = [cell for cell in cells if cell.ours is not None]
    scales = sorted({cell.scale for cell in ours if cell.scale})
    seeds = sorted({cell.seeds for cell in ours if cell.seeds})
    kinds = Counter(report.kind for report in reports)
    shown = " and ".join(
        f"{kinds[kind]} {kind}{'s' if kinds[kind] != 1 else ''}" for kind in sorted(kinds, reverse=True)
    )
    facts = {"shown": shown or "nothing", "published results": f"{len(cells):,}", "of them run": f"{len(ours):,}"}
    facts["scale"] = ", ".join(scales) or "–"
    facts["seeds a result"] = "–" if not seeds else str(seeds[0]) + (f" to {seeds[-1]}" if len(seeds) > 1 else "")
    return facts | ({"made": made} if made else {})


def _bar(counts: Mapping[str, int], total: int) -> str:
    """The shares of the verdicts as one bar; its words stand below it."""
    if not total:
        return ""
    label = ", ".join(f"{cells:,} {verdict}" for verdict, cells in counts.items())
    bar, start = "", 0.0
    for verdict, cells in counts.items():
        width = 100 * cells / total
        bar += f'<rect class="{verdict_class(verdict)}" x="{start:.3f}%" width="{width:.3f}%" height="100%"/>'
        start += width
    return f'<svg class="bar" role="img" aria-label="{text(label)}">{bar}</svg>\n'


def reading_badge(reading: Reading) -> str:
    return f'<span class="badge reading {_READING_CLASS[reading.verdict]}">{text(reading.verdict)}</span>'


def _meanings(counts: Mapping[str, int]) -> Iterator[str]:
    """What the verdicts mean, and how a claim is read from them."""
    yield "<details>\n<summary>How to read the verdicts</summary>\n<dl>\n"
    for verdict, meaning in _MEANINGS.items():
        yield f"<div><dt>{badge(verdict, counts.get(verdict, 0))}</dt><dd>{text(meaning)}</dd></div>\n"
    yield f"</dl>\n<p>{text(_HOW_READ)}</p>\n</details>\n"


def choice(reports: Sequence[Report]) -> str:
    """Radio buttons: which verdicts to show. The style sheet does the rest."""
    counts = count([cell for report in reports for cell in report.cells])
    buttons = '<label><input type="radio" name="show" id="show-all" checked> all</label>\n'
    for verdict in counts:
        name = verdict_class(verdict)
        buttons += f'<label><input type="radio" name="show" id="show-{name}"> {text(verdict)}</label>\n'
    return f"<fieldset>\n<legend>Show results</legend>\n{buttons}</fieldset>\n"
