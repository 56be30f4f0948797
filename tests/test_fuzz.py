"""Fuzzing at the size that CI can spare: 400 hostile documents through the real commands, and what a fuzzer found.

For 10,000 documents and for new inputs, call `scripts/fuzz_documents.py` and `scripts/fuzz_coverage.py`.
"""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))
import fuzz_targets
from fuzz_coverage import TEXTS
from fuzz_documents import check_corpus, check_edited, check_kept, check_reverted, check_rows, wrong_on_a_terminal
from fuzz_inputs import Case, write_texts
from fuzz_instructions import write_instructions
from fuzz_priors import FAMILIES, write_tokenizer

from toedit.documents import ShardWriter, read_documents, shard_paths
from toedit.splicing import Spliced
from toedit.tokenizing import load_tokenizer

SEEDS = Path(__file__).parent / "golden" / "fuzz"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """(what the script printed, where it worked)"""
    work = tmp_path_factory.mktemp("fuzzed")
    script = [sys.executable, str(REPOSITORY / "scripts" / "fuzz_documents.py"), "--documents", "400", "--seed", "1"]
    chosen = ["--families", "byte_fallback", "--layouts", "sharegpt", "--work", str(work)]
    run = subprocess.run([*script, *chosen], capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout, work


def test_fuzzed_documents_come_back(fuzzed):
    shown, _ = fuzzed
    kinds = {
        kind: (int(kept), int(bad)) for kind, kept, bad in re.findall(r"^(.+?) +(\d+) +(\d+)$", shown, re.MULTILINE)
    }
    assert sum(kept for kept, _ in kinds.values()) > 150 and sum(bad for _, bad in kinds.values()) > 50
    assert kinds["sound row"][0] > 20 and kinds["enormous"] == (6, 0) and kinds["too long"] == (0, 2)
    assert {"broken UTF-8", "deep or huge", "forged record", "colliding keys", "lone surrogate"} <= kinds.keys()
    assert shown.count("exit 0") == 9 and shown.count("exit 2") == 1 and "0 findings" in shown


def test_the_same_seed_makes_the_same_input(tmp_path):
    for folder in "ab":
        write_texts(tmp_path / folder / "texts", random.Random(5), 200)
        write_instructions(tmp_path / folder / "rows", random.Random(5), 50, "alpaca")
    files = {
        file.relative_to(tmp_path / "a"): file.read_bytes() for file in (tmp_path / "a").rglob("*") if file.is_file()
    }
    assert len(files) > 10
    for name, content in files.items():
        if name.suffix not in (".gz", ".parquet"):
            assert (tmp_path / "b" / name).read_bytes() == content


# --- the checks themselves: each has to find what it looks for ------------------------------------------------------


def rewritten(folder: Path, to: Path, change) -> Path:
    """A copy of the corpus in `folder`, its documents changed."""
    (to / "documents").mkdir(parents=True)
    for path in shard_paths(folder):
        with ShardWriter(to / "documents" / path.name) as writer:
            for document in read_documents(path):
                change(document)
                writer.write(document)
    for name in ("manifest.json", "rejected.jsonl"):
        if (folder / name).exists():
            (to / name).write_bytes((folder / name).read_bytes())
    return to


def swap_a_letter(document):
    document["text"] = document["text"].replace("quick", "quack", 1)


def rename(document):
    document["id"] = document["id"].replace("big/3", "big/7")


def add_metadata(document):
    if document["text"].startswith("An ordinary"):
        document["metadata"] = {"n": 0}


@pytest.mark.parametrize(
    "change, word",
    [(swap_a_letter, "text"), (rename, "id"), (add_metadata, "metadata")],
    ids=["text", "id", "metadata"],
)
def test_one_changed_byte_is_a_finding(fuzzed, change, word, tmp_path):
    _, work = fuzzed
    corpus, reverted = work / "texts-corpus", work / "texts-byte_fallback-reverted"
    assert list(check_reverted(corpus, reverted)) == []
    changed = rewritten(reverted, tmp_path / "changed", change)
    assert any(word in finding and "did not come back" in finding for finding in check_reverted(corpus, changed))
    if change is not rename:
        expected = write_texts(tmp_path / "again", random.Random(1), 320)
        assert list(check_corpus(corpus, expected)) == []
        changed = rewritten(corpus, tmp_path / "corpus", change)
        assert any(f"{word} differ" in finding for finding in check_corpus(changed, expected))


def test_lost_rows_wrong_counts_and_wrong_rejections_are_findings(fuzzed, tmp_path):
    _, work = fuzzed
    corpus = work / "texts-corpus"
    expected = write_texts(tmp_path / "again", random.Random(1), 320)
    expected["a.jsonl"].append((10**6, Case("text", b"", "never written")))
    assert any("rows went in" in finding for finding in check_corpus(corpus, expected))
    line, case = expected["a.jsonl"][0]
    expected["a.jsonl"][0] = (line, case._replace(text=None))
    assert any("is accepted" in finding for finding in check_corpus(corpus, expected))
    assert any("hardly any" in finding for finding in check_edited(corpus, _as_edited(corpus, tmp_path / "same")))
    rows = write_instructions(tmp_path / "rows", random.Random(2), 40, "sharegpt")
    assert any("instruction row" in finding for finding in check_rows(work / "sharegpt-byte_fallback-reverted", rows))
    assert any("the bomb" in finding for finding in check_kept(corpus, []))


def _as_edited(corpus: Path, to: Path) -> Path:
    def note(document):
        document["metadata"] = {"toedit": {"changed": 0}}

    rewritten(corpus, to, note)
    (to / "manifest.json").write_text(
        json.dumps({"counts": {"changed": 0, "documents": 1, "unspliceable": 0, "eligible": 0}})
    )
    return to


@pytest.mark.parametrize(
    "shown, words",
    [
        (b"Traceback (most recent call last):\n", ["a traceback"]),
        (b"a \x1b[31m line", ["the terminal gets"]),
        ("a \u202e line".encode(), ["the terminal gets"]),
        (b"\xff", ["no UTF-8"]),
        ("déjà written: 🙂\n".encode(), []),
    ],
)
def test_what_a_terminal_must_not_get_is_a_finding(shown, words):
    found = list(wrong_on_a_terminal(shown))
    assert len(found) == len(words) and all(word in finding for word, finding in zip(words, found, strict=True))


# --- what the coverage-guided fuzzer found ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    for family in FAMILIES:
        write_tokenizer(family, folder / family)
    return [load_tokenizer(folder / family) for family in FAMILIES]


def seeds_of(name: str) -> list[bytes]:
    """What the fuzzer begins with, and what it found to reach more."""
    found = [bytes.fromhex(line) for line in (SEEDS / f"{name}.txt").read_text().splitlines()]
    assert found
    return fuzz_targets.seeds(TEXTS)[name] + found


def test_the_readers_seeds_hold_its_properties():
    seeds = seeds_of("reader")
    assert len(seeds) > 100
    for data in seeds:
        fuzz_targets.check_reader(data)


def test_the_splicers_seeds_hold_its_properties(tokenizers):
    seeds = seeds_of("splicer")
    assert len(seeds) >= 5
    for data in seeds:
        fuzz_targets.check_splicer(data, tokenizers)


def test_the_targets_find_a_reader_that_loses_a_line(monkeypatch):
    whole = fuzz_targets.FileRows.rows
    monkeypatch.setattr(fuzz_targets.FileRows, "rows", lambda self, *place: list(whole(self, *place))[1:])
    with pytest.raises(AssertionError, match="a line was lost"):
        fuzz_targets.check_reader(b"\0\0\0" + b'{"text": "a"}\n{"text": "b"}\n')


@pytest.mark.parametrize("lost", ["a byte", "a row", "a draw"])
def test_the_targets_find_a_splicer_that_loses_something(lost, monkeypatch, tokenizers):
    def careless(*arguments):
        text, rows, written_C, unspliceable = fuzz_targets_splice(*arguments)
        if lost == "a byte":
            text = text[:-1]
        elif lost == "a row":
            rows = rows[1:]
        else:
            unspliceable += 1
        return Spliced(text, rows, written_C, unspliceable)

    fuzz_targets_splice = fuzz_targets.splice
    monkeypatch.setattr(fuzz_targets, "splice", careless)
    with pytest.raises(AssertionError):
        fuzz_targets.check_splicer(b"\0abcd\xfe" + b"The quick brown fox jumps over the lazy dog", tokenizers)
