"""What is disturbed: the stages on a small generated corpus, one run of each that is not disturbed, and the judgement.

A `Stage` is one command and its undisturbed result; a `Trial` is one disturbed run of it in a folder of its own. The
judgement is the same for all faults: a run ends with code 0 and the undisturbed bytes, or with one line on what is
wrong and nothing that looks complete; never with a traceback, never with other bytes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from toedit.errors import ToEditError
from toedit.fingerprints import hash_file
from toedit.verifying import verify

REPOSITORY = Path(__file__).resolve().parents[2]
TRAINING = {"vocabulary_size": 400, "hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 2, "context": 48,
            "steps": 160, "batch_sequences": 16, "dtype": "float32"}  # fmt: skip
CORPUS, PRIOR = "{base}/corpus", "{base}/prior/hf"
SMALL = ["recipe.sequence_length=32", "recipe.batch_sequences=16", "recipe.steps=60", "trainer.checkpoint_every=10",
         "trainer.log_every=5"]  # fmt: skip
LIMIT = 120
"""Seconds after which a run counts as hanging, besides ten times those of the undisturbed one."""


class Finding(Exception):
    """Something that must not be: a traceback, other bytes, a wrong exit code, lost documents."""


@dataclass
class Stage:
    """One command and its undisturbed result. Arguments name inputs below `{base}`."""

    name: str
    arguments: list[str]
    reads: tuple[str, ...] = ()
    """Folders below the base that it reads."""
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    """sha256 by path, of the undisturbed run."""
    blocks: int = 0
    """Bytes of those files on a disk with pages of 4 kB."""


def all_stages() -> dict[str, Stage]:
    """In the order in which they need each other; each on finished inputs, so that faults hit the stage itself."""
    own = [f"prior.path={PRIOR}", "prior=local"]
    mix = [f"mix.human.path={CORPUS}", "mix.synthetic.path={base}/edit", "mix.synthetic_ratio=0.25", "mix.tokens=8000",
           f"mix.tokenizer={PRIOR}", "mix.shard_bytes=6000"]  # fmt: skip
    tokens = ["tokens.source=corpus", "corpus=local", f"corpus.path={CORPUS}", f"tokens.tokenizer={PRIOR}"]
    pretrain = ["stage=pretrain", "tokens.path={base}/tokenize", *SMALL]
    texts = ["stage=corpus", "corpus=local", "corpus.path={base}/texts.jsonl", "corpus.shard_bytes=6000"]
    planned = [
        Stage("corpus", texts),
        Stage("score", ["stage=score", "corpus=local", f"corpus.path={CORPUS}", *own, "score.min_p=0.5"],
              ("corpus", "prior")),
        Stage("edit", ["stage=edit", "scores.path={base}/score", "edit.p=0.6", "edit.temperature=3"],
              ("corpus", "prior", "score")),
        Stage("revert", ["stage=revert", "edited.path={base}/edit"], ("edit",)),
        Stage("mix", ["stage=mix", *mix], ("corpus", "edit", "prior")),
        Stage("tokenize", ["stage=tokenize", *tokens], ("corpus", "prior")),
        Stage("pretrain", pretrain, ("tokenize",)),
        Stage("ranks", [*pretrain, "trainer.nproc=2"], ("tokenize",)),
        Stage("ngrams", ["stage=analyze", "analysis=ngrams", "corpus=local", f"corpus.path={CORPUS}",
                         "analysis.other.path={base}/edit"], ("corpus", "edit")),
    ]  # fmt: skip
    return {stage.name: stage for stage in planned}


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


def start(arguments: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """The command, with `folder` as its working folder, its processes in a group of their own."""
    command = [sys.executable, str(REPOSITORY / "run.py"), *arguments]
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, start_new_session=True)


def files_of(folder: Path) -> dict[str, str]:
    """sha256 of all but the manifest, which holds times and paths."""
    found = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "manifest.json"]
    return {str(file.relative_to(folder)): hash_file(file) for file in found}


def blocks_of(folder: Path) -> int:
    """Bytes that the files below `folder` take on a disk with pages of 4 kB."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in folder.rglob("*") if file.is_file())


def verified(artifact: Path) -> list[str]:
    """What `toedit verify` finds, without its progress."""
    with redirect_stderr(StringIO()):
        try:
            return verify(artifact)
        except ToEditError as error:
            return [str(error)]


def build_base(work: Path, documents: int, seed: int) -> Path:
    """The folder of undisturbed inputs; holds the texts and the prior."""
    base = work / "base"
    base.mkdir(parents=True, exist_ok=True)
    write_corpus(base / "texts.jsonl", documents, seed)
    training = [f"prior.training.{key}={value}" for key, value in TRAINING.items()]
    prior = ["stage=prior", "corpus@prior.corpus=local", f"prior.corpus.path={base / 'texts.jsonl'}",
             "prior.corpus.split=null", *training, f"out={base / 'prior'}"]  # fmt: skip
    if start([*prior, f"artifacts={work / 'artifacts'}"], work, work / "prior.txt").wait():
        raise SystemExit(f"the prior fails; see {work / 'prior.txt'}")
    return base


def undisturbed(stage: Stage, base: Path) -> None:
    """Run it once, and remember what it gives and how long it takes."""
    out, log = base / stage.name, base.parent / f"{stage.name}.txt"
    arguments = [argument.format(base=base) for argument in stage.arguments]
    begun = time.monotonic()
    if start([*arguments, f"out={out}", f"artifacts={base.parent / 'artifacts'}"], base.parent, log).wait():
        raise SystemExit(f"{stage.name}: fails undisturbed; see {log}")
    stage.seconds, stage.files, stage.blocks = time.monotonic() - begun, files_of(out), blocks_of(out)


class Trial:
    """One disturbed run: its folder, its random numbers, and what it said."""

    def __init__(self, stage: Stage, base: Path, folder: Path, draw: random.Random) -> None:
        self.stage, self.base, self.folder, self.draw = stage, base, folder, draw
        self.place = folder
        """Where the command writes; a fault may put another disk there."""
        self.works_there = True
        """Whether that is its working folder, too."""
        self.settings: list[str] = []
        """What this trial adds to the command."""
        self.said: list[str] = []
        folder.mkdir(parents=True)

    @property
    def out(self) -> Path:
        return self.place / "out"

    def start(self, *further: str) -> subprocess.Popen[bytes]:
        """The command once more."""
        arguments = [argument.format(base=self.base) for argument in self.stage.arguments]
        self.log = self.folder / f"log-{len(self.said)}.txt"
        self.said.append("")
        where = [f"out={self.out}", f"artifacts={self.place / 'artifacts'}"]
        works = self.place if self.works_there else self.folder
        return start([*arguments, *where, *self.settings, *further], works, self.log)

    def moment(self) -> float:
        """Seconds after which a fault strikes: any part of the undisturbed run."""
        return self.draw.uniform(0, 1.1) * self.stage.seconds

    def wait(self, process: subprocess.Popen[bytes], codes: Collection[int]) -> int:
        """Its exit code. Raises Finding where that is not one of `codes`, or was not said as it should be."""
        try:
            code = process.wait(LIMIT + 10 * self.stage.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Finding(f"hangs; see {self.log}") from None
        self.said[-1] = said = self.log.read_text(errors="replace")
        if "Traceback" in said:
            raise Finding(f"a traceback; see {self.log}")
        if code not in codes:
            raise Finding(f"exit code {code}, wanted {' or '.join(map(str, sorted(codes)))}; see {self.log}")
        if code > 0 and sum(line.startswith("error: ") for line in said.splitlines()) != 1:
            raise Finding(f"exit code {code} without one line that says why; see {self.log}")
        if code > 0 and (self.out / "manifest.json").exists():  # a signal may come between the manifest and the end
            raise Finding(f"exit code {code}, and yet there is a manifest; see {self.out}")
        return code

    def error(self) -> str:
        """The line with which the last run ended; empty where it did not end so."""
        return next((line for line in self.said[-1].splitlines() if line.startswith("error: ")), "")

    def finish(self) -> None:
        """The same command undisturbed: what it leaves must be what an undisturbed run leaves."""
        self.wait(self.start(), {0})
        self.compare()

    def compare(self) -> None:
        if differing := self.differing():
            raise Finding(f"{len(differing)} files differ, first {differing[0]}; see {self.out}")
        counts = json.loads((self.out / "manifest.json").read_text())["counts"]
        if "documents_in" in counts and counts["documents_in"] != counts["documents_out"] + counts["rejected"]:
            raise Finding(f"documents are lost: {counts}; see {self.out}")
        if faults := verified(self.out):
            raise Finding(f"the manifest promises something else: {faults[0]}")

    def differing(self) -> list[str]:
        """Files that are not those of the undisturbed run."""
        found, wanted = files_of(self.out), self.stage.files
        return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))

    def clear(self) -> None:
        shutil.rmtree(self.folder)
