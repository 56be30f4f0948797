"""Adversarial documents through corpus, score, edit and revert: nothing lost, nothing crashed.

    .venv/bin/python scripts/fuzz_documents.py --documents 10000 --seed 0 --work fuzzed    a few minutes

Writes hostile input files (`fuzz_inputs.py`, `fuzz_instructions.py`), runs the real commands on them with tiny priors
of random weights (`fuzz_priors.py`), so hot that most tokens are drawn anew, and looks at what they leave behind:

* every row is a document or is listed in rejected.jsonl, as the row was made to be; counts add up;
* after edit and revert every document has the bytes, the id and the metadata it had, every instruction row its fields;
* exit codes; no traceback; no control sequence in what the terminal gets; memory stays below --memory.

Prints a row a command and a row a kind of input; exits 1 where there is a finding. The same seed gives the same input.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard
from fuzz_inputs import LONGEST, Case, Expected, text_cases, write_texts
from fuzz_instructions import LAYOUTS, write_instructions
from fuzz_priors import FAMILIES

from toedit.documents import Document, read_documents, shard_paths

REPOSITORY = Path(__file__).resolve().parents[1]
HOT = ["score.min_p=0", "score.top_k=6", "edit.p=1e-9", "edit.k=6", "edit.temperature=50"]
# What acts on a terminal or reorders it; the commands' own lines hold nothing of it but line ends.
_ACTS_ON_A_TERMINAL = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@dataclass
class Campaign:
    """What was run, and what was found."""

    work: Path
    memory: int
    findings: list[str] = field(default_factory=list)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many cases of a kind became documents, or were rejected."""

    def find(self, finding: str) -> None:
        self.findings.append(finding)
        print(f"FINDING {ascii(finding)[:500]}", flush=True)

    def command(self, *arguments: str, expect: int = 0) -> str:
        """`python run.py …`; returns what the terminal got."""
        log = self.work / "log.txt"
        begun = time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "run.py"), *arguments], cwd=self.work, stdout=file, stderr=file
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        shown, memory = log.read_bytes(), usage.ru_maxrss * 1024
        stage = " ".join(Path(part).name if "/" in part else part for part in arguments[:1] + arguments[-1:])
        print(
            f"{stage:<44} exit {process.returncode}  {time.monotonic() - begun:6.1f} s  {memory / 1e6:6.0f} MB",
            flush=True,
        )
        if process.returncode != expect:
            self.find(
                f"{stage}: exit code {process.returncode}, wanted {expect}: {shown[-2000:].decode(errors='replace')}"
            )
        if memory > self.memory:
            self.find(f"{stage}: took {memory / 1e6:.0f} MB")
        for finding in wrong_on_a_terminal(shown):
            self.find(f"{stage}: {finding}")
        return shown.decode(errors="replace")

    def check(self, what: str, findings: Iterator[str]) -> None:
        for number, finding in enumerate(findings):
            if number == 10:
                self.find(f"{what}: and more")
                return
            self.find(f"{what}: {finding}")


def wrong_on_a_terminal(shown: bytes) -> Iterator[str]:
    if b"Traceback" in shown:
        yield f"a traceback: {shown[shown.index(b'Traceback') :][-1500:].decode(errors='replace')}"
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        yield "the terminal gets bytes that are no UTF-8"
        return
    if found := _ACTS_ON_A_TERMINAL.search(text):
        yield f"the terminal gets {found[0]!r} in {text[max(found.start() - 80, 0) : found.end() + 40]!r}"


# --- what a command left behind ---------------------------------------------------------------------------------------


def documents_of(folder: Path) -> list[Document]:
    return [document for path in shard_paths(folder) for document in read_documents(path)]


def rejected_of(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "rejected.jsonl").read_text().splitlines()]


def counts_of(folder: Path) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["counts"]
    return counts


def is_odd(name: str) -> bool:
    """Whether a file's name may stand otherwise in messages, so that its place in their order is not known."""
    return not name.isprintable() or "\\" in name


def check_corpus(corpus: Path, expected: Expected) -> Iterator[str]:
    """Every row is what it was made to be: its document, or listed with its line; documents in the order of rows."""
    counts, documents, rejected = counts_of(corpus), documents_of(corpus), rejected_of(corpus)
    rows = sum(len(cases) for cases in expected.values())
    if not counts["documents_in"] == rows == counts["documents_out"] + counts["rejected"]:
        yield f"{rows} rows went in, counted are {counts}"
    if (counts["documents_out"], counts["rejected"]) != (len(documents), len(rejected)):
        yield f"{len(documents)} documents and {len(rejected)} rejections are there, counted are {counts}"
    if len({document["id"] for document in documents}) != len(documents):
        yield "ids are not unique"
    names = [name for name in sorted(expected) if not is_odd(name)]
    listed = {(row["file"], row["line"]) for row in rejected}
    for name in names:
        for line, case in expected[name]:
            if ((name, line) in listed) != (case.text is None):
                yield f"{name} line {line} ({case.kind}) is {'rejected' if case.text is not None else 'accepted'}"
                return  # from here on documents and rows would be out of step
    cases = [case for name in names for _, case in expected[name] if case.text is not None]
    for case, document in zip(cases, documents, strict=False):
        yield from wrong_document(case, document)
    odd = [case for name in expected if is_odd(name) for _, case in expected[name] if case.text is not None]
    if Counter(case.text for case in odd) != Counter(document["text"] for document in documents[len(cases) :]):
        yield "files with odd names: their documents are not those that were written"


def wrong_document(case: Case, document: Document) -> Iterator[str]:
    name, where = document["id"], f"{case.kind} {document['id'][:80]!r}"
    if isinstance(case.text, str):
        if document["text"] != case.text:
            yield f"{where}: the text differs"
        if case.id is not None and name != case.id and not name.startswith(f"{case.id}--"):
            yield f"{where}: its id was {case.id[:80]!r}"
        if not same(document.get("metadata"), case.metadata):
            yield f"{where}: the metadata differ"
    elif not same(document["metadata"]["toedit_instruction"]["row"], case.text):
        yield f"{where}: the row differs"
    if not isinstance(document["source"], str):
        yield f"{where}: the source is no string"


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: -0.0 is not 0, 1 is not true, keys have no order."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def check_edited(corpus: Path, edited: Path) -> Iterator[str]:
    """The same documents in the same order, and many tokens changed."""
    counts, before, after = counts_of(edited), documents_of(corpus), documents_of(edited)
    if [document["id"] for document in before] != [document["id"] for document in after]:
        yield "the edited documents are not those of the corpus"
    if counts["changed"] < counts["documents"] or counts["changed"] + counts["unspliceable"] > counts["eligible"]:
        yield f"implausible counts {counts}"
    if counts["changed"] != sum(document["metadata"]["toedit"]["changed"] for document in after):
        yield "the documents' own counts do not add up"
    if sum(one["text"] != other["text"] for one, other in zip(before, after, strict=False)) * 4 < len(before):
        yield "hardly any text changed"


def check_reverted(corpus: Path, reverted: Path) -> Iterator[str]:
    """Text, id, source and metadata of every document."""
    before, after = documents_of(corpus), documents_of(reverted)
    if len(before) != len(after):
        yield f"{len(before)} documents were edited, {len(after)} came back"
    for one, other in zip(before, after, strict=False):
        fields = [key for key in {*one, *other} if not same(one.get(key), other.get(key))]
        if fields:
            yield f"document {one['id'][:80]!r}: {', '.join(sorted(fields))} did not come back"


def check_rows(reverted: Path, expected: Expected) -> Iterator[str]:
    """Instruction rows come back whole, in order."""
    lines = [
        line for path in sorted((reverted / "instructions").glob("*.jsonl")) for line in path.read_bytes().splitlines()
    ]
    rows = [case.text for cases in expected.values() for _, case in cases if case.text is not None]
    if len(lines) != len(rows):
        yield f"{len(rows)} instruction rows went in, {len(lines)} came back"
    for number, (line, row) in enumerate(zip(lines, rows, strict=False)):
        if not same(json.loads(line), row):
            yield f"instruction row {number} did not come back"


# --- the campaign -----------------------------------------------------------------------------------------------------


def there_and_back(campaign: Campaign, name: str, expected: Expected, priors: dict[str, Path], *settings: str) -> None:
    """corpus, then score, edit and revert under each prior."""
    source, corpus = campaign.work / name, campaign.work / f"{name}-corpus"
    limits = [f"corpus.max_document_bytes={LONGEST}", "corpus.shard_bytes=500000"]
    campaign.command("stage=corpus", "corpus=local", f"corpus.path={source}", *limits, *settings, f"out={corpus}")
    for cases in expected.values():
        campaign.kinds.update((case.kind, "rejected" if case.text is None else "documents") for _, case in cases)
    if not (corpus / "manifest.json").exists():
        return
    campaign.check(name, check_corpus(corpus, expected))
    for family, prior in priors.items():
        scores, edited, reverted = (
            campaign.work / f"{name}-{family}-{stage}" for stage in ("scores", "edited", "reverted")
        )
        own = [f"corpus.path={corpus}", "corpus=local", f"prior.path={prior}", "prior=local"]
        own += ["edit.condition_on_prompt=false"] if settings else []  # else no first token of a response would change
        campaign.command("stage=score", *own, *HOT, f"out={scores}")
        campaign.command("stage=edit", f"scores.path={scores}", *HOT, f"out={edited}")
        campaign.command("stage=revert", f"edited.path={edited}", f"out={reverted}")
        if not (reverted / "manifest.json").exists():
            continue
        campaign.check(f"{name}, {family}", check_edited(corpus, edited))
        campaign.check(f"{name}, {family}", check_reverted(corpus, reverted))
        if settings:
            campaign.check(f"{name}, {family}", check_rows(reverted, expected))


def cut_files(campaign: Campaign, draw: random.Random, documents: int) -> None:
    """Compressed files that end too early are refused in one line, or read as far as they go; and a bomb."""
    folder = campaign.work / "cut"
    folder.mkdir()
    cases = [case for case in text_cases(draw, documents) if case.text is not None]
    data = b"".join(case.line + b"\n" for case in cases)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(data, mtime=0)[: -draw.randrange(1, 200)])
    (folder / "b.jsonl.zst").write_bytes(zstandard.compress(data)[: -draw.randrange(1, 200)])
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(data, mtime=0)[:-8] + b"damaged!")
    with gzip.open(folder / "d.jsonl.gz", "wb", 5) as bomb, zstandard.open(folder / "e.jsonl.zst", "wb") as other:
        for piece in [b'{"text": "', *[b"a" * LONGEST] * (10 + documents // 4), b'"}\n{"text": "behind the bomb"}\n']:
            bomb.write(piece)
            other.write(piece)
    arguments = ["stage=corpus", "corpus=local", f"corpus.path={folder}", f"corpus.max_document_bytes={LONGEST}"]
    shown = campaign.command(*arguments, f"out={campaign.work / 'refused'}", expect=2)
    if "a.jsonl.gz: ends too early" not in shown:
        campaign.find(f"a cut file is not named: {shown[-300:]!r}")
    kept = campaign.work / "kept"
    campaign.command(*arguments, "corpus.on_truncated_file=keep", f"out={kept}")
    nameless = [case.text for case in cases if not isinstance(json.loads(case.line).get("source"), str)]
    campaign.check("cut files", check_kept(kept, nameless))


def check_kept(kept: Path, texts: Sequence[str]) -> Iterator[str]:
    """Of every cut file the documents before the cut; behind the bombs, which are named, the file goes on.

    `texts` are those of the rows that name no source, so that the name of the file is theirs.
    """
    documents, rejected = documents_of(kept), rejected_of(kept)
    for name in ("a.jsonl.gz", "b.jsonl.zst", "c.jsonl.gz"):
        found = [document["text"] for document in documents if document.get("source") == name]
        lines = {row["line"] for row in rejected if row["file"] == name}
        least = (
            len(texts) // 2 if name == "a.jsonl.gz" else 0
        )  # the others come in blocks: all of a small file, or none
        if len(lines) > 1 or found != texts[: len(found)] or len(found) < least:
            yield f"{name}: what was kept is not the beginning of what was written; rejected lines {sorted(lines)}"
    for name in ("d.jsonl.gz", "e.jsonl.zst"):
        if [row["line"] for row in rejected if row["file"] == name] != [1]:
            yield f"{name}: the bomb is not listed"
    if [document["text"] for document in documents].count("behind the bomb") != 2:
        yield "the rows behind the bombs are lost"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="*", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--layouts", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--memory", type=float, default=3.0, help="GB that a command may take")
    parser.add_argument("--work", type=Path, help="keep everything here; by default a folder that is removed")
    asked = parser.parse_args()
    work = (asked.work or Path(tempfile.mkdtemp(prefix="toedit-fuzz-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    begun, draw = time.monotonic(), random.Random(asked.seed)
    campaign = Campaign(work, int(asked.memory * 1e9))
    script = REPOSITORY / "scripts" / "fuzz_priors.py"
    # In another process: the memory of those that are started from this one begins with what this one holds.
    subprocess.run([sys.executable, script, work / "priors", *asked.families], check=True, capture_output=True)
    priors = {family: work / "priors" / family for family in asked.families}
    there_and_back(campaign, "texts", write_texts(work / "texts", draw, asked.documents * 8 // 10), priors)
    for number, layout in enumerate(asked.layouts):
        expected = write_instructions(work / layout, draw, asked.documents // 10, layout)
        family = asked.families[(number + 1) % len(asked.families)]
        there_and_back(campaign, layout, expected, {family: priors[family]}, f"corpus.layout={layout}")
    cut_files(campaign, draw, max(asked.documents // 50, 20))
    print(f"\n{'kind':<24} {'documents':>9} {'rejected':>9}")
    for kind in sorted({kind for kind, _ in campaign.kinds}):
        print(f"{kind:<24} {campaign.kinds[kind, 'documents']:>9} {campaign.kinds[kind, 'rejected']:>9}")
    total, seconds = sum(campaign.kinds.values()), time.monotonic() - begun
    print(f"{total} documents, {len(campaign.findings)} findings, {seconds:.0f} s")
    if not asked.work and not campaign.findings:
        shutil.rmtree(work)
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main())
