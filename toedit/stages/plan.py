"""`python run.py stage=plan`: what a pass over a corpus would cost, for priors from the tiny one to 70B.

Reads a corpus, or only a number of tokens (`plan.tokens`). Runs no model. Writes cost.md, cost.csv (tidy, SI units) and
cost.json (the same with its assumptions).

    python run.py stage=plan plan.tokens=1e12 plan.device=h100
    python run.py stage=plan prior=local prior.path=my-model plan.device=this_machine
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from toedit import environment
from toedit.artifacts import Artifact
from toedit.config import Config, PlanConfig, PriorConfig, ScoreConfig, ShapeConfig
from toedit.config.planning import THIS_MACHINE
from toedit.console import human, say, table
from toedit.corpora import plan_corpus
from toedit.costs import corpus_tokens, flops_per_token, measure_flops_per_second, score_bytes_per_token, this_machine
from toedit.documents import shard_name
from toedit.errors import BadConfiguration
from toedit.priors import planned_shape
from toedit.workspace import Result, Workspace, read_manifest, write_json

FILES = ("cost.md", "cost.csv", "cost.json")


def plan(config: Config) -> Artifact:
    root, settings = Path(config.artifacts), config.plan
    inputs = {"corpus": plan_corpus(config.corpus, root)} if settings.tokens is None else {}
    subject = inputs["corpus"].name if inputs else f"{human(settings.tokens or 0)}-tokens"
    shapes = shapes_of(settings.priors, config.prior)
    if settings.device == THIS_MACHINE:
        dtype, device = config.score.dtype, environment.runtime() | {"command": None}
    else:
        dtype, device = "bfloat16", asdict(settings.devices[settings.device])
    return Artifact(
        kind="table",
        name=f"cost.{subject}.{settings.device}",
        identity={
            "table": "cost",
            **{key: getattr(settings, key) for key in ("tokens", "utilisation", "confident_share")},
            **{key: getattr(config.score, key) for key in ("window", "top_k")},
            "device": device,
            "dtype": dtype,
            "shapes": {name: asdict(shape) for name, shape in shapes.items()},
        },
        inputs=inputs,
        root=root,
        out=Path(config.out) if config.out else None,
        build=partial(build_cost, settings=settings, score=config.score, dtype=dtype, shapes=shapes),
    )


def shapes_of(priors: Mapping[str, PriorConfig], own: PriorConfig) -> dict[str, ShapeConfig]:
    """Shapes by name, smallest first: those of `priors`, and that of the command's `own` prior where it is another."""
    shapes = {name: planned_shape(prior) for name, prior in priors.items()}
    own_shape = planned_shape(own)
    if own_shape not in shapes.values():
        shapes[own.name or (own.hub_id or own.path or own.kind).rstrip("/").split("/")[-1]] = own_shape
    for name, shape in shapes.items():
        if not shape.parameters:
            raise BadConfiguration(f"prior {name}: its size is not known; add prior.shape.parameters=<number>")
    return dict(sorted(shapes.items(), key=lambda item: item[1].parameters or 0))


def build_cost(
    workspace: Workspace, settings: PlanConfig, score: ScoreConfig, dtype: str, shapes: Mapping[str, ShapeConfig]
) -> Result:
    """Compute the rows, write the table in three formats."""
    tokens, known_by = settings.tokens, "as given by plan.tokens"
    if tokens is None:
        tokens, known_by = corpus_tokens(read_manifest(workspace.inputs["corpus"])["counts"])
    if settings.device == THIS_MACHINE:
        name, memory = this_machine()
        rate = measure_flops_per_second(dtype)
        rated = f"this machine ({name}): {human(rate, 'FLOP/s')} measured on a large {dtype} matrix product"
    else:
        rate, memory = (
            settings.devices[settings.device].flops_per_second,
            settings.devices[settings.device].memory_bytes,
        )
        rated = f"{settings.device}: {human(rate, 'FLOP/s')}, its peak dense bfloat16 rate (use score.dtype=bfloat16)"
    rows = [cost_row(name, shape, tokens, settings, score, dtype, rate, memory) for name, shape in shapes.items()]
    assumptions = [
        f"tokens: {human(tokens)} ({known_by}), the same for every prior's tokenizer",
        f"rate: {rated}, times plan.utilisation={settings.utilisation:g}; priors too small to fill a device reach less",
        "hours: of one device; n devices need the n-th part",
        f"FLOPs: 2 a parameter a token, and causal attention in full windows of score.window={score.window} tokens, or "
        "what the prior takes; tokens read again where windows of long documents overlap are not counted",
        f"weights: {dtype}, without activations; devices: how many of {human(memory, 'B')} hold them",
        f"scores: score.top_k={score.top_k} candidates for plan.confident_share={settings.confident_share:g} of the "
        "tokens, before compression",
    ]
    with workspace.shard(shard_name(0), *FILES) as ((markdown, tidy, structured), _):
        columns, cells = readable(rows)
        lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *cells]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        markdown.write_text(text + "\n\n" + "".join(f"* {line}\n" for line in assumptions), encoding="utf-8")
        with tidy.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_json(structured, {"assumptions": assumptions, "rows": rows})
    return Result(counts={"priors": len(rows), "tokens": tokens}, rows={"cost.csv": len(rows)})


def cost_row(
    name: str,
    shape: ShapeConfig,
    tokens: float,
    settings: PlanConfig,
    score: ScoreConfig,
    dtype: str,
    rate: float,
    memory: float,
) -> dict[str, Any]:
    """One row of the tidy table: SI units, hours. `rate` in FLOP/s and `memory` in bytes are one device's."""
    assert shape.parameters is not None
    window = min(score.window, shape.context or score.window)
    flops = tokens * flops_per_token(shape, window)
    seconds = flops / (rate * settings.utilisation)
    weights = shape.parameters * (2 if dtype == "bfloat16" else 4)
    return {
        "prior": name,
        "parameters": shape.parameters,
        "window_tokens": window,
        "tokens": tokens,
        "flops": flops,
        "device": settings.device,
        "tokens_per_second": tokens / seconds,
        "hours": seconds / 3600,
        "weights_bytes": weights,
        "devices_for_weights": math.ceil(weights / memory),
        "scores_bytes": round(tokens * score_bytes_per_token(score.top_k, settings.confident_share)),
    }


def readable(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """(column names, cells) of the table for people."""
    device = rows[0]["device"].replace("_", " ")
    columns = ["prior", "parameters", "FLOPs", f"hours ({device})", "tokens/s", "weights", "devices", "scores on disk"]
    cells = [
        [
            row["prior"],
            human(row["parameters"]),
            f"{row['flops']:.2e}",
            hours(row["hours"]),
            human(row["tokens_per_second"]),
            human(row["weights_bytes"], "B"),
            str(row["devices_for_weights"]),
            human(row["scores_bytes"], "B"),
        ]
        for row in rows
    ]
    return columns, cells


def hours(value: float) -> str:
    """Three significant digits, never as a power of ten where a person would write it out."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    cost = json.loads((artifact.path / "cost.json").read_text(encoding="utf-8"))
    columns, cells = readable(cost["rows"])
    table(columns, cells, title=f"one pass over {human(cost['rows'][0]['tokens'])} tokens")
    for line in cost["assumptions"]:
        say(f"  {line}")
    return {"tokens": human(cost["rows"][0]["tokens"])} | {f"{row[0]} h": row[3] for row in cells}
