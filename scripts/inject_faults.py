"""Kills runs at random moments and looks whether the same command ends with the same bytes.

    .venv/bin/python scripts/inject_faults.py --kills 50                 about an hour
    .venv/bin/python scripts/inject_faults.py --kills 5 --work faults    a few minutes

Each stage (corpus, score, edit, mix, tokenize, pretrain) runs once undisturbed on generated text. Then runs of it get
SIGKILL, or at times SIGTERM, with all their processes, after a random part of that time, once or several times, and go
on; when one ends, its files are compared with those of the undisturbed run, byte for byte, and its counts are added up.
Prints a row a stage; exits 1 where anything differs, is lost, or ends in a traceback. The moments come from --seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from toedit.fingerprints import hash_file

REPOSITORY = Path(__file__).resolve().parents[1]
TRAINING = {"vocabulary_size": 400, "hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 2, "context": 48,
            "steps": 160, "batch_sequences": 16, "dtype": "float32"}  # fmt: skip
ENDED_WELL = (0, 75, -signal.SIGKILL, -signal.SIGTERM)
AGAIN = 0.3
"""How likely a run that goes on is killed again."""


@dataclass
class Stage:
    """One command, its undisturbed result, and what became of the others."""

    name: str
    arguments: list[str]
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    """sha256 by path, of the undisturbed run."""
    kills: int = 0
    runs: int = 0
    faults: list[str] = field(default_factory=list)


def write_corpus(path: Path, documents: int, seed: int) -> None:
    """Sentences of a pattern, so that a small prior becomes sure of some tokens; a bad row here and there."""
    draw = random.Random(seed)
    subjects, verbs = ["The cat", "My neighbour", "Nobody", "Zoë 🙂"], ["sat quietly", "waited for the bus", "sang"]
    with path.open("w", encoding="utf-8") as file:
        for number in range(documents):
            sentences = (f"{draw.choice(subjects)} {draw.choice(verbs)} {draw.choice('abc')}, as the story goes."
                         for _ in range(draw.randint(1, 14)))  # fmt: skip
            row = {"id": f"doc/{number}", "text": " ".join(sentences) if number % 50 else None}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def stages(work: Path) -> list[Stage]:
    """In the order in which they need each other; each on finished inputs, so that kills hit the stage itself."""
    corpus, prior, base = work / "texts.jsonl", work / "prior" / "hf", work / "base"
    own = [f"prior.path={prior}", "prior=local"]
    mix = [f"mix.human.path={base / 'corpus'}", f"mix.synthetic.path={base / 'edit'}", "mix.synthetic_ratio=0.25",
           "mix.tokens=8000", f"mix.tokenizer={prior}"]  # fmt: skip
    small = ["recipe.sequence_length=32", "recipe.batch_sequences=16", "recipe.steps=60", "trainer.checkpoint_every=10",
             "trainer.log_every=5"]  # fmt: skip
    return [
        Stage("corpus", ["stage=corpus", "corpus=local", f"corpus.path={corpus}", "corpus.shard_bytes=20000"]),
        Stage("score", ["stage=score", "corpus=local", f"corpus.path={base / 'corpus'}", *own, "score.min_p=0.5"]),
        Stage("edit", ["stage=edit", f"scores.path={base / 'score'}", "edit.p=0.6", "edit.temperature=3"]),
        Stage("mix", ["stage=mix", *mix]),
        Stage("tokenize", ["stage=tokenize", "tokens.source=corpus", "corpus=local", f"corpus.path={base / 'corpus'}",
                           f"tokens.tokenizer={prior}"]),
        Stage("pretrain", ["stage=pretrain", f"tokens.path={base / 'tokenize'}", *small]),
    ]  # fmt: skip


def start(arguments: list[str], out: Path, log: Path) -> subprocess.Popen[bytes]:
    """The command, its processes in a group of their own."""
    command = [
        sys.executable,
        str(REPOSITORY / "run.py"),
        *arguments,
        f"out={out}",
        f"artifacts={out.parent / 'artifacts'}",
    ]
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=out.parent, stdout=file, stderr=file, start_new_session=True)


def files_of(folder: Path) -> dict[str, str]:
    """All but the manifest, which holds times, and what training says about its speed."""
    found = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "manifest.json"]
    return {str(file.relative_to(folder)): hash_file(file) for file in found}


def undisturbed(stage: Stage, work: Path) -> None:
    out, log = work / "base" / stage.name, work / "base" / f"{stage.name}.txt"
    begun = time.monotonic()
    if start(stage.arguments, out, log).wait():
        raise SystemExit(f"{stage.name}: fails undisturbed; see {log}")
    stage.seconds, stage.files = time.monotonic() - begun, files_of(out)


def disturbed(stage: Stage, out: Path, draw: random.Random, kills: int) -> int:
    """One run that is killed, goes on, is perhaps killed again, and ends; returns how many kills it took."""
    log, taken = out.parent / "log.txt", 0
    while True:
        process = start(stage.arguments, out, log)
        if taken < kills and (taken == 0 or draw.random() < AGAIN):
            try:
                process.wait(draw.uniform(0, 1.1) * stage.seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL)
                taken += 1
        code = process.wait()
        if code not in ENDED_WELL:
            stage.faults.append(f"exit code {code}; see {log}")
            return taken
        if code == 0:
            break
    if "Traceback" in log.read_text(errors="replace"):
        stage.faults.append(f"a traceback; see {log}")
    found = files_of(out)
    if found != stage.files:
        differing = sorted(name for name in {*found, *stage.files} if found.get(name) != stage.files.get(name))
        stage.faults.append(f"{len(differing)} files differ, first {differing[0]}; see {out}")
    counts = json.loads((out / "manifest.json").read_text())["counts"]
    if "documents_in" in counts and counts["documents_in"] != counts["documents_out"] + counts["rejected"]:
        stage.faults.append(f"documents are lost: {counts}; see {out}")
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="these stages alone")
    parser.add_argument("--work", type=Path, help="keep everything here; by default a folder that is removed")
    asked = parser.parse_args()
    work = (asked.work or Path(tempfile.mkdtemp(prefix="toedit-faults-"))).resolve()
    (work / "base").mkdir(parents=True, exist_ok=True)
    write_corpus(work / "texts.jsonl", asked.documents, asked.seed)
    training = [f"prior.training.{key}={value}" for key, value in TRAINING.items()]
    prior = ["stage=prior", "corpus@prior.corpus=local", f"prior.corpus.path={work / 'texts.jsonl'}",
             "prior.corpus.split=null", *training]  # fmt: skip
    if start(prior, work / "prior", work / "prior.txt").wait():
        raise SystemExit(f"the prior fails; see {work / 'prior.txt'}")
    planned, draw = stages(work), random.Random(asked.seed)
    for stage in planned:
        undisturbed(stage, work)
        print(f"{stage.name}: {stage.seconds:.1f} s undisturbed", flush=True)
    chosen = [stage for stage in planned if not asked.only or stage.name in asked.only]
    left = asked.kills
    while left > 0:
        stage = chosen[(asked.kills - left) % len(chosen)] if left > asked.kills - len(chosen) else draw.choice(chosen)
        out = work / f"{stage.name}-{stage.runs}" / "out"
        out.parent.mkdir(parents=True)
        taken = disturbed(stage, out, draw, left)
        stage.kills, stage.runs, left = stage.kills + taken, stage.runs + 1, left - max(taken, 1)
        print(f"{stage.name}: {taken} kills, {'as undisturbed' if not stage.faults else stage.faults[-1]}", flush=True)
        if not stage.faults:
            shutil.rmtree(out.parent)
    print(f"\n{'stage':<10} {'runs':>5} {'kills':>6}  faults")
    for stage in chosen:
        print(f"{stage.name:<10} {stage.runs:>5} {stage.kills:>6}  {len(stage.faults) or 'none'}")
    faults = [f"{stage.name}: {fault}" for stage in chosen for fault in stage.faults]
    print("\n".join(faults), end="\n" if faults else "")
    if not asked.work and not faults:
        shutil.rmtree(work)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
