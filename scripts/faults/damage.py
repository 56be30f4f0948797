"""Faults of files: damage in what a stage reads, and in what an interrupted run of it has left.

    input         one file of a finished input is damaged, then the stage that reads it runs
    unfinished    a run is killed, one file of what it left is damaged, then the run goes on

Damage is one of: a bit flipped, cut short, deleted, a folder in its place, changed for another shard. It must be named
in one line (code 2), or else what it hit is made again or not needed, and the result is the undisturbed one. What no
stage can see without reading everything twice (a bit in a raw token file or in a model's weights; figures in a
manifest) must be found by `toedit verify`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from faults.runs import Finding, Trial, verified

CHECKED = (".zst", ".parquet")
"""Files whose every byte is under a checksum that readers look at."""


def input_damaged(trial: Trial) -> str:
    """Damage a copy of what the stage reads."""
    base = trial.folder / "base"
    shutil.copytree(trial.base, base)
    trial.base = base
    folder = base / trial.draw.choice(trial.stage.reads)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    file = trial.draw.choice(files)
    what = damage(file, files, trial)
    (trial.folder / "damage.txt").write_text(f"{what}: {file}\n")
    code = trial.wait(trial.start(), {0, 2, 3})
    if code:
        named = {file.name, str(file.parent.relative_to(base))} | ({folder.name} if what == "swapped" else set())
        if not any(name in trial.error() for name in named):
            raise Finding(f"{what} {file}: not named in: {trial.error()}")
        return f"one line ({code})"
    if not trial.differing():
        trial.compare()
        return "as undisturbed"
    if folder.name in ("corpus", "edit") and not (folder / "manifest.json").is_file():
        return "read as plain files"  # as any folder of documents without a manifest is
    if file.suffix not in CHECKED and any(str(file) in fault for fault in verified(folder)):
        return "toedit verify finds it"
    raise Finding(f"{what} {file}: not noticed, and the result differs: {trial.differing()[0]}; see {trial.out}")


def unfinished_damaged(trial: Trial) -> str:
    """Damage what a killed run left."""
    process = trial.start()
    wanted = trial.draw.randint(0, 3)  # finished shards (or checkpoints) before the kill
    while process.poll() is None and (sum(1 for _ in _committed(trial.out)) < wanted or not trial.out.exists()):
        time.sleep(0.001)
    time.sleep(trial.draw.uniform(0, 0.01))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    if trial.wait(process, {0, -signal.SIGKILL}) == 0:
        return "too late"
    files = sorted(file for file in trial.out.rglob("*") if file.is_file() and file.name != ".lock")
    if not files:
        return "too early"
    file = trial.draw.choice(files)
    what = damage(file, files, trial)
    (trial.folder / "damage.txt").write_text(f"{what}: {file}\n")
    if trial.wait(trial.start(), {0, 2}):
        if str(trial.out) not in trial.error() and file.name not in trial.error():
            raise Finding(f"{what} {file}: not named in: {trial.error()}")
        return "one line (2)"
    if not trial.differing():
        trial.compare()
        return "as undisturbed"
    if any(str(file) in fault for fault in verified(trial.out)):
        return "toedit verify finds it"
    raise Finding(f"{what} {file}: not noticed, and the result differs: {trial.differing()[0]}; see {trial.out}")


def _committed(out: Path) -> Iterator[Path]:
    """What a run has finished: records of shards, checkpoints of a training."""
    yield from out.glob(".progress/*.json")
    yield from out.glob("state/step-*")


def damage(file: Path, files: list[Path], trial: Trial) -> str:
    """Damage `file`; return how."""
    others = [other for other in files if other != file and other.suffix == file.suffix and other.parent == file.parent]
    kinds = ["flipped", "cut short", "deleted", "a folder"] + ["swapped"] * bool(others)
    kind: str = trial.draw.choice([*kinds, "flipped"])
    data = bytearray(file.read_bytes())
    if kind == "flipped" and data:
        data[trial.draw.randrange(len(data))] ^= 1 << trial.draw.randrange(8)
        file.write_bytes(data)
    elif kind == "cut short" and data:
        file.write_bytes(data[: trial.draw.randrange(len(data))])
    elif kind == "swapped":
        other = trial.draw.choice(others)
        file.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        file.unlink()
        if kind == "a folder":
            file.mkdir()
    return kind
