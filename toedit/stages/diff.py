"""`python run.py stage=diff`: edited documents side by side with their originals (see `toedit/diff_page.py`).

Reads an edited corpus: the one at `edited.path`, else the one of the other settings. Writes `diff.html`, and prints
the same documents.

    python run.py stage=diff diff.documents=3
    python run.py stage=diff edited.path=my-edited-corpus 'diff.ids=[some-id]'
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import Config, DiffConfig
from toedit.console import human, say
from toedit.diff_page import write_page
from toedit.diff_terminal import print_views
from toedit.document_views import load_views
from toedit.stages.revert import edited_corpus
from toedit.workspace import Result, Workspace, read_manifest

PAGE = "diff.html"


def plan(config: Config) -> Artifact:
    edited = edited_corpus(config)
    # max_characters concerns the terminal alone, and named documents make their number irrelevant.
    chosen = {"ids": config.diff.ids} if config.diff.ids else {"documents": config.diff.documents}
    return Artifact(
        kind="diff",
        name=edited.name,
        identity=chosen,
        inputs={"edited": edited},
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build_diff, diff=config.diff),
    )


def build_diff(workspace: Workspace, diff: DiffConfig) -> Result:
    """Write the page."""
    edited = workspace.inputs["edited"]
    views = load_views(edited, diff.ids, diff.documents)
    with workspace.shard("page", PAGE) as ((page,), _):
        write_page(page, read_manifest(edited), views)
    tokens, changed = sum(view.tokens for view in views), sum(len(view.edits) for view in views)
    return Result(counts={"documents": len(views), "tokens": tokens, "changed": changed})


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    counts = artifact.manifest()["counts"]
    views = load_views(artifact.inputs["edited"].path, config.diff.ids, config.diff.documents)
    print_views(views, config.diff.max_characters)
    page = artifact.path / PAGE
    say(f"page: {page} ({human(page.stat().st_size, 'B')}; open it in a browser)")
    return {key: f"{counts[key]:,}" for key in ("documents", "tokens", "changed")}
