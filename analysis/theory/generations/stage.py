"""`theory=generations`: language models over generations, on real text; which ways of making the next text collapse.

    python run.py stage=theory theory=generations
    python run.py stage=theory theory=generations corpus=local corpus.path=texts/ theory.language_model.seeds=5

Reads a corpus (`text`). Every arm (`regimes`) runs with every seed (`chains`), and is a file of its own below `runs/`,
so that a killed run goes on behind the last finished one. Writes the table by arm with verdicts (`table`, `trends`),
`data.csv` (arm, seed, generation, metric, value; `measures` says what the metrics are) and the figure (`figure`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from analysis.table_files import write_csv
from analysis.theory.generations.chains import Rows, run
from analysis.theory.generations.figure import draw
from analysis.theory.generations.regimes import MATCHED, Arm, arms
from analysis.theory.generations.table import results
from analysis.theory.generations.text import read_text
from analysis.theory.study import RUNS, Found, Study
from toedit.artifacts import Artifact, slug
from toedit.config import Config
from toedit.console import Progress
from toedit.corpora import plan_corpus
from toedit.workspace import Workspace


def settings(config: Config) -> dict[str, Any]:
    own = asdict(config.theory.language_model)
    return {**own, "generations": config.theory.generations, "seed": config.theory.seed}


def inputs(config: Config) -> dict[str, Artifact]:
    return {"corpus": plan_corpus(config.corpus, Path(config.artifacts))}


def prepare(settings: dict[str, Any], workspace: Workspace) -> None:
    """Run every arm with every seed that an earlier run has not finished."""
    planned = [(arm, seed) for arm in arms(settings) for seed in _seeds(settings)]
    pending = [pair for pair in planned if workspace.finished(shard(*pair)) is None]
    if not pending:
        return
    text = read_text(workspace.inputs["corpus"], settings)
    with Progress("generations", len(planned) * settings["generations"], "generations") as progress:
        progress.skip((len(planned) - len(pending)) * settings["generations"])
        for arm, seed in pending:
            changes: list[int] = []
            if arm.regime in MATCHED:
                partner = workspace.finished(shard(Arm("edit_own_prior", arm.number), seed))
                assert partner is not None  # the partner comes first
                changes = partner["changed"]
            name = f"{arm.name}, seed {seed}"
            with workspace.shard(shard(arm, seed), path_of(arm, seed)) as ((path,), record):
                rows, record["changed"] = run(arm, seed, text, settings, changes, partial(progress.advance, 1, name))
                write_csv(path, rows)


def compute(settings: dict[str, Any], inputs: Mapping[str, Path]) -> Found:
    rows: Rows = []
    for arm in arms(settings):
        for seed in _seeds(settings):
            rows += _read(inputs[RUNS].parent / path_of(arm, seed))
    table, summary, row = results(rows, settings)
    return Found(table, rows, summary, row)


def shard(arm: Arm, seed: int) -> str:
    return f"{slug(arm.name)}.seed{seed}"


def path_of(arm: Arm, seed: int) -> str:
    return f"{RUNS}/{shard(arm, seed)}.csv"


def _seeds(settings: dict[str, Any]) -> range:
    return range(settings["seed"], settings["seed"] + settings["seeds"])


def _read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {**row, "seed": int(row["seed"]), "generation": int(row["generation"]), "value": float(row["value"])}
            for row in csv.DictReader(file)
        ]


STUDY = Study("generations", settings, compute, draw, inputs, prepare)
