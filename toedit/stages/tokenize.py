"""`python run.py stage=tokenize`: token files, as OLMo reads them (see `toedit/tokenize_corpus.py`).

Reads the corpus, the mixture, the edited corpus or the selection of the command (`tokens.source`). Stages that train
take the token files from `plan_from`: those at `tokens.path`, else those of the other settings.

    python run.py stage=tokenize
    python run.py stage=tokenize tokens.source=edited tokens.tokenizer=my-tokenizer
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toedit import command
from toedit.artifacts import Artifact, load_artifact
from toedit.config import Config
from toedit.console import duration, human, say
from toedit.corpora import plan_corpus
from toedit.named_tokenizers import plan_unnamed, tokenizer_or_prior
from toedit.stages import mix, revert
from toedit.token_files import TOKENIZER, open_token_files
from toedit.tokenize_corpus import plan_tokens
from toedit.tokenizing import load_tokenizer


def plan(config: Config) -> Artifact:
    return plan_from(config, Path(config.out) if config.out else None)


def plan_from(config: Config, out: Path | None = None) -> Artifact:
    """The token files that `config` names."""
    tokens, root = config.tokens, Path(config.artifacts)
    if tokens.path is not None:
        path = Path(tokens.path)
        return load_artifact(path, ("tokens",), "tokens.path", f"python run.py stage=tokenize out={path}")
    corpus = source_of(config)
    tokenizer = tokenizer_or_prior(
        tokens.tokenizer, "tokens.tokenizer", config.prior, root, config.seed, config.dry_run
    )
    if isinstance(tokenizer, Artifact):
        return plan_unnamed("tokens", {"corpus": corpus}, tokenizer, root, out)
    return plan_tokens(corpus, tokenizer, tokens.document_end, tokens.processes, root, out)


def source_of(config: Config) -> Artifact:
    """The corpus that is tokenised."""
    if config.tokens.source == "mix":
        return mix.plan_from(config)
    if config.tokens.source == "edited":
        return revert.edited_corpus(replace(config, out=None))
    if config.tokens.source == "select":
        selected: Artifact = command.stage_module("select").plan(replace(config, out=None))
        return selected
    return plan_corpus(config.corpus, Path(config.artifacts))


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    files, manifest = open_token_files(artifact.path), artifact.manifest()
    counts, seconds = manifest["counts"], manifest["timings"]["seconds"]
    end = load_tokenizer(artifact.path / TOKENIZER).piece_text(files.end_id)
    say(
        f"{counts['tokens']:,} tokens ({files.dtype}), {counts['documents']:,} of them document ends ({end!r}, id "
        f"{files.end_id}), in {len(files.paths)} files; made in {duration(seconds)}"
    )
    first = files.token_ids(files.paths[0])
    say(f"rate: {human(counts['tokens'] / max(seconds, 1e-9))} tokens/s; the first ids: {first[:8].tolist()}")
    return {"tokens": f"{counts['tokens']:,}", "documents": f"{counts['documents']:,}"}
