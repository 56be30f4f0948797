"""`edit.protect`: what the patterns find, and that no edit comes near it."""

import time
from pathlib import Path

import numpy as np
import pytest
from artifact_fixtures import CANDIDATES, build_scores, load_tokenizer, random_scores
from conftest import run_command, write_jsonl
from corpus_fixtures import counts_of, documents_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_end_to_end import ledger_of

from toedit.config import EditConfig
from toedit.edit_corpus import describe, draw, plan_edit
from toedit.editing import is_eligible
from toedit.editors import find_editor, identity_of, settings_of
from toedit.errors import BadConfiguration, UnusableInput
from toedit.expectation import Grid, expect, expect_shard
from toedit.protected_spans import NAMES, PATTERNS, protected_spans
from toedit.protection import changeable, restrict
from toedit.splicing import splice

# (pattern, text, what it finds)
EXAMPLES = [
    ("numbers", "It cost 1,234.56 on -5% of 12:30, B12, 3/4", ["1,234.56", "-5%", "12:30", "12", "3/4"]),
    ("numbers", "1e-9, x², ½ and ٤٢; no one.", ["1e-9", "²", "½", "٤٢"]),
    ("dates", "2024-03-01, 01.03.2024, 3/1/24", ["2024-03-01", "01.03.2024", "3/1/24"]),
    ("dates", "March 1st, 2024, 1 March 2024, the 2nd of May", ["March 1st, 2024", "1 March 2024", "2nd of May"]),
    ("dates", "may 1, Sept. 2020. You may go; march on; 12/5; version 1.2-3", ["may 1", "Sept. 2020"]),
    ("urls", "See https://a.org/x?y=1&z=(2), HTTP://b.de.", ["https://a.org/x?y=1&z=(2", "HTTP://b.de"]),
    ("urls", "or www.c.com/é! Not a.b", ["www.c.com/é"]),
    ("emails", "Write to a.b+c@mail.example.org, or x@y; é@ü.de", ["a.b+c@mail.example.org", "é@ü.de"]),
    ("code", "Use `a b` and ``c`d``.\n```py\nx = 1\n```\nor", ["`a b`", "``c`d``", "```py\nx = 1\n```"]),
    ("code", "~~~\nx\n~~~ but a~~~b, one ` tick, and ```no\nend", ["~~~\nx\n~~~", "```no\nend"]),
    ("math", r"$x+1$ costs $5 and $10; $$a$$ \(c\) \[d\] \$7\$", ["$x+1$", "$$a$$", r"\(c\)", r"\[d\]"]),
    ("math", r"\begin{align*}e\end{align*} \begin{a}\end{b}", [r"\begin{align*}e\end{align*}"]),
    ("quotes", 'He said "yes", “no”, „ja“ and «oui». 5" wide\nand "', ['"yes"', "“no”", "„ja“", "«oui»"]),
]
REPEATED = [
    "a",
    "1",
    "a@",
    "a.",
    "http://",
    "www.",
    ",",
    "`",
    "``a`",
    "$",
    "$a",
    '"',
    "“",
    r"\(",
    r"\begin{a}",
    "may ",
    "-",
]
SHARD = Path("00000.jsonl.zst")


@pytest.mark.parametrize("name, text, found", EXAMPLES)
def test_a_pattern_finds_what_it_is_named_after(name, text, found):
    assert [match.group() for match in PATTERNS[name].finditer(text)] == found


@given(st.text(alphabet='a1.,é²🙂`~$\n"“” @:/-', max_size=60), st.sets(st.sampled_from(NAMES)))
def test_spans_are_the_bytes_of_the_matches(text, names):
    data = text.encode()
    span_S2 = protected_spans(text, tuple(names))
    covered = set()
    for start, end in span_S2.tolist():
        data[start:end].decode()
        covered |= set(range(start, end))
    expected = set()
    for name in names:
        for match in PATTERNS[name].finditer(text):
            start, end = (len(text[:place].encode()) for place in match.span())
            expected |= set(range(start, end))
    assert covered == expected
    assert (span_S2[1:, 0] > span_S2[:-1, 1]).all() and (span_S2[:, 0] < span_S2[:, 1]).all()


@pytest.mark.parametrize("piece", REPEATED)
def test_no_text_takes_long(piece):
    """A search that starts over from every character would take hours here."""
    text = piece * (400_000 // len(piece))
    started = time.monotonic()
    protected_spans(text, NAMES)
    assert time.monotonic() - started < 30


WORDS = [
    "the cat sat",
    " on ",
    "42",
    "3.5%",
    "the mat",
    ", and ",
    "http://a.org/b",
    "`x = 1`",
    '"one"',
    "é🙂",
    "\n",
    "a@b.cd",
]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map("".join), min_size=1, max_size=3)


def touches(span: tuple[int, int], others: np.ndarray) -> bool:
    return any(start <= span[1] and span[0] <= end for start, end in others.tolist())


@settings(max_examples=60, deadline=None)
@given(
    TEXTS,
    st.sets(st.sampled_from(NAMES), min_size=1),
    st.sampled_from(["top_k", "exclude_original", "rejection", "random_replacement", "delete", "random_positions"]),
    st.integers(0, 1000),
)
def test_no_edit_comes_near_a_protected_span(texts, names, sampler, seed):
    edit = EditConfig(
        sampler=sampler, p=0.9, k=CANDIDATES, temperature=20.0, seed=seed, protect=sorted(names),
        delete_above=0.5 if sampler == "delete" else 1.0,
    )  # fmt: skip
    ids = [str(number) for number in range(len(texts))]
    documents = [{"id": id, "text": text} for id, text in zip(ids, texts, strict=True)]
    scores, tokenizer = random_scores(ids, texts, seed, confident=0.9), load_tokenizer()
    restricted, withheld = restrict(scores, documents, edit.protect, SHARD)
    draws = draw(restricted, tokenizer, edit)
    for d, text in enumerate(texts):
        first, last = scores.token_offset_D1[d : d + 2]
        here = (draws.index_E >= first) & (draws.index_E < last) & draws.changed_E
        spliced = splice(
            text.encode(), scores.span_T2[first:last], scores.token_id_T[first:last],
            draws.index_E[here] - first, draws.new_id_E[here], tokenizer,
        )  # fmt: skip
        protected = protected_spans(text, tuple(names))
        for row in spliced.rows:
            assert not touches((row.start, row.end), protected)
        place = 0  # all of them are still there, in their order
        for start, end in protected.tolist():
            place = spliced.text.index(text.encode()[start:end], place) + end - start
    confident = [
        touches(tuple(scores.span_T2[t]), protected_spans(texts[d], tuple(names)))
        for t, d in zip(scores.token_N, scores.document_N, strict=True)
    ]
    assert withheld == sum(confident)
    assert len(restricted.token_N) == len(scores.token_N) - withheld
    assert set(restricted.token_N) <= set(scores.token_N)
    assert np.isnan(restricted.logprob_T).sum() >= np.isnan(scores.logprob_T).sum()


def test_nothing_protected_leaves_the_scores_as_they_are():
    scores = random_scores(["a"], ["the cat sat on the mat 42"], 0)
    documents = [{"id": "a", "text": "the cat sat on the mat 42"}]
    assert restrict(scores, documents, [], SHARD)[0] is scores
    assert restrict(scores, documents, ["emails"], SHARD)[0] is scores
    with pytest.raises(UnusableInput, match="not the one that was scored"):
        restrict(scores, [{"id": "b", "text": "x"}], [], SHARD)


def test_a_range_is_searched_by_itself():
    text = 'the "cat sat" on the mat'
    span_T2 = load_tokenizer().encode([text])[0].span_T2
    start = text.index("cat")  # the prompt ends with an opening quotation mark
    whole, part = (changeable(span_T2, text, ranges, ["quotes"]) for ranges in (None, [[start, len(text)]]))
    is_cat_T = (span_T2[:, 0] >= start) & (span_T2[:, 1] <= start + len("cat sat"))
    assert is_cat_T.sum() > 1 and not whole[is_cat_T].any() and part[is_cat_T].all()
    assert not part[span_T2[:, 0] < start].any()


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(BadConfiguration, match=r"edit\.protect=number: must be one of numbers, dates, urls"):
        EditConfig(protect=["numbers", "number"])


def test_protection_defines_an_edit_only_where_there_is_some():
    plain, protected = EditConfig(), EditConfig(protect=["urls", "numbers", "urls"])
    editor = find_editor("top_k")
    assert not {"protect", "condition_on_prompt"} & identity_of(plain, editor).keys()
    assert identity_of(protected, editor) == identity_of(plain, editor) | {"protect": ["numbers", "urls"]}
    assert settings_of(identity_of(protected, editor)).protect == ["numbers", "urls"]
    assert describe(plain) == "p0.99-k8" and describe(protected) == "p0.99-k8-protect-numbers-urls"


def test_the_expectation_leaves_out_what_is_protected(tmp_path):
    texts = ["the cat 42 sat on the mat", "and the dog 3.5 sat on 12 cats", "no number at all"]
    scores = build_scores(tmp_path, texts)
    edit = EditConfig(p=0.9, k=CANDIDATES, temperature=20.0, protect=["numbers"])
    edited = plan_edit(scores, edit, tmp_path)
    counts = counts_of(edited.ensure())
    grid = Grid([edit.p], [edit.k], [edit.temperature])
    expected, free = expect(scores.path, grid, edit.protect), expect(scores.path, grid)
    assert expected.eligible_P[0] == counts["eligible"] < free.eligible_P[0]
    assert expected.changed_PJS[0, 0, 0] == pytest.approx(counts["expected_changed"], abs=1e-3)
    assert free.eligible_P[0] - expected.eligible_P[0] == counts["protected"] > 0
    shard = random_scores(["a"], [texts[0]], 5)
    restricted, _ = restrict(shard, [{"id": "a", "text": texts[0]}], ["numbers"], SHARD)
    assert expect_shard(restricted, grid)[0][0] == is_eligible(restricted.logprob_T, 0.9).sum()


def test_the_command_keeps_numbers_and_says_how_many_tokens_that_withheld(small_prior, tmp_path):
    rows = [
        {"id": str(n), "text": f"The cat sat quietly on the mat, as the story goes. {n} dogs waited for the bus."}
        for n in range(30)
    ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    inputs = ["corpus=local", "corpus.path=rows.jsonl", "prior=local", f"prior.path={small_prior}"]
    lively = ["score.min_p=0", "edit.p=0.01", "edit.temperature=5"]
    run = run_command("stage=edit", *inputs, *lively, "edit.protect=[numbers]", "out=kept", cwd=tmp_path)
    counts = counts_of(tmp_path / "kept")
    assert f"protected {counts['protected']:,}" in run.stdout and "edit.protect=numbers" in run.stdout
    assert counts["protected"] > 10 and counts["changed"] == len(ledger_of(tmp_path / "kept")) > 30
    numbers = [row["id"] for row in rows]
    for number, document in zip(numbers, documents_of(tmp_path / "kept"), strict=True):
        assert number in document["text"]
    run = run_command("stage=edit", *inputs, "edit.protect=[nubmers]", cwd=tmp_path, expect=2)
    assert "edit.protect=nubmers" in run.stderr and "quotes" in run.stderr
