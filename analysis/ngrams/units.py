"""What an n-gram consists of: words by a stated rule, or the tokens of a tokenizer, as numbers.

Words are those of data-selection, the package behind DSIR, and of NLTK's WordPunctTokenizer: the text in lower case,
then every longest run of letters, digits and underscores (`\\w+`) and every longest run of other signs (`[^\\w\\s]+`).
The rule is applied to whole batches of text at once, and gives what Python's `re` and `str.lower` give.

Shapes: D documents, D1 = D + 1, N units (words or tokens) of a batch, V different units, C bytes, T code points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.ngrams import kernels
from analysis.ngrams.tables import WordTable, padded
from toedit.tokenizing import plain_tokenizer


@dataclass
class Units:
    """The units of some documents, one document after the other."""

    id_N: NDArray[np.int32]
    """Each unit's number, its place in the splitter's `names()`."""
    first_D1: NDArray[np.int64]
    """Where each document's units begin, and where the last one's end."""

    @property
    def document_N(self) -> NDArray[np.int64]:
        """The document that each unit is in."""
        return np.repeat(np.arange(len(self.first_D1) - 1), np.diff(self.first_D1))


class Splitter(Protocol):
    """Numbers units in the order in which it comes upon them."""

    def __call__(self, texts: Sequence[str]) -> Units: ...

    @property
    def known(self) -> int:
        """How many it has met."""
        ...

    def names(self) -> pa.StringArray:
        """All units met so far, as text, by number."""
        ...


def splitters(tokenizer_definition: str | None) -> Callable[[], Splitter]:
    """New splitters, into words or the tokens of a tokenizer given as the content of its tokenizer.json."""
    return Words if tokenizer_definition is None else partial(Tokens, plain_tokenizer(tokenizer_definition))


class Words:
    """Words by the rule."""

    def __init__(self) -> None:
        self._table = WordTable()

    def __call__(self, texts: Sequence[str]) -> Units:
        encoded = [text.encode("utf-8") for text in texts]
        class_C, lower_C, capitals = _classified(encoded)
        if capitals:
            # Beyond ASCII, lower case can be a matter of length (İ) and of what stands around (Σ).
            for document in capitals:
                encoded[document] = texts[document].lower().encode("utf-8")
            class_C, lower_C, _ = _classified(encoded)
        begin_D1 = _begins(encoded)
        size = int(begin_D1[-1])
        start_N, stop_N = np.empty(size + 1, np.int32), np.empty(size + 1, np.int32)
        flag_C, other_C = np.empty(size + 1, np.uint8), np.empty(size + 1, np.uint8)
        units = kernels.bounds(class_C, size, flag_C, other_C, start_N, stop_N) if size else 0
        start_N, stop_N = start_N[:units], stop_N[:units]
        return Units(self._table.number(lower_C, start_N, stop_N), np.searchsorted(start_N, begin_D1).astype(np.int64))

    @property
    def known(self) -> int:
        return self._table.known

    def names(self) -> pa.StringArray:
        return self._table.names()


class Tokens:
    """Tokens of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._number: dict[int, int] = {}

    def __call__(self, texts: Sequence[str]) -> Units:
        found = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        number = self._number
        id_N = np.array([number.setdefault(token, len(number)) for ids in found for token in ids], np.int32)
        return Units(id_N, np.concatenate([[0], np.cumsum([len(ids) for ids in found])]).astype(np.int64))

    @property
    def known(self) -> int:
        return len(self._number)

    def names(self) -> pa.StringArray:
        # An id is a token's only sure name: two may be written alike.
        return pa.array([f"{self._tokenizer.id_to_token(token)} #{token}" for token in self._number], pa.string())


def _begins(encoded: Sequence[bytes]) -> NDArray[np.int64]:
    """Where each text begins when one follows the other with a line break behind each."""
    return np.concatenate([[0], np.cumsum([len(text) + 1 for text in encoded])]).astype(np.int64)


def _classified(encoded: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[int]]:
    """`(class_C, lower_C, documents with capitals beyond ASCII)`; white space between texts: no word crosses them."""
    joined = b"\n".join([*encoded, b""])
    class_C, lower_C = np.empty(padded(len(joined)), np.uint8), np.zeros(padded(len(joined)), np.uint8)
    if not kernels.classify(
        np.frombuffer(joined, np.uint8), len(joined), _class_table(), class_C, lower_C, lower_C.view(np.uint64)
    ):
        return class_C, lower_C, []
    place_P = np.flatnonzero(class_C[: len(joined)] >= kernels.CAPITAL)
    return class_C, lower_C, np.unique(np.searchsorted(_begins(encoded), place_P, side="right") - 1).tolist()


@cache
def _class_table() -> NDArray[np.uint8]:
    """The class of every code point, by the rules of Python's `re` and `str.lower`."""
    class_T = np.full(0x110000, kernels.SIGN, np.uint8)
    for point in range(0x110000):
        character = chr(point)
        if character.isalnum() or character == "_":
            class_T[point] = kernels.WORD
        elif character.isspace():
            class_T[point] = kernels.SPACE
        if point >= 0x80 and character.lower() != character:
            class_T[point] += kernels.CAPITAL
    return class_T
