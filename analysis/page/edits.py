"""The page of `stage=diff` for an edited corpus, as text, to be shown inside the page of reports."""

from __future__ import annotations

from pathlib import Path

from toedit.diff_page import page_parts
from toedit.document_views import load_views
from toedit.workspace import read_manifest


def edit_page(edited: Path, documents: int = 2) -> str:
    """HTML of the `documents` with the most edits of the corpus at `edited`.

    Raises MissingInput or UnusableInput where it is no edited corpus, or its scores are gone.
    """
    return "".join(page_parts(read_manifest(edited), load_views(edited, [], documents)))
