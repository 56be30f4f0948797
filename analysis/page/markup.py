"""Pieces of HTML. Whatever comes from a file or a command is text: spelt out where invisible, escaped, never markup."""

from __future__ import annotations

import base64
import html
import math
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from analysis.reports.cells import AGREES, CONTRADICTS, NOT_COMPARABLE, NOT_RUN, SAME_DIRECTION
from toedit.diff_page import visible
from toedit.errors import MissingInput, UnusableInput

# {verdict: (class, sign)}: a sign beside the word, as no verdict may be told by its colour alone.
VERDICT_STYLES = {
    AGREES: ("agrees", "="),
    SAME_DIRECTION: ("same", "✓"),
    CONTRADICTS: ("contradicts", "×"),
    NOT_COMPARABLE: ("incomparable", "~"),
    NOT_RUN: ("unrun", "○"),
}


def text(words: object) -> str:
    """Any text as HTML, for content and for quoted attributes."""
    return html.escape(visible(str(words)), quote=True)


def verdict_class(verdict: str) -> str:
    return VERDICT_STYLES[verdict][0] if verdict in VERDICT_STYLES else "incomparable"


def badge(verdict: str, cells: int | None = None) -> str:
    """A verdict with its sign and, where it is given, its number of cells."""
    name, sign = VERDICT_STYLES.get(verdict, ("incomparable", "?"))
    shown = "" if cells is None else f" <b>{cells:,}</b>"
    return f'<span class="badge {name}"><span aria-hidden="true">{sign}</span> {text(verdict)}{shown}</span>'


def tally(counts: Mapping[str, int]) -> str:
    """Verdicts with their numbers of cells."""
    return " ".join(badge(verdict, cells) for verdict, cells in counts.items())


def command(line: str) -> str:
    """A command that one click selects."""
    return f'<pre class="command" tabindex="0"><code>{text(line)}</code></pre>'


def relative_link(target: str, home: Path) -> str:
    """The address of a file on this machine as seen from a page in `home`."""
    path = os.path.relpath(Path(target).resolve(), home.resolve())
    return quote(Path(path).as_posix())


def number(value: float | None) -> str:
    """Four significant digits, three below 1; a dash for what is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if not size:
        return "0"
    decimals = max(0, (3 if size >= 1 else 2) - math.floor(math.log10(size)))
    shown = f"{value:.3g}" if not 1e-3 <= size < 1e7 else f"{value:,.{decimals}f}"
    return shown.replace("-", "−", 1) if value < 0 else shown


def picture(path: Path) -> str:
    """An svg file as a `data:` address. A picture in an `img` runs no script and loads nothing.

    Raises MissingInput or UnusableInput naming the file.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise MissingInput(f"{path}: no such picture") from None
    if b"<svg" not in content[:4096]:
        raise UnusableInput(f"{path}: not an svg picture")
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
