"""A tokens artifact written by hand: raw memory maps, document boundaries, a tokenizer trained on the same lines."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import transformers
from conftest import repetitive_documents
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from toedit.artifacts import Artifact
from toedit.workspace import Result, Workspace

END = "<|endoftext|>"


def save_tokenizer(folder: Path, entries: int, texts: list[str]) -> int:
    """A byte-level BPE tokenizer of so many entries; returns the id of its document end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=entries, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)
    wrapped.save_pretrained(folder)
    return int(tokenizer.token_to_id(END))


def build_tokens(
    root: Path, documents: int = 60, files: int = 2, entries: int = 320, seed: int = 0, dtype: str = "uint16"
) -> Path:
    """A finished tokens artifact of repetitive text."""
    texts = [document["text"] for document in repetitive_documents(documents, seed)]
    training_texts = [document["text"] for document in repetitive_documents(60, 0)]  # one tokenizer for every seed

    def build(workspace: Workspace) -> Result:
        end = save_tokenizer(workspace.path / "tokenizer", entries, training_texts)
        tokenizer = Tokenizer.from_file(str(workspace.path / "tokenizer" / "tokenizer.json"))
        total = 0
        for number in range(files):
            parts = [np.array([*tokenizer.encode(text).ids, end], dtype) for text in texts[number::files]]
            np.concatenate(parts).tofile(workspace.path / f"part-{number:05d}.npy")
            bounds = np.cumsum([0, *(len(part) for part in parts)])
            with gzip.open(workspace.path / f"part-{number:05d}.csv.gz", "wt") as file:
                file.writelines(f"{a},{b}\n" for a, b in pairwise(bounds))
            total += int(bounds[-1])
        return Result(counts={"documents": documents, "tokens": total})

    identity = {"dtype": dtype, "eos_id": 0, "documents": documents, "files": files, "entries": entries, "seed": seed}
    artifact = Artifact("tokens", "pattern", identity, root, build=build)
    return artifact.ensure()
