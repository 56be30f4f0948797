"""The one exception of reading: a row that cannot become a document."""

from __future__ import annotations


class BadRow(Exception):
    """A row that cannot become a document: a kind of reason, which is counted, and a detail, which is listed."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
