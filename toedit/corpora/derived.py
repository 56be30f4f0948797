"""A part of a finished corpus as a corpus of its own: a split, the first documents or tokens, or a plain copy.

    python run.py stage=corpus corpus=local corpus.path=<corpus artifact> corpus.split=validation

Reads the shards of that artifact, which becomes the new one's input.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toedit.artifacts import Artifact
from toedit.config import CorpusConfig
from toedit.corpora.files import FileRows
from toedit.corpora.ingest import ingest
from toedit.corpora.local import input_file
from toedit.corpora.parts import content_identity, part_suffix
from toedit.documents import shard_paths
from toedit.workspace import Result, Workspace


def plan_part(config: CorpusConfig, whole: Artifact, root: Path, out: Path | None) -> Artifact:
    """The part of `whole` that `config` asks for, `whole` being its input."""
    own = CorpusConfig()  # a corpus artifact holds Dolma documents, whatever fields its own source had
    config = replace(
        config,
        layout=own.layout,
        columns=own.columns,
        tags=own.tags,
        text_fields=own.text_fields,
        id_field=own.id_field,
        source_field=own.source_field,
        metadata_field=own.metadata_field,
        on_truncated_file="refuse",
    )
    identity = {"source": "part", **content_identity(config, root)}

    def build(workspace: Workspace) -> Result:
        shards = [input_file(path.name, path) for path in shard_paths(workspace.inputs["corpus"])]
        return ingest(workspace, FileRows(shards, config), config, whole.name)

    name = config.name or whole.name + part_suffix(config)
    return Artifact("corpus", name, identity, root, inputs={"corpus": whole}, build=build, out=out)
