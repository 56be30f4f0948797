"""The ledger for the Dolma toolkit: its spans have the effect of the changes, in a transcription of the mixer's loop.

The real mixer runs in tests/test_zz_dolma_export.py.
"""

import json
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from artifact_fixtures import build_edited
from conftest import files_of
from hypothesis import given
from hypothesis import strategies as st

import toedit
from toedit import dolma_export
from toedit.artifacts import Artifact
from toedit.documents import ShardWriter, read_documents, shard_paths
from toedit.dolma_export import ATTRIBUTE, INEXACT, NEW_TEXT, plan_export
from toedit.dolma_spans import MAX_SPANS, Change, as_spans, rewrite
from toedit.edit_corpus import LEDGER_SCHEMA
from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import hash_file
from toedit.workspace import Result

LETTERS = st.sampled_from([*"ab {}$\\\n\r", "é", "\u0301", "\u2028", "\x00", "😀", "日"])
TEXTS = [
    "the cat sat on the mat\r\n" * 30,
    "é e\u0301 👩‍👩‍👧 😀😀, the cat\x0b\x1f",
    "{}{} ${the} cat {} on the mat {}",
    "a",
    " \n",
]


def mixed(text: str, spans: list[Change]) -> str:
    """What the mixer makes of a text: its loop over characters, and `{}` as the old text of the span."""
    spans, made, at, begin = sorted(spans, key=lambda span: span.start), "", 0, 0
    for place, character in enumerate(text):
        if at < len(spans) and place == spans[at].start:
            begin = place
        if at == len(spans) or not spans[at].start <= place < spans[at].end:
            if at < len(spans) and place == spans[at].end:
                made += spans[at].new.replace("{}", text[begin:place])
                while at < len(spans) and spans[at].start < place:
                    at += 1
            if at < len(spans) and spans[at].start == place:
                begin = place
            else:
                made += character
    return made + (spans[at].new.replace("{}", text[begin:]) if at < len(spans) else "")


@st.composite
def changed_texts(draw) -> tuple[str, list[Change]]:
    old = "".join(draw(st.lists(LETTERS, min_size=1, max_size=60)))
    cuts = sorted(draw(st.sets(st.integers(0, len(old)), max_size=40)))
    pairs = [pair for pair in pairwise(cuts) if draw(st.booleans())]
    return old, [Change(*pair, draw(st.text(LETTERS, max_size=6))) for pair in pairs]


@given(changed_texts(), st.integers(1, 8))
def test_spans_have_the_effect_of_the_changes_in_the_mixer(case, limit):
    old, changes = case
    new, spans = rewrite(old, changes), as_spans(old, changes, limit)
    if spans is None:
        assert new.count("{}") >= len(old)
        return
    assert mixed(old, spans) == rewrite(old, spans) == new
    assert not any("{}" in span.new for span in spans)
    assert all(span.start < span.end for span in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    if "{}" not in new:
        assert len(spans) == min(limit, len(changes))
    if len(changes) <= limit and not any("{}" in change.new for change in changes):
        assert spans == changes  # a span a changed token, where nothing speaks against it


def test_the_longest_gaps_part_the_spans():
    changes = [Change(0, 1, "A"), Change(2, 3, "C"), Change(9, 10, "J"), Change(11, 12, "L"), Change(13, 14, "N")]
    merged = [Change(0, 3, "AbC"), Change(9, 14, "JkLmN")]
    assert as_spans("abcdefghijklmnop", changes, 2) == merged


def test_braces_are_cut_with_the_help_of_what_stands_beside_them():
    assert as_spans("abc", [Change(1, 2, "x{}y")]) == [Change(0, 1, "ax{"), Change(1, 2, "}y")]
    assert as_spans("bc", [Change(0, 1, "{}")]) == [Change(0, 1, "{"), Change(1, 2, "}c")]
    assert as_spans("bc", [Change(0, 1, "{}"), Change(1, 2, "d")]) == [Change(0, 1, "{"), Change(1, 2, "}d")]
    assert as_spans("b", [Change(0, 1, "{}")]) is None


# --- artifacts --------------------------------------------------------------------------------------------------------


def forge(root: Path, cases: list[tuple[str, list[Change], dict]], shard_size: int = 3) -> Artifact:
    """An edited corpus with exactly these changes and metadata."""
    shards = [cases[start : start + shard_size] for start in range(0, len(cases), shard_size)]

    def build(workspace, is_edited):
        for number, shard in enumerate(shards):
            outputs = [f"documents/{number:05d}.jsonl.zst", f"edits/{number:05d}.parquet"][: 1 + is_edited]
            ledger = []
            with workspace.shard(str(number), *outputs) as (paths, _):
                with ShardWriter(paths[0]) as writer:
                    for place, (old, changes, metadata) in enumerate(shard):
                        row = {"id": f"{number}/{place}", "text": old, "source": "forged", "metadata": metadata}
                        if is_edited:
                            row |= {"text": rewrite(old, changes), "metadata": {"toedit": {}}}
                        writer.write(row)
                        for start, end, new in changes:
                            first = len(old[:start].encode())
                            last = first + len(old[start:end].encode())
                            ledger.append({"id": row["id"], "start": first, "end": last, "new_text": new})
                if is_edited:
                    pq.write_table(pa.Table.from_pylist(ledger, LEDGER_SCHEMA), paths[1])
        return Result()

    corpus = Artifact("corpus", "forged", {}, root, build=lambda workspace: build(workspace, False))
    inputs = {"corpus": corpus}
    edited = Artifact("edited_corpus", "forged", {}, root, inputs, build=lambda workspace: build(workspace, True))
    edited.ensure()
    return edited


def applied(export: Path) -> list[tuple[str, str]]:
    """(id, text) of each document, as the mixer with its rules would make them."""
    [stream] = yaml.safe_load((export / "mixer.yaml").read_text())["streams"]
    written = {rule["min_score"]: rule["replacement"] for rule in stream["span_replacement"]}
    found = []
    for path in shard_paths(export / "original"):
        attributes = list(read_documents(export / "original" / "attributes" / ATTRIBUTE / path.name))
        for document, line in zip(read_documents(path), attributes, strict=True):
            assert line["id"] == document["id"]
            spans = line["attributes"].get(ATTRIBUTE, [])
            assert all(written[n] == f"$.attributes.{NEW_TEXT}[{n}]" for _, _, n in spans)
            new = [Change(start, end, line["attributes"][NEW_TEXT][n]) for start, end, n in spans]
            found.append((document["id"], mixed(document["text"], new)))
    return found


def texts_of(corpus: Path) -> list[tuple[str, str]]:
    return [(document["id"], document["text"]) for path in shard_paths(corpus) for document in read_documents(path)]


def test_an_export_holds_links_spans_and_rules(tmp_path):
    edited = build_edited(tmp_path, TEXTS, ids=["a/b", "a b", "..", "😀", "e"])
    export = plan_export(edited, tmp_path, tmp_path / "out")
    path = export.ensure()
    assert applied(path) == texts_of(edited.path) != texts_of(edited.inputs["corpus"].path)
    counts = export.manifest()["counts"]
    assert counts["documents"] == len(TEXTS) and counts["changed"] == edited.manifest()["counts"]["changed"] > MAX_SPANS
    assert counts["rules"] == MAX_SPANS and counts["inexact"] == 0 and not (path / INEXACT).exists()
    for link in shard_paths(path / "original"):
        original = edited.inputs["corpus"].path / "documents" / link.name
        assert link.is_symlink() and not link.readlink().is_absolute() and link.samefile(original)
    outputs = {output["path"]: output["sha256"] for output in export.manifest()["outputs"]}
    assert outputs == {name: hash_file(path / name) for name in outputs} and "mixer.yaml" in outputs


def test_an_interrupted_export_resumes_and_ends_the_same(tmp_path, monkeypatch):
    edited = build_edited(tmp_path, TEXTS)
    whole = plan_export(edited, tmp_path, tmp_path / "whole").ensure()
    export_shard, finished = dolma_export.export_shard, []

    def dies_at_the_second(*arguments):
        if len(finished) == 1:
            arguments[3].symlink_to(edited.inputs["corpus"].path / "documents" / "00001.jsonl.zst")
            raise KeyboardInterrupt
        finished.append(arguments)
        return export_shard(*arguments)

    monkeypatch.setattr(dolma_export, "export_shard", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        plan_export(edited, tmp_path, tmp_path / "out").ensure()
    assert not (tmp_path / "out" / "manifest.json").exists() and not (tmp_path / "out" / "mixer.yaml").exists()
    monkeypatch.setattr(dolma_export, "export_shard", export_shard)
    resumed = plan_export(edited, tmp_path, tmp_path / "out").ensure()
    assert files_of(resumed, "original") == files_of(whole, "original")
    assert (resumed / "mixer.yaml").read_bytes() == (whole / "mixer.yaml").read_bytes()


def test_what_the_mixer_cannot_do_is_listed(tmp_path):
    change = [Change(0, 1, "{}")]
    deep: list = []
    for _ in range(95):
        deep = [deep]
    cases = [
        ("x", change, {}),
        ("y!", change, {"half": "\ud83d"}),
        ("z!", change, {"n": [10**400]}),
        ("z!", change, {"n": [-(10**308), 2**70, True, None, 1.5], "deep": deep}),
    ]
    edited = forge(tmp_path, cases, shard_size=2)
    corpus = {file: file.read_bytes() for file in shard_paths(edited.inputs["corpus"].path)}
    export = plan_export(edited, tmp_path, tmp_path / "out")
    path = export.ensure()
    listed = [json.loads(line) for line in (path / INEXACT).read_text().splitlines()]
    assert [(one["id"], one["shard"]) for one in listed] == [
        ("0/0", "00000.jsonl.zst"), ("0/1", "00000.jsonl.zst"), ("1/0", "00001.jsonl.zst")
    ]  # fmt: skip
    for one, reason in zip(listed, ("original text", "surrogate", "too large"), strict=True):
        assert reason in one["reason"]
    assert export.manifest()["counts"]["inexact"] == 3
    assert applied(path) == [("0/0", "x"), *texts_of(edited.path)[1:]]
    metadata = [
        document.get("metadata") for file in shard_paths(path / "original") for document in read_documents(file)
    ]
    assert metadata == [None, None, None, cases[3][2]]
    assert corpus == {file: file.read_bytes() for file in corpus}


# --- commands and bad input -------------------------------------------------------------------------------------------


def test_library_and_command_name_the_command_that_applies_it(tmp_path):
    edited = build_edited(tmp_path, TEXTS[:2], out=tmp_path / "my edited")
    out = tmp_path / "for dolma"
    command = [sys.executable, "-m", "toedit", "export-dolma", str(edited.path), "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert f"apply it: cd {shlex.quote(str(out))} && dolma -c mixer.yaml mix" in run.stdout
    assert toedit.export_dolma(edited.path, out=out) == out
    assert applied(out) == texts_of(edited.path)


def test_bad_input_is_one_line(tmp_path):
    edited = build_edited(tmp_path, TEXTS)
    with pytest.raises(MissingInput, match=r"edited.path=.*nowhere: does not exist"):
        toedit.export_dolma(tmp_path / "nowhere", out=tmp_path / "out")
    corpus = edited.inputs["corpus"].path
    with pytest.raises(UnusableInput, match="holds a corpus artifact, wanted edited_corpus"):
        toedit.export_dolma(corpus, out=tmp_path / "out")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years")
    with pytest.raises(UnusableInput, match=r"holds files that are not an artifact \('thesis.tex'"):
        toedit.export_dolma(edited.path, out=mine)
    assert [file.name for file in mine.iterdir()] == ["thesis.tex"]
    with pytest.raises(UnusableInput, match="holds another artifact"):
        toedit.export_dolma(edited.path, out=corpus)
    shutil.move(corpus, tmp_path / "moved")
    with pytest.raises(MissingInput, match=r"the corpus it was made from is no longer .*toedit why"):
        toedit.export_dolma(edited.path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda rows: rows[1:], "does not make the edited text"),
        (lambda rows: [row for row in rows if row["id"] != rows[0]["id"]], "lacks the changes of document"),
        (lambda rows: [*rows, {**rows[-1], "id": "stranger"}], "names document 'stranger'"),
        (lambda rows: [{**rows[0], "start": 1, "end": 2}, *rows[1:]], "cuts a character at bytes 1 to 2"),
    ],
)
def test_a_ledger_that_does_not_fit_is_refused(tmp_path, damage, said):
    edited = forge(tmp_path, [("😀bc", [Change(0, 1, "x"), Change(2, 3, "y")], {}), ("abc", [Change(0, 1, "z")], {})])
    ledger = edited.path / "edits" / "00000.parquet"
    pq.write_table(pa.Table.from_pylist(damage(pq.read_table(ledger).to_pylist()), LEDGER_SCHEMA), ledger)
    with pytest.raises(UnusableInput, match=said) as error:
        export_first_shard(edited, edited, tmp_path)
    assert "\n" not in str(error.value)


def test_shards_that_do_not_belong_together_are_refused(tmp_path):
    two, three = (forge(tmp_path / str(count), [("ab", [], {})] * count) for count in (2, 3))
    with pytest.raises(UnusableInput, match="holds not as many documents as"):
        export_first_shard(two, three, tmp_path)


def export_first_shard(original: Artifact, edited: Artifact, folder: Path) -> None:
    corpus = original.inputs["corpus"].path
    ledger = edited.path / "edits" / "00000.parquet"
    outputs = (folder / "documents", folder / "attributes")
    dolma_export.export_shard(shard_paths(corpus)[0], shard_paths(edited.path)[0], ledger, *outputs)
