"""The prior's tokenizer, and for every token the place of its own bytes in the document.

Reads a model folder: `tokenizer.json`, and the JSON files that name its first and last token.
Writes nothing. A document is a string; spans and lengths are in bytes of its UTF-8 form. Text that
spells a special token is ordinary text. Only the small `tokenizers` library is imported: an edit
from cached scores must not wait for `transformers`, which serves folders without tokenizer.json.

Shapes: T tokens and N bytes of one document, V entries of the vocabulary, 2 = (start, end).
"""

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from toedit.errors import UnusableInput

# No valid UTF-8 holds this byte, so a token without bytes of its own never matches a document.
_MATCHES_NOTHING = b"\xff"
# Asked in this order; the first one that names a token of the vocabulary counts.
_FILES_NAMING_SPECIAL_TOKENS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "generation_config.json",
)


class TokenizedDocument(NamedTuple):
    """One document's tokens.

    `token_ids_T`: int32[T]. `span_T2`: int32[T, 2], the byte span of each token in the document's
    UTF-8; starts and ends never decrease. A token whose text was normalised away (lower-cased,
    composed, unknown, ...) has the span the library reports, which may overlap its neighbours'.
    """

    token_ids_T: np.ndarray
    span_T2: np.ndarray


class PriorTokenizer:
    """A tokenizer that knows which bytes of the document each token stands for.

    * `vocabulary_size`: the largest id plus one.
    * `bos_id`, `eos_id`: None where the folder names none.
    * `piece_bytes[i]`: what token i stands for in a text; None for special tokens and unused ids.
    * `is_continuation`: bool[V], true for pieces inside a word (WordPiece's `##ing`; else false).
    """

    def __init__(self, definition: str, settings: list[dict[str, Any]]) -> None:
        """`definition`: the text of a tokenizer.json. `settings`: files naming bos and eos.

        Raises whatever the JSON parser and the tokenizers library raise for a broken definition.
        """
        self._tokenizer = plain_tokenizer(definition)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocabulary_size = max(vocabulary.values(), default=-1) + 1
        self.bos_id = named_id("bos", settings, vocabulary)
        self.eos_id = named_id("eos", settings, vocabulary)
        self.piece_bytes, self.is_continuation = self._read_pieces(json.loads(definition), vocabulary)
        self._matchable = [_MATCHES_NOTHING if p is None else p for p in self.piece_bytes]
        self._length_V = np.array([len(piece) for piece in self._matchable], dtype=np.int32)
        # WordPiece swallows the spaces between words: its pieces never add up to the document.
        self._pieces_add_up = not self.is_continuation.any()

    def _read_pieces(
        self, definition: dict[str, Any], vocabulary: dict[str, int]
    ) -> tuple[list[bytes | None], np.ndarray]:
        """The bytes each id stands for, and bool[V]: does the piece continue a word?"""
        parts = [definition.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")]
        spelling = json.dumps(parts, ensure_ascii=False)
        is_byte_level, has_metaspace = '"ByteLevel"' in spelling, "▁" in spelling
        model = definition["model"]
        prefix = model.get("continuing_subword_prefix") or ""
        suffix = model.get("end_of_word_suffix") or ""
        byte_of_character = _byte_level_alphabet()
        byte_of_fallback = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}
        added = self._tokenizer.get_added_tokens_decoder()
        not_text = {self.bos_id, self.eos_id, _unknown_id(model, vocabulary)}
        not_text |= {index for index, token in added.items() if token.special}

        pieces: list[bytes | None] = [None] * self.vocabulary_size
        continues_V = np.zeros(self.vocabulary_size, dtype=bool)
        for piece, index in vocabulary.items():
            if index in not_text:
                continue
            if index in added:
                pieces[index] = piece.encode()
            elif suffix and piece.endswith(suffix):
                continue  # the mark of a word's end is not text; such a piece is never written
            elif prefix and piece.startswith(prefix) and len(piece) > len(prefix):
                continues_V[index] = True
                pieces[index] = piece[len(prefix) :].encode()
            elif is_byte_level and all(character in byte_of_character for character in piece):
                pieces[index] = bytes(byte_of_character[character] for character in piece)
            elif model.get("byte_fallback") and piece in byte_of_fallback:
                pieces[index] = byte_of_fallback[piece]
            elif has_metaspace:
                pieces[index] = piece.replace("▁", " ").encode()
            else:
                pieces[index] = piece.encode()
        return pieces, continues_V

    def encode(self, texts: list[str]) -> list[TokenizedDocument]:
        """Tokenise documents; nothing is added, trimmed or truncated."""
        documents = [text.encode() for text in texts]
        results: dict[int, TokenizedDocument] = {}
        if self._pieces_add_up:
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            for index, encoding in enumerate(encodings):
                ids = encoding.ids
                token_ids_T = np.array(ids, dtype=np.int32)
                joined = b"".join(map(self._matchable.__getitem__, ids))
                span_T2 = self._spans_by_length(documents[index], token_ids_T, joined)
                if span_T2 is not None:
                    results[index] = TokenizedDocument(token_ids_T, span_T2)
        # Something was normalised in the others: ask the library where each token came from.
        remaining = [index for index in range(len(texts)) if index not in results]
        encodings = self._tokenizer.encode_batch([texts[index] for index in remaining], add_special_tokens=False)
        for index, encoding in zip(remaining, encodings, strict=True):
            ids = encoding.ids
            pieces_T = [self._matchable[token_id] for token_id in ids]
            span_T2 = _spans_by_offsets(documents[index], pieces_T, encoding.offsets)
            results[index] = TokenizedDocument(np.array(ids, dtype=np.int32), span_T2)
        return [results[index] for index in range(len(texts))]

    def _spans_by_length(self, document: bytes, token_ids_T: np.ndarray, joined: bytes) -> np.ndarray | None:
        """int32[T, 2] if the `joined` pieces are the document, perhaps after a dummy space."""
        dummy = len(joined) - len(document)  # SentencePiece puts one space before the text
        if dummy == 0:
            if joined != document:
                return None
        elif dummy != 1 or joined[:1] != b" " or not joined.endswith(document):
            return None
        length_T = self._length_V[token_ids_T]
        span_T2 = np.empty((len(token_ids_T), 2), dtype=np.int32)
        np.cumsum(length_T, out=span_T2[:, 1])
        span_T2[:, 1] -= dummy
        np.subtract(span_T2[:, 1], length_T, out=span_T2[:, 0])
        if dummy:
            span_T2[0, 0] = 0  # the dummy space itself is nowhere in the document
        return span_T2

    def piece_text(self, token_id: int) -> str:
        r"""A token for display; bytes that are no whole character appear as \xab. Never raises."""
        if not 0 <= token_id < self.vocabulary_size:
            return f"<id {token_id}>"
        piece = self.piece_bytes[token_id]
        if piece is None:
            return self._tokenizer.id_to_token(token_id) or f"<id {token_id}>"
        return piece.decode(errors="backslashreplace")


def plain_tokenizer(definition: str) -> Tokenizer:
    """The library's tokenizer, which takes a text as nothing but text: nothing is added, cut or filled up.

    Text that spells a special token is ordinary text.
    """
    tokenizer = Tokenizer.from_str(definition)
    tokenizer.post_processor = None  # it adds special tokens and trims offsets, no more
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # as text, whatever the name suggests
    return tokenizer


def load_tokenizer(folder: Path) -> PriorTokenizer:
    """The tokenizer of a Hugging Face model folder.

    Raises `UnusableInput` where the folder holds no tokenizer, a broken or a merely slow one.
    """
    with _one_line(folder):
        return PriorTokenizer(*read_definition(folder))


def read_definition(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """(the text of tokenizer.json, the settings that may name bos and eos) of a Hugging Face folder."""
    with _one_line(folder):
        settings = []
        for file in (folder / name for name in _FILES_NAMING_SPECIAL_TOKENS):
            if file.is_file():
                settings.append(json.loads(file.read_text(encoding="utf-8")))
        if (folder / "tokenizer.json").is_file():
            definition = (folder / "tokenizer.json").read_text(encoding="utf-8")
        else:
            definition, class_settings = _from_transformers(folder)
            settings.append(class_settings)
        return definition, settings


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """What goes wrong with the tokenizer in `folder`, as UnusableInput."""
    try:
        yield
    except UnusableInput:
        raise
    except Exception as error:  # tokenizers raises bare Exception, transformers a whole zoo
        reason = " ".join(str(error).split())[:200]  # one line
        raise UnusableInput(f"the tokenizer in {folder} cannot be loaded: {reason}") from error


def _from_transformers(folder: Path) -> tuple[str, dict[str, Any]]:
    """tokenizer.json as transformers makes it from older files (vocab.json, ...), and bos, eos."""
    if not folder.is_dir():  # transformers would take the path for the name of a model on the hub
        raise UnusableInput(f"no tokenizer in {folder}: it is not a folder")
    from transformers import AutoTokenizer  # slow to import, hence only here

    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        kind = type(tokenizer).__name__
        raise UnusableInput(f"no fast tokenizer in {folder}: {kind} has no tokenizer.json form")
    special = {key: getattr(tokenizer, key, None) for key in ("bos_token_id", "eos_token_id")}
    return backend.to_str(), special


def named_id(end: str, settings: list[dict[str, Any]], vocabulary: dict[str, int]) -> int | None:
    """The id of the "bos" or "eos" token that the settings name first."""
    for value in (file.get(f"{end}_token{as_id}") for file in settings for as_id in ("", "_id")):
        if isinstance(value, dict):  # the long form: {"content": "</s>", "special": true, ...}
            value = value.get("content")
        if isinstance(value, list):  # several end tokens: the first is the end of a text
            value = value[0] if value else None
        if isinstance(value, str):
            value = vocabulary.get(value)
        if isinstance(value, int) and value >= 0:
            return value
    return None


def _unknown_id(model: dict[str, Any], vocabulary: dict[str, int]) -> int | None:
    """The id for text the vocabulary cannot spell (named by number in Unigram, else by piece)."""
    if isinstance(number := model.get("unk_id"), int):
        return number
    return vocabulary.get(model.get("unk_token") or "")


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable Latin-1 as itself, the other 68 from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)) - set(printable))
    spelling = {chr(byte): byte for byte in printable}
    return spelling | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}


def _spans_by_offsets(document: bytes, pieces_T: list[bytes], offsets_T: list[tuple[int, int]]) -> np.ndarray:
    """int32[T, 2], token by token, from the library's offsets (characters) and the own bytes.

    The library counts whole characters and includes what it normalised. A token's own bytes say
    exactly where it stands, but may match by coincidence (the ligature "ﬁ" and an "i" are spelt
    f, i, i). So bytes count where both agree; elsewhere the token is normalised and keeps the
    library's span, and splicing will leave it alone.
    """
    byte_N = np.frombuffer(document, dtype=np.uint8)
    byte_of_character = np.append(np.flatnonzero((byte_N & 0xC0) != 0x80), len(document))
    library = byte_of_character[np.array(offsets_T, dtype=np.int64).reshape(-1, 2)].tolist()

    def agrees(start: int, end: int, library_start: int, library_end: int) -> bool:
        """Is the library's span this one, widened to whole characters?"""
        while start > library_start and document[start] & 0xC0 == 0x80:
            start -= 1
        while end < library_end and document[end] & 0xC0 == 0x80:
            end += 1
        return (start, end) == (library_start, library_end)

    span_T2 = np.empty((len(pieces_T), 2), dtype=np.int32)
    cursor = 0  # where the token before ended
    for position, (piece, (start, end)) in enumerate(zip(pieces_T, library, strict=True)):
        following = position + 1
        length = len(piece)
        if (
            piece == b" "
            and following < len(library)
            and library[following][0] == start
            and document.startswith(pieces_T[following], start)
        ):
            span = start, start  # a dummy space by itself: the next token starts at this place
        elif document.startswith(piece, cursor) and agrees(cursor, cursor + length, start, end):
            span = cursor, cursor + length
        elif document.startswith(piece, start) and agrees(start, start + length, start, end):
            span = start, start + length
        elif (
            piece.startswith(b" ")
            and document.startswith(piece[1:], start)
            and agrees(start, start + length - 1, start, end)
        ):
            span = start, start + length - 1  # stands with its dummy space stripped
        else:
            span = start, end
        span_T2[position] = span
        cursor = span[1]
    # An accent that was dropped belongs to the letter before it: no new token may take it over.
    before_gap = np.flatnonzero(span_T2[:, 1] < np.append(span_T2[1:, 0], len(document)))
    for token in before_gap[byte_N[span_T2[before_gap, 1]] >= 0xCC]:  # no accent starts with a lower byte
        end = int(span_T2[token, 1])
        accent = document[end : end + 4].decode(errors="ignore")[:1]
        if accent and unicodedata.category(accent).startswith("M"):
            span_T2[token, 1] = end + len(accent.encode())
    # Composition can reorder combining marks; the contract is that spans never run backwards.
    return np.maximum.accumulate(span_T2, axis=0)
