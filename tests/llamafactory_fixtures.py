"""What the tests of trainer=llamafactory share: a tiny base, and a way to make a checkpoint.

python tests/llamafactory_fixtures.py pt FOLDER OVERRIDES    makes one in a process of its own, for tests that kill it
"""

from __future__ import annotations

import os
import sys
from copy import deepcopy
from pathlib import Path

import torch
import transformers
from conftest import REPOSITORY, repetitive_documents, write_jsonl
from test_pretrain import compose
from tokens_fixture import save_tokenizer

from pretrain import llamafactory
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.corpora import plan_corpus
from toedit.priors import plan_model

STAGES = {"pt": "continual_pretrain", "sft": "sft"}
CONTEXT = 1024


def build_base(folder: Path, **tokenizer: str) -> Path:
    """A Llama of 60,000 random weights, with a byte-level tokenizer."""
    entries = 320
    end = save_tokenizer(folder, entries, [document["text"] for document in repetitive_documents(60)])
    if tokenizer:
        transformers.AutoTokenizer.from_pretrained(folder, **tokenizer).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=entries, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=CONTEXT, bos_token_id=end, eos_token_id=end,
        initializer_range=0.1,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def configure(method: str, root: Path, base: Path | None, *overrides: str) -> Config:
    """The configuration of a small training in float32."""
    return compose(
        f"stage={STAGES[method]}", "trainer=llamafactory", f"artifacts={root}", "base=none", f"base.path={base}",
        "recipe.dtype=float32", "recipe.decay_embeddings=true", "recipe.warmup_steps=2", "trainer.log_every=1",
        "trainer.device=cpu", *overrides,
    )  # fmt: skip


def changed(config: Config, **values: object) -> Config:
    """A copy with other values, by dotted key."""
    copy = deepcopy(config)
    for key, value in values.items():
        section, name = key.split(".")
        setattr(getattr(copy, section), name, value)
    return copy


def plan(config: Config, method: str, corpus: Artifact | None = None, name: str = "made") -> Artifact:
    """The checkpoint, planned; of the configuration's own corpus unless another is given."""
    root = Path(config.artifacts)
    assert config.base.path is not None
    base = plan_model(config.base.path, "base.path", root)
    return llamafactory.plan(config, method, base, corpus or plan_corpus(config.corpus, root), name)


def local(path: Path, layout: str | None = None) -> list[str]:
    """The overrides that name a corpus of files."""
    return ["corpus=local", f"corpus.path={path}", *([f"corpus.layout={layout}"] if layout else [])]


def texts_file(folder: Path, documents: int = 60) -> Path:
    return write_jsonl(folder / "texts.jsonl", repetitive_documents(documents))


def environment_python() -> Path:
    return REPOSITORY / os.environ.get("TOEDIT_LLAMAFACTORY_VENV", ".venv-llamafactory") / "bin" / "python"


if __name__ == "__main__":
    from toedit.errors import ToEditError

    method, root, base, *overrides = sys.argv[1:]
    try:
        print(plan(configure(method, Path(root), Path(base), *overrides), method).ensure())
    except ToEditError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
