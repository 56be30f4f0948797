"""Seconds of an export for the Dolma toolkit and of its mixer, with random changes; and is the text the edited one?

    python scripts/benchmark_dolma_export.py --texts my-corpus --tokenizer my-tokenizer --rate 0.1 --spans 32

Reads Dolma documents (my-corpus/*.jsonl.gz) and a folder with tokenizer.json. Each token is replaced
with probability `rate` by any of the vocabulary. Writes to a temporary folder. Needs
`bash scripts/environment_dolma.sh` once, or another toolkit: --dolma.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toedit import dolma_export, dolma_spans
from toedit.artifacts import Artifact
from toedit.documents import ShardWriter, read_documents, shard_paths
from toedit.edit_corpus import LEDGER_SCHEMA
from toedit.splicing import Spliced, splice
from toedit.tokenizing import load_tokenizer
from toedit.workspace import Result, Workspace

SHARD = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--spans", type=int, default=dolma_spans.MAX_SPANS)
    parser.add_argument("--dolma", type=Path, default=Path(".venv-dolma/bin/dolma"))
    asked = parser.parse_args()
    texts = read_texts(asked.texts, asked.documents)
    edits = change(texts, asked.tokenizer, asked.rate)
    distinct = {row.new_text for edit in edits for row in edit.rows}
    print(f"{len(texts)} documents, {sum(len(edit.rows) for edit in edits)} changes, {len(distinct)} distinct texts")
    dolma_export.as_spans = partial(dolma_spans.as_spans, limit=asked.spans)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        corpus = Artifact("corpus", "random", {}, root, build=partial(build, texts=texts, edits=None))
        inputs = {"corpus": corpus}
        edited = Artifact("edited_corpus", "random", {}, root, inputs, build=partial(build, texts=texts, edits=edits))
        edited.ensure()
        started = time.monotonic()
        export = dolma_export.plan_export(edited, root, root / "out")
        export.ensure()
        print(f"export {time.monotonic() - started:.1f} s: {export.manifest()['counts']}")
        started = time.monotonic()
        command = [str(asked.dolma.absolute()), "-c", "mixer.yaml", "mix"]
        subprocess.run(command, cwd=export.path, check=True, capture_output=True)
        print(f"mixer {time.monotonic() - started:.1f} s")
        same = texts_of(export.path / "mixed") == texts_of(edited.path)
        print(f"the edited text: {'yes' if same else 'NO'}")


def read_texts(folder: Path, count: int) -> list[str]:
    found: list[str] = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [json.loads(line)["text"] for line in lines]
    return [found[number % len(found)] for number in range(count)]


def change(texts: list[str], tokenizer_folder: Path, rate: float) -> list[Spliced]:
    tokenizer, generator = load_tokenizer(tokenizer_folder), np.random.default_rng(0)
    edits = []
    for text, encoded in zip(texts, tokenizer.encode(texts), strict=True):
        position_C = np.flatnonzero(generator.random(len(encoded.token_ids_T)) < rate)
        new_id_C = generator.integers(0, tokenizer.vocabulary_size, len(position_C))
        edits.append(splice(text.encode(), encoded.span_T2, encoded.token_ids_T, position_C, new_id_C, tokenizer))
    return edits


def build(workspace: Workspace, texts: list[str], edits: list[Spliced] | None) -> Result:
    """The corpus, or with `edits` the edited one."""
    for start in range(0, len(texts), SHARD):
        shard, ledger = f"{start // SHARD:05d}", []
        outputs = [f"documents/{shard}.jsonl.zst", *([f"edits/{shard}.parquet"] if edits else [])]
        with workspace.shard(shard, *outputs) as (paths, _):
            with ShardWriter(paths[0]) as writer:
                for number in range(start, min(start + SHARD, len(texts))):
                    text = edits[number].text.decode() if edits else texts[number]
                    writer.write({"id": str(number), "text": text, "source": "random"})
                    ledger += [{"id": str(number), **row._asdict()} for row in edits[number].rows] if edits else []
            if edits:
                pq.write_table(pa.Table.from_pylist(ledger, LEDGER_SCHEMA), paths[1])
    return Result()


def texts_of(corpus: Path) -> list[tuple[str, str]]:
    return [(document["id"], document["text"]) for path in shard_paths(corpus) for document in read_documents(path)]


if __name__ == "__main__":
    main()
