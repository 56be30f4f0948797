"""`python run.py stage=continual_pretrain`: a model that is there, trained further.

Reads a base (`base.path`, or the prior of the command) and the text of `tokens.source`: the corpus, the mixture or the
edited corpus, tokenised with the base's tokenizer. Writes a checkpoint artifact as `stage=pretrain` does.

    python run.py stage=continual_pretrain base.path=my-model tokens.source=edited corpus=local corpus.path=my.jsonl
    python run.py stage=continual_pretrain base=olmo_1b recipe=continual_olmo_1b trainer.nproc=4 tokens.path=my-tokens
    python run.py stage=continual_pretrain base=llama3_8b recipe=continual_llama3_8b adapter=lora tokens.source=mix \\
        trainer=llamafactory
"""

from __future__ import annotations

from dataclasses import replace

from pretrain import stage as training
from toedit.artifacts import Artifact
from toedit.bases import plan_base
from toedit.config import Config
from toedit.errors import BadConfiguration
from toedit.stages import tokenize


def plan(config: Config) -> Artifact:
    base = plan_base(config)
    if config.trainer.kind == "llamafactory":
        from pretrain import llamafactory

        if config.tokens.path is not None:
            raise BadConfiguration(
                f"tokens.path={config.tokens.path}: trainer=llamafactory reads text; name the corpus instead"
            )
        corpus = tokenize.source_of(config)
        return llamafactory.plan(config, "pt", base, corpus, f"{config.base.name or base.name}.{corpus.name}")
    if config.trainer.kind == "olmo_legacy":
        raise BadConfiguration("trainer=olmo_legacy: pre-trains only; trainer=olmo or fsdp starts from a base")
    return training.plan_training(config, tokenize.plan_from(with_tokenizer_of_base(config)), base)


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    if config.trainer.kind == "llamafactory":
        from pretrain import llamafactory

        return llamafactory.report(config, artifact)
    return training.report(config, artifact)


def with_tokenizer_of_base(config: Config) -> Config:
    """The same configuration, tokenised as the base is, unless tokens.tokenizer names another."""
    if config.tokens.tokenizer is not None or config.base.path is None:
        return config
    return replace(config, tokens=replace(config.tokens, tokenizer=config.base.path))
