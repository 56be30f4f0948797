"""Where each token stands in a document, and edits that change nothing else (every family)."""

import copy
import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers_fixture import (
    FAMILIES,
    byte_level_spelling,
    real_texts,
    require_test_data,
    tokenizer_folder,
)

from toedit.errors import UnusableInput
from toedit.splicing import LedgerRow, Spliced, is_exact, splice, unsplice
from toedit.tokenizing import PriorTokenizer, TokenizedDocument, load_tokenizer

SPELT_SPECIAL = [
    "<|endoftext|>",
    "<|padding|>",
    "<|begin_of_text|>",
    "<|reserved_special_token_0|>",
    "<|fim_prefix|>",
    "<s>",
    "</s>",
    "<unk>",
    "[UNK]",
    "[CLS]",
    "[SEP]",
]
ODD_TEXT = [
    *[
        "<0x41>",
        "<0xF0>",
        "▁",
        " ▁",
        "▁▁x",
        "##ing",
        "Ġ",
        "|||IP_ADDRESS|||",
        "|||EMAIL_ADDRESS|||",
    ],
    *[
        "e\u0301",
        "a\u0323\u0307",
        "a\u0307\u0323",
        "ñ",
        "é",
        "Å",
        "İ",
        "ß",
        "\u0301",
        "c\u0327\u0301",
    ],
    *[
        "👩‍👩‍👧",
        "🧑🏽‍🚀",
        "🇩🇪",
        "❤️",
        "🙂",
        "漢字",
        "日本語テキスト",
        "你好",
        "العربية",
        "שָׁלוֹם",
        "हिन्दी",
        "ไทย",
    ],
    *["\u1112\u1161\u11ab", "한국어", "ﬁ", "ﬁi", "ﬃ", "①", "㎏", "¨", "½", "𝒳", "\u212b", "\uf900"],
    *[
        "\x00",
        "\x01",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u200b",
        "\ufeff",
        "\u2028",
        "\ufffd",
        "\U0010ffff",
    ],
    *["\t", "\t\t", " ", "  ", "   ", " " * 30, "\r\n", "\n", "\n\n", "\xa0", "\u3000", "\v\f"],
    *[
        "Hello",
        " world",
        "the",
        " the",
        "dog",
        " 2026",
        "3.14",
        "don't",
        "I'LL",
        "naïve",
        ".",
        ",",
        "{",
        "}",
    ],
    *["int main() {\n\treturn 0;\n}", "http://a.b/c?d=e", "AAAAAAAAAAAAAAAAAAAA"],
]
# The families whose tokens spell the spaces between words too.
SPELLING_FAMILIES = [family for family in FAMILIES if family != "wordpiece"]
ANY_CHARACTER = st.characters(codec="utf-8")


def texts(fragments: list[str]) -> st.SearchStrategy[str]:
    fragment = st.one_of(st.sampled_from(fragments), st.text(ANY_CHARACTER, max_size=6))
    return st.lists(fragment, max_size=14).map("".join)


FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    require_test_data()
    temporary = tmp_path_factory.mktemp("tokenizers")
    return {family: tokenizer_folder(family, temporary) for family in FAMILIES}


@pytest.fixture(scope="session")
def priors(folders: dict[str, Path]) -> dict[str, PriorTokenizer]:
    return {family: load_tokenizer(folder) for family, folder in folders.items()}


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def prior(family: str, priors: dict[str, PriorTokenizer]) -> PriorTokenizer:
    return priors[family]


@pytest.fixture(scope="session")
def libraries(folders: dict[str, Path]) -> dict[str, Tokenizer]:
    """The tokenizers library on its own, as an outside user would load the files."""
    return {family: Tokenizer.from_file(str(folder / "tokenizer.json")) for family, folder in folders.items()}


@pytest.fixture(scope="session")
def library(family: str, libraries: dict[str, Tokenizer]) -> Tokenizer:
    return libraries[family]


def special_pieces(tokenizer: Tokenizer) -> list[str]:
    added = tokenizer.get_added_tokens_decoder().values()
    return [token.content for token in added if token.special]


def with_offsets(prior: PriorTokenizer) -> PriorTokenizer:
    """The same tokenizer, made to align every document token by token."""
    slow = copy.copy(prior)
    slow._pieces_add_up = False
    return slow


def covered_text(document: TokenizedDocument, data: bytes) -> list[bytes]:
    return [data[start:end] for start, end in document.span_T2.tolist()]


def own_bytes(prior: PriorTokenizer, document: TokenizedDocument) -> list[bytes | None]:
    return [prior.piece_bytes[token_id] for token_id in document.token_ids_T]


def as_spelt(family: str, text: str) -> str:
    """The nearest text whose tokens spell it completely (no family but WordPiece alters more)."""
    if "neox" in family:
        return unicodedata.normalize("NFC", text)
    if family == "llama2-test":
        return text.replace("▁", "").replace("|||", "")
    return text


def check_spans(text: str, document: TokenizedDocument) -> None:
    length = len(text.encode())
    assert document.token_ids_T.dtype == np.int32
    assert document.span_T2.dtype == np.int32
    assert document.span_T2.shape == (len(document.token_ids_T), 2)
    if len(document.span_T2):
        assert document.span_T2.min() >= 0
        assert document.span_T2.max() <= length
    assert (document.span_T2[:, 0] <= document.span_T2[:, 1]).all()
    assert (np.diff(document.span_T2, axis=0) >= 0).all()


def check_splice(
    data: bytes,
    document: TokenizedDocument,
    changed_C: np.ndarray,
    new_C: np.ndarray,
    result: Spliced,
) -> None:
    """Everything that is promised of any edit."""
    result.text.decode()  # valid UTF-8
    assert len(result.rows) + result.unspliceable == len(changed_C)
    assert [row.position for row in result.rows] == changed_C[result.written_C].tolist()
    assert [row.new_id for row in result.rows] == new_C[result.written_C].tolist()
    assert unsplice(result.text, result.rows) == data
    kept_before, kept_after = [], []
    cursor = shifted = 0
    for row in result.rows:
        assert [row.start, row.end] == document.span_T2[row.position].tolist()
        assert data[row.start : row.end] == row.old_text.encode()
        kept_before.append(data[cursor : row.start])
        kept_after.append(result.text[shifted : shifted + row.start - cursor])
        shifted += row.start - cursor
        assert result.text[shifted:].startswith(row.new_text.encode())
        cursor, shifted = row.end, shifted + len(row.new_text.encode())
    assert [*kept_before, data[cursor:]] == [*kept_after, result.text[shifted:]]


def random_splice(prior: PriorTokenizer, text: str, seed: int, share: float = 0.5) -> tuple[TokenizedDocument, Spliced]:
    generator = np.random.default_rng(seed)
    data = text.encode()
    (document,) = prior.encode([text])
    count = len(document.token_ids_T)
    changed_C = np.flatnonzero(generator.random(count) < share)
    # A few ids beyond the vocabulary, as a model with a padded output layer can draw them.
    new_C = generator.integers(0, prior.vocabulary_size + 8, size=len(changed_C))
    result = splice(data, document.span_T2, document.token_ids_T, changed_C, new_C, prior)
    check_splice(data, document, changed_C, new_C, result)
    return document, result


# --- properties, on fuzzed Unicode, for every family -------------------------------------------


@FUZZ
@given(text=texts(ODD_TEXT))
def test_ids_are_the_librarys_own(text: str, prior: PriorTokenizer, library: Tokenizer) -> None:
    assume(not any(piece in text for piece in special_pieces(library)))
    (document,) = prior.encode([text])
    assert document.token_ids_T.tolist() == library.encode(text, add_special_tokens=False).ids


@FUZZ
@given(text=texts(ODD_TEXT + 4 * SPELT_SPECIAL))
def test_spelt_special_tokens_are_text(text: str, family: str, prior: PriorTokenizer) -> None:
    (document,) = prior.encode([text])
    check_spans(text, document)
    if family != "wordpiece":  # there the unknown token is an ordinary outcome
        assert all(piece is not None for piece in own_bytes(prior, document))


@pytest.mark.parametrize("family", SPELLING_FAMILIES)
@FUZZ
@given(text=texts(ODD_TEXT + SPELT_SPECIAL))
def test_spans_cover_the_whole_text(text: str, family: str, priors: dict[str, PriorTokenizer]) -> None:
    text = as_spelt(family, text)
    (document,) = priors[family].encode([text])
    check_spans(text, document)
    covered = covered_text(document, text.encode())
    assert b"".join(covered) == text.encode()
    own = own_bytes(priors[family], document)
    if family == "llama2-test" and own:
        assert own[0] == b" " + covered[0]
        own, covered = own[1:], covered[1:]
    assert own == covered


@pytest.mark.parametrize("family", SPELLING_FAMILIES)
@FUZZ
@given(text=texts(ODD_TEXT + SPELT_SPECIAL))
def test_offsets_and_lengths_give_the_same_spans(text: str, family: str, priors: dict[str, PriorTokenizer]) -> None:
    """The slow path, where it can be compared with the fast one."""
    text = as_spelt(family, text)
    (by_length,) = priors[family].encode([text])
    (by_offsets,) = with_offsets(priors[family]).encode([text])
    assert by_offsets.token_ids_T.tolist() == by_length.token_ids_T.tolist()
    assert by_offsets.span_T2.tolist() == by_length.span_T2.tolist()


@FUZZ
@given(text=texts(ODD_TEXT + SPELT_SPECIAL), seed=st.integers(0, 2**32 - 1))
def test_random_edits_change_nothing_else(text: str, seed: int, prior: PriorTokenizer) -> None:
    random_splice(prior, text, seed)


@pytest.mark.parametrize("family", SPELLING_FAMILIES)
@FUZZ
@given(text=texts(ODD_TEXT + SPELT_SPECIAL), seed=st.integers(0, 2**32 - 1))
def test_edited_text_is_the_edited_tokens(
    text: str,
    seed: int,
    family: str,
    priors: dict[str, PriorTokenizer],
    libraries: dict[str, Tokenizer],
) -> None:
    """What is written is what the library itself makes of the new tokens."""
    document, result = random_splice(priors[family], as_spelt(family, text), seed)
    ids = document.token_ids_T.tolist()
    for row in result.rows:
        ids[row.position] = row.new_id
    expected = libraries[family].decode(ids, skip_special_tokens=False)
    assert result.text.decode() == expected


@FUZZ
@given(text=texts(ODD_TEXT))
def test_no_change_is_the_identity(text: str, prior: PriorTokenizer) -> None:
    (document,) = prior.encode([text])
    none = np.empty(0, dtype=np.int64)
    result = splice(text.encode(), document.span_T2, document.token_ids_T, none, none, prior)
    assert result.text == text.encode()
    assert (result.rows, result.unspliceable) == ([], 0)
    assert unsplice(text.encode(), []) == text.encode()


@FUZZ
@given(batch=st.lists(texts(ODD_TEXT), max_size=5))
def test_a_document_does_not_depend_on_its_batch(batch: list[str], prior: PriorTokenizer) -> None:
    together = prior.encode(batch)
    assert len(together) == len(batch)
    for text, document in zip(batch, together, strict=True):
        (alone,) = prior.encode([text])
        assert alone.token_ids_T.tolist() == document.token_ids_T.tolist()
        assert alone.span_T2.tolist() == document.span_T2.tolist()


# --- the real corpus ---------------------------------------------------------------------------


def test_real_documents(family: str, prior: PriorTokenizer) -> None:
    documents = real_texts(300)
    asked = written = 0
    for seed, (text, document) in enumerate(zip(documents, prior.encode(documents), strict=True)):
        check_spans(text, document)
        if family != "wordpiece" and text == as_spelt(family, text):
            assert b"".join(covered_text(document, text.encode())) == text.encode()
        _, result = random_splice(prior, text, seed, share=0.05)
        asked, written = asked + len(result.written_C), written + len(result.rows)
    # English: nearly every draw can be written, but for pieces of characters, capitals and ##.
    assert written > asked * (0.3 if family == "wordpiece" else 0.8)


# --- one case at a time ------------------------------------------------------------------------


def edit_one(prior: PriorTokenizer, text: str, position: int, new_id: int) -> tuple[Spliced, TokenizedDocument]:
    (document,) = prior.encode([text])
    changed_C, new_C = np.array([position]), np.array([new_id])
    data = text.encode()
    result = splice(data, document.span_T2, document.token_ids_T, changed_C, new_C, prior)
    check_splice(data, document, changed_C, new_C, result)
    return result, document


def id_of(prior: PriorTokenizer, piece: bytes) -> int:
    return prior.piece_bytes.index(piece)


def test_a_plain_edit(priors: dict[str, PriorTokenizer]) -> None:
    gpt2 = priors["gpt2"]
    result, document = edit_one(gpt2, "A big dog 🙂.", 2, id_of(gpt2, b" cat"))
    assert result.text.decode() == "A big cat 🙂."
    old_id = int(document.token_ids_T[2])
    new_id = id_of(gpt2, b" cat")
    assert result.rows == [LedgerRow(2, 5, 9, old_id, new_id, " dog", " cat")]
    assert (result.written_C.tolist(), result.unspliceable) == ([True], 0)


def test_pieces_of_characters_stay(priors: dict[str, PriorTokenizer]) -> None:
    for family in ("gpt2", "llama2-test"):
        prior = priors[family]
        (document,) = prior.encode(["a 🧑 b"])
        partial = [
            position
            for position, piece in enumerate(own_bytes(prior, document))
            if piece is not None and any(byte >= 0x80 for byte in piece)
        ]
        assert len(partial) >= 3  # the emoji is spelt in several tokens
        for position in partial:
            assert edit_one(prior, "a 🧑 b", position, id_of(prior, b"x"))[0].unspliceable == 1
        # and the other way round: no such piece is written
        piece_of_character = int(document.token_ids_T[partial[0]])
        assert edit_one(prior, "a 🧑 b", 0, piece_of_character)[0].unspliceable == 1


def test_special_and_missing_pieces_are_not_written(family: str, prior: PriorTokenizer, library: Tokenizer) -> None:
    added = library.get_added_tokens_decoder()
    special = [token_id for token_id, token in added.items() if token.special]
    assert special
    for new_id in [*special[:8], prior.vocabulary_size, prior.vocabulary_size + 40, -2]:
        result, _ = edit_one(prior, "the dog", 1, new_id)
        assert (result.text, result.unspliceable) == (b"the dog", 1)
        assert prior.piece_text(new_id)  # shown, whatever it is


def test_gpt_neox_runs_of_spaces_are_ordinary(priors: dict[str, PriorTokenizer]) -> None:
    neox = priors["gpt-neox-20b"]
    (document,) = neox.encode(["a" + " " * 24 + "b"])
    assert b" " * 24 in own_bytes(neox, document)
    result, _ = edit_one(neox, "x\n    y", 2, id_of(neox, b" " * 8))
    assert result.text == b"x\n        y"


def test_composed_characters_are_normalised(priors: dict[str, PriorTokenizer]) -> None:
    neox = priors["gpt-neox-20b"]
    text = "the cafe\u0301 dog"  # GPT-NeoX composes e + accent
    (document,) = neox.encode([text])
    exact = [
        is_exact(text.encode(), document.span_T2, document.token_ids_T, position, neox)
        for position in range(len(document.token_ids_T))
    ]
    spelt = [neox.piece_text(token_id) for token_id in document.token_ids_T]
    assert exact == ["é" not in piece for piece in spelt]
    result, _ = edit_one(neox, text, len(spelt) - 1, id_of(neox, b" cat"))
    assert result.text.decode() == "the cafe\u0301 cat"


def test_sentencepiece_dummy_prefix(priors: dict[str, PriorTokenizer]) -> None:
    llama = priors["llama2-test"]
    result, document = edit_one(llama, "dog eats", 0, id_of(llama, b" cat"))
    assert document.span_T2[0].tolist() == [0, 3]
    assert result.text == b"cat eats"
    assert result.rows[0][1:3] == (0, 3)
    assert result.rows[0][5:] == ("dog", "cat")
    # the space of a later token is its own
    result, _ = edit_one(llama, "the dog eats", 1, id_of(llama, b" cat"))
    assert result.text == b"the cat eats"
    # nothing would be left of a lone space
    assert edit_one(llama, "dog", 0, id_of(llama, b" "))[0].unspliceable == 1


def test_a_lone_dummy_space_has_no_bytes(priors: dict[str, PriorTokenizer]) -> None:
    llama = priors["llama2-test"]
    for text in ("1 dog", "\tx", " x", "🧑"):
        for prior in (llama, with_offsets(llama)):
            (document,) = prior.encode([text])
            assert own_bytes(prior, document)[0] == b" "
            assert document.span_T2[0].tolist() == [0, 0]
            result, _ = edit_one(prior, text, 0, id_of(prior, b" cat"))
            assert result.text.decode() == "cat" + text
    # two edits at the same place, one of them of no bytes
    (document,) = llama.encode(["1 dog"])
    changed_C = np.array([0, 1])
    new_C = np.array([id_of(llama, b" cat"), id_of(llama, b"2")])
    result = splice(b"1 dog", document.span_T2, document.token_ids_T, changed_C, new_C, llama)
    assert result.text == b"cat2 dog"
    assert unsplice(result.text, result.rows) == b"1 dog"


def test_literal_metaspace_is_normalised(priors: dict[str, PriorTokenizer]) -> None:
    llama = priors["llama2-test"]
    text = "a ▁dog <0x41> b"
    (document,) = llama.encode([text])
    for position, piece in enumerate(covered_text(document, text.encode())):
        if "▁".encode() in piece:
            assert edit_one(llama, text, position, id_of(llama, b" cat"))[0].unspliceable == 1
    result, _ = edit_one(llama, text, len(document.token_ids_T) - 1, id_of(llama, b" cat"))
    assert result.text.decode() == "a ▁dog <0x41> cat"


def test_byte_fallback_pieces(priors: dict[str, PriorTokenizer]) -> None:
    llama = priors["llama2-test"]
    assert llama.piece_bytes[3:259] == [bytes([byte]) for byte in range(256)]
    result, _ = edit_one(llama, "a\nb", 1, 3 + ord("\t"))  # <0x0A> -> <0x09>: whole characters
    assert result.text == b"a\tb"


def test_wordpiece(priors: dict[str, PriorTokenizer]) -> None:
    wordpiece = priors["wordpiece"]
    text = "The people\twere zzqqxx  there 🙂."
    (document,) = wordpiece.encode([text])
    spelt = [wordpiece.piece_text(token_id) for token_id in document.token_ids_T]
    inside = next(
        position for position, token_id in enumerate(document.token_ids_T) if wordpiece.is_continuation[token_id]
    )
    begins, continues = id_of(wordpiece, b"people"), int(document.token_ids_T[inside])
    assert spelt[0] == "the"
    assert edit_one(wordpiece, text, 0, begins)[0].unspliceable == 1  # "The" was lower-cased
    result, _ = edit_one(wordpiece, text, 1, id_of(wordpiece, b"children"))
    assert result.text.decode() == "The children\twere zzqqxx  there 🙂."
    assert edit_one(wordpiece, text, 1, continues)[0].unspliceable == 1
    assert edit_one(wordpiece, text, inside, begins)[0].unspliceable == 1
    unknown = spelt.index("[UNK]")
    assert covered_text(document, text.encode())[unknown].decode() == "🙂"
    assert edit_one(wordpiece, text, unknown, begins)[0].unspliceable == 1
    assert not priors["gpt2"].is_continuation.any()


def made_here(tokenizer: Tokenizer) -> PriorTokenizer:
    return PriorTokenizer(tokenizer.to_str(), [])


def test_coincidental_matches_are_not_exact() -> None:
    """NFKC spells the ligature and the i after it f, i, i: only the last i is its own."""
    pieces = ["<unk>", "f", "i", "x"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    prior = made_here(tokenizer)
    text = "ﬁix"
    (document,) = prior.encode([text])
    assert [prior.piece_text(token_id) for token_id in document.token_ids_T] == list("fiix")
    assert document.span_T2.tolist() == [[0, 3], [0, 3], [3, 4], [4, 5]]
    exact = [is_exact(text.encode(), document.span_T2, document.token_ids_T, position, prior) for position in range(4)]
    assert exact == [False, False, True, True]
    assert edit_one(prior, text, 2, 3)[0].text.decode() == "ﬁxx"


def test_a_match_shorter_than_the_librarys_span_is_not_exact() -> None:
    """The token "xo" stands for all of "xoo": its bytes are there, yet one more belongs to it."""
    tokenizer = Tokenizer(models.BPE(vocab={"x": 0, "o": 1, "xo": 2}, merges=[("x", "o")]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Replace("oo", "o")])
    prior = made_here(tokenizer)
    for text in ("  xoo", "xoo"):
        assert edit_one(prior, text, 0, 1)[0].unspliceable == 1
    assert edit_one(prior, "  xo", 0, 1)[0].text == b"  o"  # what was stripped stays too


def test_a_stripped_accent_belongs_to_the_letter_before_it(priors: dict[str, PriorTokenizer]) -> None:
    wordpiece = priors["wordpiece"]
    new_id = id_of(wordpiece, b"children")
    for text in ("people\u0301", "people\u0323\u0301 and", "people\u0301."):
        result, document = edit_one(wordpiece, text, 0, new_id)
        assert wordpiece.piece_text(int(document.token_ids_T[0])) == "people"
        assert result.unspliceable == 1
    # other things that the tokenizer drops are no part of a token
    assert edit_one(wordpiece, "people\x00\xa0and", 0, new_id)[0].text == b"children\x00\xc2\xa0and"


def test_a_space_made_by_normalisation_is_not_a_dummy_space() -> None:
    """NFKC spells a lone diaeresis as a space and a combining mark, both from one character."""
    pieces = ["<unk>", "▁", "\u0308", "▁x"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    prior = made_here(tokenizer)
    (document,) = prior.encode(["¨"])
    assert document.token_ids_T.tolist() == [1, 2]
    for position in (0, 1):
        assert edit_one(prior, "¨", position, 3)[0].unspliceable == 1


def test_spans_never_run_backwards() -> None:
    """A token of a character's last byte and a composed one: the library's span starts earlier."""
    spelling = byte_level_spelling()
    vocabulary = {spelling[byte]: byte for byte in range(256)}
    last_of_han, first_of_e = spelling["漢".encode()[-1]], spelling["é".encode()[0]]
    vocabulary[last_of_han + first_of_e] = 256
    tokenizer = Tokenizer(models.BPE(vocabulary, [(last_of_han, first_of_e)]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    prior = made_here(tokenizer)
    text = "漢e\u0301."
    (document,) = prior.encode([text])
    assert 256 in document.token_ids_T
    check_spans(text, document)
    assert edit_one(prior, text, 4, ord("!"))[0].text.decode() == "漢e\u0301!"


def test_shared_spans_are_not_exact() -> None:
    prior = made_here(Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[])))
    span_T2, token_ids_T = np.array([[0, 1], [0, 1], [1, 2]]), np.array([0, 0, 1])
    exact = [is_exact(b"ab", span_T2, token_ids_T, position, prior) for position in range(3)]
    assert exact == [False, False, True]


def test_dummy_space_before_every_word() -> None:
    """T5's way: words are cut at any white space and each gets its own dummy space."""
    pieces = ["<unk>", "▁a", "▁b", "c", "▁c"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    prior = made_here(tokenizer)
    (document,) = prior.encode(["a\tbc"])
    assert document.span_T2.tolist() == [[0, 1], [2, 3], [3, 4]]
    assert edit_one(prior, "a\tbc", 1, 4)[0].text == b"a\tcc"


def test_pieces_that_mark_the_end_of_a_word_are_never_written() -> None:
    vocabulary = {"d": 0, "o": 1, "g</w>": 2, "x": 3}
    prior = made_here(Tokenizer(models.BPE(vocabulary, [], end_of_word_suffix="</w>")))
    assert prior.piece_bytes == [b"d", b"o", None, b"x"]


def test_long_and_empty_documents(priors: dict[str, PriorTokenizer]) -> None:
    for prior in priors.values():
        empty, one, long = prior.encode(["", "a", "a \x00 long 漢 text\n" * 20_000])
        assert empty.span_T2.shape == (0, 2)
        assert len(one.token_ids_T) >= 1
        check_spans("a \x00 long 漢 text\n" * 20_000, long)
        assert prior.encode([]) == []


def test_display_of_pieces(priors: dict[str, PriorTokenizer]) -> None:
    gpt2 = priors["gpt2"]
    assert gpt2.piece_text(id_of(gpt2, b" dog")) == " dog"
    assert gpt2.piece_text(id_of(gpt2, b"\xf0\x9f")) == r"\xf0\x9f"
    assert gpt2.piece_text(50256) == "<|endoftext|>"
    assert gpt2.piece_text(50257) == "<id 50257>"


# --- the ledger backwards ----------------------------------------------------------------------


def row(start: int, end: int, old: str, new: str) -> LedgerRow:
    return LedgerRow(7, start, end, 1, 2, old, new)


@pytest.mark.parametrize(
    ("edited", "rows"),
    [
        (b"a cow", [row(2, 5, "dog", "cat")]),  # another text
        (b"a c", [row(2, 5, "dog", "cat")]),  # cut short
        (b"a cat", [row(2, 6, "dog", "cat")]),  # the span is longer than the old text
        (b"a cat", [row(2, 5, "dog", "cat"), row(4, 5, "g", "t")]),  # overlapping rows
        (b"", [row(90, 93, "dog", "")]),  # far outside
    ],
)
def test_a_ledger_that_does_not_fit_is_refused(edited: bytes, rows: list[LedgerRow]) -> None:
    with pytest.raises(UnusableInput, match=r"^the ledger [^\n]*token 7[^\n]*$"):
        unsplice(edited, rows)


# --- loading -----------------------------------------------------------------------------------


def small_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "</s>": 2}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken("<s>", special=False)])
    return tokenizer


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (None, None)),
        ({"config.json": {"bos_token_id": 3, "eos_token_id": [2, 1]}}, (3, 2)),
        ({"generation_config.json": {"eos_token_id": 0}}, (None, 0)),
        ({"tokenizer_config.json": {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}}, (3, 2)),
        ({"special_tokens_map.json": {"eos_token": "</s>", "bos_token": None}}, (None, 2)),
        (
            {"tokenizer_config.json": {"eos_token": "gone"}, "config.json": {"eos_token_id": 1}},
            (None, 1),
        ),
    ],
)
def test_first_and_last_token(
    tmp_path: Path, files: dict[str, object], expected: tuple[int | None, int | None]
) -> None:
    small_tokenizer().save(str(tmp_path / "tokenizer.json"))
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    prior = load_tokenizer(tmp_path)
    assert (prior.bos_id, prior.eos_id) == expected
    assert all(prior.piece_bytes[index] is None for index in expected if index is not None)


def test_gaps_in_the_vocabulary() -> None:
    prior = made_here(Tokenizer(models.BPE(vocab={"a": 0, "b": 5}, merges=[])))
    assert prior.vocabulary_size == 6
    assert prior.piece_bytes == [b"a", None, None, None, None, b"b"]
    assert prior.piece_text(3) == "<id 3>"


def test_older_files_are_read_with_transformers(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(folders["gpt2"] / name, tmp_path / name)
    ours, reference = load_tokenizer(tmp_path), load_tokenizer(folders["gpt2"])
    text = "Héllo <|endoftext|> 🙂  world"
    assert ours.encode([text])[0].token_ids_T.tolist() == reference.encode([text])[0][0].tolist()
    assert (ours.bos_id, ours.eos_id) == (50256, 50256)
    assert ours.piece_bytes == reference.piece_bytes


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"tokenizer.json": "{broken"},
        {"tokenizer.json": "[]"},
        {"tokenizer.json": '{"model": {"type": "Unheard"}}'},
        {"tokenizer.json": small_tokenizer().to_str(), "config.json": "{broken\n\n"},
        {"tokenizer_config.json": '{"tokenizer_class": "ByT5Tokenizer"}'},  # has no fast form
    ],
)
def test_unusable_folders_give_one_line(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UnusableInput) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="not a folder"):
        load_tokenizer(tmp_path / "nowhere")


def test_loading_does_not_import_transformers(folders: dict[str, Path]) -> None:
    program = (
        "import sys; from pathlib import Path; from toedit.tokenizing import load_tokenizer; "
        "import toedit.splicing; load_tokenizer(Path(sys.argv[1])); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", program, str(folders["gpt2"])], check=True, cwd=root)
