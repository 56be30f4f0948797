"""What a person sees: lines, tables and progress. Results go to stdout, progress to stderr.

Text of documents passes `printable` before it reaches a terminal, so that no corpus can move the cursor or change
the title of somebody's window.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Sequence
from types import TracebackType

# Characters that break a line or act on the terminal, or reorder what is shown around them (Trojan Source).
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_PLAIN_LINE_SECONDS = 10.0


def printable(text: str, keep_newlines: bool = False) -> str:
    """`text` with control sequences made visible (`\\x1b`), so that a terminal shows them and obeys none."""
    if text.isprintable():
        return text
    return "".join(
        character
        if (keep_newlines and character == "\n") or unicodedata.category(character) not in _INVISIBLE_CATEGORIES
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def say(line: str = "") -> None:
    """One line of result."""
    print(line, flush=True)


def note(line: str) -> None:
    """One line about the work itself; names of files may be in it, which are as free as text."""
    print(printable(line), file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A small table: first column to the left, the others to the right."""
    cells = [[printable(str(cell)) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    if title:
        say(title)
    for number, row in enumerate(cells):
        line = "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        say("  " + line.rstrip())
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


def human(number: float, unit: str = "") -> str:
    """1234567 -> '1.23M'."""
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{suffix}{unit}"
    return f"{number:.3g}{unit}"


def duration(seconds: float) -> str:
    """73.2 -> '1m13s'."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


class Progress:
    """Rate and ETA: one moving line on a terminal, a plain line every ten seconds elsewhere.

    `total` may be None where the end is not known. Use as a context manager; `advance` as often as you like.
    """

    def __init__(self, title: str, total: float | None, unit: str = "tokens") -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0.0
        self.started = self.shown = time.monotonic()
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.live:
            sys.stderr.write("\r\x1b[K")
        if kind is None and self.done:
            note(self._line(finished=True))

    def skip(self, amount: float) -> None:
        """Work that an earlier run did: part of the total, not of the rate."""
        if self.total is not None:
            self.total -= amount

    def advance(self, amount: float, detail: str = "") -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.shown < (0.1 if self.live else _PLAIN_LINE_SECONDS):
            return
        self.shown = now
        if self.live:
            sys.stderr.write("\r\x1b[K" + self._line(detail=detail))
            sys.stderr.flush()
        else:
            note(self._line(detail=detail))

    def _line(self, detail: str = "", finished: bool = False) -> str:
        elapsed = max(time.monotonic() - self.started, 1e-9)
        rate = self.done / elapsed
        parts = [f"{self.title}: {human(self.done)} {self.unit}"]
        if not finished and self.total:
            parts[0] = f"{self.title}: {min(self.done / self.total, 1):4.0%} of {human(self.total)} {self.unit}"
        parts.append(f"{human(rate)}/s")
        if finished:
            parts.append(duration(elapsed))
        elif self.total and rate > 0:
            parts.append(f"{duration(max(self.total - self.done, 0) / rate)} left")
        return ", ".join([*parts, detail] if detail else parts)
