"""The page of `stage=diff` for an edited corpus, as text, to be shown inside the page of reports."""

from __future__ import annotations

from pathlib import Path

from toedit.diff_page import page_parts
from toedit.document_views import DocumentView, load_views
from toedit.workspace import read_manifest

_TRIED = 8
"""Documents that are looked at for some that are short enough."""


def edit_page(edited: Path, documents: int = 2, most_tokens: int = 50_000) -> str:
    """HTML of the `documents` with the most edits of the corpus at `edited`, of at most `most_tokens` tokens together.

    A token takes about 50 bytes of markup, and a document may have millions. Where even the shortest of the most edited
    is too long, the corpus's counts stand alone.

    Raises MissingInput or UnusableInput where it is no edited corpus, or its scores are gone.
    """
    shown: list[DocumentView] = []
    for view in load_views(edited, [], max(documents, _TRIED)):
        if len(shown) < documents and sum(each.tokens for each in shown) + view.tokens <= most_tokens:
            shown.append(view)
    return "".join(page_parts(read_manifest(edited), shown))
