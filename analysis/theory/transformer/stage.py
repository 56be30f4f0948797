"""`theory=transformer_generations`: transformers trained on each other's output, or on text edited again and again.

Reads a corpus (`corpus.*`), which it cuts into passages (`passages.py`); every text and model of a generation is an
artifact of another stage (`regimes.py`), measured against held-out text (`measures.py`). Writes table, figure, and
data.csv: regime, seed, generation, metric, value, and step, for the validation losses of a training.

    python run.py stage=theory theory=transformer_generations corpus=local corpus.path=my.txt
    python run.py stage=theory theory=seddik_transformer corpus=local corpus.path=my.txt

A killed study goes on where it stopped; another regime, seed or generation trains only what is not there yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.theory.study import Found, Study
from analysis.theory.transformer import figure
from analysis.theory.transformer.found import collect, summarize, table_of
from analysis.theory.transformer.measures import MeasureSettings, plan_measures
from analysis.theory.transformer.passages import PARTS, plan_passages
from analysis.theory.transformer.progress import Trainings
from analysis.theory.transformer.regimes import Generation, Workshop, first_generation, following
from analysis.theory.transformer.tokenizer import named, plan_tokenizer
from toedit.artifacts import Artifact
from toedit.config import Config, ScoreConfig
from toedit.config.checks import require
from toedit.corpora import plan_corpus
from toedit.errors import BadConfiguration
from toedit.scoring import plan_scores

_HELD_OUT_GENERATION = 999
"""Its seed, where a model writes the held-out text: no generation's."""


def settings(config: Config) -> dict[str, Any]:
    """What the study depends on besides its artifacts. Raises BadConfiguration where keys contradict each other."""
    own, length = config.theory.transformer, config.recipe.sequence_length
    key = "theory.transformer"
    require(config.theory.generations < _HELD_OUT_GENERATION, "theory.generations", config.theory.generations,
            f"must be below {_HELD_OUT_GENERATION}")  # fmt: skip
    require(own.context_tokens <= length, f"{key}.context_tokens", own.context_tokens,
            f"must not exceed recipe.sequence_length={length}")  # fmt: skip
    if own.tokenizer == "characters":
        require(own.passage_characters < length, f"{key}.passage_characters", own.passage_characters,
                f"must be below recipe.sequence_length={length}, so that a model can write one")  # fmt: skip
    if config.synthesis.prompt_tokens:
        raise BadConfiguration(
            f"synthesis.prompt_tokens={config.synthesis.prompt_tokens}: generations write from nothing; leave it at 0"
        )
    if config.edit.budget is not None:
        raise BadConfiguration(f"edit.budget={config.edit.budget}: generations edit at edit.p and edit.temperature")
    return {
        **asdict(own),
        "generations": config.theory.generations,
        "seed": config.theory.seed,
        "model": config.model.name,
        "edit": {"sampler": config.edit.sampler, "p": config.edit.p, "k": config.edit.k},
    }


def inputs(config: Config) -> dict[str, Artifact]:
    """The measures, models and edits of every generation, by `<regime>.seed<s>.generation<m>.<what>`."""
    own, root = config.theory.transformer, Path(config.artifacts)
    corpus = plan_corpus(config.corpus, root)
    text, held_out = (
        plan_passages(corpus, part, own.passage_characters, own.held_out_share, most, root)
        for part, most in zip(PARTS, (None, own.held_out_passages), strict=True)
    )
    planned = plan_tokenizer(text, held_out, own.tokenizer, own.vocabulary_size, root)
    tokenizer = named(planned, config.dry_run)
    there = planned.manifest()["counts"]["tokens"] if planned.state() == "cached" else own.tokens or 1
    tokens = own.tokens or there
    require(tokens <= there, "theory.transformer.tokens", tokens,
            f"the training part of the corpus has {there} tokens; null takes all of them")  # fmt: skip
    artifacts: dict[str, Artifact] = {}
    for seed in own.seeds:
        workshop = Workshop(config, tokenizer, tokens, held_out, seed)
        artifacts |= _repetition(config, workshop, text)
    Trainings({id(model): model for role, model in artifacts.items() if role.endswith(".model")}.values())
    return artifacts


def _repetition(config: Config, workshop: Workshop, text: Artifact) -> dict[str, Artifact]:
    """Everything that one seed needs."""
    own = config.theory.transformer
    if own.ground_truth == "model":  # what it writes takes the text's place, for training and for measuring
        truth = first_generation(workshop, text).model
        share = own.held_out_share / (1 - own.held_out_share)
        held_out = workshop.write(truth, _HELD_OUT_GENERATION, max(round(share * workshop.tokens), 1))
        text = workshop.write(truth, 0)
        workshop = Workshop(config, workshop.tokenizer, workshop.tokens, held_out, workshop.seed)
    first = first_generation(workshop, text)
    artifacts: dict[str, Artifact] = {}
    for regime in own.regimes:
        for generation in following(workshop, first, regime, config.theory.generations):
            role = f"{regime}.seed{workshop.seed}.generation{generation.number}"
            artifacts[f"{role}.model"] = generation.model
            artifacts[f"{role}.measures"] = _measures(config, workshop, first, generation)
            if generation.edited is not None:
                artifacts[f"{role}.edited"] = generation.edited
    return artifacts


def _measures(config: Config, workshop: Workshop, first: Generation, generation: Generation) -> Artifact:
    own, root = config.theory.transformer, Path(config.artifacts)
    score = ScoreConfig(top_k=1, min_p=1.0, window=config.score.window, dtype=config.score.dtype)
    scores = plan_scores(workshop.held_out, generation.model, score, config.scorer, root)
    name = f"generation-{generation.number}"
    scores.name = f"held-out.{name}"
    chosen = MeasureSettings(own.contexts, own.context_tokens, own.rare_ngram, own.rare_count, config.theory.seed)
    return plan_measures(
        name, generation.model, scores, generation.text, first.text, workshop.held_out, chosen, config.scorer, root
    )


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    """Collect what was measured; nothing is trained here."""
    rows, spread = collect(settings, inputs)
    summary = summarize(settings, rows, spread)
    table = table_of(settings, summary)
    worst = max(summary["regimes"], key=lambda regime: summary["regimes"][regime]["last"]["bits_per_byte"]["mean"])
    row = {"generations": str(settings["generations"]), "highest loss": worst}
    return Found(table, rows, summary, row)


STUDY = Study("transformer_generations", settings, compute, figure.draw, inputs)
