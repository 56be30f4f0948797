r"""What `edit.protect` may name: a regular expression each, and the bytes where it matches.

Reads and writes no file. The expressions find what looks like the thing, in Markdown, LaTeX or plain text; they check
nothing. Each one runs in time proportional to the text, whatever the text is: a line or a bound ends every search.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_DIGITS = r"[\d²³¹⁰⁴-⁹₀-₉¼-¾⅐-⅞]+"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"

PATTERNS = {
    # 42, -1, +3.5, 1,234.56, 12:30, 3/4, 1e-9, 50%, ½; the 12 of B12. Digits of every script, no words.
    "numbers": re.compile(rf"[+\-−]?{_DIGITS}(?:[.,:/⁄]{_DIGITS})*(?:[eE][+\-−]?\d+)?[%‰°]?"),
    # 2024-03-01, 01.03.2024, 3/1/24; March 1st, 2024; 1 March 2024; March 2024; the month in English.
    "dates": re.compile(
        r"(?<!\d)\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?!\d)"
        rf"|\b{_MONTH} {_DAY}\b(?:,? \d{{4}}\b)?|\b{_DAY} (?:of )?{_MONTH}(?:,? \d{{4}}\b)?|\b{_MONTH},? \d{{4}}\b",
        re.IGNORECASE,
    ),
    # http://…, https://…, ftp://… and www.…, up to a space, quote or angle bracket, without the sentence's punctuation.
    "urls": re.compile(r"(?:(?:https?|ftp)://|\bwww\.)[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]", re.IGNORECASE),
    # name@host.domain
    "emails": re.compile(r"(?<![\w.+\-])[\w.+\-]{1,64}@[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8}"),
    # Markdown: fenced blocks ``` or ~~~, to the end of the text where nothing closes them, and `inline code`.
    "code": re.compile(r"(`{3,}|^~{3,}).*?(?:\1|\Z)|(?<!`)(`{1,2})(?!`)[^\n]*?[^`\n]\2(?!`)", re.DOTALL | re.MULTILINE),
    # LaTeX: $…$ on a line and not before a digit ($5 and $10 are prices), $$…$$, \(…\), \[…\], \begin{…}…\end{…}.
    "math": re.compile(
        r"(?<!\\)\$\$.{1,2000}?\$\$|(?<![\\$])\$(?![\s$])[^$\n]{0,1000}(?<![\s\\])\$(?!\d)"
        r"|\\\(.{1,2000}?\\\)|\\\[.{1,2000}?\\\]|\\begin\{([A-Za-z]+\*?)\}.{1,2000}?\\end\{\1\}",
        re.DOTALL,
    ),
    # "…", “…”, „…“, «…» on one line, the quotation marks included.
    "quotes": re.compile(r'"[^"\n]+"|“[^“”\n]+”|„[^„“”\n]+[“”]|«[^«»\n]+»'),
}
NAMES = tuple(PATTERNS)


def protected_spans(text: str, names: tuple[str, ...]) -> NDArray[np.int64]:
    """[S, 2]: the bytes of `text` in UTF-8 where one of the patterns matches; sorted, merged where they meet."""
    found = sorted(match.span() for name in names for match in PATTERNS[name].finditer(text))
    merged: list[list[int]] = []
    for start, end in found:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    span_S2 = np.array(merged, np.int64).reshape(-1, 2)
    if len(span_S2) and not text.isascii():
        byte_N = np.frombuffer(text.encode(), np.uint8)
        byte_of_character = np.append(np.flatnonzero((byte_N & 0xC0) != 0x80), len(byte_N))
        span_S2 = byte_of_character[span_S2]
    return span_S2
