"""Real text in every supported format: the same documents give the same edit, and every byte comes back."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from conftest import files_of, run_command
from test_end_to_end import documents_of, ledger_of
from tokenizers_fixture import require_test_data

SOURCES = ("dolma-common-crawl", "redpajama-github", "c4-olmo-fixture", "redpajama-arxiv")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """Web, code, LaTeX: whole Dolma rows with their metadata of mixed shapes."""
    folder = require_test_data() / "human" / "documents" / "train"
    chosen = []
    for source in SOURCES:
        with gzip.open(folder / f"{source}.jsonl.gz", "rt", encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
        chosen += [row for row in found if len(row["text"]) < 20_000][:6]
    return chosen


def write(rows: list[dict], path: Path) -> None:
    name = path.name
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if ".json." in name or name.endswith(".json"):
        lines = json.dumps(rows).encode()
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    elif name.endswith(".zst"):
        path.write_bytes(zstandard.ZstdCompressor().compress(lines))
    elif name.endswith(".parquet"):
        metadata = [json.dumps(row["metadata"]) for row in rows]
        columns = {key: [row[key] for row in rows] for key in ("id", "text", "source")}
        pq.write_table(pa.table({**columns, "note": metadata, "number": list(range(len(rows)))}), path)
    else:
        path.write_bytes(lines)


@pytest.fixture(scope="module")
def first(rows, small_prior, tmp_path_factory) -> Path:
    return edit(rows, "texts.jsonl", small_prior, tmp_path_factory.mktemp("first"))


def edit(rows: list[dict], name: str, prior: Path, work: Path) -> Path:
    write(rows, work / name)
    run_command(
        "stage=edit", "corpus=local", f"corpus.path={name}", "prior=local", f"prior.path={prior}",
        "score.min_p=0.3", "edit.p=0.3", "edit.temperature=2", "out=edited", cwd=work,
    )  # fmt: skip
    return work / "edited"


@pytest.mark.parametrize(
    "name", ["t.jsonl.gz", "t.jsonl.zst", "t.json", "t.json.gz", "t.json.zst", "T.JSONL", "t.parquet", "t.ndjson"]
)
def test_every_format_gives_the_same_edit(name, rows, first, small_prior, tmp_path):
    edited = edit(rows, name, small_prior, tmp_path)
    assert ledger_of(edited) == ledger_of(first) != []
    texts, expected = documents_of(edited), documents_of(first)
    assert [(d["id"], d["text"], d["source"]) for d in texts] == [(d["id"], d["text"], d["source"]) for d in expected]
    if not name.endswith(".parquet"):  # written without the column: its shape differs from row to row
        assert texts == expected


def test_text_files_are_one_document_each(rows, small_prior, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, row in enumerate(rows):
        (folder / f"{number:03d}.txt").write_bytes(row["text"].encode())
    run_command(
        "stage=edit", "corpus=local", "corpus.path=texts", "prior=local", f"prior.path={small_prior}",
        "score.min_p=0.3", "edit.p=0.3", "edit.temperature=2", "out=edited", cwd=tmp_path,
    )  # fmt: skip
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=tmp_path)
    assert len(ledger_of(tmp_path / "edited")) > 20
    assert [document["text"] for document in documents_of(tmp_path / "original")] == [row["text"] for row in rows]


def test_real_text_comes_back_byte_for_byte(first):
    work = first.parent
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=work)
    run_command("stage=corpus", "corpus=local", "corpus.path=texts.jsonl", "out=corpus", cwd=work)
    assert files_of(work / "original", "documents") == files_of(work / "corpus", "documents")
