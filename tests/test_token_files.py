"""Token files: the ids that the tokenizer gives, a document end after each document, in the format that OLMo reads."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from artifact_fixtures import tokenizer_definition
from conftest import REPOSITORY, files_of, repetitive_documents, run_command, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers_fixture import FAMILIES, real_texts, tokenizer_folder

from toedit.config import CorpusConfig
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths
from toedit.errors import MissingInput, UnusableInput
from toedit.named_tokenizers import find_tokenizer
from toedit.token_files import dtype_for, open_token_files, write_token_file
from toedit.tokenize_corpus import plan_tokens
from toedit.tokenizing import load_tokenizer

END = "<|endoftext|>"
DOCUMENTS = st.lists(st.lists(st.integers(1, 60_000), max_size=12), min_size=1, max_size=12)


@settings(max_examples=60)
@given(batches=st.lists(DOCUMENTS, min_size=1, max_size=4), dtype=st.sampled_from(["uint16", "uint32"]))
def test_what_is_written_is_what_the_format_says(batches, dtype, tmp_path_factory):
    """A raw array without header, the index `start,end` with the document end inside: what olmo-core writes itself."""
    folder = tmp_path_factory.mktemp("format")
    counts = write_token_file(folder / "00000.npy", folder / "00000.csv.gz", batches, dtype, 0)
    documents = [document for batch in batches for document in batch]
    token_id_N = np.memmap(folder / "00000.npy", dtype=dtype, mode="r")
    assert token_id_N.tolist() == [token for document in documents for token in [*document, 0]]
    # olmo-core's own rule for the index, from the array: a line a document end, the end behind it.
    stops = np.flatnonzero(token_id_N == 0) + 1
    lines = [f"{start},{stop}\n" for start, stop in zip([0, *stops[:-1]], stops, strict=True)]
    assert gzip.decompress((folder / "00000.csv.gz").read_bytes()).decode() == "".join(lines)
    assert counts["documents"] == len(documents) and counts["tokens"] == len(token_id_N)
    assert counts["ends_in_text"] == 0


def test_the_type_is_the_smallest_that_holds_every_id():
    assert [dtype_for(size) for size in (1, 2**16, 2**16 + 1, 128_256)] == ["uint16", "uint16", "uint32", "uint32"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A small byte-level tokenizer with a document end that its own files do not name."""
    folder = tmp_path_factory.mktemp("tokenizer")
    made = Tokenizer.from_str(tokenizer_definition())
    made.add_special_tokens([END])
    made.save(str(folder / "tokenizer.json"))
    return folder


def corpus_of(folder: Path, texts: list[str], shard_bytes: int = 2_000_000):
    rows = write_jsonl(folder / "rows.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(texts)])
    return plan_corpus(CorpusConfig(kind="local", path=str(rows), shard_bytes=shard_bytes), folder)


def check(artifact, texts: list[str], reference: Tokenizer) -> None:
    """Every document's ids, found through the index, are the reference's, and a document end follows each."""
    files = open_token_files(artifact.path)
    found = [(files.token_ids(path)[start:stop]).tolist() for path in files.paths for start, stop in files.bounds(path)]
    assert len(found) == len(texts) == artifact.manifest()["counts"]["documents"]
    assert sum(map(len, found)) == artifact.manifest()["counts"]["tokens"]
    for text, ids in zip(texts, found, strict=True):
        assert ids == [*reference.encode(text, add_special_tokens=False).ids, files.end_id]
    sizes = [path.stat().st_size for path in files.paths]
    assert sum(sizes) == np.dtype(files.dtype).itemsize * sum(map(len, found))


@pytest.mark.parametrize("family", FAMILIES)
def test_real_text_of_every_tokenizer_family(family, tmp_path):
    texts = [*real_texts(40), f"spelt out: {END} <s></s> [SEP] is text", "\0", " "]
    folder = tokenizer_folder(family, tmp_path)
    named = find_tokenizer(str(folder), "tokens.tokenizer")
    end = "[SEP]" if family == "wordpiece" else None
    artifact = plan_tokens(corpus_of(tmp_path, texts, 100_000), named, end, 1, tmp_path)
    artifact.ensure()
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    reference.encode_special_tokens = True
    check(artifact, texts, reference)
    assert artifact.identity["dtype"] == ("uint32" if family in ("llama3", "olmo2-dolma2") else "uint16")
    assert artifact.manifest()["counts"]["ends_in_text"] == 0


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), min_size=1, max_size=8))
def test_fuzzed_text_is_tokenised_as_it_stands(texts, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    artifact = plan_tokens(
        corpus_of(folder, texts, 50), find_tokenizer(str(tokenizer), "tokens.tokenizer"), None, 1, folder
    )
    artifact.ensure()
    check(artifact, texts, Tokenizer.from_file(str(tokenizer / "tokenizer.json")))
    assert (
        b"".join(
            load_tokenizer(tokenizer).piece_bytes[token] or b"\n"
            for path in open_token_files(artifact.path).paths
            for token in open_token_files(artifact.path).token_ids(path).tolist()
        )
        == "".join(f"{text}\n" for text in texts).encode()
    )


def test_the_copy_of_the_tokenizer_is_all_that_training_needs(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    named = find_tokenizer(str(tokenizer), "tokens.tokenizer")
    artifact = plan_tokens(corpus_of(tmp_path, ["the cat"]), named, None, 1, tmp_path)
    files = open_token_files(artifact.ensure())
    assert load_tokenizer(files.tokenizer).eos_id == files.end_id == files.vocabulary_size - 1
    loaded = AutoTokenizer.from_pretrained(files.tokenizer)
    assert loaded.eos_token_id == files.end_id
    assert loaded("the cat")["input_ids"] == files.token_ids(files.paths[0]).tolist()[:-1]
    # The same tokenizer, found in the artifact, is the same identity.
    again = plan_tokens(
        artifact.inputs["corpus"], find_tokenizer(str(artifact.path), "tokens.tokenizer"), None, 1, tmp_path
    )
    assert again.fingerprint == artifact.fingerprint


def test_the_document_end_is_the_one_named_or_refused(tokenizer, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "tokenizer.json").write_text(tokenizer_definition())
    bare = find_tokenizer(str(tmp_path / "bare"), "tokens.tokenizer")
    with pytest.raises(UnusableInput, match=r"no document end token; .*tokens\.document_end"):
        bare.end(None)
    assert bare.end("a") == Tokenizer.from_str(tokenizer_definition()).token_to_id("a")
    with pytest.raises(UnusableInput, match=r"tokens\.document_end=nothing"):
        bare.end("nothing")
    (tmp_path / "bare" / "config.json").write_text('{"eos_token_id": [7, 8]}')
    assert find_tokenizer(str(tmp_path / "bare"), "tokens.tokenizer").end(None) == 7
    with pytest.raises(MissingInput, match=r"tokens\.tokenizer=\./nowhere"):
        find_tokenizer("./nowhere", "tokens.tokenizer")


def test_a_text_that_holds_the_document_end_is_counted_and_kept_apart_by_the_index(tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "tokenizer.json").write_text(tokenizer_definition())
    named = find_tokenizer(str(tmp_path / "bare"), "tokens.tokenizer")
    texts = ["a <b>bold</b> claim", "&"]
    artifact = plan_tokens(corpus_of(tmp_path, texts), named, "&", 1, tmp_path)
    artifact.ensure()
    check(artifact, texts, Tokenizer.from_str(tokenizer_definition()))
    assert artifact.manifest()["counts"]["ends_in_text"] == 1


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A corpus of many shards."""
    folder = tmp_path_factory.mktemp("large")
    rows = [{**row, "text": row["text"] * 20} for row in repetitive_documents(300)]
    write_jsonl(folder / "rows.jsonl", rows)
    return folder / "rows.jsonl"


def test_the_number_of_processes_changes_no_byte(large, tokenizer, tmp_path):
    arguments = ["stage=tokenize", "corpus=local", f"corpus.path={large}", "corpus.shard_bytes=100000"]
    arguments += [f"tokens.tokenizer={tokenizer}"]
    for processes in (1, 2):
        out = [f"out=with-{processes}", f"artifacts=for-{processes}", f"tokens.processes={processes}"]
        run_command(*arguments, *out, cwd=tmp_path)
    one, two = (files_of(tmp_path, f"with-{processes}") for processes in (1, 2))
    assert len(one) > 20

    def content(files: dict[str, bytes]) -> dict[str, bytes]:
        return {name.partition("/")[2]: data for name, data in files.items() if "manifest" not in name}

    assert content(one) == content(two)
    manifest = json.loads(one["with-1/manifest.json"])
    assert set(manifest["identity"]) == {"tokenizer", "eos_id", "vocabulary_size", "dtype"}
    reused = run_command("stage=tokenize", "tokens.path=with-1", cwd=tmp_path)
    assert "already there" in reused.stdout and f"{manifest['counts']['tokens']:,} tokens" in reused.stdout


def test_a_killed_run_goes_on_to_the_same_bytes(large, tokenizer, tmp_path):
    arguments = ["stage=tokenize", "corpus=local", f"corpus.path={large}", "corpus.shard_bytes=20000"]
    arguments += [f"tokens.tokenizer={tokenizer}", "tokens.processes=2"]
    run_command(*arguments, "out=whole", cwd=tmp_path)
    command = [sys.executable, str(REPOSITORY / "run.py"), *arguments, "out=killed"]
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ, stderr=subprocess.DEVNULL) as process:
        finished = tmp_path / "killed" / ".progress"
        while len(list(finished.glob("*.json"))) < 3 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "manifest.json").exists() and len(list(finished.glob("*.json"))) >= 3
    run_command(*arguments, "out=killed", cwd=tmp_path)
    whole, killed = (files_of(tmp_path / name, ".") for name in ("whole", "killed"))
    assert {name: whole[name] for name in whole if name != "manifest.json"} == {
        name: killed[name] for name in killed if name != "manifest.json"
    }


def test_a_tokenizer_without_a_document_end_is_one_line(large, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "tokenizer.json").write_text(tokenizer_definition())
    arguments = ["stage=tokenize", "corpus=local", f"corpus.path={large}", "tokens.tokenizer=bare"]
    run = run_command(*arguments, cwd=tmp_path, expect=2)
    assert run.stderr.splitlines()[-1].startswith("error: bare: the tokenizer has no document end token")
    assert "Traceback" not in run.stderr


def test_an_edited_corpus_and_a_mixture_are_tokenised_by_the_same_command(corpus_file, small_prior, tmp_path):
    own = ["corpus=local", f"corpus.path={corpus_file}", "prior=local", f"prior.path={small_prior}"]
    lively = ["edit.p=0.9", "edit.temperature=3"]
    run_command("stage=edit", *own, *lively, "out=edited", cwd=tmp_path)
    run_command("stage=tokenize", "tokens.source=edited", *own, *lively, "out=of-edited", cwd=tmp_path)
    edited = [document["text"] for path in shard_paths(tmp_path / "edited") for document in read_documents(path)]
    files = open_token_files(tmp_path / "of-edited")
    reference = Tokenizer.from_file(str(small_prior / "tokenizer.json"))
    ids = [files.token_ids(files.paths[0])[start:stop].tolist() for start, stop in files.bounds(files.paths[0])]
    assert ids == [[*reference.encode(text).ids, files.end_id] for text in edited]

    mix = ["mix.human.path=edited", f"mix.synthetic.path={corpus_file}", "mix.tokens=1500", "mix.synthetic_ratio=0.4"]
    run_command("stage=tokenize", "tokens.source=mix", *own, *mix, "out=of-mixture", cwd=tmp_path)
    counts = json.loads((tmp_path / "of-mixture" / "manifest.json").read_text())["counts"]
    assert counts["tokens"] == 1500 + counts["documents"]  # the budget, and a document end a document
