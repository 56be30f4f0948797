"""The instruction rows of a corpus as token ids, with a mark on each that is learnt. Made once, read by every training.

Reads a corpus or edited corpus of instruction data and the tokenizer of the base. Writes an examples artifact

    examples/*.arrow   one file a corpus shard, Arrow IPC: `id`, `token_ids` list<int32>, `learnt` list<bool>
    tokenizer/         the tokenizer's files

Conversations longer than `recipe.sequence_length` are cut at the end or dropped (`sft.on_long`), and counted; one that
is cut before its first response has nothing to learn and is dropped, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pyarrow as pa

from sft.templates import CHAT, Example, Template, load_template
from toedit.artifacts import Artifact
from toedit.config import Config, TemplateConfig
from toedit.console import Progress, note
from toedit.conversation import turns_of
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.executors import ShardWork, over_shards
from toedit.fingerprints import hash_file
from toedit.instructions import record_of
from toedit.named_tokenizers import NamedTokenizer
from toedit.workspace import Result, Workspace

EXAMPLES, TOKENIZER = "examples", "tokenizer"
_SCHEMA = pa.schema([("id", pa.string()), ("token_ids", pa.list_(pa.int32())), ("learnt", pa.list_(pa.bool_()))])
_BATCH = 1000
_COUNTS = ("rows", "examples", "dropped", "truncated", "tokens", "learnt_tokens")


def plan_examples(config: Config, corpus: Artifact, tokenizer: NamedTokenizer) -> Artifact:
    """The examples of `corpus` for the model that `tokenizer` belongs to. Raises BadConfiguration, UnusableInput."""
    settings, length = config.sft, config.recipe.sequence_length
    template = template_named(config)
    load_template(tokenizer.folder, template)  # refuses what the tokenizer cannot serve
    chat = tokenizer.folder / "chat_template.jinja"
    own = hash_file(chat) if chat.is_file() else hash_file(tokenizer.folder / "tokenizer_config.json")
    return Artifact(
        kind="examples",
        name=f"{corpus.name}.{tokenizer.name}",
        identity={
            "tokenizer": tokenizer.fingerprint,
            "template": asdict(template) if template else own,
            "sequence_length": length,
            "on_long": settings.on_long,
        },
        inputs={"corpus": corpus},
        root=Path(config.artifacts),
        build=partial(build_examples, config=config, tokenizer=tokenizer),
    )


def template_named(config: Config) -> TemplateConfig | None:
    """The template that `sft.template` names; None is the tokenizer's own. Raises BadConfiguration."""
    name, known = config.sft.template, config.sft.templates
    if name != CHAT and name not in known:
        raise BadConfiguration(
            f"sft.template={name}: there are {', '.join([CHAT, *known])}; sft.templates.{name} adds one, and "
            "trainer=llamafactory has many more"
        )
    return None if name == CHAT else known[name]


def build_examples(workspace: Workspace, config: Config, tokenizer: NamedTokenizer) -> Result:
    """Tokenise every shard that an earlier run has not finished."""
    shards = shard_paths(workspace.inputs["corpus"])
    pending = [path for path in shards if workspace.finished(path.name) is None]
    tasks = [(workspace.path, path, config.recipe.sequence_length, config.sft.on_long) for path in pending]
    with Progress("sft examples", sum(path.stat().st_size for path in pending), "bytes read") as progress:
        work = ShardWork("sft examples", ExampleShard, (tokenizer.folder, template_named(config)))
        for number, count in over_shards(workspace, work, tasks, config.tokens.processes):
            path = pending[number]
            progress.advance(path.stat().st_size, f"{count} examples in {path.name}")
    end_id = tokenizer.end(None)
    tokenizer.copy_to(workspace.path / TOKENIZER, end_id)
    result = Result(counts=dict.fromkeys(_COUNTS, 0), revisions=tokenizer.revisions)
    for path in shards:
        record = workspace.finished(path.name)
        assert record is not None
        for key in _COUNTS:
            result.counts[key] += record[key]
        result.rows[_output(path)] = record["examples"]
    counts, length = result.counts, config.recipe.sequence_length
    if not counts["examples"]:
        raise UnusableInput(f"sft: none of the {counts['rows']} rows leaves a response within {length} tokens")
    if counts["dropped"] or counts["truncated"]:
        note(
            f"sft: of {counts['rows']:,} rows {counts['truncated']:,} were cut at recipe.sequence_length={length} and "
            f"{counts['dropped']:,} dropped (sft.on_long={config.sft.on_long})"
        )
    return result


class ExampleShard:
    """Turns one corpus shard after another into examples."""

    def __init__(self, folder: Path, template: TemplateConfig | None) -> None:
        self.template = load_template(folder, template)

    def __call__(self, folder: Path, shard: Path, length: int, on_long: str) -> int:
        """Write the examples of `shard` below `folder`; return their number."""
        counts = dict.fromkeys(_COUNTS, 0)
        with Workspace(folder, {}).shard(shard.name, _output(shard)) as ((path,), record):
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
                rows: list[tuple[str, list[int], list[bool]]] = []
                for name, example in _examples(shard, self.template, length, on_long, counts):
                    rows.append((name, *example))
                    if len(rows) == _BATCH:
                        writer.write_batch(_arrow(rows))
                        rows = []
                if rows:
                    writer.write_batch(_arrow(rows))
            record.update(counts)
        return counts["examples"]


def _examples(
    shard: Path, template: Template, length: int, on_long: str, counts: dict[str, int]
) -> Iterator[tuple[str, Example]]:
    """(id, example) of each row that has something to learn within `length` tokens; the others are counted."""
    for document in read_documents(shard):
        record = record_of(document)
        if record is None:
            raise UnusableInput(
                f"document {document.get('id')!r} of {shard}: is no instruction row; read the corpus with "
                "corpus.layout=alpaca, sharegpt or messages"
            )
        counts["rows"] += 1
        example = template.encode(turns_of(record))
        is_long = len(example.token_ids) > length
        example = Example(example.token_ids[:length], example.learnt[:length])
        if (is_long and on_long == "drop") or not any(example.learnt[1:]):
            counts["dropped"] += 1
            continue
        counts["truncated"] += is_long
        counts["examples"] += 1
        counts["tokens"] += len(example.token_ids)
        counts["learnt_tokens"] += sum(example.learnt[1:])
        yield str(document["id"]), example


def _arrow(rows: list[tuple[str, list[int], list[bool]]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(column, kind.type) for column, kind in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )


def _output(shard: Path) -> str:
    return f"{EXAMPLES}/{shard.name.removesuffix('.jsonl.zst')}.arrow"
