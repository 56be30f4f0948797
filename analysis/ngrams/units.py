"""What an n-gram consists of: words by a stated rule, or the tokens of a tokenizer, as numbers.

Words are those of data-selection, the package behind DSIR, and of NLTK's WordPunctTokenizer: the text in lower case,
then every longest run of letters, digits and underscores (`\\w+`) and every longest run of other signs (`[^\\w\\s]+`).
The rule is applied to whole batches of text at once, and gives what Python's `re` gives.

Shapes: D documents, N units (words or tokens) of a batch, V different units of it, R runs of one class of
characters, C bytes, P characters beyond ASCII.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SPACE, _WORD, _SIGN = 0, 1, 2


@dataclass
class Units:
    """The units of some documents, one document after the other."""

    id_N: NDArray[np.int64]
    """Each unit's place in `names`."""
    document_N: NDArray[np.int64]
    """The document that it is in, ascending."""
    names: pa.StringArray
    """The V different units, as text."""
    documents: int


Splitter = Callable[[Sequence[str]], Units]


def splitter(tokenizer_definition: str | None) -> Splitter:
    """Words, or the tokens of a tokenizer given as the content of its tokenizer.json."""
    if tokenizer_definition is None:
        return words
    from toedit.tokenizing import plain_tokenizer

    tokenizer = plain_tokenizer(tokenizer_definition)

    def tokens(texts: Sequence[str]) -> Units:
        found = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        lengths = np.array([len(ids) for ids in found], np.int64)
        flat_N = np.concatenate([np.array(ids, np.int64) for ids in found]) if found else np.zeros(0, np.int64)
        different_V, id_N = np.unique(flat_N, return_inverse=True)
        # An id is a token's only sure name: two may be written alike.
        names = pa.array([f"{tokenizer.id_to_token(token)} #{token}" for token in different_V.tolist()], pa.string())
        return Units(id_N, np.repeat(np.arange(len(found)), lengths), names, len(found))

    return tokens


def words(texts: Sequence[str]) -> Units:
    """The words of each text."""
    encoded = [text.lower().encode("utf-8") for text in texts]
    joined = b"\n".join(encoded)  # white space: no word crosses documents
    byte_C = np.frombuffer(joined, np.uint8)
    class_C = _classes(joined, byte_C)
    # A run begins wherever the class changes; runs of white space are dropped.
    start_R = np.concatenate([[0], np.flatnonzero(class_C[1:] != class_C[:-1]) + 1])
    is_word_R = class_C[start_R] != _SPACE if len(joined) else np.zeros(1, np.bool_)
    start_N, length_N = start_R[is_word_R], np.diff(start_R, append=len(joined))[is_word_R]
    first_D1 = np.concatenate([[0], np.cumsum([len(text) + 1 for text in encoded], dtype=np.int64)])
    per_document_D = np.diff(np.searchsorted(start_N, first_D1))
    # Without its white space the text is its words, one behind the other: what Arrow calls an array of strings.
    offset_N1 = np.concatenate([[0], np.cumsum(length_N)])
    kept = pa.py_buffer(np.compress(class_C != _SPACE, byte_C))
    numbered = pa.LargeStringArray.from_buffers(len(length_N), pa.py_buffer(offset_N1), kept).dictionary_encode()
    id_N = numbered.indices.to_numpy().astype(np.int64)
    return Units(
        id_N, np.repeat(np.arange(len(encoded)), per_document_D), numbered.dictionary.cast(pa.string()), len(encoded)
    )


def _classes(joined: bytes, byte_C: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class of the character that each byte belongs to."""
    class_C = np.take(_class_table(), byte_C)
    if not joined.isascii():
        point_P = np.frombuffer(joined.decode("utf-8").encode("utf-32-le"), np.uint32)
        point_P = point_P[point_P >= 0x80]
        first_P = np.flatnonzero(byte_C >= 0xC0)
        class_P = _class_table()[point_P]
        for place, smallest in enumerate((0x80, 0x80, 0x800, 0x10000)):
            reaches_P = point_P >= smallest
            class_C[first_P[reaches_P] + place] = class_P[reaches_P]
    return class_C


@cache
def _class_table() -> NDArray[np.uint8]:
    """The class of every code point, by the rules of Python's `re`."""
    class_T = np.full(0x110000, _SIGN, np.uint8)
    for point in range(0x110000):
        character = chr(point)
        if character.isalnum() or character == "_":
            class_T[point] = _WORD
        elif character.isspace():
            class_T[point] = _SPACE
    return class_T
