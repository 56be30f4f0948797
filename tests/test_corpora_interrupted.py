"""Reading files when things go wrong: cut files, rows without end, kills."""

import gzip
import os
import random
import signal
import string
import subprocess
import sys
import time

import pytest
from conftest import REPOSITORY
from corpus_fixtures import build, content_of, counts_of, documents_of, rejected_of, write

from toedit.documents import ShardWriter
from toedit.errors import UnusableInput


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst", "x.array.json.zst", "x.parquet"])
def test_a_cut_file_is_refused_or_kept_as_far_as_it_goes(tmp_path, name):
    choose = random.Random(0)
    rows = [{"id": str(n), "text": "".join(choose.choices(string.ascii_letters, k=3000))} for n in range(200)]
    path = write(tmp_path / name, rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    write(tmp_path / "a.jsonl", [{"text": "beside"}])
    with pytest.raises(UnusableInput, match=rf"{name}.*corpus.on_truncated_file=keep"):
        build(tmp_path, path=str(tmp_path))
    corpus = build(tmp_path, path=str(tmp_path), on_truncated_file="keep")
    kept, counts = documents_of(corpus)[1:], counts_of(corpus)
    assert kept == [{**row, "source": name} for row in rows[: len(kept)]]
    assert counts["truncated_files"] == [name]
    if name != "x.parquet":  # without its end, a Parquet file says nothing
        assert len(kept) > 100
        assert [(row["line"], row["reason"].split(":")[0]) for row in rejected_of(corpus)] == [
            (len(kept) + 1, "cut off")
        ]


def test_only_the_last_row_of_a_cut_file_is_cut(tmp_path):
    """Bad rows before the cut keep their own reasons."""
    rows = b'{"text": }\n[1]\n\xff\n{"text": "a"}\n{"text": "b"'
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(rows, mtime=0)[:-8])
    corpus = build(tmp_path, path=str(tmp_path), on_truncated_file="keep")
    assert [document["text"] for document in documents_of(corpus)] == ["a"]
    reasons = [row["reason"].split(":")[0] for row in rejected_of(corpus)]
    assert reasons == ["not JSON", "not an object", "invalid UTF-8", "cut off"]


INGEST = """
import sys
from pathlib import Path
from toedit.config import CorpusConfig
from toedit.corpora import plan_corpus
settings = dict(kind="local", path=sys.argv[1], shard_bytes=20_000, on_truncated_file="keep", split="train")
plan_corpus(CorpusConfig(**settings), Path(sys.argv[2])).ensure()
"""


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    rows = [{"text": f"{n % 700} " * 40, "id": n % 900 or None} if n % 7 else b"{bad}" for n in range(40_000)]
    texts = tmp_path / "texts"
    texts.mkdir()
    for number, format in enumerate([".jsonl", ".array.json", ".jsonl.gz", ".json.zst"]):
        path = write(texts / f"{number}{format}", rows[number::4])
    path.write_bytes(path.read_bytes()[:-9])
    finished = []
    for kills in (0, 4):
        root = tmp_path / str(kills)
        command = [sys.executable, "-c", INGEST, str(texts), str(root)]
        for kill in range(kills):
            with subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.DEVNULL
            ) as run:
                wanted, started = 2 + 14 * kill, time.monotonic()
                while len(list(root.glob("corpus/*/.progress/*"))) < wanted and time.monotonic() - started < 30:
                    time.sleep(0.002)
                run.send_signal(signal.SIGKILL)
        assert not list(root.glob("corpus/*/manifest.json"))
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True)
        (folder,) = (root / "corpus").iterdir()
        assert sorted(file.name for file in folder.iterdir()) == ["documents", "manifest.json", "rejected.jsonl"]
        finished.append((content_of(folder), counts_of(folder)))
    assert finished[0] == finished[1]
    assert len(finished[0][0]) > 80 and finished[0][1]["truncated_files"]


@pytest.mark.parametrize("place", ["rejected.jsonl", "documents/00001.jsonl.zst", ".progress/00001.json"])
def test_what_is_damaged_before_a_run_goes_on_is_made_again(tmp_path, place, monkeypatch):
    """One character of the list of bad rows, the end of a shard, a digit of a record."""
    rows = [{"id": str(n), "text": f"{n} " * 30} if n % 5 else b"{bad}" for n in range(100)]
    settings = {"path": str(write(tmp_path / "texts.jsonl", rows)), "shard_bytes": 1000}
    whole = build(tmp_path / "whole", **settings)
    write_in_full = ShardWriter.write

    def write_until_70(writer, document):
        if document["id"] == "71":
            raise KeyboardInterrupt
        write_in_full(writer, document)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ShardWriter, "write", write_until_70)
        build(tmp_path / "damaged", **settings)
    (folder,) = (tmp_path / "damaged" / "artifacts" / "corpus").iterdir()
    assert len(list((folder / ".progress").iterdir())) > 2
    content = (folder / place).read_bytes()
    damaged = content[:-9] if place.endswith(".zst") else content.replace(b"2", b"3", 1)
    assert damaged != content
    (folder / place).write_bytes(damaged)
    build(tmp_path / "damaged", **settings)
    assert content_of(folder) == content_of(whole) and counts_of(folder) == counts_of(whole)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_rows_too_long_are_never_held(tmp_path):
    script = INGEST.replace("split=", "max_document_bytes=1_000_000, split_key=")
    script += 'print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])'
    long = b'{"text": "' + b"x" * 200_000_000 + b'"}'
    rows = [{"text": "before"}, long, {"text": "after"}]
    peaks = []
    for name in ("a.jsonl.gz", "a.array.json.zst"):
        path = write(tmp_path / name, rows)
        command = [sys.executable, "-c", script, str(path), str(tmp_path / f"{name}-artifacts")]
        run = subprocess.run(
            command, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True
        )
        peaks.append(int(run.stdout))
        (folder,) = (tmp_path / f"{name}-artifacts" / "corpus").iterdir()
        assert [document["text"] for document in documents_of(folder)] == ["before", "after"]
        assert rejected_of(folder)[0]["reason"].startswith("too long: the row has 20000001")
    assert max(peaks) < 150_000, "resident kilobytes"
