"""Data sets of the hub, on local folders laid out like them and on a server that sometimes fails."""

import contextlib
import gzip
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY
from corpus_fixtures import counts_of, documents_of, rejected_of

from toedit.config import CorpusConfig
from toedit.corpora import hub, plan_corpus, remote
from toedit.errors import BadConfiguration, MissingInput, ToEditError, UnusableInput


def build(root: Path, **settings) -> Path:
    return plan_corpus(CorpusConfig(**{"kind": "hub", **settings}), root / "artifacts").ensure()


def texts_of(corpus: Path) -> list[str]:
    return [document["text"] for document in documents_of(corpus)]


def write_lines(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def parquet_set(tmp_path) -> Path:
    """Two files whose column `meta` has other types in each, and a second split."""
    folder = tmp_path / "parquet_set"
    (folder / "data").mkdir(parents=True)
    messages = [[{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(6)]
    metas = [[{"x": 1}] * 4, [["list"]] * 2]
    for number, (rows, meta) in enumerate(zip((messages[:4], messages[4:]), metas, strict=True)):
        table = pa.table({"messages": rows, "meta": meta, "text": [f"t{number}{n}" for n in range(len(rows))]})
        pq.write_table(table, folder / "data" / f"train-0000{number}-of-00002.parquet", row_group_size=2)
    pq.write_table(pa.table({"text": ["held out"]}), folder / "data" / "validation-00000-of-00001.parquet")
    return folder


def test_a_folder_of_parquet_files(tmp_path, parquet_set):
    corpus = build(tmp_path, hub_id=str(parquet_set), text_fields=["messages.0.content", "messages.1.content"])
    assert texts_of(corpus) == [f"q{n} a{n}" for n in range(6)]
    assert {document["source"] for document in documents_of(corpus)} == {"parquet_set"}
    assert texts_of(build(tmp_path, hub_id=str(parquet_set), max_documents=5)) == ["t00", "t01", "t02", "t03", "t10"]
    assert texts_of(build(tmp_path, hub_id=str(parquet_set), hub_split="validation")) == ["held out"]
    with pytest.raises(UnusableInput, match=r"corpus.hub_split=nope: .*train, validation"):
        build(tmp_path, hub_id=str(parquet_set), hub_split="nope")


def test_a_folder_with_configurations_and_mixed_json(tmp_path):
    folder = tmp_path / "json_set"
    mixed = [
        {"text": "one", "extra": 1},
        {"text": "two", "extra": {"a": "b"}},
        {"text": 3},
        {"text": "four", "extra": [None]},
    ]
    write_lines(folder / "first" / "part.jsonl", mixed)
    write_lines(folder / "second" / "part.jsonl", [{"text": "other", "id": 9}])
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: first\n  data_files: first/*.jsonl\n"
        "- config_name: second\n  data_files:\n  - split: train\n    path: second/*.jsonl\n---\n"
    )
    corpus = build(tmp_path, hub_id=str(folder), hub_subset="first")
    assert texts_of(corpus) == ["one", "two", "four"]
    assert rejected_of(corpus) == [
        {"file": "first/part.jsonl", "line": 3, "reason": "text is not a string: field 'text' is a int"}
    ]
    assert documents_of(build(tmp_path, hub_id=str(folder), hub_subset="second")) == [
        {"id": "9", "text": "other", "source": "json_set"}
    ]
    assert texts_of(build(tmp_path, hub_id=str(folder), hub_data_files=["second/*.jsonl"])) == ["other"]
    with pytest.raises(UnusableInput, match=r"corpus\.hub_subset=third"):
        build(tmp_path, hub_id=str(folder), hub_subset="third")


def test_other_formats_stream_through_datasets(tmp_path, monkeypatch):
    folder = tmp_path / "csv_set"
    folder.mkdir()
    (folder / "train.csv").write_text("text,number\n" + "".join(f"t{n},{n}\n" for n in range(10)))
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.0)
    stream, failures = hub.StreamedRows._stream, iter([3, 0, 2])

    def failing(self, skip):
        left = next(failures, None)
        for row in stream(self, skip):
            if left == 0:
                raise ConnectionError("lost")
            left = None if left is None else left - 1
            yield row

    monkeypatch.setattr(hub.StreamedRows, "_stream", failing)
    assert texts_of(build(tmp_path, hub_id=str(folder), id_field="number")) == [f"t{n}" for n in range(10)]
    with pytest.raises(UnusableInput, match="no field 'nope'"):
        build(tmp_path, hub_id=str(folder), text_fields=["nope"], id_field="i")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `files`; the first requests fail, and each answer after that is cut short until `cuts` is used up."""

    files: dict[str, bytes]
    failures: int
    cuts: int
    requests: list[tuple[str, str | None]]

    def do_GET(self):
        cls, asked = type(self), self.headers.get("Range")
        cls.requests.append((self.path, asked))
        if cls.failures > 0:
            cls.failures -= 1
            self.send_error(503)
            return
        if self.path not in self.files:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = self.files[self.path][start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cls.cuts > 0:
            cls.cuts -= 1
            body = body[: len(body) // 2]
        with contextlib.suppress(ConnectionError):  # the reader went elsewhere in the file
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    Handler.files, Handler.failures, Handler.cuts, Handler.requests = {}, 0, 0, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def random_lines(count: int, name: str) -> bytes:
    rows = [{"id": f"{name}/{n}", "text": os.urandom(300).hex(), "source": "web"} for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_a_list_of_addresses_on_a_failing_server(tmp_path, server):
    folder = tmp_path / "list_set"
    lines = [random_lines(800, name) for name in "abc"]
    Handler.files = {"/a.json.gz": gzip.compress(lines[0]), "/sub/b.jsonl": lines[1]}
    write_lines(folder / "own" / "c.jsonl", [json.loads(line) for line in lines[2].splitlines()])
    (folder / "urls").mkdir()
    (folder / "urls" / "list.txt").write_text(
        f"{server}/a.json.gz\n\n{server}/sub/b.jsonl?download=true\nown/c.jsonl\n"
    )
    Handler.files["/sub/b.jsonl?download=true"] = Handler.files["/sub/b.jsonl"]
    Handler.failures, Handler.cuts = 2, 3
    corpus = build(tmp_path, hub_id=str(folder), hub_url_list="urls/list.txt")
    assert documents_of(corpus) == [json.loads(line) for text in lines for line in text.splitlines()]
    assert [asked is None for _, asked in Handler.requests] == [True, True, True, False, False, False, True]
    Handler.failures = 100
    with pytest.raises(MissingInput, match=r"a\.json\.gz: cannot be fetched .*corpus.retries=2"):
        build(tmp_path, hub_id=str(folder), hub_url_list="urls/list.txt", retries=2, max_documents=1)
    Handler.failures, Handler.files = 0, {}
    with pytest.raises(UnusableInput, match=r"a\.json\.gz: cannot be fetched .*404"):
        build(tmp_path, hub_id=str(folder), hub_url_list="urls/list.txt", max_documents=2)


def test_parquet_on_a_server_is_read_in_ranges(tmp_path, server):
    table = pa.table(
        {"text": [os.urandom(200).hex() for _ in range(2000)], "big": [os.urandom(2000) for _ in range(2000)]}
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=500)
    Handler.files["/x.parquet"] = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "list.txt").write_text(f"{server}/x.parquet")
    Handler.cuts = 3
    corpus = build(tmp_path, hub_id=str(tmp_path / "set"), hub_url_list="list.txt")
    assert texts_of(corpus) == table.column("text").to_pylist()
    assert len(Handler.requests) > 5


KILLED = """
import os, sys
from pathlib import Path
from toedit.config import CorpusConfig
from toedit.corpora import plan_corpus, ingest
name = ingest.shard_name
def die(number):
    if number == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return name(number)
if sys.argv[3] != "never":
    ingest._shard_path = lambda number: "documents/" + die(number) + ".jsonl.zst"
settings = dict(kind="hub", hub_id=sys.argv[1], hub_url_list="list.txt", shard_bytes=100_000)
plan_corpus(CorpusConfig(**settings), Path(sys.argv[2])).ensure()
"""


def test_a_killed_run_fetches_no_finished_file_again(tmp_path, server):
    folder = tmp_path / "set"
    folder.mkdir()
    names = [f"/{n}.jsonl.gz" for n in range(6)]
    Handler.files = {name: gzip.compress(random_lines(300, name)) for name in names}
    (folder / "list.txt").write_text("".join(f"{server}{name}\n" for name in names))
    root = tmp_path / "artifacts"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for die_at in ("7", "never"):
        command = [sys.executable, "-c", KILLED, str(folder), str(root), die_at]
        status = subprocess.run(command, env=environment, capture_output=True).returncode
        assert status == (0 if die_at == "never" else -9)
        if die_at != "never":
            first, Handler.requests = Handler.requests, []
    fetched = [path for path, _ in Handler.requests]
    assert fetched and names[0] not in fetched and len(first) + len(fetched) <= len(names) + 1
    (corpus,) = (root / "corpus").iterdir()
    expected = [json.loads(line) for name in names for line in gzip.decompress(Handler.files[name]).splitlines()]
    assert documents_of(corpus) == expected
    assert counts_of(corpus)["documents_in"] == 1800


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, BadConfiguration),
        ({"hub_id": "nobody/nothing"}, MissingInput),
        ({"hub_id": "./no/such/folder"}, MissingInput),
        ({"hub_id": "nobody/nothing", "hub_url_list": "urls.txt", "revision": "a" * 40, "retries": 0}, MissingInput),
    ],
)
def test_offline_and_unknown_sets_are_named_in_one_line(tmp_path, settings, error):
    with pytest.raises(error, match=r"corpus\.hub_id") as raised:
        build(tmp_path, **settings)
    assert "\n" not in str(raised.value)


def test_the_commit_is_recorded_and_remembered_for_offline(tmp_path, monkeypatch):
    import huggingface_hub

    class Found:
        sha = "c" * 40

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: Found)
    online = plan_corpus(CorpusConfig(kind="hub", hub_id="owner/name"), tmp_path)
    monkeypatch.undo()
    offline = plan_corpus(CorpusConfig(kind="hub", hub_id="owner/name"), tmp_path)
    assert online.identity["revision"] == "c" * 40
    assert online.fingerprint == offline.fingerprint
    other = plan_corpus(CorpusConfig(kind="hub", hub_id="owner/name", revision="other"), tmp_path)
    assert other.identity["revision"] is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GatedRepoError", "accept its terms"),
        ("RepositoryNotFoundError", "check the id"),
        ("RevisionNotFoundError", "revision"),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(name, words):
    error = hub.hub_error(type(name, (Exception,), {})("no\nway"), CorpusConfig(kind="hub", hub_id="a/b"))
    assert isinstance(error, ToEditError) and error.exit_code == 3
    assert words in str(error) and "a/b" in str(error) and "\n" not in str(error)
