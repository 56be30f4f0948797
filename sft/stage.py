"""`python run.py stage=sft`: supervised fine-tuning of a model on instruction data; only responses are learnt.

Reads a base (`base.path`, or the prior of the command) and the instruction rows of the corpus or, with
`sft.source=edited`, of its edited corpus. Writes a checkpoint artifact as `stage=pretrain` does.

    python run.py stage=sft base.path=my-model corpus=local corpus.path=my.json corpus.layout=alpaca
    python run.py stage=sft base=llama3_8b recipe=sft_llama3_8b trainer=llamafactory adapter=lora corpus=oss_instruct \\
        sft.source=edited
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pretrain import stage as training
from sft.examples import plan_examples
from toedit.artifacts import Artifact
from toedit.bases import plan_base
from toedit.config import Config
from toedit.corpora import plan_corpus
from toedit.errors import BadConfiguration
from toedit.named_tokenizers import plan_unnamed, tokenizer_or_prior
from toedit.stages import revert


def plan(config: Config) -> Artifact:
    base, trainer = plan_base(config), config.trainer.kind
    corpus = source_of(config)
    if trainer == "llamafactory":
        from pretrain import llamafactory

        return llamafactory.plan(config, "sft", base, corpus, f"{config.base.name or base.name}.{corpus.name}")
    if trainer != "fsdp":
        raise BadConfiguration(f"trainer={trainer}: has no fine-tuning; trainer=fsdp and llamafactory have")
    if config.validation_tokens.path is not None:
        raise BadConfiguration("validation_tokens.path: stage=sft validates on responses; see sft.validation_split")
    root = Path(config.artifacts)
    tokenizer = tokenizer_or_prior(
        config.base.path, "base.path", config.prior, root, config.seed, config.dry_run, config.base.revision
    )
    if isinstance(tokenizer, Artifact):
        return training.plan_training(config, plan_unnamed("examples", {"corpus": corpus}, tokenizer, root, None), base)
    validation = plan_examples(config, held_out(config), tokenizer) if config.sft.validation_split else None
    return training.plan_training(config, plan_examples(config, corpus, tokenizer), base, validation)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    if config.trainer.kind == "llamafactory":
        from pretrain import llamafactory

        return llamafactory.report(config, artifact)
    return training.report(config, artifact)


def source_of(config: Config) -> Artifact:
    """The instruction data that is learnt: as it is, or edited."""
    if config.sft.source == "edited":
        return revert.edited_corpus(replace(config, out=None))
    return plan_corpus(config.corpus, Path(config.artifacts))


def held_out(config: Config) -> Artifact:
    """Another split of the corpus, never edited."""
    split = config.sft.validation_split
    if config.corpus.split in (None, split):
        raise BadConfiguration(
            f"sft.validation_split={split}: corpus.split={config.corpus.split or 'null'} holds nothing back for it; "
            "set corpus.split to another split, train say"
        )
    return plan_corpus(replace(config.corpus, split=split), Path(config.artifacts))
