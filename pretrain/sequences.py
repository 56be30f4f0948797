"""What a training learns from, by what lies in its folder: tokens of texts, or examples of conversations."""

from __future__ import annotations

from pathlib import Path

from pretrain.data import Sequences, TokenSequences
from pretrain.examples import ExampleSequences
from toedit.config import Config
from toedit.workspace import read_manifest


def open_sequences(folder: Path, config: Config, rows: int) -> Sequences:
    """The sequences of a tokens or an examples artifact. Raises UnusableInput."""
    manifest, length, seed = read_manifest(folder), config.recipe.sequence_length, config.recipe.seed
    if manifest["kind"] == "examples":
        return ExampleSequences(folder, length, seed, rows, config.sft.packing)
    return TokenSequences(folder, manifest, length, seed, rows)
