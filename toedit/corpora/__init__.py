"""Corpora: documents from this machine's files, from the Hugging Face hub, or from the installation's documentation.

    python run.py stage=corpus                                          # pydocs, the embedded default
    python run.py stage=corpus corpus=local corpus.path=texts/          # your own files
    python run.py stage=corpus corpus=openwebmath corpus.max_documents=1000

Writes a corpus artifact: `documents/*.jsonl.zst` and `rejected.jsonl`, the list of the rows that are not in it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toedit.artifacts import Artifact, load_artifact
from toedit.config import CorpusConfig
from toedit.config.corpus import SYNTHESIZED
from toedit.corpora.derived import plan_part
from toedit.corpora.parts import asks_for_part
from toedit.errors import BadConfiguration

CORPUS_KINDS = ("corpus", "edited_corpus")


def plan_corpus(config: CorpusConfig, root: Path, out: Path | None = None) -> Artifact:
    """The corpus that `config` describes; `ensure()` builds it.

    Raises BadConfiguration, MissingInput and UnusableInput, in one line that names the key at fault.
    """
    if config.kind == "local":
        return _plan_local(config, root, out)
    if config.kind == SYNTHESIZED:
        raise BadConfiguration(f"corpus.kind={SYNTHESIZED}: only mix.synthetic can be that; see stage=synthesize")
    if config.kind == "hub":
        from toedit.corpora.hub import plan_hub

        return plan_hub(config, root, out)
    from toedit.corpora.pydocs import plan_pydocs

    if not asks_for_part(config):
        return plan_pydocs(config, root, out)
    whole = plan_pydocs(replace(config, name=None, split=None, max_documents=None, max_tokens=None), root, None)
    return plan_part(config, whole, root, out)


def _plan_local(config: CorpusConfig, root: Path, out: Path | None) -> Artifact:
    """Files, or an artifact: as it is, or a part or copy of it where a part or another place is asked for."""
    from toedit.corpora.local import is_artifact, plan_local

    folder = Path(config.path).expanduser() if config.path else None
    if folder is None or not is_artifact(folder):
        return plan_local(config, root, out)
    whole = load_artifact(folder, CORPUS_KINDS, "corpus.path", "python run.py stage=corpus")
    elsewhere = out is not None and out.resolve() != folder.resolve()
    return plan_part(config, whole, root, out) if asks_for_part(config) or elsewhere else whole
