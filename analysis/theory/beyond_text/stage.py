"""`theory=beyond_text`: token-level editing of a loaded die, bytes, a picture and a melody, over generations.

Reads a corpus artifact for the bytes, else nothing. Writes (see `analysis.theory.study`)

    table              per sequence and prior: how much is drawn again, how much changes, how far the law moves
    data.csv           a row a sequence, prior, trial and generation
    beyond_text.png    the picture before and after, changed pixels marked; the melody as a piano roll; distances

    python run.py stage=theory theory=beyond_text

`laws` says what is expected where edited tokens are nobody's context: exact for the die, the dashed lines elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.intervals import student
from analysis.table_files import Table
from analysis.theory.beyond_text.generations import PRIORS, Generation, Rule, expected_distances, generations
from analysis.theory.beyond_text.sources import Source, make_source
from analysis.theory.study import Found, Rows, Study
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import Progress
from toedit.corpora import plan_corpus
from toedit.editing import Ints as AnyInts

MEASURES = ("eligible", "expected_changed", "changed", "different", "distance", "entropy")


@dataclass
class Edited(Found):
    """With the sequences of the first trial, for the figure."""

    sources: dict[str, Source] = field(default_factory=dict)
    after: dict[tuple[str, str], AnyInts] = field(default_factory=dict)


def settings(config: Config) -> dict[str, Any]:
    theory, own = config.theory, config.theory.beyond_text
    keys = ("sequences", "length", "smoothing", "p", "k", "temperature")
    shared = {key: getattr(theory, key) for key in ("generations", "trials", "seed")}
    return {key: getattr(own, key) for key in keys} | shared


def inputs(config: Config) -> dict[str, Artifact]:
    wants_bytes = "bytes" in config.theory.beyond_text.sequences
    return {"corpus": plan_corpus(config.corpus, Path(config.artifacts))} if wants_bytes else {}


def compute(settings: dict[str, Any], folders: Mapping[str, Path]) -> Found:
    rule = Rule(settings["p"], settings["k"], settings["temperature"], settings["smoothing"])
    rounds, seed = settings["generations"], settings["seed"]
    rows: Rows = []
    found = Edited(Table("", [], []), rows)
    names = settings["sequences"]
    with Progress("edit", len(names) * len(PRIORS) * settings["trials"] * rounds, "rounds") as progress:
        for name in names:
            source = found.sources[name] = make_source(name, settings["length"], seed, folders.get("corpus"))
            for prior_is in PRIORS:
                expected = expected_distances(source, prior_is, rounds, rule)
                for trial in range(settings["trials"]):
                    # The sequence stays: trials are the luck of editing, the same for both priors.
                    run = generations(source, prior_is, rounds, rule, seed * 100_003 + trial)
                    rows += _rows(source, prior_is, trial, run, expected)
                    found.after.setdefault((name, prior_is), run[-1].token_id_T)
                    progress.advance(rounds, name)
    found.table = _table(rows, settings)
    found.row = {"sequences": str(len(names))}
    return found


def _rows(source: Source, prior_is: str, trial: int, run: list[Generation], expected: Any) -> Rows:
    return [
        {
            "sequence": source.name,
            "prior": prior_is,
            "trial": trial,
            "generation": number,
            "tokens": len(source.token_id_T),
            **{measure: getattr(generation, measure) for measure in MEASURES},
            "changed_below_p": generation.changed_below_p,
            "distance_expected": float(expected[number]),
        }
        for number, generation in enumerate(run)
    ]


def _table(rows: Rows, settings: dict[str, Any]) -> Table:
    rounds = settings["generations"]
    lines, below = [], 0
    for name in settings["sequences"]:
        for prior_is in PRIORS:
            own = [row for row in rows if (row["sequence"], row["prior"]) == (name, prior_is)]
            lines.append([f"{name}, {prior_is} prior", *_cells(own, rounds)])
            below += sum(row["changed_below_p"] for row in own)
    columns = ["sequence", "eligible", "to change, a round", "changed", "off by, SE", "in the end", "distance",
               "expected", "entropy, bits"]  # fmt: skip
    return Table(
        f"{rounds} rounds of editing beyond text (P >= {settings['p']:g}, k = {settings['k']}, "
        f"temperature {settings['temperature']:g})",
        columns,
        lines,
        [
            f"Means of {settings['trials']} trials of editing one sequence of at most {settings['length']:,} tokens; "
            "first -> last round.",
            "Fixed prior: counts of the original. Own prior: counts of what is edited, anew in every round.",
            "To change: the exact expectation; off by: changed less that, in standard errors (an upper bound of them).",
            "In the end: tokens that differ from the original. Distance: total variation of contexts with their "
            "tokens, to the original, with a 95 % interval; expected: if edited tokens were nobody's context.",
            f"Tokens below p that changed: {below}.",
        ],
    )


def _cells(own: Rows, rounds: int) -> list[str]:
    """The row of one sequence and prior."""
    edited = [row for row in own if row["generation"] > 0]
    at = {number: [row for row in own if row["generation"] == number] for number in (0, 1, rounds)}
    changed, expected = (sum(row[key] * row["tokens"] for row in edited) for key in ("changed", "expected_changed"))
    # Each draw has a variance below its probability of a change: the true standard error is smaller.
    deviation = (changed - expected) / math.sqrt(expected) if expected > 0 else 0.0
    return [
        f"{_mean(at[1], 'eligible'):.1%} -> {_mean(at[rounds], 'eligible'):.1%}",
        f"{_mean(edited, 'expected_changed'):.3%}",
        f"{_mean(edited, 'changed'):.3%}",
        f"{deviation:+.1f}",
        f"{_mean(at[rounds], 'different'):.1%}",
        _spread(at[rounds], "distance"),
        f"{at[rounds][0]['distance_expected']:.4f}",
        f"{_mean(at[0], 'entropy'):.3f} -> {_mean(at[rounds], 'entropy'):.3f}",
    ]


def _mean(rows: Rows, key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _spread(rows: Rows, key: str) -> str:
    values = [row[key] for row in rows]
    band = student(values)
    return f"{np.mean(values):.4f}" + (f" [{band[0]:.4f}, {band[1]:.4f}]" if band else "")


def _draw(found: Found, paths: Mapping[str, Path]) -> None:
    from analysis.theory.beyond_text.figure import draw

    assert isinstance(found, Edited)
    draw(found.rows, found.sources, found.after, paths)


STUDY = Study("beyond_text", settings, compute, _draw, inputs)
