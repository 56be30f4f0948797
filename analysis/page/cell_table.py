"""The numbers of a report as HTML tables: as in the paper, a row by a column, and one by one with all there is to say.

A table scrolls inside its box, so that the page itself never does sideways.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.page.markup import VERDICT_STYLES, badge, number, relative_link, text, verdict_class
from analysis.reports.cells import Cell, Report

_GRID_FROM = 10
"""Fewer cells than this are read one by one."""


def tables(report: Report, home: Path, commands: Mapping[str, str]) -> Iterator[str]:
    """The tables, part by part. `commands`: the anchor of each command on the page."""
    parts = list(dict.fromkeys(cell.part for cell in report.cells))
    for place, part in enumerate(parts):
        cells = [cell for cell in report.cells if cell.part == part]
        name = f"{report.place}: {part}" if part else report.place
        mark = f"{report.name}-{place}"
        if not any(cell.ours is not None for cell in cells):
            what = f"the {len(cells)} published result{'s' if len(cells) != 1 else ''}"
            yield f"<p>{text(name)}: nothing of ours stands here yet.</p>\n"
            yield f"<details><summary>{text(name)}: {what}</summary>\n"
            yield from _list(cells, name, mark, home, commands)
            yield "</details>\n"
        elif _is_grid(cells):
            yield from _grid(cells, name, mark)
            yield f"<details><summary>{text(name)}: each result with its interval, reason and source</summary>\n"
            yield from _list(cells, name, mark, home, commands)
            yield "</details>\n"
        else:
            yield from _list(cells, name, mark, home, commands)


def _is_grid(cells: Sequence[Cell]) -> bool:
    """Is there a cell at most places of its rows and columns, and one at each?"""
    places = {(cell.row, cell.column) for cell in cells}
    rows, columns = {row for row, _ in places}, {column for _, column in places}
    return (
        len(cells) >= _GRID_FROM
        and len(places) == len(cells)
        and min(len(rows), len(columns)) >= 2
        and 2 * len(cells) >= len(rows) * len(columns)
    )


def _open(kind: str, mark: str, caption: str) -> str:
    """A table in a region that scrolls, by keyboard too. Its caption stays outside, where it can be read whole."""
    return (
        f'<p class="caption" id="{mark}">{text(caption)}</p>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{mark}">'
        f'<table class="{kind}" aria-labelledby="{mark}">\n'
    )


_CLOSE = "</tbody></table></div>\n"


# --- as in the paper --------------------------------------------------------------------------------------------------


def _grid(cells: Sequence[Cell], name: str, mark: str) -> Iterator[str]:
    """Ours above, published below; the longer side runs down."""
    rows, columns = (list(dict.fromkeys(getattr(cell, side) for cell in cells)) for side in ("row", "column"))
    is_turned = len(columns) > 8 and len(columns) > len(rows)
    at = {(cell.row, cell.column): cell for cell in cells}
    down, across = (columns, rows) if is_turned else (rows, columns)
    head = "".join(f'<th scope="col">{text(title)}</th>' for title in across)
    yield _open("grid", f"{mark}-grid", f"{name}. Ours, and below it the published number:")
    yield f'<thead><tr><td class="corner"></td>{head}</tr></thead>\n<tbody>\n'
    for first in down:
        line = [at.get((second, first) if is_turned else (first, second)) for second in across]
        yield f'<tr><th scope="row">{text(first)}</th>{"".join(_square(cell) for cell in line)}</tr>\n'
    yield _CLOSE


def _square(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    name, sign = VERDICT_STYLES.get(cell.verdict, ("incomparable", "?"))
    verdict = f'<span class="sign" aria-hidden="true">{sign}</span><span class="heard">{text(cell.verdict)}</span>'
    return f'<td class="{name}"><b>{number(cell.ours)}</b> {verdict}<small>{text(cell.published)}</small></td>'


# --- one by one -------------------------------------------------------------------------------------------------------


def _list(cells: Sequence[Cell], name: str, mark: str, home: Path, commands: Mapping[str, str]) -> Iterator[str]:
    names = [side for side in ("row", "column") if any(getattr(cell, side) for cell in cells)]
    is_run = any(cell.ours is not None for cell in cells)
    has_difference = any(cell.difference is not None for cell in cells)
    titles = [*(names if len(names) > 1 else ["result"] * len(names)), "published"]
    titles += ["ours"] if is_run else []
    titles += ["minus baseline"] if has_difference else []
    titles += ["verdict, and why", "from"]
    right = {"ours", "minus baseline"} | ({"published"} if all(_is_short(cell.published) for cell in cells) else set())
    style = {True: ' class="value"', False: ""}
    head = "".join(f'<th scope="col"{style[title in right]}>{title}</th>' for title in titles)
    caption = "; in brackets, 95 % intervals" if any(cell.low is not None for cell in cells) else ""
    yield _open("cells", f"{mark}-list", f"{name}, result by result{caption}:")
    yield f"<thead><tr>{head}</tr></thead>\n<tbody>\n"
    for cell in cells:
        yield f'<tr class="cell {verdict_class(cell.verdict)}">'
        for place, side in enumerate(names):
            tag = 'th scope="row"' if place == 0 else "td"
            yield f'<{tag} class="name">{text(getattr(cell, side))}</{tag[:2]}>'
        yield _published(cell.published, is_head=not names)
        if is_run:
            yield f'<td class="value">{_with_interval(cell.ours, cell.low, cell.high)}</td>'
        if has_difference:
            shown = _with_interval(cell.difference, cell.difference_low, cell.difference_high, plus="+")
            yield f'<td class="value">{shown}</td>'
        yield f"<td>{badge(cell.verdict)} {_why(cell)}</td><td>{_source(cell, home, commands)}</td></tr>\n"
    yield _CLOSE


def _published(printed: str, is_head: bool) -> str:
    """A number to the right, a sentence to the left; the head of its row where nothing else names it."""
    style = "value" if _is_short(printed) else "words"
    tag = 'th scope="row"' if is_head else "td"
    return f'<{tag} class="{style}">{text(printed)}</{tag[:2]}>'


def _is_short(printed: str) -> bool:
    return len(printed) <= 12


def _with_interval(value: float | None, low: float | None, high: float | None, plus: str = "") -> str:
    if value is None:
        return "–"
    shown = f"<b>{plus if value > 0 else ''}{number(value)}</b>"
    if low is None or high is None:
        return shown
    return f'{shown} <span class="interval">[{number(low)}, {number(high)}]</span>'


def _why(cell: Cell) -> str:
    words = f'<span class="reason">{text(cell.reason)}</span>' if cell.reason else ""
    if cell.measure and cell.ours is not None:
        words += f'<small class="reason">measured: {text(cell.measure)}</small>'
    return words


def _source(cell: Cell, home: Path, commands: Mapping[str, str]) -> str:
    """Links to what the number is read from and to what makes it."""
    links = []
    if cell.manifest:
        folder = Path(cell.manifest).parent.name
        links.append(f'<a href="{text(relative_link(cell.manifest, home))}" title="{text(folder)}">manifest</a>')
    if cell.command in commands:
        anchor = commands[cell.command]
        links.append(f'<a href="#{anchor}">command {anchor.rpartition("-")[2]}</a>')
    if cell.ours is not None:
        seeds = f", {cell.seeds} seed{'s' if cell.seeds != 1 else ''}" if cell.seeds else ""
        links.append(f"<small>{text(cell.scale)}{seeds}</small>")
    return " ".join(links)
