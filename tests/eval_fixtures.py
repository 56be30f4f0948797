"""Finished evaluations on tasks, as far as a table of them reads."""

import json
from pathlib import Path


def row(name: str, value: float | None, metric: str = "acc", **changes) -> dict:
    return {
        "model": "m", "set": name, "metric": metric, "value": value, "stderr": None if value is None else 0.03, "n": 10,
        "aggregate": False, "group": None, "harness": "lm-eval 0.4.13", "task_version": "1.0", "shots": 0,
        "split": "test", "backend": "hf", "dtype": "float32", **changes,
    }  # fmt: skip


def evaluation(
    folder: Path, rows: list[dict], model: str = "m", checkpoint: str = "c" * 64, kind: str = "eval"
) -> Path:
    """A finished eval artifact as far as a report reads it."""
    folder.mkdir(parents=True)
    rows = [{**entry, "model": model} for entry in rows]
    if len(rows) > 1:
        rows.append({**rows[0], "set": "mean of tasks", "value": -1.0, "aggregate": True})  # must not be taken over
    (folder / "results.json").write_text(json.dumps(rows))
    manifest = {
        "kind": kind, "name": f"general.{model}", "fingerprint": folder.name.ljust(64, "0"),
        "identity": {"eval": "downstream", "model": model},
        "inputs": {"checkpoint": {"kind": "checkpoint", "name": model, "fingerprint": checkpoint, "path": "gone"}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
