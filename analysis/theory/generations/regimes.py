"""What each generation trains on: the one place that says it, a function a regime.

    regime                generation g + 1 trains on
    same_text             the real text of generation 0, again (control: nothing moves)
    fresh_real            other real text, drawn anew (control: how much real text differs)
    replace               what model g writes
    accumulate            the real text of generation 0, and all that models 0 to g have written
    accumulate_subsample  as many tokens, drawn from that without replacement
    real_share            that share of generation 0's real text, the same in each generation; for the rest, what
                          model g writes
    edit_once             the real text of generation 0, edited once, by model 0
    edit_fixed_prior      the text of generation g, edited by model 0
    edit_own_prior        the text of generation g, edited by model g
    random_tokens         the text of generation g with random tokens in random places (control)
    random_at_eligible    the same, in places where model 0 was sure of generation 0's text: P >= p (control)

All of the same number of tokens, but accumulate, which grows by as many in each generation. Model g is trained on the
text of generation g alone. Edits are Algorithm 1's (`toedit.sequences.edit_sequence`); the two last change exactly as
many tokens in every generation as edit_own_prior did with the same p and seed. Regimes share their seeds.

Everything stays in memory, unlike the artifacts that the other stages hand each other: a generation takes a fraction of
a second, and a study has thousands.

Shapes: T tokens, D documents, E eligible tokens, N places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.theory.generations.ngram_model import Documents, NGramModel
from analysis.theory.generations.text import RealText, joined, taken
from toedit.sequences import edit_sequence

_POOL, _PARTS, _PLACES = range(3)
"""Kinds of random numbers, keyed with seed and generation."""
_UNITS_A_GENERATION = 2**32
"""A document that a model wrote is a work of its own."""


@dataclass(frozen=True)
class Arm:
    """A regime with its number: a share of real text, or the p of an edit."""

    regime: str
    number: float | None = None

    @property
    def name(self) -> str:
        if self.number is None:
            return self.regime
        return f"{self.regime} {'' if self.regime in SHARED else 'p='}{self.number:g}"


@dataclass(frozen=True)
class Edited:
    """What an edit, or its control, did to a text."""

    documents: Documents
    changed: int
    eligible: int | None = None
    """Of edits alone, as the next one."""
    expected_changed: float | None = None
    """The exact expectation, before any draw."""


@dataclass
class Chain:
    """One arm with one seed, as far as it has come."""

    arm: Arm
    text: RealText
    settings: dict[str, Any]
    seed: int
    first: Documents
    """Generation 0's text."""
    now: Documents
    """Generation g's text."""
    first_model: NGramModel
    model: NGramModel
    """Trained on `now`."""
    changes: Sequence[int] = ()
    """How many tokens edit_own_prior changed in each generation, the first being 1; what the controls match."""
    generation: int = 0
    written: list[Documents] = field(default_factory=list)
    """accumulate_subsample: all that is drawn from."""
    edited: Edited | None = None
    """How `now` was made, where it was edited."""

    def random(self, kind: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, kind, self.generation])

    def writes(self, tokens: int) -> Documents:
        """What model g writes."""
        name = f"generation {self.generation}"
        own = self.model.sample(tokens, self.settings["document_tokens"], self.seed, name)
        return replace(own, unit_D=own.unit_D + (self.generation + 1) * _UNITS_A_GENERATION)


# --- the regimes ------------------------------------------------------------------------------------------------------


def same_text(chain: Chain) -> Documents:
    return chain.first


def fresh_real(chain: Chain) -> Documents:
    return real_text(chain.text, chain.settings["tokens"], chain.seed, chain.generation + 1)


def replace_all(chain: Chain) -> Documents:
    return chain.writes(chain.first.tokens)


def accumulate(chain: Chain) -> Documents:
    return joined([chain.now, chain.writes(chain.first.tokens)])


def accumulate_subsample(chain: Chain) -> Documents:
    chain.written = [*(chain.written or [chain.first]), chain.writes(chain.first.tokens)]
    everything = joined(chain.written)
    return taken(everything, chain.random(_PARTS).permutation(len(everything)), chain.first.tokens)


def real_share(chain: Chain) -> Documents:
    kept = _kept(chain)
    return joined([kept, chain.writes(chain.first.tokens - kept.tokens)])


def edit_once(chain: Chain) -> Documents:
    return chain.now if chain.generation else edit_own_prior(chain)


def edit_fixed_prior(chain: Chain) -> Documents:
    return _edit(chain, chain.first_model)


def edit_own_prior(chain: Chain) -> Documents:
    return _edit(chain, chain.model)


def random_tokens(chain: Chain) -> Documents:
    return _replace_at(chain, np.flatnonzero(chain.now.token_T != chain.text.end))


def random_at_eligible(chain: Chain) -> Documents:
    assert chain.arm.number is not None
    sure_T = chain.first_model.log_probabilities(chain.first) >= math.log(chain.arm.number)
    return _replace_at(chain, np.flatnonzero(sure_T & (chain.first.token_T != chain.text.end)))


REGIMES: dict[str, Callable[[Chain], Documents]] = {
    "same_text": same_text,
    "fresh_real": fresh_real,
    "replace": replace_all,
    "accumulate": accumulate,
    "accumulate_subsample": accumulate_subsample,
    "real_share": real_share,
    "edit_once": edit_once,
    "edit_fixed_prior": edit_fixed_prior,
    "edit_own_prior": edit_own_prior,
    "random_tokens": random_tokens,
    "random_at_eligible": random_at_eligible,
}
SHARED = ("real_share",)
"""One arm a share."""
MATCHED = ("random_tokens", "random_at_eligible")
"""Controls that change as many tokens as edit_own_prior."""
RECOVERING = ("same_text", "real_share", "replace")
"""From no synthetic text to nothing else: after them it is asked what the real text that is left brings back."""
EDITING = ("edit_once", "edit_fixed_prior", "edit_own_prior", *MATCHED)
"""One arm a p."""


def arms(settings: Mapping[str, Any]) -> list[Arm]:
    """All arms of a study; what others are matched to comes first."""
    found = []
    for regime in sorted(settings["regimes"], key=list(REGIMES).index):
        numbers = settings["real_shares"] if regime in SHARED else settings["p"] if regime in EDITING else [None]
        found += [Arm(regime, number) for number in numbers]
    return found


def real_left(chain: Chain) -> Documents | None:
    """The real text that is still there to train on after the last generation; None where there is none, or a regime
    is about something else."""
    if chain.arm.regime == "same_text":
        return chain.first
    kept = _kept(chain) if chain.arm.regime == "real_share" else None
    return kept if kept is not None and kept.tokens else None


# --- what they share --------------------------------------------------------------------------------------------------


def real_text(text: RealText, tokens: int, seed: int, generation: int) -> Documents:
    """As many tokens of the pool, passages drawn without replacement."""
    order_D = np.random.default_rng([seed, _POOL, generation]).permutation(len(text.pool))
    return taken(text.pool, order_D, tokens)


def _kept(chain: Chain) -> Documents:
    """That share of generation 0's text, the same in every generation."""
    assert chain.arm.number is not None
    return taken(chain.first, np.arange(len(chain.first)), round(chain.arm.number * chain.first.tokens))


def _edit(chain: Chain, prior: NGramModel) -> Documents:
    """One round of Algorithm 1 on the text of this generation; document ends are no text and stay."""
    settings, now, parts = chain.settings, chain.now, []
    p = chain.arm.number
    assert p is not None
    eligible = changed = 0
    expected = 0.0
    for document in range(len(now)):
        token_T = now[document]
        body_T = token_T[:-1] if token_T[-1] == chain.text.end else token_T
        edited = edit_sequence(
            f"{chain.generation}/{document}",
            body_T,
            prior.score(body_T, p, settings["k"]),
            p=p,
            k=settings["k"],
            temperature=settings["temperature"],
            seed=chain.seed,
        )
        parts += [edited.token_id_T, token_T[len(body_T) :]]
        eligible, changed = eligible + edited.eligible, changed + edited.changed
        expected += edited.draws.expected_changed
    chain.edited = Edited(replace(now, token_T=np.concatenate(parts)), changed, eligible, expected)
    return chain.edited.documents


def _replace_at(chain: Chain, place_N: NDArray[np.integer]) -> Documents:
    """At as many of these places as the edit changed: any other token but the end, each equally likely."""
    generator = chain.random(_PLACES)
    wanted = min(chain.changes[chain.generation], len(place_N))
    chosen = np.sort(generator.choice(place_N, wanted, replace=False))
    token_T = chain.now.token_T.copy()
    others = np.setdiff1d(np.arange(chain.text.vocabulary_size), [chain.text.end])
    place_of_old = np.searchsorted(others, token_T[chosen])
    drawn = generator.integers(len(others) - 1, size=wanted)
    token_T[chosen] = others[drawn + (drawn >= place_of_old)]
    chain.edited = Edited(replace(chain.now, token_T=token_T), wanted)
    return chain.edited.documents
