"""Instruction data: rows in, the same rows out but for the responses; what is read, what is scored, what comes back."""

import json
import random
from dataclasses import fields
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from artifact_fixtures import random_scores
from conftest import PLACES, SUBJECTS, VERBS, files_of, run_command, write_jsonl
from corpus_fixtures import build, counts_of, documents_of, rejected_of
from hypothesis import given
from hypothesis import strategies as st
from test_end_to_end import ledger_of
from tokenizers_fixture import require_test_data

from toedit import edit_corpus
from toedit.artifacts import load_artifact
from toedit.config import ColumnsConfig, CorpusConfig, EditConfig, TagsConfig
from toedit.corpora.conversations import read_conversation
from toedit.edit_corpus import edit_shard, plan_edit
from toedit.errors import BadConfiguration, UnusableInput
from toedit.fingerprints import canonical_json
from toedit.instruction_files import common_layout, row_line
from toedit.instructions import KEY, Replaced, moved, record_of
from toedit.passages import passages_of
from toedit.protection import changeable
from toedit.scores import read_scores
from toedit.workspace import read_manifest

LIVELY = ["edit.p=0.9", "edit.temperature=3"]
REAL = ["score.min_p=0.3", "edit.p=0.3", "edit.temperature=2"]


def sentence(choose: random.Random) -> str:
    return f"{choose.choice(SUBJECTS)} {choose.choice(VERBS)} {choose.choice(PLACES)}, as the story goes."


def alpaca_rows(count: int = 30) -> list[dict]:
    """What the small prior is sure of, in prompts and responses; with odd rows among them."""
    choose = random.Random(1)
    rows = [
        {
            "instruction": f"Say it: {sentence(choose)}",
            "input": sentence(choose) if number % 3 else "",
            "output": " ".join(sentence(choose) for _ in range(choose.randint(1, 4))),
            "n": number,
            "nested": {"b": [1.5, None, True], "a": "é"},
        }
        for number in range(count)
    ]
    rows[3]["history"] = [[sentence(choose), sentence(choose)]]
    rows[4]["system"] = "You tell stories. 🙂"
    rows[5] |= {"instruction": "", "input": ""}
    rows[6]["output"] = "\n Zoë 🙂 sat quietly on the mat, as the story goes.\n\n"
    rows[7]["output"] = "x"
    return rows


def sharegpt_rows(
    names: tuple[str, ...] = ("conversations", "from", "value", "human", "gpt", "observation"),
) -> list[dict]:
    choose = random.Random(2)
    messages, role, content, user, assistant, tool = names
    rows = []
    for number in range(20):
        said = [(who, sentence(choose)) for _ in range(1 + number % 3) for who in (user, assistant)]
        if number % 4 == 0:
            said = [("system", "You tell stories."), *said]
        if number % 5 == 0:
            said += [
                (user, "Look."),
                ("function_call", '{"name": "look"}'),
                (tool, "[1]"),
                (assistant, sentence(choose)),
            ]
        rows.append({messages: [{role: who, content: text, "extra": 1} for who, text in said], "id": f"row {number}"})
    return rows


def write_array(path: Path, rows: list) -> Path:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def rows_of(folder: Path) -> list[dict]:
    files = sorted((folder / "instructions").iterdir())
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def responses_of(row: dict) -> dict[tuple, str]:
    """By path; the test's own reading of a row."""
    for field, role, content, assistant in (
        ("conversations", "from", "value", "gpt"),
        ("messages", "role", "content", "assistant"),
    ):
        if field in row:
            turns = enumerate(row[field])
            return {(field, n, content): turn[content] for n, turn in turns if turn[role] == assistant}
    return {("output",): row["output"]}


def without_responses(row: dict) -> str:
    copy = json.loads(json.dumps(row))
    for *steps, last in responses_of(row):
        place = copy
        for step in steps:
            place = place[step]
        place[last] = None
    return canonical_json(copy)


def prior_inputs(prior: Path) -> list[str]:
    return ["prior=local", f"prior.path={prior}"]


def edit(work: Path, rows: Path, layout: str, prior: Path, *more: str, out: str = "edited") -> Path:
    run_command(
        "stage=edit", "corpus=local", f"corpus.path={rows}", f"corpus.layout={layout}", *prior_inputs(prior), *more,
        f"out={out}", cwd=work,
    )  # fmt: skip
    return work / out


# --- rows in ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout, rows", [("alpaca", alpaca_rows()), ("sharegpt", sharegpt_rows())])
def test_a_row_becomes_one_text_that_knows_its_responses(layout, rows, tmp_path):
    corpus = build(tmp_path, path=str(write_array(tmp_path / "rows.json", rows)), layout=layout)
    documents = documents_of(corpus)
    assert len(documents) == len(rows) and not rejected_of(corpus)
    for document, row in zip(documents, rows, strict=True):
        record = document["metadata"][KEY]
        text = document["text"].encode()
        assert canonical_json(record["row"]) == canonical_json(row)
        found = {
            tuple(path): text[a:b].decode() for path, (a, b) in zip(record["fields"], record["editable"], strict=True)
        }
        assert found == responses_of(row)
    texts = [document["text"] for document in documents]
    if layout == "alpaca":
        assert texts[4].startswith("You tell stories. 🙂\nSay it: ") and texts[5] == rows[5]["output"]
        assert texts[3].split("\n")[:2] == rows[3]["history"][0]
    else:
        assert documents[0]["id"] == "row 0" and '\nLook.\n{"name": "look"}\n[1]\n' in texts[0]


BAD_ALPACA = [
    ({"instruction": "a"}, "no response"),
    ({"instruction": "a", "output": None}, "response is null"),
    ({"instruction": "a", "output": ""}, "response is empty"),
    ({"instruction": "a", "output": 5}, "text is not a string"),
    ({"instruction": ["a"], "output": "b"}, "text is not a string"),
    ({"instruction": "a", "output": "b", "history": [["one"]]}, "history is not a list of pairs"),
    ({"instruction": "a\ud800", "output": "b"}, "lone surrogate"),
]
USER, GPT = {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}
BAD_SHAREGPT = [
    ({"other": 1}, "no messages"),
    ({"conversations": "a"}, "messages are not a list"),
    ({"conversations": None}, "messages are not a list"),
    ({"conversations": []}, "no assistant turn"),
    ({"conversations": [USER]}, "no assistant turn"),
    ({"conversations": [USER, {"from": "function_call", "value": "c"}]}, "no assistant turn"),
    ({"conversations": [GPT, USER]}, "roles out of order"),
    ({"conversations": [USER, USER, GPT]}, "roles out of order"),
    ({"conversations": [USER, GPT, USER]}, "roles out of order"),
    ({"conversations": [USER, GPT, {"from": "system", "value": "s"}, GPT]}, "roles out of order"),
    ({"conversations": [USER, {"from": "gpt", "value": ""}]}, "response is empty"),
    ({"conversations": [USER, {"from": "gpt", "value": None}]}, "response is null"),
    ({"conversations": [USER, {"from": "gpt"}]}, "not a turn"),
    ({"conversations": [USER, "gpt"]}, "not a turn"),
    ({"conversations": [USER, {"from": "robot", "value": "b"}]}, "unknown role"),
    ({"conversations": [USER, {"from": ["gpt"], "value": "b"}]}, "unknown role"),
]


@pytest.mark.parametrize(
    "layout, bad, good",
    [("alpaca", BAD_ALPACA, {"output": "b"}), ("sharegpt", BAD_SHAREGPT, {"conversations": [USER, GPT]})],
)
def test_bad_rows_are_listed_with_their_reason(layout, bad, good, tmp_path):
    rows = [*(row for row, _ in bad), good]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = build(tmp_path, path=str(path), layout=layout)
    rejected = rejected_of(corpus)
    assert [entry["reason"].split(":")[0] for entry in rejected] == [reason for _, reason in bad]
    assert [entry["line"] for entry in rejected] == list(range(1, len(bad) + 1))
    counts = counts_of(corpus)
    assert counts["documents_in"] == len(rows) and counts["documents_out"] == 1


def test_rows_of_another_layout_are_pointed_to_it(tmp_path):
    rows = write_array(
        tmp_path / "rows.json", sharegpt_rows(("messages", "role", "content", "user", "assistant", "tool"))
    )
    with pytest.raises(UnusableInput, match=r"corpus\.layout"):
        build(tmp_path, path=str(rows), layout="sharegpt")


def test_columns_and_tags_have_the_names_that_are_asked_for():
    row = {"problem": "p", "solution": "s", "input": "unread", "output": "unread"}
    columns = ColumnsConfig(prompt="problem", response="solution", query="")
    text, record = read_conversation(row, CorpusConfig(kind="local", layout="alpaca", columns=columns))
    assert text == "p\ns" and record.fields == [["solution"]]
    assert record.layout == {"formatting": "alpaca", "columns": {"prompt": "problem", "response": "solution"}}
    # A usual name that something else has taken is nobody's.
    config = CorpusConfig(kind="local", layout="alpaca", columns=ColumnsConfig(prompt="input"))
    text, _ = read_conversation({"input": "p", "output": "s"}, config)
    assert text == "p\ns"

    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    tags = TagsConfig(role_tag="role", content_tag="content", user_tag="user", assistant_tag="assistant")
    spelt_out = CorpusConfig(kind="local", layout="sharegpt", columns=ColumnsConfig(messages="messages"), tags=tags)
    usual = CorpusConfig(kind="local", layout="messages")
    for config in (spelt_out, usual):
        text, record = read_conversation(row, config)
        assert text == "a\nb" and record.fields == [["messages", 1, "content"]]


@pytest.mark.parametrize(
    "settings, key",
    [
        ({"layout": "alpca"}, "corpus.layout"),
        ({"layout": "alpaca", "kind": "pydocs"}, "corpus.layout"),
        ({"layout": "alpaca", "text_fields": ["output"]}, "corpus.text_fields"),
        ({"layout": "alpaca", "columns": ColumnsConfig(messages="m")}, "corpus.columns.messages"),
        ({"layout": "alpaca", "columns": ColumnsConfig(prompt="a", query="a")}, "corpus.columns"),
        ({"layout": "alpaca", "columns": ColumnsConfig(response="")}, "corpus.columns.response"),
        ({"layout": "alpaca", "tags": TagsConfig(role_tag="r")}, "corpus.tags.role_tag"),
        ({"layout": "sharegpt", "tags": TagsConfig(user_tag="a", assistant_tag="a")}, "corpus.tags"),
        ({"layout": "sharegpt", "tags": TagsConfig(role_tag="")}, "corpus.tags.role_tag"),
        ({"columns": ColumnsConfig(prompt="a")}, "corpus.columns.prompt"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused_by_name(settings, key):
    with pytest.raises(BadConfiguration, match=f"^{key.replace('.', '[.]')}"):
        CorpusConfig(**{"kind": "local", **settings})


def test_plain_corpora_keep_their_fingerprints(tmp_path):
    from toedit.corpora import plan_corpus

    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "a", "output": "b"}])
    identity = plan_corpus(CorpusConfig(kind="local", path=str(path)), tmp_path).identity
    assert not {"layout", "columns", "tags"} & identity.keys()


# --- ranges through edits ---------------------------------------------------------------------------------------------


@given(st.data())
def test_ranges_follow_replacements_there_and_back(data):
    text = data.draw(st.binary(min_size=4, max_size=60))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), min_size=4, max_size=8)))
    ranges = [list(pair) for pair in list(pairwise(cuts))[::2]]
    edited, replaced, back, shift = bytearray(), [], [], 0
    place = 0
    for start, end in ranges:
        marks = sorted(data.draw(st.sets(st.integers(start, end), max_size=4)))
        for a, b in list(pairwise(marks))[::2]:
            new = data.draw(st.binary(max_size=5))
            edited += text[place:a] + new
            replaced.append(Replaced(a, b - a, len(new)))
            back.append(Replaced(a + shift, len(new), b - a))
            shift += len(new) - (b - a)
            place = b
    edited += text[place:]
    after = moved(ranges, replaced, "it")
    outside = [text[b:a] for (_, b), (a, _) in pairwise([[0, 0], *ranges, [len(text), len(text)]])]
    bounds = [[0, 0], *after, [len(edited), len(edited)]]
    assert [bytes(edited[b:a]) for (_, b), (a, _) in pairwise(bounds)] == outside
    assert moved(after, back, "it") == ranges
    if ranges[0][0] > 0:
        with pytest.raises(UnusableInput, match="not part of a response"):
            moved(ranges, [Replaced(ranges[0][0] - 1, 1, 2)], "it")


def test_a_record_that_does_not_fit_its_text_is_refused():
    layout = {"formatting": "alpaca", "columns": {"response": "output"}}
    stored = {"layout": layout, "fields": [["output"]], "editable": [[2, 5]], "row": {"output": "yes"}}
    document = {"id": "x", "text": "a\nyes", "metadata": {KEY: stored}}
    assert record_of(document) is not None and record_of({"id": "y", "text": "plain"}) is None
    for change in (
        {"text": "b\nno!"},
        {"metadata": {KEY: stored | {"editable": [[0, 5]]}}},
        {"metadata": {KEY: "odd"}},
    ):
        with pytest.raises(UnusableInput, match="does not fit its text"):
            record_of(document | change)


def test_layouts_of_one_corpus_must_agree():
    first = {"formatting": "alpaca", "columns": {"response": "output"}}
    assert common_layout(first, {"formatting": "alpaca", "columns": {"response": "output", "query": "input"}}) == {
        "formatting": "alpaca", "columns": {"response": "output", "query": "input"},
    }  # fmt: skip
    for other in (
        {"formatting": "sharegpt", "columns": {}},
        {"formatting": "alpaca", "columns": {"response": "answer"}},
    ):
        with pytest.raises(UnusableInput, match="different layouts"):
            common_layout(first, other)


def test_a_row_s_line_is_one_line_of_json():
    for row in ({"b": "\u2028 é\n", "a": [1, 1.5, None]}, {"x": "\ud800"}):
        line = row_line(row)
        assert line.count(b"\n") == 1 and json.loads(line) == row


SAID = st.text(alphabet="ab é🙂\n1", min_size=1, max_size=12)


@given(st.lists(st.one_of(SAID, st.lists(st.tuples(SAID, SAID), min_size=1, max_size=3)), min_size=1, max_size=4))
def test_joined_passages_are_the_documents_tokens(contents):
    """A string is plain text, a list of pairs a conversation."""
    documents: list[dict] = []
    for number, content in enumerate(contents):
        document: dict = {"id": str(number), "text": content}
        if isinstance(content, list):
            turns = [turn for prompt, said in content for turn in (USER | {"value": prompt}, GPT | {"value": said})]
            config = CorpusConfig(kind="local", layout="sharegpt")
            text, record = read_conversation({"conversations": turns}, config)
            document |= {"text": text, "metadata": {KEY: record._asdict()}}
        documents.append(document)
    passages = passages_of(documents, condition_on_prompt=False)
    apart = random_scores(passages.ids, passages.texts, 0, confident=0.8)
    joined = passages.join(apart)
    assert joined.ids == [document["id"] for document in documents]
    assert (joined.token_N == apart.token_N).all() and (
        joined.candidate_offset_D1[[0, -1]] == [0, len(apart.token_N)]
    ).all()
    for d, document in enumerate(documents):
        data, tokens = document["text"].encode(), slice(*joined.token_offset_D1[d : d + 2])
        record = record_of(document)
        editable = record.editable if record else [[0, len(data)]]
        assert b"".join(data[a:b] for a, b in joined.span_T2[tokens]) == b"".join(data[a:b] for a, b in editable)
        assert changeable(joined.span_T2[tokens], document["text"], editable, []).all()
    whole = passages_of(documents, condition_on_prompt=True)
    scores = random_scores(whole.ids, whole.texts, 0)
    same = whole.join(scores)
    for name in ("token_offset_D1", "span_T2", "candidate_offset_D1", "candidate_position_N"):
        assert (getattr(same, name) == getattr(scores, name)).all()


# --- the whole command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alpaca(tmp_path_factory, small_prior) -> Path:
    """A workplace with alpaca rows edited in `edited`."""
    work = tmp_path_factory.mktemp("alpaca")
    rows = write_array(work / "rows.json", alpaca_rows())
    edit(work, rows, "alpaca", small_prior, *LIVELY, "corpus.shard_bytes=1500")
    return work


def check_rows(edited: Path, originals: list[dict]) -> int:
    """Only responses differ; return how many do."""
    rows = rows_of(edited)
    assert [without_responses(row) for row in rows] == [without_responses(row) for row in originals]
    for row in rows:
        assert all(responses_of(row).values())
    return sum(responses_of(row) != responses_of(original) for row, original in zip(rows, originals, strict=True))


def check_counts(edited: Path) -> dict:
    counts = counts_of(edited)
    documents = documents_of(edited)
    notes = [document["metadata"]["toedit"] for document in documents]
    for key in ("tokens", "eligible", "changed"):
        assert counts[key] == sum(note[key] for note in notes)
    assert counts["instructions"] == len(rows_of(edited)) == len(documents)
    for document in documents:
        record_of(document)
    return counts


def test_only_responses_change_and_the_rows_come_out_in_their_layout(alpaca):
    edited = alpaca / "edited"
    assert len(list((edited / "documents").iterdir())) > 2
    assert check_rows(edited, alpaca_rows()) > 5
    assert check_counts(edited)["protected"] > 50  # the prompts', of which the prior is as sure
    info = json.loads((edited / "dataset_info.json").read_text())
    columns = {
        "history": "history",
        "prompt": "instruction",
        "query": "input",
        "response": "output",
        "system": "system",
    }
    assert info == {"instructions": {"file_name": "instructions", "formatting": "alpaca", "columns": columns}}
    listed = {
        output["path"]: output.get("rows") for output in json.loads((edited / "manifest.json").read_text())["outputs"]
    }
    assert sum(rows for path, rows in listed.items() if path.startswith("instructions/")) == 30
    assert "dataset_info.json" in listed


def test_edits_in_the_ledger_lie_in_responses(alpaca):
    documents = {document["id"]: document for document in documents_of(alpaca / "edited")}
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=alpaca)
    originals = {document["id"]: document["metadata"][KEY] for document in documents_of(alpaca / "original")}
    ledger = ledger_of(alpaca / "edited")
    for row in ledger:
        assert any(a <= row["start"] and row["end"] <= b for a, b in originals[row["id"]]["editable"])
    assert len(ledger) > 10 and documents.keys() == originals.keys()


def test_revert_restores_rows_and_corpus(alpaca):
    run_command("stage=revert", "edited.path=edited", "out=back", cwd=alpaca)
    assert [canonical_json(row) for row in rows_of(alpaca / "back")] == [canonical_json(row) for row in alpaca_rows()]
    run_command(
        "stage=corpus", "corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", "corpus.shard_bytes=1500",
        "out=corpus", cwd=alpaca,
    )  # fmt: skip
    assert files_of(alpaca / "back", "documents") == files_of(alpaca / "corpus", "documents")
    assert (alpaca / "back" / "dataset_info.json").read_bytes() == (
        alpaca / "edited" / "dataset_info.json"
    ).read_bytes()


def test_an_interrupted_edit_goes_on_to_the_same_rows(alpaca, small_prior, tmp_path, monkeypatch):
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", "corpus.shard_bytes=1500"]
    run_command("stage=score", *inputs, *prior_inputs(small_prior), f"out={tmp_path / 'scores'}", cwd=alpaca)
    scores = load_artifact(tmp_path / "scores", ("scores",), "scores.path", "stage=score")
    edit_of = partial(plan_edit, scores, EditConfig(p=0.9, temperature=3.0))
    finished: list[int] = []

    def interrupted(*arguments):
        if len(finished) == 2:
            raise KeyboardInterrupt
        finished.append(1)
        return edit_shard(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(edit_corpus, "edit_shard", interrupted)
        edit_of(tmp_path / "killed").ensure()
    killed, whole = edit_of(tmp_path / "killed").ensure(), edit_of(tmp_path / "whole").ensure()
    kinds = ("documents", "edits", "instructions")
    assert files_of(killed, *kinds) == files_of(whole, *kinds) == files_of(alpaca / "edited", *kinds)
    assert (killed / "dataset_info.json").read_bytes() == (whole / "dataset_info.json").read_bytes()
    assert counts_of(killed) == counts_of(whole)


def test_no_edit_gives_equal_rows(alpaca, small_prior):
    none = edit(alpaca, alpaca / "rows.json", "alpaca", small_prior, "edit=none", out="none")
    assert [canonical_json(row) for row in rows_of(none)] == [canonical_json(row) for row in alpaca_rows()]
    assert ledger_of(none) == []


def test_an_edited_corpus_can_be_edited_again(alpaca, small_prior):
    run_command(
        "stage=edit", "corpus=local", "corpus.path=edited", *prior_inputs(small_prior), *LIVELY, "edit.seed=1",
        "out=twice", cwd=alpaca,
    )  # fmt: skip
    assert check_rows(alpaca / "twice", alpaca_rows()) > 5
    run_command("stage=revert", "edited.path=twice", "out=once", cwd=alpaca)
    for kind in ("documents", "instructions"):
        assert files_of(alpaca / "once", kind) == files_of(alpaca / "edited", kind)


def test_deleting_everything_leaves_a_token_of_each_response(alpaca, small_prior):
    deleted = edit(
        alpaca, write_array(alpaca / "turns.json", sharegpt_rows()), "sharegpt", small_prior,
        "edit=delete_greater", "edit.delete_above=1e-9", out="deleted",
    )  # fmt: skip
    assert check_rows(deleted, sharegpt_rows()) == 20
    lengths = [len(text) for row in rows_of(deleted) for text in responses_of(row).values()]
    assert max(lengths) < 12
    run_command("stage=revert", "edited.path=deleted", "out=undeleted", cwd=alpaca)
    assert rows_of(alpaca / "undeleted") == sharegpt_rows()


def test_every_assistant_turn_is_a_response(small_prior, tmp_path):
    names = ("messages", "role", "content", "user", "assistant", "tool")
    for layout, rows in (("sharegpt", sharegpt_rows()), ("messages", sharegpt_rows(names))):
        edited = edit(
            tmp_path, write_jsonl(tmp_path / f"{layout}.jsonl", rows), layout, small_prior, *LIVELY, out=layout
        )
        assert check_rows(edited, rows) > 5
        paths = [path for document in documents_of(edited) for path in document["metadata"][KEY]["fields"]]
        assert len(paths) == sum(len(responses_of(row)) for row in rows)
        changed_turns = {
            path[1]
            for row, original in zip(rows_of(edited), rows, strict=True)
            for path, text in responses_of(row).items()
            if text != responses_of(original)[path]
        }
        assert len(changed_turns) > 2
        info = json.loads((edited / "dataset_info.json").read_text())["instructions"]
        assert info["formatting"] == "sharegpt" and info["columns"] == {"messages": rows and next(iter(rows[0]))}
        assert info["tags"]["assistant_tag"] == ("gpt" if layout == "sharegpt" else "assistant")
        assert info["tags"].keys() == {field.name for field in fields(TagsConfig)}


def all_scores(folder: Path) -> list:
    return [read_scores(path) for path in sorted((folder / "scores").glob("*.parquet"))]


def test_without_the_prompt_a_response_scores_like_a_document_of_its_own(small_prior, tmp_path):
    rows = sharegpt_rows()
    write_array(tmp_path / "rows.json", rows)
    texts = [text for row in rows for text in responses_of(row).values()]
    write_jsonl(tmp_path / "plain.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=sharegpt", *prior_inputs(small_prior)]
    run_command("stage=score", *inputs, "out=after", cwd=tmp_path)
    run_command("stage=score", *inputs, "edit.condition_on_prompt=false", "out=alone", cwd=tmp_path)
    plain_inputs = ["corpus=local", "corpus.path=plain.jsonl", *prior_inputs(small_prior)]
    run_command("stage=score", *plain_inputs, "out=plain", cwd=tmp_path)
    identity = {name: read_manifest(tmp_path / name)["identity"] for name in ("after", "alone", "plain")}
    assert identity["after"] == identity["plain"]  # the scores of before know nothing of prompts
    assert identity["alone"] == identity["plain"] | {"condition_on_prompt": False}
    (after,), (alone,), (plain,) = (all_scores(tmp_path / name) for name in ("after", "alone", "plain"))
    for name in ("token_id_T", "candidate_id_NK"):
        assert (getattr(alone, name) == getattr(plain, name)).all()
    np.testing.assert_allclose(alone.logprob_T, plain.logprob_T, atol=1e-5)
    assert len(alone.token_N) == len(plain.token_N) and (alone.token_N == plain.token_N).all()
    corpus = documents_of(next((tmp_path / "artifacts" / "corpus").glob("rows--*")))
    assert alone.ids == after.ids == [document["id"] for document in corpus]
    differences = 0
    for d, document in enumerate(corpus):
        data = document["text"].encode()
        tokens, whole = (slice(*scores.token_offset_D1[d : d + 2]) for scores in (alone, after))
        response = b"".join(data[a:b] for a, b in document["metadata"][KEY]["editable"])
        assert b"".join(data[a:b] for a, b in alone.span_T2[tokens]) == response
        assert (after.span_T2[whole][0, 0], after.span_T2[whole][-1, 1]) == (0, len(data))
        by_span = {
            tuple(span): p for span, p in zip(after.span_T2[whole].tolist(), after.logprob_T[whole], strict=True)
        }
        for span, p in zip(alone.span_T2[tokens].tolist(), alone.logprob_T[tokens], strict=True):
            differences += abs(by_span.get(tuple(span), p) - p) > 0.01
    assert differences > 50


def test_the_released_script_s_way_edits_only_responses_too(alpaca, small_prior):
    by_itself = [*LIVELY, "edit.condition_on_prompt=false"]
    alone = edit(alpaca, alpaca / "rows.json", "alpaca", small_prior, *by_itself, out="alone")
    assert check_rows(alone, alpaca_rows()) > 5
    assert check_counts(alone)["protected"] == 0
    assert {row["instruction"]: row["output"] for row in rows_of(alone)} != {
        row["instruction"]: row["output"] for row in rows_of(alpaca / "edited")
    }
    run_command("stage=revert", "edited.path=alone", "out=together", cwd=alpaca)
    assert rows_of(alpaca / "together") == alpaca_rows()
    run = run_command("stage=diff", "edited.path=alone", "out=page", cwd=alpaca)
    assert "diff.html" in run.stdout


def test_scores_with_and_without_the_prompt_are_not_confused(alpaca, small_prior, corpus_file):
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", *prior_inputs(small_prior)]
    run_command("stage=score", *inputs, "out=with-prompts", cwd=alpaca)
    run = run_command("stage=edit", "scores.path=with-prompts", "edit.condition_on_prompt=false", cwd=alpaca, expect=2)
    assert "edit.condition_on_prompt" in run.stderr and "scores.path" in run.stderr
    run = run_command(
        "stage=edit", "corpus=local", f"corpus.path={corpus_file}", *prior_inputs(small_prior),
        "edit.condition_on_prompt=false", cwd=alpaca, expect=2,
    )  # fmt: skip
    assert "no instruction data" in run.stderr


def test_the_diff_marks_no_prompt_as_eligible(alpaca):
    from toedit.document_views import load_views

    run_command("stage=diff", "edited.path=edited", "out=diff", cwd=alpaca)
    for view in load_views(alpaca / "edited", [], 5):
        changed = list(view.edits)
        assert view.changeable_T is not None and view.changeable_T[changed].all()
        assert 0 < view.changeable_T.sum() < view.tokens
        start = view.span_T2[np.flatnonzero(view.changeable_T)[0], 0]
        assert start > 0


def test_forecast_and_budget_count_what_the_edit_counts(alpaca, small_prior):
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", *prior_inputs(small_prior)]
    for protect in ("[]", "[quotes,numbers]"):
        settings = [*inputs, f"edit.protect={protect}"]
        out = f"lively{protect}".replace("[", "-").replace("]", "").replace(",", "-")
        run_command("stage=edit", *settings, *LIVELY, "edit.k=8", f"out={out}", cwd=alpaca)
        run_command(
            "stage=forecast", *settings, "plan.p=[0.9]", "plan.k=[8]", "plan.temperature=[3]", f"out={out}-forecast",
            cwd=alpaca,
        )  # fmt: skip
        counts = counts_of(alpaca / out)
        row = json.loads((alpaca / f"{out}-forecast" / "expected_changes.json").read_text())["rows"][0]
        assert row["eligible"] == counts["eligible"] > 0
        assert row["expected_changed"] == pytest.approx(counts["expected_changed"], abs=1e-3)
    budget = counts["expected_changed"] / counts["tokens"] / 2
    run_command("stage=edit", *settings, "edit.p=0.9", f"edit.budget={budget:.6f}", "out=budget", cwd=alpaca)
    spent = counts_of(alpaca / "budget")
    assert spent["expected_changed"] / spent["tokens"] == pytest.approx(budget, rel=2e-3)


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, layout, count",
    [
        ("alpaca_en_demo", "alpaca", 40),
        ("code_alpaca_2k", "alpaca", 200),
        ("glaive_toolcall_en_demo", "sharegpt", 12),
        ("oasst_en_100_tree", "sharegpt", 20),
    ],
)
def test_real_rows_keep_every_prompt(name, layout, count, small_prior, tmp_path):
    rows = json.loads((require_test_data() / "sft" / f"{name}.json").read_text(encoding="utf-8"))
    rows = rows[:count] + [row for row in rows[count:] if layout == "alpaca" and not row["output"]][:2]
    good = [row for row in rows if all(responses_of(row).values())]
    edited = edit(tmp_path, write_array(tmp_path / "rows.json", rows), layout, small_prior, *REAL)
    assert check_rows(edited, good) > 5
    check_counts(edited)
    rejected = rejected_of(next((tmp_path / "artifacts" / "corpus").iterdir()))
    assert len(rejected) == len(rows) - len(good)
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=tmp_path)
    assert [canonical_json(row) for row in rows_of(tmp_path / "original")] == [canonical_json(row) for row in good]


def test_a_data_set_library_reads_the_rows(alpaca):
    from datasets import load_dataset

    files = sorted(str(path) for path in (alpaca / "edited" / "instructions").iterdir())
    loaded = load_dataset("json", data_files=files, split="train", cache_dir=str(alpaca / "cache"))
    info = json.loads((alpaca / "edited" / "dataset_info.json").read_text())["instructions"]
    assert set(info["columns"].values()) <= set(loaded.column_names)
    assert loaded["output"][:] == [row["output"] for row in rows_of(alpaca / "edited")]
