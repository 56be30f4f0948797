"""A tokenizer with one token a character, saved as an ordinary Hugging Face folder.

    save_character_tokenizer(characters_of(texts), folder)      # tokenizer.json, tokenizer_config.json

Its alphabet is the characters that it was made from, in the order of their code points, after two special tokens: the
document end, and the unknown character. A text of known characters has one token each and decodes to itself, byte for
byte. An unknown character becomes one `<unk>`, never dropped and never merged with its neighbour; it stands for no
text, so an edit leaves it as it is, and a model that samples it writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from toedit.tiny_prior import DOCUMENT_END

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "<unk>"


def characters_of(texts: Iterable[str]) -> list[str]:
    """The distinct characters of all texts, in the order of their code points."""
    found: set[str] = set()
    for text in texts:
        found.update(text)
    return sorted(found)


def character_tokenizer(characters: Iterable[str]) -> Tokenizer:
    """The tokenizer of these characters: a byte-pair encoding without merges, which leaves every character alone."""
    from tokenizers import Tokenizer, decoders, models

    entries = [DOCUMENT_END, UNKNOWN, *sorted(set(characters))]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN, fuse_unk=False))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([DOCUMENT_END, UNKNOWN])
    return tokenizer


def save_character_tokenizer(characters: Iterable[str], folder: Path) -> int:
    """Write the files into `folder`; return the number of entries."""
    tokenizer = character_tokenizer(characters)
    save_tokenizer(tokenizer, folder, {"unk_token": UNKNOWN})
    return int(tokenizer.get_vocab_size())


def save_tokenizer(tokenizer: Tokenizer, folder: Path, special: dict[str, str]) -> None:
    """`tokenizer` as Transformers' AutoTokenizer loads it; it begins and ends documents with the document end."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": DOCUMENT_END,
        "eos_token": DOCUMENT_END,
        "clean_up_tokenization_spaces": False,
        **special,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
