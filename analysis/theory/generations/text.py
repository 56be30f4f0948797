"""Real text as tokens: what generation 0 is drawn from, what models are measured on, and what the reference reads.

Reads a corpus artifact. Works (documents, or what their metadata names as their origin) are dealt out at random to
three parts, whole: the pool, which generation 0 of every seed is drawn from; held-out text; and the reference's text,
which trains the model that documents are compared under. So nothing that a model is measured by was read by it.

The vocabulary is a byte-level BPE trained on the pool: it can write every text, and as the bytes of its tokens are the
text's own, bits per byte are exact. All parts are cut into passages of `document_tokens`; an end token follows the last
one of a document.

Shapes: T tokens, D documents (passages), D1 = D + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.theory.generations.ngram_model import Documents
from toedit.documents import read_documents, shard_paths
from toedit.errors import UnusableInput
from toedit.tiny_prior import DOCUMENT_END, train_byte_level_tokenizer
from toedit.tokenizing import PriorTokenizer
from toedit.units import origin_of, units_of

PARTS = ("held_out", "reference", "pool")
_LEAST_DOCUMENTS = 10
"""Of held-out text: fewer say nothing about a distribution."""


@dataclass(frozen=True)
class RealText:
    """The parts, as tokens."""

    pool: Documents
    held_out: Documents
    reference: Documents
    held_out_bytes: int
    vocabulary_size: int
    end: int


def read_text(corpus: Path, settings: dict[str, Any]) -> RealText:
    """Read, deal out and tokenise. Raises UnusableInput where the corpus is too small for the settings."""
    texts, unit_D = _read(corpus, settings)
    part_D = _parts(texts, unit_D, settings)
    pool = [text for text, part in zip(texts, part_D, strict=True) if PARTS[part] == "pool"]
    trained = train_byte_level_tokenizer(pool, settings["vocabulary_size"])
    end = int(trained.token_to_id(DOCUMENT_END))  # type: ignore[arg-type]
    tokenizer = PriorTokenizer(trained.to_str(), [])
    parts = {}
    for number, name in enumerate(PARTS):
        mine = np.flatnonzero(part_D == number)
        encoded = [document.token_ids_T for document in tokenizer.encode([texts[place] for place in mine])]
        parts[name] = passages(encoded, unit_D[mine], settings["document_tokens"], end)
    if parts["pool"].tokens < settings["tokens"]:
        raise UnusableInput(
            f"theory.language_model.tokens={settings['tokens']}: the corpus leaves {parts['pool'].tokens} tokens to "
            "draw generation 0 from; ask for fewer, or for more text (theory.language_model.corpus_bytes)"
        )
    if len(parts["held_out"]) < _LEAST_DOCUMENTS:
        raise UnusableInput(
            f"corpus: leaves {len(parts['held_out'])} held-out passages, needed are {_LEAST_DOCUMENTS}; read more text "
            "(theory.language_model.corpus_bytes) or hold out more (theory.language_model.held_out_share)"
        )
    held_out_bytes = sum(len(texts[place].encode()) for place in np.flatnonzero(part_D == PARTS.index("held_out")))
    return RealText(**parts, held_out_bytes=held_out_bytes, vocabulary_size=tokenizer.vocabulary_size, end=end)


def _read(corpus: Path, settings: dict[str, Any]) -> tuple[list[str], NDArray[np.int64]]:
    """`(texts, unit_D)`: works in random order until `corpus_bytes` are there."""
    texts, origins = [], []
    for shard in shard_paths(corpus):
        for document in read_documents(shard):
            texts.append(document["text"])
            origins.append(origin_of(document, settings["unit_fields"]))
    unit_D, _ = units_of(origins)
    order_U = np.random.default_rng(settings["seed"]).permutation(unit_D.max() + 1)
    size_U = np.bincount(unit_D, [len(text.encode()) for text in texts])
    before_U = np.cumsum(size_U[order_U]) - size_U[order_U]
    rank_U = np.full(len(order_U), len(order_U))
    chosen = order_U[before_U < settings["corpus_bytes"]]
    rank_U[chosen] = np.arange(len(chosen))
    kept_D = np.flatnonzero(rank_U[unit_D] < len(chosen))
    return [texts[place] for place in kept_D], rank_U[unit_D[kept_D]]


def _parts(texts: Sequence[str], unit_D: NDArray[np.int64], settings: dict[str, Any]) -> NDArray[np.int64]:
    """Which of PARTS each document belongs to: the first works fill held-out text, then the reference's, the rest is
    the pool."""
    if unit_D.max() + 1 < len(PARTS):
        raise UnusableInput(
            f"corpus: {unit_D.max() + 1} work(s) in {len(texts)} document(s) cannot be held apart; needed are at least "
            f"{len(PARTS)} (theory.language_model.unit_fields says what makes a work)"
        )
    size_U = np.bincount(unit_D, [len(text.encode()) for text in texts])
    middle_U = (np.cumsum(size_U) - size_U / 2) / size_U.sum()
    held_out, reference = settings["held_out_share"], settings["reference_share"]
    part_U = np.digitize(middle_U, [held_out, held_out + reference])
    for part, name in enumerate(PARTS):
        if not (part_U == part).any():
            raise UnusableInput(f"corpus: its works are too few or too unequal to make the part {name} of")
    return part_U[unit_D]


def passages(encoded: Sequence[NDArray[np.integer]], unit_D: NDArray[np.int64], longest: int, end: int) -> Documents:
    """Documents with their ends, each cut into passages of at most `longest` tokens."""
    token_T = np.concatenate([np.append(token_ids_T, end) for token_ids_T in encoded]).astype(np.int32)
    first_D1 = np.cumsum([0, *(len(token_ids_T) + 1 for token_ids_T in encoded)])
    starts = [np.arange(first, stop, longest) for first, stop in pairwise(first_D1)]
    unit = np.repeat(unit_D, [len(start) for start in starts])
    return Documents(token_T, np.append(np.concatenate(starts), first_D1[-1]), unit)


def taken(documents: Documents, order_D: NDArray[np.integer], tokens: int) -> Documents:
    """The documents in that order, as far as they make exactly `tokens` tokens; the last one is cut.

    All of them where they make fewer.
    """
    length_D = np.diff(documents.first_D1)[order_D]
    before_D = np.cumsum(length_D) - length_D
    kept = order_D[before_D < tokens]
    length_D = np.minimum(length_D, tokens - before_D)[: len(kept)]
    first_D1 = np.cumsum([0, *length_D])
    place_T = np.arange(first_D1[-1]) + np.repeat(documents.first_D1[kept] - first_D1[:-1], length_D)
    return Documents(documents.token_T[place_T], first_D1, documents.unit_D[kept])


def joined(parts: Sequence[Documents]) -> Documents:
    """All documents of several texts, one after the other."""
    stops = [part.first_D1[1:] + before for part, before in zip(parts, _before(parts), strict=True)]
    return Documents(
        np.concatenate([part.token_T for part in parts]),
        np.concatenate([[0], *stops]),
        np.concatenate([part.unit_D for part in parts]),
    )


def _before(parts: Sequence[Documents]) -> NDArray[np.int64]:
    """The tokens before each part."""
    return np.cumsum([0, *(part.tokens for part in parts[:-1])])
