"""One tokenizer folder of every family, and real documents, for the tests.

Reads the test data (environment variable `TOEDIT_TEST_DATA`); writes the two families that are made
here (Llama 3 from its rank file, a WordPiece trained on real documents) to a temporary folder.
"""

import base64
import gzip
import json
import os
from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

TEST_DATA = Path(os.environ.get("TOEDIT_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
# Folders of ready tokenizer.json files below TEST_DATA/tokenizers.
READY_FAMILIES = (
    "gpt2",
    "gpt-neox-20b",
    "olmo-gpt-neox-dolma-v1_5",
    "olmo2-dolma2",
    "llama2-test",
)
FAMILIES = (*READY_FAMILIES, "llama3", "wordpiece")

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def require_test_data() -> Path:
    """The data folder. Where it is absent the test is skipped, but fails in continuous integration."""
    if not TEST_DATA.is_dir():
        message = f"no test data in {TEST_DATA}: set TOEDIT_TEST_DATA to the data folder"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return TEST_DATA


def real_texts(count: int) -> list[str]:
    """`count` documents of the human test set, the same number from each source as far as it goes."""
    files = sorted((require_test_data() / "human" / "documents" / "test").glob("*.jsonl.gz"))
    per_source: list[list[str]] = []
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            per_source.append([json.loads(line)["text"] for line in lines])
    longest = max(map(len, per_source))
    rounds = [texts[rank] for rank in range(longest) for texts in per_source if rank < len(texts)]
    return rounds[:count]


def tokenizer_folder(family: str, temporary: Path) -> Path:
    """The folder of `family`; the families that have to be made are made below `temporary`."""
    data = require_test_data()
    if family in READY_FAMILIES:
        return data / "tokenizers" / family
    folder = temporary / family
    folder.mkdir()
    if family == "llama3":
        tokenizer = llama3_tokenizer(data / "tokenizers" / "llama3" / "tokenizer.model.tiktoken")
    else:
        tokenizer = wordpiece_tokenizer(real_texts(60))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def llama3_tokenizer(rank_file: Path) -> Tokenizer:
    """Llama 3 from its tiktoken file: `base64(token) rank` a line.

    tiktoken merges the neighbours whose union has the lowest rank; as a BPE that is every split of
    every token into two tokens, in order of the union's rank.
    """
    ranks: dict[bytes, int] = {}
    for line in rank_file.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    spelling = byte_level_spelling()
    merges = [
        (token[:cut].decode("latin-1"), token[cut:].decode("latin-1"))
        for token in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    model = models.BPE(
        vocab={token.decode("latin-1").translate(spelling): rank for token, rank in ranks.items()},
        merges=[(left.translate(spelling), right.translate(spelling)) for left, right in merges],
        ignore_merges=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>"]
    special += [f"<|reserved_special_token_{number}|>" for number in range(254)]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    return tokenizer


def byte_level_spelling() -> dict[int, str]:
    """For str.translate: the character with a byte's number -> the byte's GPT-2 spelling.

    Asked of the library, so that it checks our own table.
    """
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    spelling = {byte: chr(byte) for byte in range(256) if chr(byte) in alphabet}
    others = iter(sorted(alphabet - set(spelling.values())))
    return {byte: spelling.get(byte) or next(others) for byte in range(256)}


def wordpiece_tokenizer(texts: list[str]) -> Tokenizer:
    """A lower-casing BERT tokenizer trained on `texts`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=3000,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
