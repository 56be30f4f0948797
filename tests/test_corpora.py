"""Reading a user's own files: every format gives the same documents, no bad row stops a run, a kill costs nothing."""

import gzip
import hashlib
import io
import json
import os
import random
import string
from collections import Counter
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from conftest import REPOSITORY
from corpus_fixtures import FORMATS, build, content_of, counts_of, documents_of, rejected_of, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from toedit.config import CorpusConfig
from toedit.corpora import plan_corpus, streams
from toedit.corpora.files import FileRows, InputFile
from toedit.corpora.ids import UniqueIds
from toedit.corpora.parts import part_of
from toedit.documents import document_line
from toedit.errors import BadConfiguration, MissingInput, UnusableInput

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
valid_documents = st.lists(
    st.fixed_dictionaries(
        {
            "id": texts,
            "text": texts,
            "source": texts,
            "metadata": st.fixed_dictionaries({"a": texts, "n": st.integers(0, 9)}),
        }
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda document: document["id"],
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=valid_documents,
    format=st.sampled_from([*FORMATS, ".parquet"]),
    shard_bytes=st.sampled_from([20, 2_000_000]),
)
def test_what_is_written_in_any_format_reads_back(tmp_path_factory, documents, format, shard_bytes):
    root = tmp_path_factory.mktemp("format")
    corpus = build(root, path=str(write(root / f"x{format}", documents)), shard_bytes=shard_bytes)
    assert documents_of(corpus) == documents
    assert counts_of(corpus)["documents_out"] == counts_of(corpus)["documents_in"] == len(documents)


@pytest.mark.parametrize(
    "odd", [float("nan"), [float("inf"), "\ud800"], {"\ud800": -float("inf")}, "\udfff", 1e300, "é"]
)
def test_a_document_that_is_read_and_written_again_has_the_same_line(odd):
    line = document_line({"id": "é", "text": "🙂", "source": "s", "metadata": {"odd": odd, "é": [odd]}})
    again = json.loads(line)
    assert document_line(again) == line and again["id"] == "é"
    assert ("é".encode() in line) == ("ud" not in repr(odd))  # escapes only where UTF-8 cannot say it


def test_every_format_makes_the_same_artifact(tmp_path):
    choose = random.Random(0)
    rows = [
        {
            "id": f"../../{n}",
            "text": "".join(choose.choices(string.printable + "é🙂", k=200)),
            "source": "<s>",
            "metadata": {"n": n},
        }
        for n in range(30)
    ]
    contents = {}
    for format in [*FORMATS, ".parquet", ".JSONL.GZ"]:
        folder = tmp_path / format
        folder.mkdir()
        contents[format] = content_of(build(folder, path=str(write(folder / f"x{format}", rows)), shard_bytes=1000))
    assert len({tuple(content.items()) for content in contents.values()}) == 1
    assert len(contents[".jsonl"]) > 3


def test_folders_globs_and_text_files(tmp_path, capsys):
    texts = tmp_path / "my texts, a=b"
    (texts / "sub" / ".hidden").mkdir(parents=True)
    (texts / "b.txt").write_bytes(b"\xef\xbb\xbfTwo\r\nlines\n")
    (texts / "sub" / "c.TXT.zst").write_bytes(zstandard.compress(b" \n"))
    (texts / "a.jsonl").write_bytes(
        b'\xef\xbb\xbf{"text": "A", "id": 7, "metadata": [1]}\r\n\n{"text": "\\u0000", "id": 7.5}'
    )
    (texts / "empty.jsonl").touch()
    (texts / "sub" / ".hidden" / "x.txt").write_text("hidden")
    (texts / ".x.txt").write_text("hidden")
    (texts / "picture.png").write_bytes(b"\x89PNG")
    documents = documents_of(build(tmp_path, path=str(texts)))
    assert [(document["text"], document["source"]) for document in documents] == [
        ("A", "a.jsonl"), ("\0", "a.jsonl"), ("Two\r\nlines\n", "b.txt"), (" \n", "sub/c.TXT.zst"),
    ]  # fmt: skip
    assert [document["id"] for document in documents[:2]] == ["7", "7.5"]
    assert documents[0]["metadata"] == {"value": [1]}
    assert documents[2]["id"] == hashlib.sha256(b"b.txt\0Two\r\nlines\n").hexdigest()[:16]
    assert "picture.png" in capsys.readouterr().err
    found = documents_of(build(tmp_path, path=str(tmp_path / "*" / "**" / "*.TXT.zst")))
    assert [document["source"] for document in found] == ["my texts, a=b/sub/c.TXT.zst"]


BAD_ROWS = [
    (b"{", "not JSON"),
    (b'{"text": "a\tb"}', "not JSON"),
    (b'{"text": ' + b"[" * 100_000, "not JSON"),
    (b'{"text": "a", "metadata": ' + b"[" * 300 + b"]" * 300 + b"}", "not JSON"),
    (b'{"text": 1' + b"0" * 5000 + b"}", "not JSON"),
    (b'["text"]', "not an object"),
    (b"7", "not an object"),
    (b'{"id": "a"}', "no text"),
    (b'{"text": null}', "text is null"),
    (b'{"text": ""}', "text is empty"),
    (b'{"text": 5}', "text is not a string"),
    (b'{"text": "\xff"}', "invalid UTF-8"),
    (b'{"text": "\xed\xa0\x80"}', "invalid UTF-8"),
    (b'{"text": "\\ud800"}', "lone surrogate"),
    (b'{"text": "a", "id": "\\udfff"}', "lone surrogate"),
    (b'{"text": "a", "source": "\\udfff"}', "lone surrogate"),
    (json.dumps({"text": "é" * 501}).encode(), "too long"),
]


@pytest.mark.parametrize("name", ["x.jsonl", "x.array.json.gz"])
def test_bad_rows_are_rejected_listed_and_counted(tmp_path, name, capsys):
    bad = [row for row in BAD_ROWS if ".array" not in name or (row[0].count(b"[") < 1000 and row[0] != b"{")]
    good = [{"id": f"good{n}", "text": "<script>\x1b[31m" + "é" * n} for n in range(len(bad))]
    rows = [row for pair in zip(good, (row for row, _ in bad), strict=True) for row in pair]
    corpus = build(tmp_path, path=str(write(tmp_path / name, rows)), max_document_bytes=1000)
    assert [document["text"] for document in documents_of(corpus)] == [row["text"] for row in good]
    listed, counts = rejected_of(corpus), counts_of(corpus)
    assert [(row["file"], row["line"]) for row in listed] == [(name, 2 * n + 2) for n in range(len(bad))]
    assert [row["reason"].split(":")[0] for row in listed] == [reason for _, reason in bad]
    assert counts["reasons"] == Counter(reason for _, reason in bad)
    assert counts["documents_in"] == counts["documents_out"] + counts["rejected"] == len(rows)
    assert f"{len(bad)} rows were rejected" in capsys.readouterr().err


def test_zeros_between_and_behind_gzip_members_are_no_damage(tmp_path):
    first, second = (gzip.compress(json.dumps({"text": text}).encode() + b"\n", mtime=0) for text in "ab")
    (tmp_path / "x.jsonl.gz").write_bytes(first + b"\0" * 5000 + second + b"\0" * 10_000)
    corpus = build(tmp_path, path=str(tmp_path / "x.jsonl.gz"))
    assert [document["text"] for document in documents_of(corpus)] == ["a", "b"]
    (tmp_path / "zeros.jsonl.gz").write_bytes(b"\0" * 5000)  # what a crashed disk leaves is no empty file
    with pytest.raises(UnusableInput, match=r"zeros\.jsonl\.gz: is damaged"):
        build(tmp_path, path=str(tmp_path / "zeros.jsonl.gz"))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_an_array_is_one_however_its_beginning_arrives(pack, tmp_path):
    """A member or frame of its own holds the blank space before the bracket."""
    name = {gzip.compress: "x.json.gz", zstandard.compress: "x.json.zst"}[pack]
    (tmp_path / name).write_bytes(pack(b" \n") + pack(b"\r\n[") + pack(b'{"text": "a"}, {"text": "b"}]'))
    assert [document["text"] for document in documents_of(build(tmp_path, path=str(tmp_path / name)))] == ["a", "b"]


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.json.gz", "x.txt"])
def test_rows_do_not_depend_on_how_bytes_arrive(name, most):
    """A server hands over as many as it likes."""
    data = b'\xef\xbb\xbf \n[{"text": "a"}, {"text": "b"},\n{"text": 1}]\n'
    data = gzip.compress(data)[:-3] if name.endswith("gz") else data

    class Trickle(io.BytesIO):
        def readinto(self, target):
            return super().readinto(memoryview(target)[:most])

    config = CorpusConfig(kind="local", on_truncated_file="keep")
    whole, small = (
        [(row.line, str(row.value)) for row in FileRows([InputFile(name, kind, len(data))], config).rows()]
        for kind in (lambda: io.BytesIO(data), lambda: Trickle(data))
    )
    assert whole == small and len(whole) == {"x.jsonl": 2, "x.txt": 1}.get(name, 3)


def test_every_file_is_read_whatever_its_name(tmp_path, capsys):
    """Names that are no UTF-8, or spell another one's escape: none is taken for another, none acts on a terminal."""
    folder = tmp_path / "names"
    folder.mkdir()
    names = [b"x\xff.txt", b"x\xfe.txt", b"x\\xff.txt", b"x\\\\xff.txt", b"x\x1b[31m\n.txt", b"x.txt"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(repr(name).encode())
    (folder / "\x1b[31m.png").touch()
    documents = documents_of(build(tmp_path, path=str(folder)))
    assert sorted(document["text"] for document in documents) == sorted(map(repr, names))
    assert len({document["source"] for document in documents}) == len(names)
    shown = capsys.readouterr().err
    assert "\\x1b[31m.png" in shown and "\x1b" not in shown


def test_a_file_of_nothing_but_a_mark_has_no_row(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(UnusableInput, match="holds no rows"):
        build(tmp_path, path=str(tmp_path / "x.jsonl"))


def test_a_bad_row_stops_the_strict(tmp_path):
    path = write(tmp_path / "x.jsonl", [{"text": "a"}, b"{"])
    with pytest.raises(UnusableInput, match=r"x\.jsonl line 2: not JSON"):
        build(tmp_path, path=str(path), on_bad_row="stop")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}\n[1]\n", b"{"])
def test_a_corpus_without_a_good_row_is_refused(tmp_path, content):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(UnusableInput, match=r"2 were rejected, the first: no text|no rows|1 were rejected"):
        build(tmp_path, path=str(tmp_path / "x.jsonl"))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"path": "nowhere/*.jsonl"}, MissingInput, "corpus.path=nowhere"),
        ({"path": "."}, UnusableInput, "no file that can be read"),
        ({}, BadConfiguration, "corpus.path="),
    ],
)
def test_an_unusable_path_is_named_in_one_line(tmp_path, monkeypatch, settings, error, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").touch()
    with pytest.raises(error, match=words) as raised:
        build(tmp_path, **settings)
    assert "\n" not in str(raised.value)


def test_parquet_columns_of_other_types_are_never_read(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["a", None, "c"], pa.large_string()).dictionary_encode(),
            "metadata": pa.array(
                [{"when": 0, "raw": b"\xff"}] * 3, pa.struct({"when": pa.timestamp("ns"), "raw": pa.binary()})
            ),
            "nested": pa.array([[{"x": [1]}]] * 3),
            "map": pa.array([[("k", 1)]] * 3, pa.map_(pa.string(), pa.int8())),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    corpus = build(tmp_path, path=str(tmp_path / "x.parquet"))
    first, second = documents_of(corpus)
    assert (first["text"], second["text"]) == ("a", "c")
    assert first["metadata"] == {"when": "1970-01-01 00:00:00", "raw": "\\xff"}
    assert [(row["line"], row["reason"][:12]) for row in rejected_of(corpus)] == [(2, "text is null")]


def test_text_may_be_several_nested_fields(tmp_path):
    rows = [
        {"messages": [{"content": "Why?"}, {"content": "So."}], "a.b": "!"},
        {"messages": [{"content": "Why?"}], "a.b": "!"},
    ]
    path = write(tmp_path / "x.jsonl", rows)
    corpus = build(
        tmp_path, path=str(path), text_fields=["messages.0.content", "messages.1.content", "a.b"], text_joiner="|"
    )
    assert [document["text"] for document in documents_of(corpus)] == ["Why?|So.|!"]
    assert "messages.1.content" in rejected_of(corpus)[0]["reason"]


def test_repeated_and_missing_ids(tmp_path):
    rows = [{"id": name, "text": "t"} for name in ["a", "a--2", "a", "a", "b", "b", None, "", "b--2"]]
    corpus = build(tmp_path, path=str(write(tmp_path / "x.jsonl", rows)))
    missing = hashlib.sha256(b"x.jsonl\0t").hexdigest()[:16]
    names = [document["id"] for document in documents_of(corpus)]
    assert names == ["a", "a--2", "a--3", "a--4", "b", "b--2", missing, f"{missing}--2", "b--2--2"]
    assert (counts_of(corpus)["missing_ids"], counts_of(corpus)["repeated_ids"]) == (2, 5)


@given(st.lists(st.sampled_from(["a", "b", "a--2", "a--3", "a--2--2"]), max_size=30), st.integers(0, 30))
def test_ids_are_unique_whatever_was_restored(names, cut):
    ids, restored = UniqueIds(), UniqueIds()
    first = [ids.claim(name) for name in names[:cut]]
    restored.restore(ids.flush())
    rest = [ids.claim(name) for name in names[cut:]]
    assert rest == [restored.claim(name) for name in names[cut:]]
    assert len(set(first + rest)) == len(names)


def test_splits_are_disjoint_complete_and_keep_works_whole(tmp_path):
    rows = [{"id": str(n), "text": f"t{n}", "source": "s", "metadata": {"work": f"w{n // 5}"}} for n in range(300)]
    path = str(write(tmp_path / "x.jsonl", rows))
    whole = build(tmp_path, path=path)
    for key in ("id", "metadata.work", "nothing.here"):
        direct, derived = {}, {}
        for split in ("train", "validation", "test"):
            part = build(tmp_path, path=path, split=split, split_key=key)
            direct[split] = documents_of(part)
            derived[split] = documents_of(build(tmp_path, path=str(whole), split=split, split_key=key))
            assert counts_of(part)["left_out"] == 300 - counts_of(part)["documents_in"]
            assert part.name.startswith(f"x-{split}--")
        assert direct == derived
        assert sorted(int(document["id"]) for part in direct.values() for document in part) == list(range(300))
        works = [{document["metadata"]["work"] for document in part} for part in direct.values()]
        assert (sum(map(len, works)) == 60) == (key == "metadata.work")
        assert 90 < len(direct["train"]) < 180
    shares = {"split": "train", "split_shares": [100.0, 0.0, 0.0]}
    assert all(part_of(row, CorpusConfig(**shares)) == "train" for row in rows)


def test_an_artifact_is_used_as_it_is_and_limits_take_its_beginning(tmp_path):
    path = write(tmp_path / "x.jsonl", [{"id": str(n), "text": "word " * n} for n in range(1, 50)])
    whole = build(tmp_path, path=str(path), shard_bytes=100)
    assert build(tmp_path, path=str(whole)) == whole
    for source in (path, whole):
        part = build(tmp_path, path=str(source), max_documents=7, shard_bytes=100)
        assert documents_of(part) == documents_of(whole)[:7]
    copy = plan_corpus(CorpusConfig(kind="local", path=str(whole)), tmp_path, tmp_path / "copy").ensure()
    assert documents_of(copy) == documents_of(whole)
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"word": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    part = build(tmp_path, path=str(path), max_tokens=11, tokenizer=str(tmp_path))
    assert counts_of(part)["tokens"] == 15 and len(documents_of(part)) == 5


def test_every_shipped_corpus_is_a_valid_configuration():
    paths = sorted((REPOSITORY / "configs" / "corpus").glob("*.yaml"))
    assert len(paths) >= 14
    for path in paths:
        text = path.read_text()
        assert text.startswith("# ") and "python run.py" in text, path
        values = OmegaConf.to_container(OmegaConf.load(path))
        if "defaults" in values:  # built on another file of the folder, which is checked by itself
            values |= OmegaConf.to_container(OmegaConf.load(path.with_name(f"{values.pop('defaults')[0]}.yaml")))
            values.pop("defaults", None)
        config = CorpusConfig(**values)
        assert config.kind != "hub" or config.hub_id, path


def test_real_files(tmp_path):
    folder = (
        Path(os.environ.get("TOEDIT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
        / "human"
        / "documents"
        / "train"
    )
    if not folder.is_dir():
        message = f"no test data in {folder}: set TOEDIT_TEST_DATA to the data folder"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    paths = sorted(folder.glob("*.jsonl.gz"))
    rows = [json.loads(line) for path in paths for line in gzip.decompress(path.read_bytes()).splitlines()]
    corpus = build(tmp_path, path=str(folder))
    kept = ("id", "text", "source", "metadata", "added", "created")
    assert documents_of(corpus) == [{key: row[key] for key in kept if row.get(key)} for row in rows]
    assert counts_of(corpus)["rejected"] == 0


@given(
    st.lists(
        st.recursive(
            st.text(max_size=5) | st.integers() | st.none(),
            lambda x: st.lists(x) | st.dictionaries(st.text(max_size=2), x),
        )
    ),
    st.integers(1, 9),
    st.sampled_from([None, 0, 2]),
)
def test_an_array_is_cut_into_its_elements_wherever_the_buffer_ends(values, buffer, indent):
    data = json.dumps(values, indent=indent, ensure_ascii=False).encode()
    with mock.patch.object(streams, "BUFFER", buffer):
        elements = list(streams.array_elements(io.BytesIO(data), 10_000))
        short = list(streams.array_elements(io.BytesIO(data), 3))
    assert [json.loads(element) for element in elements] == values
    assert len(short) == len(values) and all(
        isinstance(element, streams.Oversized) or len(element) <= 3 for element in short
    )
