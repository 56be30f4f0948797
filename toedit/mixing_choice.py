"""What each side of a mixture gives: its documents in the order of their hashes, up to a number of tokens.

Reads a corpus artifact and its token counts; reads text only of the documents that are cut. Used by `toedit/mixing.py`.

Shapes: D documents of a corpus, S documents that are taken, O documents in the order they are taken, F shards.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from toedit.config import MixConfig
from toedit.console import note
from toedit.cutting import cut
from toedit.documents import read_documents, shard_paths
from toedit.errors import UnusableInput
from toedit.mixing_order import Int64s, order_of, take
from toedit.token_counts import read_counts
from toedit.uniforms import document_keys
from toedit.workspace import Workspace

_MOST_CUTS = 1000  # documents that are tried where no cut of one gives the right number of tokens


class Side:
    """A corpus with its counts, and the order in which its documents are taken."""

    def __init__(self, workspace: Workspace, name: str, seed: int) -> None:
        self.name, self.corpus, self.counts = name, workspace.inputs[name], workspace.inputs[f"{name}_counts"]
        self.shards = shard_paths(self.corpus)
        keys, tokens, sizes = [], [], []
        for shard in self.shards:
            table = read_counts(self.counts, shard)
            keys.append(document_keys(seed, table["id"].to_pylist()))
            tokens.append(table["tokens"].to_numpy())
            sizes.append(table["bytes"].to_numpy())
        self.first_F1 = np.cumsum([0, *map(len, tokens)])
        self.tokens_D = np.concatenate(tokens).astype(np.int64)
        self.bytes_D = np.concatenate(sizes).astype(np.int64)
        self.order_O = order_of(np.concatenate(keys))

    def refuse_shortage(self, asked: int, mix: MixConfig) -> None:
        there = int(self.tokens_D.sum())
        if asked <= there or (mix.allow_repeat and there):
            return
        raise UnusableInput(
            f"mix.tokens={mix.tokens}: {asked} of them are to be {self.name}, and the corpus {self.corpus} has {there} "
            "tokens; ask for fewer, or add mix.allow_repeat=true to take documents again"
        )

    def text(self, document: int) -> str:
        """The text of one document."""
        shard = int(np.searchsorted(self.first_F1, document, "right")) - 1
        row = document - int(self.first_F1[shard])
        return str(next(islice(read_documents(self.shards[shard]), row, None))["text"])


@dataclass(frozen=True)
class Choice:
    """What a side gives, in the order of its hashes."""

    document_S: Int64s
    round_S: Int64s
    """0 the first time a document is taken, 1 the second."""
    tokens_S: Int64s
    bytes_S: Int64s
    cut_text: dict[int, str]
    """What is left of a cut document, by its place in this choice."""


def choose(side: Side, asked: int, allow_repeat: bool, tokenizer: Tokenizer) -> Choice:
    """The documents that make up `asked` tokens."""
    taken = take(side.tokens_D[side.order_O], asked)
    count, rest = len(side.order_O), taken.rest
    place_S: list[int] = []
    tokens: list[int] = []
    cut_text: dict[int, str] = {}
    end = taken.whole + _MOST_CUTS if allow_repeat else min(taken.whole + _MOST_CUTS, count)
    for place in range(taken.whole, end):
        if not rest:
            break
        document = int(side.order_O[place % count])
        got = int(side.tokens_D[document])
        if got > rest:
            text, got = cut(tokenizer, side.text(document), rest)
            if not text:
                continue
            cut_text[taken.whole + len(place_S)] = text
        place_S.append(place)
        tokens.append(got)
        rest -= got
    all_S = np.concatenate([np.arange(taken.whole), np.array(place_S, np.int64)])
    document_S = side.order_O[all_S % count]
    tokens_S, bytes_S = side.tokens_D[document_S], side.bytes_D[document_S]
    tokens_S[taken.whole :] = tokens
    for place, text in cut_text.items():
        bytes_S[place] = len(text.encode())
    return Choice(document_S, all_S // count, tokens_S, bytes_S, cut_text)


def describe_choice(side: Side, choice: Choice, asked: int) -> dict[str, Any]:
    """Asked and achieved, for the manifest."""
    achieved = int(choice.tokens_S.sum())
    if achieved != asked:
        note(f"mix: {asked - achieved} {side.name} tokens are missing: no cut has the right number of tokens")
    return {
        "asked": asked,
        "achieved": achieved,
        "missing": asked - achieved,
        "documents": len(choice.document_S),
        "documents_cut": len(choice.cut_text),
        "documents_repeated": int((choice.round_S > 0).sum()),
        "corpus_documents": len(side.tokens_D),
        "corpus_tokens": int(side.tokens_D.sum()),
    }
