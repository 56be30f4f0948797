"""What each generation reads: the regimes, composed from the other stages' own artifacts.

A generation is a text and the model that is trained on it. Generation 1 reads real text in every regime; of what comes
after, the regimes say

    real                    the same text again, with other initial weights: how far two models of one text differ
    replace                 only what the model before wrote (Seddik et al. 2024: fully synthetic)
    mix_<per cent>          that share of it, the rest real text, always the same (partially synthetic)
    accumulate              real text and what all models before wrote; it grows
    accumulate_subsample    as many tokens of that as generation 1 had, drawn anew each time
    edit_once               real text, edited once by the prior
    edit_fixed              the text of the generation before, edited again, always by the same prior
    edit_reestimated        likewise, by the model of the generation before

All but accumulate read the same number of tokens, and all are trained for the same number of steps. Nothing here
trains, writes or edits: `stage=pretrain`, `synthesize`, `score`, `edit`, `mix` and `tokenize` do, each step an
artifact. Regimes share what they have in common, and a killed study goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from toedit import command
from toedit.artifacts import Artifact
from toedit.config import Config, MixConfig
from toedit.config.theory_transformer import mixed_share
from toedit.edit_corpus import plan_edit
from toedit.errors import BadConfiguration
from toedit.mixing import plan_mix
from toedit.named_tokenizers import NamedTokenizer
from toedit.priors import plan_prior
from toedit.scoring import plan_scores
from toedit.synthesizing import plan_synthesis
from toedit.tokenize_corpus import plan_tokens

_SEEDS_APART = 1000
"""Between the seeds of two repetitions; generations lie between."""


@dataclass(frozen=True)
class Generation:
    """A text and its model."""

    number: int
    """1 is trained on real text."""
    text: Artifact
    model: Artifact
    edited: Artifact | None = None
    """The edit that made the text; None where none did, or an earlier one."""


@dataclass(frozen=True)
class Workshop:
    """The stages, with the settings of one repetition."""

    config: Config
    tokenizer: NamedTokenizer
    tokens: int
    """Tokens that a generation reads."""
    held_out: Artifact
    """Text for validation while a model is trained."""
    seed: int

    def train(self, text: Artifact, number: int) -> Artifact:
        """The model of generation `number`: fresh weights, from a seed of its own."""
        recipe = replace(self.config.recipe, seed=self._seed(number))
        config = replace(self.config, recipe=recipe, out=None)
        validation = self._tokenize(self.held_out)
        model: Artifact = command.stage_module("pretrain").plan_training(
            config, self._tokenize(text), validation=validation
        )
        return _called(model, f"{self.config.model.name}.generation-{number}")

    def write(self, model: Artifact, number: int, tokens: int | None = None) -> Artifact:
        """What the model of generation `number` writes, as many tokens as a generation reads."""
        longest = self.config.recipe.sequence_length - 1  # a document end comes first
        synthesis = replace(
            self.config.synthesis,
            tokens=tokens or self.tokens,
            max_new_tokens=longest,
            model=None,
            seed=self._seed(number),
        )
        return _called(plan_synthesis(model, None, synthesis, self._root), f"written-by.generation-{number}")

    def edit(self, text: Artifact, prior: Artifact, number: int) -> Artifact:
        """`text`, edited by `prior`, for generation `number`."""
        scores = _called(
            plan_scores(text, prior, self.config.score, self.config.scorer, self._root), f"for.generation-{number}"
        )
        settings = replace(self.config.edit, generation=1, seed=self._seed(number))
        return _called(plan_edit(scores, settings, self._root), f"edited.generation-{number}")

    def mix(self, human: Artifact, synthetic: Artifact | None, share: float, tokens: int, number: int = 0) -> Artifact:
        """`tokens` tokens, `share` of them of `synthetic`; the same `number` takes the same part of `human`."""
        settings = MixConfig(synthetic_ratio=share, tokens=tokens, seed=self._seed(number), allow_repeat=True)
        corpora = {"human": human} | ({"synthetic": synthetic} if synthetic else {})
        mixed = plan_mix(corpora, settings, self.tokenizer, self.config.tokens.processes, self._root)
        return _called(mixed, f"mixed.{100 * share:.4g}-per-cent")

    def _tokenize(self, text: Artifact) -> Artifact:
        processes = self.config.tokens.processes
        return _called(plan_tokens(text, self.tokenizer, None, processes, self._root), f"tokens.{text.name}")

    def _seed(self, number: int) -> int:
        return self.seed * _SEEDS_APART + number

    @property
    def _root(self) -> Path:
        return Path(self.config.artifacts)


def first_generation(workshop: Workshop, text: Artifact) -> Generation:
    """Real text, as many tokens as asked for, and its model."""
    real = _called(workshop.mix(text, None, 0.0, workshop.tokens), "real-text")
    return Generation(1, real, workshop.train(real, 1))


def following(workshop: Workshop, first: Generation, regime: str, count: int) -> list[Generation]:
    """`first` and the `count` generations after it. Raises BadConfiguration for a regime that there is not."""
    generations = [first]
    next_text = _regime(workshop, first, regime)
    for number in range(2, count + 2):
        text = next_text(generations[-1], number)
        is_new_edit = text.kind == "edited_corpus" and text is not generations[-1].text
        edited = text if is_new_edit else None
        generations.append(Generation(number, text, workshop.train(text, number), edited))
    return generations


NextText = Callable[[Generation, int], Artifact]


def _regime(workshop: Workshop, first: Generation, regime: str) -> NextText:
    """From a generation and the next one's number to the next one's text."""
    share = mixed_share(regime)
    if share is not None:
        return lambda before, _: workshop.mix(
            first.text, workshop.write(before.model, before.number), share, workshop.tokens
        )
    plain: dict[str, NextText] = {
        "real": lambda before, _: first.text,
        "replace": lambda before, _: workshop.write(before.model, before.number),
        "edit_once": lambda before, number: (
            workshop.edit(first.text, _fixed_prior(workshop, first), 2) if number == 2 else before.text
        ),
        "edit_fixed": lambda before, number: workshop.edit(before.text, _fixed_prior(workshop, first), number),
        "edit_reestimated": lambda before, number: workshop.edit(before.text, before.model, number),
    }
    if regime in ("accumulate", "accumulate_subsample"):
        return _accumulating(workshop, first, subsamples=regime != "accumulate")
    if regime not in plain:
        raise BadConfiguration(f"theory.transformer.regimes={regime}: no such regime")
    return plain[regime]


def _accumulating(workshop: Workshop, first: Generation, subsamples: bool) -> NextText:
    pool = first.text

    def next_text(before: Generation, number: int) -> Artifact:
        nonlocal pool
        written = workshop.write(before.model, before.number)
        pool = workshop.mix(pool, written, 1 / number, number * workshop.tokens)
        return workshop.mix(pool, None, 0.0, workshop.tokens, number) if subsamples else pool

    return next_text


def _fixed_prior(workshop: Workshop, first: Generation) -> Artifact:
    if workshop.config.theory.transformer.fixed_prior == "first":
        return first.model
    return plan_prior(workshop.config.prior, Path(workshop.config.artifacts), workshop.config.seed)


def _called(artifact: Artifact, name: str) -> Artifact:
    """The same artifact under a short name, the same in every regime: names of whole chains would grow with them."""
    artifact.name = name
    return artifact
