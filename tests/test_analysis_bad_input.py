"""Corpora that hardly are one, through every analysis, as whole commands: an answer, or one line that says why not.

Another analysis is added by its name in ANALYSES.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import run_command, write_jsonl

CORPORA: dict[str, list[str]] = {
    "empty": [],
    "blank": [" \n ", "\t\u00a0"],
    "one_document": ["The cat sat on the mat, and the dog sat on the cat."],
    "one_token": ["a", "b", "a", "c", "the"],
    "identical": ["The cat sat on the mat, as the story goes."] * 6,
    "ordinary": [f"The {name} waited {count} days under the bridge." for count, name in enumerate(["cat", "dog"] * 8)],
}
PAIRS = [(name, "ordinary") for name in CORPORA if name != "ordinary"] + [
    ("ordinary", name) for name in ("empty", "one_document", "one_token")
]
COPIES = ("one_document", "identical", "ordinary")
NO_NUMBER = re.compile(r"(?<![a-z])(nan|inf|infinity)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Analysis:
    """How an analysis is called, and which corpora it refuses, with what words."""

    overrides: tuple[str, ...] = ()
    takes_other: bool = True
    needs_other: bool = False
    needs_prior: bool = False
    refuses: Mapping[str, str] = field(default_factory=dict)


EMPTY = {"empty": r"no usable document|no document|holds no|empty"}
ANALYSES = {
    "token_probability": Analysis(takes_other=False, needs_prior=True, refuses=EMPTY),
    "perplexity_distribution": Analysis(
        ("analysis.resamples=99",),
        needs_other=True,
        needs_prior=True,
        refuses={**EMPTY, "one_token": "no document with a scored token"},
    ),
    "ngrams": Analysis(
        ("analysis.resamples=99", "analysis.ngrams.buckets=50"), refuses={**EMPTY, "blank": "holds no word"}
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("corpora")
    for name, texts in CORPORA.items():
        rows = [{"id": f"{name}/{number}", "text": text, "source": name} for number, text in enumerate(texts)]
        write_jsonl(made / f"{name}.jsonl", rows)
    return made


def analyzed(folder: Path, name: str, corpus: str, other: str | None, request: pytest.FixtureRequest) -> None:
    """Run the command; look at what it says or writes."""
    analysis = ANALYSES[name]
    command = ["stage=analyze", f"analysis={name}", "corpus=local", f"corpus.path={folder / corpus}.jsonl"]
    if other:
        command.append(f"analysis.other.path={folder / other}.jsonl")
    if analysis.needs_prior:
        command += ["prior=local", f"prior.path={request.getfixturevalue('small_prior')}"]
    out = f"made/{name}-{corpus}-{other}"
    refused = next((analysis.refuses[side] for side in (corpus, other) if side in analysis.refuses), None)
    command += [*analysis.overrides, f"out={out}", "tokens.processes=1"]
    run = run_command(*command, cwd=folder, expect=2 if refused else 0)
    assert "Traceback" not in run.stderr + run.stdout
    if refused:
        said = [line for line in run.stderr.splitlines() if re.search(refused, line)]
        assert len(said) == 1 and any(f"{side}" in said[0] for side in (corpus, other)), run.stderr
        return
    assert not NO_NUMBER.search(run.stdout), run.stdout
    tables = [file for file in (folder / out).rglob("*") if file.suffix in {".csv", ".md", ".tex", ".json"}]
    assert tables
    for file in tables:
        found = NO_NUMBER.search(file.read_text(encoding="utf-8"))
        assert not found, f"{file.name}: {found}"


@pytest.mark.parametrize("corpus", [name for name in CORPORA if name != "ordinary"])
@pytest.mark.parametrize("name", [name for name, analysis in ANALYSES.items() if not analysis.needs_other])
def test_one_corpus(name, corpus, folder, request):
    analyzed(folder, name, corpus, None, request)


@pytest.mark.parametrize(("corpus", "other"), PAIRS)
@pytest.mark.parametrize("name", [name for name, analysis in ANALYSES.items() if analysis.takes_other])
def test_two_corpora(name, corpus, other, folder, request):
    analyzed(folder, name, corpus, other, request)


@pytest.mark.parametrize("corpus", COPIES)
@pytest.mark.parametrize("name", [name for name, analysis in ANALYSES.items() if analysis.takes_other])
def test_a_corpus_and_its_copy(name, corpus, folder, request):
    analyzed(folder, name, corpus, corpus, request)
