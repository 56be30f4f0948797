"""`theory=safe_mix`: how much synthetic text a corpus carries, context by context and as a whole.

Reads a corpus artifact, once. Writes (see `analysis.theory.study`)

    table          most frequent contexts with their allowed amounts; the whole corpus, with 95 % intervals
    data.csv       part (context, corpus), name, kind, epsilon, share, measure, value, low, high
    safe_mix.png   allowed amount by count; tokens within epsilon by synthetic share; tokens with any amount safe

    python run.py stage=theory theory=safe_mix corpus=local corpus.path=texts/

The model is one of counts (`amounts`): it says when sampling noise, generation after generation, moves the law of the
next token, and nothing about what a network would make of the same mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.table_files import Table
from analysis.theory.safe_mix.amounts import Floats, allowed_amount, published_amount
from analysis.theory.safe_mix.contexts import KINDS, Contexts, Grams, count_contexts, read_grams
from analysis.theory.safe_mix.mixing import Measured, Needs, needs, totals
from analysis.theory.study import Found, Rows, Study
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.corpora import plan_corpus

SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Synthetic shares of the curve."""
Totals = dict[tuple[str, str, float, float], Measured]


@dataclass
class Counted(Found):
    """With what the figure shows beyond the rows."""

    contexts: Contexts | None = None
    needs: dict[str, Needs] = field(default_factory=dict)


def settings(config: Config) -> dict[str, Any]:
    own = config.theory.safe_mix
    found = {key: getattr(own, key) for key in ("unit", "context", "keep", "contexts", "resamples")}
    found |= {"epsilon": sorted(set(own.epsilon)), "unit_fields": list(config.analysis.unit_fields)}
    if own.tokenizer is not None:
        from toedit.named_tokenizers import find_tokenizer

        tokenizer = find_tokenizer(own.tokenizer, "theory.safe_mix.tokenizer")
        found |= {"tokenizer": own.tokenizer, "tokenizer_fingerprint": tokenizer.fingerprint}
    return found | {"seed": config.theory.seed}


def inputs(config: Config) -> dict[str, Artifact]:
    return {"corpus": plan_corpus(config.corpus, Path(config.artifacts))}


def compute(settings: dict[str, Any], folders: Mapping[str, Path]) -> Found:
    definition = None
    if "tokenizer" in settings:
        from toedit.named_tokenizers import find_tokenizer

        definition = find_tokenizer(settings["tokenizer"], "theory.safe_mix.tokenizer").definition
    grams = read_grams(folders["corpus"], settings["unit"], definition, settings["context"], settings["unit_fields"])
    contexts = count_contexts(grams)
    found = totals(grams, settings["epsilon"], settings["keep"], SHARES, settings["resamples"], settings["seed"])
    shown = np.argsort(-contexts.real_C, kind="stable")[: settings["contexts"]]
    name_S = grams.name(contexts.index_C[shown])
    rows = [*_context_rows(contexts, shown, name_S, settings["epsilon"]), *_total_rows(found)]
    facts = facts_of(contexts, grams)
    return Counted(
        _table(contexts, shown, name_S, found, settings, facts),
        rows,
        {"corpus": facts},
        {"tokens": f"{facts['tokens']:,}"},
        contexts,
        {kind: needs(contexts, kind) for kind in KINDS},
    )


def facts_of(contexts: Contexts, grams: Grams) -> dict[str, Any]:
    """The corpus in a few numbers."""
    tokens = float(contexts.real_C.sum())
    return {
        "tokens": int(tokens),
        "contexts": len(contexts.real_C),
        "tokens_of_contexts_seen_once": float(contexts.real_C[contexts.real_C == 1].sum() / tokens),
        "tokens_of_contexts_with_one_follower": float(contexts.real_C[contexts.support_C == 1].sum() / tokens),
        "resampling_units": grams.units,
        "resampling_unit_is": grams.unit_is,
    }


def _context_rows(contexts: Contexts, shown: Any, name_S: list[str], epsilons: list[float]) -> Rows:
    rows: Rows = []
    for index, name in zip(shown.tolist(), name_S, strict=True):
        real = contexts.real_C[index]
        facts = {"N": real, "followers": contexts.support_C[index], "followers_chao1": contexts.chao1_C[index]}
        rows += [_row("context", name, "", None, None, measure, value) for measure, value in facts.items()]
        for epsilon in epsilons:
            for kind in KINDS:
                amount = float(allowed_amount(real, contexts.k_by_kind[kind][index], epsilon))
                rows.append(_row("context", name, kind, epsilon, None, "allowed", amount))
            published = float(published_amount(real, contexts.support_C[index], epsilon))
            rows.append(_row("context", name, "published", epsilon, None, "allowed", published))
    return rows


def _total_rows(found: Totals) -> Rows:
    return [
        _row("corpus", "all", kind, epsilon, share, measure, number.value, number.low, number.high)
        for (measure, kind, epsilon, share), number in found.items()
    ]


def _row(part: str, name: str, kind: str, epsilon: Any, share: Any, measure: str, value: float,
         low: float | None = None, high: float | None = None) -> dict[str, Any]:  # fmt: skip
    return {"part": part, "name": name, "kind": kind, "epsilon": epsilon, "share": share, "measure": measure,
            "value": "any" if np.isinf(value) else float(value), "low": low, "high": high}  # fmt: skip


def _table(contexts: Contexts, shown: Any, name_S: list[str], found: Totals, settings: dict[str, Any],
           facts: dict[str, Any]) -> Table:  # fmt: skip
    epsilons, keep = settings["epsilon"], settings["keep"]
    columns = ["context", "N", "followers", *(f"epsilon {epsilon:g}" for epsilon in epsilons)]
    columns.append(f"published, epsilon {epsilons[-1]:g}")
    rows = []
    for index, name in zip(shown.tolist(), name_S, strict=True):
        real, support = contexts.real_C[index], contexts.support_C[index]
        cells = [
            " / ".join(_amount(allowed_amount(real, contexts.k_by_kind[kind][index], epsilon)) for kind in KINDS[:2])
            for epsilon in epsilons
        ]
        published = _amount(published_amount(real, support, epsilons[-1]))
        rows.append([name, f"{real:,.0f}", f"{support:,.0f}", *cells, published])
    for kind in KINDS:
        cells = [_percent(found["mass", kind, epsilon, 1.0]) for epsilon in epsilons]
        rows.append([f"tokens with any amount safe ({kind})", "", "", *cells, ""])
    for kind in KINDS:
        cells = [_percent(found["share", kind, epsilon, keep]) for epsilon in epsilons]
        rows.append([f"largest synthetic share ({kind})", "", "", *cells, ""])
    has_published = published_amount(contexts.real_C, contexts.support_C, epsilons[-1]) >= 1
    published_mass = contexts.real_C[has_published].sum() / contexts.real_C.sum()
    rows.append(["tokens with an amount >= 1", "", "", *([""] * len(epsilons)), f"{published_mass:.1%}"])
    return Table(
        f"Synthetic {settings['unit']} that keep the drift below epsilon (context of {settings['context']})",
        columns,
        rows,
        _notes(facts, keep, any(number.low is not None for number in found.values())),
    )


def _notes(facts: dict[str, Any], keep: float, has_intervals: bool) -> list[str]:
    drawn = f"{facts['resampling_units']:,} {facts['resampling_unit_is']}s"
    return [
        "Of contexts: the largest number of synthetic tokens, rigorous / sharp (Gaussian approximation); any: no "
        "limit. Published: equation (11) of Seddik et al.; none: less than one.",
        f"Largest synthetic share: the same for all contexts; {keep:.0%} of the tokens stay within epsilon.",
        f"{facts['tokens']:,} tokens in {facts['contexts']:,} contexts. "
        f"{facts['tokens_of_contexts_with_one_follower']:.1%} of the tokens follow contexts that have one follower: no "
        "sampling can move those, and they count as safe.",
        f"In brackets: 95 % bootstrap intervals over {drawn}; none with Chao1 (docs/theory/safe_mix.md)."
        if has_intervals
        else "No intervals: none asked for, or too few documents.",
    ]


def _amount(amount: Floats | float) -> str:
    return "any" if np.isinf(amount) else "none" if amount < 1 else f"{int(amount):,}"


def _percent(number: Measured) -> str:
    value = f"{number.value:.1%}"
    return value if number.low is None else f"{value} [{number.low:.1%}, {number.high:.1%}]"


def _draw(found: Found, paths: Mapping[str, Path]) -> None:
    from analysis.theory.safe_mix.figure import draw

    assert isinstance(found, Counted) and found.contexts is not None
    draw(found.rows, found.contexts, paths)


STUDY = Study("safe_mix", settings, compute, _draw, inputs)
