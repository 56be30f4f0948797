"""Damaged shards: whatever byte is hit, readers name the file in one line or give what was written, never else."""

import random
from copy import deepcopy

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from artifact_fixtures import build_edited, load_tokenizer

from toedit.config import EditConfig
from toedit.documents import read_documents
from toedit.edit_corpus import EDITS, LEDGER_SCHEMA, edit_shard
from toedit.errors import UnusableInput
from toedit.parquet_files import count_rows, read_parquet, write_parquet
from toedit.reverting import revert_shard
from toedit.scores import read_scores
from toedit.token_counts import SCHEMA

TEXTS = ["the cat sat on the mat, and the dog sat on the cat", "a bold claim & one"] * 3


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    return build_edited(tmp_path_factory.mktemp("damaged"), TEXTS)


def outcomes(file, read, flips=150):
    """What reading gives with each of some bits flipped: how often it was named; any other result is an error."""
    content, whole, named = file.read_bytes(), read(file), 0
    draw = random.Random(0)
    try:
        for _ in range(flips):
            damaged = bytearray(content)
            damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            file.write_bytes(damaged)
            try:
                assert read(file) == whole
            except UnusableInput as error:
                assert str(file) in str(error) and "\n" not in str(error)
                named += 1
        for length in (0, 1, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:length])
            with pytest.raises(UnusableInput, match=file.name):
                read(file)
    finally:
        file.write_bytes(content)
    assert read(file) == whole
    return named


def test_documents(edited):
    for shard in sorted((edited.path / "documents").iterdir()):
        assert outcomes(shard, lambda path: list(read_documents(path))) > 140  # a bit or two mean nothing


def test_ledgers(edited):
    for ledger in sorted((edited.path / EDITS).iterdir()):
        assert outcomes(ledger, lambda path: read_parquet(path, LEDGER_SCHEMA).to_pylist()) > 20


def test_scores(edited):
    def read(path):
        scores = read_scores(path)
        return [scores.ids, *(array.tobytes() for array in vars(scores).values() if hasattr(array, "tobytes"))]

    for shard in sorted((edited.inputs["scores"].path / "scores").iterdir()):
        assert outcomes(shard, read) > 20


def test_other_files_are_named(tmp_path):
    with pytest.raises(UnusableInput, match=r"none\.parquet: damaged, or not of this kind \(no such file\)"):
        read_parquet(tmp_path / "none.parquet", SCHEMA)
    write_parquet(tmp_path / "counts.parquet", SCHEMA.empty_table())
    assert count_rows(tmp_path / "counts.parquet") == 0
    with pytest.raises(UnusableInput, match=r"counts\.parquet: .*position"):
        read_parquet(tmp_path / "counts.parquet", LEDGER_SCHEMA)
    swapped = pa.schema([("id", pa.string()), ("tokens", pa.float32()), ("bytes", pa.int32())])
    with pytest.raises(UnusableInput, match=r"counts\.parquet: .*its column tokens is int32"):
        read_parquet(tmp_path / "counts.parquet", swapped)
    (tmp_path / "counts.parquet").unlink()
    (tmp_path / "counts.parquet").mkdir()
    with pytest.raises(UnusableInput, match="no such file"):
        count_rows(tmp_path / "counts.parquet")


def test_scores_of_other_documents_are_refused(edited, tmp_path):
    """Two shards of equal size in each other's place: the sizes of the manifest say nothing."""
    scores = sorted((edited.inputs["scores"].path / "scores").iterdir())[0]
    shard = sorted((edited.inputs["corpus"].path / "documents").iterdir())[1]
    outputs = tmp_path / "documents", tmp_path / "ledger"
    with pytest.raises(UnusableInput, match=r"00001\.jsonl\.zst: its documents are not those"):
        edit_shard(shard, list(read_documents(shard)), read_scores(scores), load_tokenizer(), EditConfig(), *outputs)


def test_a_ledger_of_another_shard_is_refused(tmp_path):
    edited = build_edited(tmp_path, TEXTS)
    ledger, other, _ = sorted((edited.path / EDITS).iterdir())
    shard = sorted((edited.path / "documents").iterdir())[0]
    documents, rows = list(read_documents(shard)), pq.read_table(ledger)
    few = tmp_path / "few.parquet"
    write_parquet(few, rows.slice(0, rows.num_rows - 1))
    empty = tmp_path / "empty.parquet"
    write_parquet(empty, rows.slice(0, 0))
    for damaged in (other, few, empty):
        with pytest.raises(UnusableInput, match=damaged.name):
            revert_shard(shard, deepcopy(documents), damaged, tmp_path / "reverted")
    assert revert_shard(shard, documents, ledger, tmp_path / "reverted")["reverted"] == rows.num_rows
