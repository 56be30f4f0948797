"""One HTML page that shows documents with every token tinted by its probability and every edit before -> after.

Reads the views of `document_views` and the manifest of the edited corpus; writes one self-contained file: no script,
no network, no fonts, and a Content-Security-Policy that forbids them. Everything from the corpus is escaped, and
characters that are invisible or reorder text (controls, bidi overrides) are spelt out.

Markup is kept short, for documents of many thousand tokens. A token is `<i class=h title="P 0.37 #12">text</i>`: its
class, a to t, is its probability in twentieths, u is unscored; an eligible token is `<b>` instead of `<i>`. An edit is
`<span class=x><del>old</del><ins>new</ins></span>`, y marks one with a line break.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toedit.config import EditConfig
from toedit.diff_style import PROBABILITY_CLASSES, STYLE, UNSCORED
from toedit.document_views import DocumentView, Edit, Run
from toedit.editors import may_change, rule, settings_of
from toedit.splicing import DELETED

# Shown as they are: line ends and tabs, which the page keeps, and the joiners that Persian or emoji are written with.
_KEPT_CHARACTERS = "\n\t\u200c\u200d"
_SPELT_OUT_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def write_page(path: Path, manifest: Mapping[str, Any], views: Sequence[DocumentView]) -> None:
    """Write the page; `manifest` is the edited corpus's."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(page_parts(manifest, views))


def page_parts(manifest: Mapping[str, Any], views: Sequence[DocumentView]) -> Iterator[str]:
    """The page, piece by piece, for whoever shows it inside another one."""
    edit = settings_of(manifest["identity"])
    yield _head(manifest)
    yield from _facts(manifest, edit)
    yield _legend(edit)
    yield from _contents(views)
    for number, view in enumerate(views, start=1):
        yield from _document(view, number, edit)
    yield "</main>\n</body>\n</html>\n"


def visible(text: str) -> str:
    r"""`text` with invisible and reordering characters spelt out (`\x1b`, `\u202e`), before any markup."""
    if text.isprintable():
        return text
    return "".join(_spell(character) if _is_spelt_out(character) else character for character in text)


def _is_spelt_out(character: str) -> bool:
    return character not in _KEPT_CHARACTERS and unicodedata.category(character) in _SPELT_OUT_CATEGORIES


def _spell(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _escape(text: str) -> str:
    """Text of the corpus as HTML: escaped, what is spelt out marked as such."""
    if text.isprintable():
        return html.escape(text)
    return "".join(
        f"<s>{_spell(character)}</s>" if _is_spelt_out(character) else html.escape(character) for character in text
    )


# --- parts of the page ------------------------------------------------------------------------------------------------


def _head(manifest: Mapping[str, Any]) -> str:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    name = _escape(manifest["name"])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Edits of {html.escape(visible(manifest['name']))}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>Token-level edits<small><bdi>{name}</bdi></small></h1>\n"
    )


def _facts(manifest: Mapping[str, Any], edit: EditConfig) -> Iterator[str]:
    counts, inputs = manifest["counts"], manifest["inputs"]
    tokens = max(counts["tokens"], 1)

    def rate(key: str) -> str:
        number = f"{counts[key]:,}" if isinstance(counts[key], int) else f"{counts[key]:,.1f}"
        return f"{number} <small>({counts[key] / tokens:.3%})</small>"

    rows = {role: _escape(inputs[role]["name"]) for role in ("corpus", "prior") if role in inputs}
    rows |= {"edit": _escape(rule(edit)), "seed": str(edit.seed)}
    rows |= {"documents": f"{counts['documents']:,}", "tokens": f"{counts['tokens']:,}"}
    rows |= {"eligible": rate("eligible"), "changed": rate("changed"), "expected to change": rate("expected_changed")}
    rows["unspliceable"] = f"{counts['unspliceable']:,}"
    yield '<dl class="facts">\n'
    for name, value in rows.items():
        yield f"<div><dt>{name}</dt><dd><bdi>{value}</bdi></dd></div>\n"
    yield "</dl>\n"


def _legend(edit: EditConfig) -> str:
    steps = "".join(f"<i class={name}> </i>" for name in PROBABILITY_CLASSES)
    eligible = "" if edit.sampler == "none" else f"<span><b class={PROBABILITY_CLASSES[-1]}>token</b> eligible</span>\n"
    return (
        '<p class="legend">\n'
        f'<span>P(token | its prefix) <small>0</small><span class="scale">{steps}</span><small>1</small></span>\n'
        f"<span><i class={UNSCORED}>token</i> not scored</span>\n{eligible}"
        "<span><span class=x><del>before</del><ins>after</ins></span> changed</span>\n"
        r"<span><s>\x1b</s> an invisible character, spelt out</span>" + "\n"
        "<span>Point at a token for its probability and position.</span>\n</p>\n"
    )


def _contents(views: Sequence[DocumentView]) -> Iterator[str]:
    columns = "".join(f"<th>{name}</th>" for name in ("document", "source", "tokens", "eligible", "changed"))
    yield f'<table class="contents">\n<thead><tr>{columns}</tr></thead>\n<tbody>\n'
    for number, view in enumerate(views, start=1):
        whole = max(view.tokens, 1)
        yield (
            f'<tr><td><a href="#d{number}"><bdi>{_escape(view.id)}</bdi></a></td>'
            f"<td><bdi>{_escape(view.source)}</bdi></td>"
            f"<td>{view.tokens:,}</td><td>{view.eligible:,} <small>({view.eligible / whole:.1%})</small></td>"
            f"<td>{len(view.edits):,} <small>({len(view.edits) / whole:.2%})</small></td></tr>\n"
        )
    yield "</tbody>\n</table>\n"


def _document(view: DocumentView, number: int, edit: EditConfig) -> Iterator[str]:
    yield f'<section id="d{number}">\n<h2><bdi>{_escape(view.id)}</bdi> '
    yield f"<small><bdi>{_escape(view.source)}</bdi></small></h2>\n"
    if view.edits:
        plural = "s" if len(view.edits) > 1 else ""
        yield f'<details><summary>{len(view.edits):,} edit{plural}</summary>\n<ol class="edits">\n'
        for change in view.edits.values():
            yield f'<li><a href="#d{number}-{change.position}">#{change.position}</a> {_change(change)}</li>\n'
        yield "</ol>\n</details>\n"
    yield '<div class="text" dir="auto">'
    eligible_T = may_change(view.logprob_T, edit)
    if view.changeable_T is not None:
        eligible_T &= view.changeable_T
    for run in view.runs():
        if isinstance(run, str):
            yield _escape(run)
        elif run.edit is not None:
            yield f'<span class=x id=d{number}-{run.first} title="{_edit_title(run.edit)}">{_change(run.edit)}</span>'
        else:
            tag = "b" if eligible_T[run.first : run.last + 1].all() else "i"
            title = f"{_probability(run.logprob)} #{_positions(run)}"
            yield f'<{tag} class={_probability_class(run.logprob)} title="{title}">{_escape(run.text)}</{tag}>'
    yield "</div>\n</section>\n"


def _change(change: Edit) -> str:
    """Old and new; a line break, invisible when it stands alone, gets a sign (class y)."""
    old, new = (" class=y" if "\n" in text else "" for text in (change.old_text, change.new_text))
    return f"<del{old}>{_escape(change.old_text)}</del><ins{new}>{_escape(change.new_text)}</ins>"


def _edit_title(change: Edit) -> str:
    before, after = _probability(change.old_logprob), _probability(change.new_logprob)
    if change.new_id == DELETED:
        return f"{before}, deleted #{change.position}, id {change.old_id}"
    return f"{before} to {after} #{change.position}, id {change.old_id} to {change.new_id}"


def _positions(run: Run) -> str:
    return str(run.first) if run.first == run.last else f"{run.first}-{run.last}"


def _probability(logprob: float) -> str:
    if math.isnan(logprob):
        return "not scored"
    probability = math.exp(logprob)
    return f"P {probability:.5f}" if probability >= 0.99 else f"P {probability:.3g}"


def _probability_class(logprob: float) -> str:
    if math.isnan(logprob):
        return UNSCORED
    steps = len(PROBABILITY_CLASSES)
    return PROBABILITY_CLASSES[min(int(math.exp(logprob) * steps), steps - 1)]
