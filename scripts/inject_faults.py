"""Injects faults into runs of the stages, and looks whether each ends complete and identical, or with one clear line.

    .venv/bin/python scripts/inject_faults.py --minutes 60                   everything, at random, for an hour
    .venv/bin/python scripts/inject_faults.py --runs 20 --work faults        a few minutes; keeps its folder
    .venv/bin/python scripts/inject_faults.py --faults kill --only edit mix --runs 10

Each stage (corpus, score, edit, revert, mix, tokenize, pretrain, on one and on two ranks, n-grams) runs once
undisturbed on generated text; then runs of it meet a fault: killed, a worker killed, no memory left, disk full,
read-only or dying, a damaged input, a damaged unfinished output (`scripts/faults/`). What they end with is compared
with the undisturbed run, byte for byte, and counts are added up. Prints a line a run and a table; exits 1 on any
finding. What happens in run N follows from --seed and N, but for the moments at which processes are where they are.
Faults of disks need Linux with mount namespaces, the dying disk root as well; the table says what was left out.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import damage, disks, processes
from faults.runs import Finding, Stage, Trial, all_stages, build_base, undisturbed

Fault = Callable[[Trial], str]
SERIAL = ("corpus", "score", "edit", "revert", "mix", "tokenize", "pretrain")
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "kill": (processes.kill, (*SERIAL, "ranks")),
    "worker": (processes.worker, ("edit", "tokenize", "mix", "ranks", "ngrams")),
    "memory": (processes.memory, SERIAL),
    "full": (disks.full, (*SERIAL, "ranks")),
    "readonly": (disks.readonly, SERIAL),
    "dying": (disks.dying, SERIAL),
    "input": (damage.input_damaged, (*SERIAL[1:], "ngrams")),
    "unfinished": (damage.unfinished_damaged, (*SERIAL, "ranks")),
}
"""By name: what it does, and the stages it is done to."""
OFTEN = {"kill": 2}
"""Faults that come more than once in a round."""


def schedule(faults: list[str], only: list[str] | None, draw: random.Random) -> Iterator[tuple[str, str]]:
    """(fault, stage) for ever: in every round each fault, in another order; each fault goes through its stages."""
    decks: dict[str, list[str]] = {fault: [] for fault in faults}
    allowed = {fault: [name for name in FAULTS[fault][1] if not only or name in only] for fault in faults}
    rounds = [fault for fault in faults if allowed[fault] for _ in range(OFTEN.get(fault, 1))]
    while rounds:
        for fault in draw.sample(rounds, len(rounds)):
            decks[fault] = decks[fault] or draw.sample(allowed[fault], len(allowed[fault]))
            yield fault, decks[fault].pop()


def print_table(outcomes: dict[tuple[str, str], Counter[str]], left_out: list[str]) -> None:
    """A row a fault and stage."""
    print(f"\n{'fault':<11} {'stage':<9} {'runs':>5}  outcomes")
    for (fault, stage), found in sorted(outcomes.items()):
        described = "; ".join(f"{what}: {count}" for what, count in found.most_common())
        print(f"{fault:<11} {stage:<9} {sum(found.values()):>5}  {described}")
    for fault in left_out:
        print(f"{fault:<11} {'':<9} {0:>5}  left out: no such mounts for this user on this machine")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="how many; see --minutes")
    parser.add_argument("--minutes", type=float, help="as many as fit into this time, instead of --runs")
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="*", choices=[*FAULTS], default=[*FAULTS], help="these faults alone")
    parser.add_argument("--only", nargs="*", choices=[*all_stages()], help="these stages alone")
    parser.add_argument("--work", type=Path, help="keep everything here; by default a folder that is removed")
    return parser.parse_args()


def one_run(fault: str, stage: Stage, base: Path, folder: Path, draw: random.Random) -> tuple[str, bool]:
    """(what became of it, whether that is a finding). A finding's folder stays."""
    trial = Trial(stage, base, folder, draw)
    try:
        outcome = FAULTS[fault][0](trial)
    except Finding as finding:
        return str(finding), True
    trial.clear()
    return outcome, False


def main() -> int:
    asked = arguments()
    faults, left_out = list(asked.faults), []
    if {"full", "readonly", "dying"} & set(faults):
        mounts = disks.own_mounts()  # starts this script again
        left_out = ["dying"] * (not disks.can_die(mounts)) + ["full", "readonly"] * (not mounts)
        faults = [fault for fault in faults if fault not in left_out]
    work = (asked.work or Path(tempfile.mkdtemp(prefix="toedit-faults-"))).resolve()
    base, known = build_base(work, asked.documents, asked.seed), all_stages()
    outcomes: dict[tuple[str, str], Counter[str]] = {}
    findings: list[str] = []
    begun = time.monotonic()

    def ready(name: str) -> Stage:
        """The stage, with its undisturbed run and those of what it reads."""
        stage = known[name]
        for source in stage.reads:
            if source != "prior":
                ready(source)
        if not stage.files:
            undisturbed(stage, base)
            print(f"{stage.name}: {stage.seconds:.1f} s undisturbed", flush=True)
        return stage

    for number, (fault, name) in enumerate(schedule(faults, asked.only, random.Random(asked.seed))):
        if time.monotonic() - begun > asked.minutes * 60 if asked.minutes else number >= asked.runs:
            break
        draw = random.Random(f"{asked.seed} {number}")
        what, is_finding = one_run(fault, ready(name), base, work / f"run-{number}", draw)
        print(f"{number} {fault} {name}: {'FINDING: ' * is_finding}{what}", flush=True)
        outcomes.setdefault((fault, name), Counter())["FINDING" if is_finding else what] += 1
        findings += [f"run {number}: {fault}, {name}: {what}"] * is_finding
    print_table(outcomes, [fault for fault in left_out if fault in asked.faults])
    total = sum(found.total() for found in outcomes.values())
    print(f"\n{total} runs, {len(findings) or 'no'} findings")
    print("\n".join(findings), end="\n" if findings else "")
    if not asked.work and not findings:
        shutil.rmtree(work)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
