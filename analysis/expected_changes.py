"""`stage=forecast`: how many tokens would an edit change? Exact, before any draw, on a grid of p, k and temperature.

Reads a scores artifact: the one at `scores.path`, else the one of the other settings. One pass over its shards, no
model (`toedit.expectation`). The sampler is Algorithm 1's, top_k; `edit.strict` and `edit.protect` count.
Writes

    expected_changes.png, .pdf, .svg    one heat map a temperature, drawn by `expected_changes_figure`
    expected_changes.csv                p, k, temperature, eligible, eligible_share, expected_changed, expected_share
    expected_changes.json               the same rows, with the names of corpus and prior and the number of tokens

    python run.py stage=forecast 'plan.p=[0.9,0.95,0.99,0.999]' 'plan.k=[4,8,64]' 'plan.temperature=[1,1.5]'
"""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

from analysis.figure_files import FORMATS
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import say, table
from toedit.documents import shard_name
from toedit.errors import UnusableInput
from toedit.expectation import Expectation, Grid, expect, refuse_what_scores_lack
from toedit.workspace import Result, Workspace, read_manifest, write_json

NAME = "expected_changes"


def plan(config: Config) -> Artifact:
    from toedit.stages.score import plan_from

    scores, asked = plan_from(config), config.plan
    grid = Grid(sorted(asked.p), sorted(asked.k), sorted(asked.temperature), config.edit.strict)
    protect = sorted(set(config.edit.protect))
    refuse_what_scores_lack(scores, grid, "plan")
    return Artifact(
        kind="figure",
        name=f"{scores.name}.{NAME}",
        identity={
            "analysis": NAME,
            "p": grid.p,
            "k": grid.k,
            "temperature": grid.temperature,
            "strict": grid.strict,
            **({"protect": protect} if protect else {}),
        },
        inputs={"scores": scores},
        root=Path(config.artifacts),
        out=Path(config.out) if config.out else None,
        build=partial(build_forecast, grid=grid, protect=protect),
    )


def build_forecast(workspace: Workspace, grid: Grid, protect: list[str]) -> Result:
    """Compute the grid, then write table and picture."""
    from analysis.expected_changes_figure import draw

    scores = workspace.inputs["scores"]
    inputs = read_manifest(scores)["inputs"]
    expected = expect(scores, grid, protect)
    if not expected.tokens:
        raise UnusableInput(f"{scores}: holds no token, so there is nothing to forecast")
    rows = tidy_rows(grid, expected)
    summary = {
        **{role: inputs[role]["name"] for role in ("corpus", "prior") if role in inputs},
        "tokens": expected.tokens,
        "strict": grid.strict,
        "rows": rows,
    }
    outputs = [f"{NAME}.{extension}" for extension in ("csv", "json", *FORMATS)]
    with workspace.shard(shard_name(0), *outputs) as ((tidy, structured, *pictures), _):
        with tidy.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_json(structured, summary)
        share_PJS = expected.changed_PJS / expected.tokens
        draw(share_PJS, grid, summary, dict(zip(FORMATS, pictures, strict=True)))
    return Result(counts={"tokens": expected.tokens, "settings": len(rows)}, rows={f"{NAME}.csv": len(rows)})


def tidy_rows(grid: Grid, expected: Expectation) -> list[dict[str, Any]]:
    """One row a setting; shares are of all tokens."""
    return [
        {
            "p": p,
            "k": k,
            "temperature": temperature,
            "eligible": int(expected.eligible_P[i]),
            "eligible_share": float(expected.eligible_P[i] / expected.tokens),
            "expected_changed": float(expected.changed_PJS[i, j, s]),
            "expected_share": float(expected.changed_PJS[i, j, s] / expected.tokens),
        }
        for s, temperature in enumerate(grid.temperature)
        for i, p in enumerate(grid.p)
        for j, k in enumerate(grid.k)
    ]


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    summary = json.loads((artifact.path / f"{NAME}.json").read_text(encoding="utf-8"))
    rows = summary["rows"]
    ks = list(dict.fromkeys(row["k"] for row in rows))
    lines: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        start = [f"{row['temperature']:g}", f"{row['p']:g}", f"{row['eligible_share']:.3%}"]
        lines.setdefault((row["temperature"], row["p"]), start).append(f"{row['expected_share']:.4%}")
    table(
        ("temperature", "p", "eligible", *(f"changed, k={k}" for k in ks)),
        list(lines.values()),
        title=f"expected share of the {summary['tokens']:,} tokens of {artifact.inputs['scores'].name}",
    )
    sign = ">" if summary["strict"] else ">="
    say(f"  eligible: P {sign} p; exact expectations of Algorithm 1, no draw; a few draws may prove unspliceable")
    say(f"picture: {artifact.path / NAME}.png (also .pdf and .svg)")
    shares = [row["expected_share"] for row in rows]
    return {"settings": str(len(rows)), "least changed": f"{min(shares):.4%}", "most changed": f"{max(shares):.4%}"}
