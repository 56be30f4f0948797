"""What is measured of every generation, against real held-out text.

    of the model
    loss                 nats a token of held-out text, document ends left out
    bits_per_byte        the same by the bytes of that text
    predictive_entropy   mean entropy of the model's law of the next token, nats, at fixed places of held-out text
    tv_to_first          mean total variation between that law and model 0's, at the same places
    recovered_loss       the loss after training, in the end, on the real text that is left: once a run, for the
                         regimes from no synthetic text to nothing else
    tv_where_sure        the same where model 0 was sure (P >= p) in generation 0's text; edits alone

    of the text that it was trained on (of as many tokens of it, where it has more)
    rare_token_recall    of the tokens that held-out text has at most `rare_count` times, the share that occurs
    rare_bigram_recall   the same of pairs of tokens
    token_entropy        plug-in entropy of its tokens, nats
    bigram_entropy       and of its pairs
    distinct_2           different pairs by all pairs
    ks, ks_p             Kolmogorov-Smirnov distance between its passages and held-out ones, of their mean
                         log-probability under the reference model; p-value by permutation of works
    eligible, changed    shares of the edited text's tokens; expected_changed: the exact expectation of the second

`loss` is measured with a discount of its own (`measuring_discount`): without one, text that holds a single new n-gram
has probability 0. Laws are those that write and edit. Everything is a finite number; what an arm does not have is
missing.

Shapes: T tokens, D documents, P places, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.theory.generations.ngram_model import Documents, NGramModel, train
from analysis.theory.generations.regimes import Chain
from analysis.theory.generations.text import RealText, taken
from analysis.two_sample import Pair, Sample, differences, distances, permutations, share_as_far
from toedit.editing import Floats

Measured = dict[str, float]


@dataclass(frozen=True)
class Yardstick:
    """What all arms with one seed are measured by."""

    text: RealText
    settings: dict[str, Any]
    seed: int
    reference: NGramModel
    place_P: NDArray[np.integer]
    """In held-out text."""
    law_PV: Floats
    """Model 0's."""
    sure_P: NDArray[np.integer]
    """Places of generation 0's text where model 0 is sure; none where the arm edits nothing."""
    sure_law_PV: Floats
    first: Documents
    held_out: OfText


@dataclass(frozen=True)
class OfText:
    """What of a text is compared with another."""

    kinds: dict[str, Kinds]
    passages: Sample
    """Mean log-probabilities under the reference model."""


Kinds = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Different tokens or pairs, and how often each occurs."""


def trained(text: RealText, documents: Documents, settings: dict[str, Any]) -> NGramModel:
    return train(documents, settings["order"], text.vocabulary_size, text.end, settings["discount"], settings["counts"])


def yardstick(
    text: RealText, first: Documents, model: NGramModel, settings: dict[str, Any], seed: int, p: float | None
) -> Yardstick:
    """From generation 0's text and model. `p`: of the arm's edits, None where it makes none."""
    generator = np.random.default_rng([seed, settings["contexts"]])
    places = np.flatnonzero(text.held_out.token_T != text.end)
    place_P = np.sort(generator.choice(places, min(settings["contexts"], len(places)), replace=False))
    reference = trained(text, text.reference, settings).with_discount(settings["measuring_discount"])
    held_out = _of_text(text.held_out, text, reference, settings["documents"], generator)
    sure_P = np.empty(0, np.int64)
    if p is not None:
        logprob_T = model.log_probabilities(first)
        # Where the law is a single token nothing can move.
        sure_T = (logprob_T >= np.log(p)) & (logprob_T < -1e-12) & (first.token_T != text.end)
        sure = np.flatnonzero(sure_T)
        sure_P = np.sort(generator.choice(sure, min(settings["contexts"], len(sure)), replace=False))
    return Yardstick(
        text=text,
        settings=settings,
        seed=seed,
        reference=reference,
        place_P=place_P,
        law_PV=model.laws(text.held_out, place_P),
        sure_P=sure_P,
        sure_law_PV=model.laws(first, sure_P),
        first=first,
        held_out=held_out,
    )


def measure(yard: Yardstick, chain: Chain) -> Measured:
    """All measures of a generation that there are."""
    found = {**_of_the_model(yard, chain.model), **_of_the_text(yard, chain.now)}
    if len(yard.sure_P):
        found["tv_where_sure"] = _total_variation(yard.sure_law_PV, chain.model.laws(yard.first, yard.sure_P))
    return found


def of_the_edit(chain: Chain) -> Measured:
    """The rates of the edit that made the text of this generation."""
    if chain.edited is None:
        return {}
    tokens, edited = int((chain.now.token_T != chain.text.end).sum()), chain.edited
    rates = {"eligible": edited.eligible, "changed": edited.changed, "expected_changed": edited.expected_changed}
    return {metric: count / tokens for metric, count in rates.items() if count is not None}


def loss_of(yard: Yardstick, model: NGramModel) -> float:
    """Nats a token of held-out text."""
    held_out = yard.text.held_out
    smoothed = model.with_discount(yard.settings["measuring_discount"])
    is_text_T = held_out.token_T != yard.text.end
    return -float(smoothed.log_probabilities(held_out)[is_text_T].mean())


def _of_the_model(yard: Yardstick, model: NGramModel) -> Measured:
    held_out, loss = yard.text.held_out, loss_of(yard, model)
    nats = loss * int((held_out.token_T != yard.text.end).sum())
    law_PV = model.laws(held_out, yard.place_P)
    with np.errstate(divide="ignore"):
        log_PV = np.where(law_PV > 0, np.log(law_PV), 0.0)
    return {
        "loss": loss,
        "bits_per_byte": nats / np.log(2) / yard.text.held_out_bytes,
        "predictive_entropy": float(-(law_PV * log_PV).sum(axis=1).mean()),
        "tv_to_first": _total_variation(yard.law_PV, law_PV),
    }


def _of_the_text(yard: Yardstick, documents: Documents) -> Measured:
    generator = np.random.default_rng([yard.seed, 1])  # the same in all generations: an edit is compared with itself
    if documents.tokens > yard.first.tokens:
        documents = taken(documents, generator.permutation(len(documents)), yard.first.tokens)
    own = _of_text(documents, yard.text, yard.reference, yard.settings["documents"], generator)
    found: Measured = {}
    for name, (kinds, counts) in yard.held_out.kinds.items():
        own_kinds, own_counts = own.kinds[name]
        rare = kinds[counts <= yard.settings["rare_count"]]
        if len(rare):
            found[f"rare_{name}_recall"] = float(np.isin(rare, own_kinds, assume_unique=True).mean())
        found[f"{name}_entropy"] = _entropy(own_counts)
    _, counts = own.kinds["bigram"]
    if len(counts):
        found["distinct_2"] = len(counts) / float(counts.sum())
    return found | _distance(Pair(own.passages, yard.held_out.passages), yard.settings["resamples"], yard.seed)


def _of_text(
    documents: Documents, text: RealText, reference: NGramModel, passages: int, generator: np.random.Generator
) -> OfText:
    part = taken(documents, generator.permutation(len(documents))[:passages], documents.tokens)
    logprob_T = reference.log_probabilities(part)
    mean_D = np.add.reduceat(logprob_T, part.first_D1[:-1]) / np.diff(part.first_D1)
    kinds = {
        name: np.unique(found, return_counts=True)
        for name, found in (
            ("token", _tokens(documents, text.end)),
            ("bigram", _bigrams(documents, text.vocabulary_size, text.end)),
        )
    }
    return OfText(kinds, Sample(mean_D, part.unit_D))


def _distance(pair: Pair, resamples: int, seed: int) -> Measured:
    """How unlike held-out passages the text's passages are."""
    ones = [np.ones((1, len(sample.value_A)), np.int64) for sample in (pair.first, pair.second)]
    ks = float(distances(differences(*pair.pooled(*ones), pair), pair)["kolmogorov_smirnov"][0])
    dealt = permutations(pair, resamples, seed)
    return {"ks": ks, "ks_p": share_as_far(dealt["kolmogorov_smirnov"], ks)}


def _tokens(documents: Documents, end: int) -> NDArray[np.int64]:
    return documents.token_T[documents.token_T != end].astype(np.int64)


def _bigrams(documents: Documents, size: int, end: int) -> NDArray[np.int64]:
    """Pairs of neighbours within a document, ends left out."""
    token_T = documents.token_T.astype(np.int64)
    inside = np.ones(len(token_T) - 1, bool)
    inside[documents.first_D1[1:-1] - 1] = False
    inside &= (token_T[1:] != end) & (token_T[:-1] != end)
    return (token_T[:-1] * size + token_T[1:])[inside]


def _entropy(counts: NDArray[np.integer]) -> float:
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def _total_variation(first_PV: Floats, second_PV: Floats) -> float:
    return float(np.abs(first_PV - second_PV).sum(axis=1).mean() / 2)
