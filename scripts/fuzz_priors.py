"""Tiny priors with random weights, one of each family of tokenizers, for `scripts/fuzz_documents.py`.

Each is a Hugging Face folder: byte-level BPE (GPT-2's spelling), BPE with byte fallback and a dummy space (Llama 2's),
lower-casing WordPiece (BERT's). Vocabularies of a few hundred pieces, so that candidates are pieces of characters,
special tokens, continuations and spaces: whatever is hard to put into a text.

    .venv/bin/python scripts/fuzz_priors.py priors byte_level wordpiece    into priors/byte_level, priors/wordpiece
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FAMILIES = ("byte_level", "byte_fallback", "wordpiece")
TRAINED_ON = [
    "The quick brown fox jumps over the lazy dog. naïve café, 12,345.67; def f(x): return x <b>bold</b>\n"
] * 20
SPECIAL = {
    "byte_level": ["<|endoftext|>", "<|im_start|>"],
    "byte_fallback": ["<unk>", "<s>", "</s>"],
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
}
SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
         "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=alphabet, special_tokens=SPECIAL["byte_level"], show_progress=False
    )
    tokenizer.train_from_iterator(TRAINED_ON, trainer)
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As SentencePiece makes them: bytes that no piece spells are pieces of their own, spaces are `▁`."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_of = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = [*SPECIAL["byte_fallback"], *bytes_of]
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=tokens, show_progress=False)
    tokenizer.train_from_iterator(TRAINED_ON, trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    definition = json.loads(tokenizer.to_str())
    ordinary = {*bytes_of}  # in the model, and no special tokens
    definition["added_tokens"] = [token for token in definition["added_tokens"] if token["content"] not in ordinary]
    return Tokenizer.from_str(json.dumps(definition))


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL["wordpiece"], show_progress=False)
    tokenizer.train_from_iterator(TRAINED_ON, trainer)
    tokenizer.add_tokens([AddedToken("##", special=False), AddedToken("🙂", special=False)])
    return tokenizer


MAKERS = {"byte_level": byte_level, "byte_fallback": byte_fallback, "wordpiece": wordpiece}


def write_tokenizer(family: str, folder: Path) -> Tokenizer:
    """tokenizer.json and the file that names the first and last token."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = MAKERS[family]()
    tokenizer.save(str(folder / "tokenizer.json"))
    ends = {"byte_level": "<|endoftext|>", "byte_fallback": "</s>", "wordpiece": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": ends[family]}))
    return tokenizer


def write_priors(folder: Path, families: Sequence[str]) -> None:
    """A model for each family, below `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    for family in families:
        tokenizer = write_tokenizer(family, folder / family)
        config = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), **SHAPE)
        LlamaForCausalLM(config).save_pretrained(folder / family)


if __name__ == "__main__":
    write_priors(Path(sys.argv[1]), sys.argv[2:])
