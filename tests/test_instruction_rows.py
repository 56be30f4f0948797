"""Instruction rows as documents: what is read and refused, where responses stand, and how ranges follow edits."""

import json
from itertools import pairwise

import pytest
from artifact_fixtures import random_scores
from conftest import write_jsonl
from corpus_fixtures import build, counts_of, documents_of, rejected_of
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_fixtures import alpaca_rows, responses_of, sharegpt_rows, write_array

from toedit.config import ColumnsConfig, CorpusConfig, TagsConfig
from toedit.corpora.conversations import read_conversation
from toedit.errors import BadConfiguration, UnusableInput
from toedit.fingerprints import canonical_json
from toedit.instruction_files import common_layout, row_line
from toedit.instructions import KEY, Replaced, holds_instructions, moved, record_of
from toedit.passages import passages_of
from toedit.protection import changeable


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
    ({"conversations": [USER, {"from": "x" * 10**6, "value": "b"}]}, "unknown role"),
    ({"conversations": [USER, GPT], "tools": "\ud800"}, "lone surrogate"),
    ({"conversations": [USER, GPT], "tools": 5}, "text is not a string"),
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


@pytest.mark.parametrize("key", ["tools", "from", "extra"])
def test_rows_nested_as_deep_as_the_stack_allows_are_listed(key, tmp_path):
    """Just before the JSON parser gives up, what comes after it has less stack than it had."""
    lines = []
    for depth in range(100, 1000):
        deep = b"[" * depth + b"]" * depth
        turn = b'{"from": %s, "value": "a"}' % (deep if key == "from" else b'"human"')
        rest = b'"conversations": [%s, {"from": "gpt", "value": "b"}]' % turn
        lines.append(b"{%s}" % rest if key == "from" else b'{"%s": %s, %s}' % (key.encode(), deep, rest))
    lines.append(json.dumps({"conversations": [USER, GPT], "tools": []}).encode())
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    corpus = build(tmp_path, path=str(tmp_path / "rows.jsonl"), layout="sharegpt")
    assert [entry["line"] for entry in rejected_of(corpus)] == list(range(1, len(lines)))
    assert (corpus / "rejected.jsonl").stat().st_size < 200 * len(lines)
    assert [document["text"] for document in documents_of(corpus)] == ["a\nb"]  # an empty list of tools is none


_SOUND = {"layout": {"formatting": "alpaca", "columns": {}}, "fields": [["a"]], "editable": [[0, 1]], "row": {"a": "T"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"row": None},
        {"row": "T", "fields": [[0]]},
        {"row": "T", "fields": [[]]},
        {"row": {"a": "U"}},
        {"row": {"a": ["T"]}, "fields": [["a", 0, 0]]},
        {"row": {"a": "T"}, "fields": "a"},
        {"row": {"a": "T"}, "fields": [["a"], ["a"]], "editable": [[0, 1], [2, 3]]},
        {"row": ["T", 1], "fields": [[0], [-2]], "editable": [[0, 1], [2, 3]]},
        {"editable": [[0.0, 1]]},
        {"editable": [[False, True]]},
        {"editable": [[0, 1, 2]]},
        {"editable": [], "fields": []},
        {"layout": "x"},
        {"layout": {"formatting": "alpaca", "columns": 3}},
        {"layout": {"formatting": "alpaca", "columns": {"a": 1}}},
        {"layout": {"formatting": 5, "columns": {}}},
        {"layout": {"formatting": "alpaca", "columns": {}, "tags": [1]}},
    ],
)
def test_a_record_that_somebody_else_wrote_is_a_bad_row(changes, tmp_path):
    """Else the scores, the edit or the revert of the whole corpus would end at that document."""
    rows = [
        {"text": "T T", "metadata": {KEY: record}} for record in ({**_SOUND, **changes}, "x", 5, [], {}, _SOUND, None)
    ]
    corpus = build(tmp_path, path=str(write_jsonl(tmp_path / "rows.jsonl", rows)))
    reasons = [entry["reason"] for entry in rejected_of(corpus)]
    assert reasons == ["instruction record does not fit: metadata.toedit_instruction does not describe the text"] * 5
    kept, plain = documents_of(corpus)
    assert record_of(kept).row == {"a": "T"} and record_of(plain) is None
    assert holds_instructions([plain]) == 0 and holds_instructions([kept, plain]) == 1


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
        ({"layout": "sharegpt", "kind": "pydocs"}, "corpus.layout"),
        ({"layout": "alpaca", "kind": "pydocs", "columns": ColumnsConfig(prompt="a")}, "corpus.layout"),
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


@settings(deadline=None)
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


@settings(deadline=None)
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
