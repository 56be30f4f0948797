"""Benchmarks of the executors. Prints what docs/findings.md quotes; writes below --work only.

    .venv/bin/python scripts/benchmark_executors.py cost       real scoring: Ray against this machine's own processes
    .venv/bin/python scripts/benchmark_executors.py scaling    1, 2, 4, ... workers against the ideal
    .venv/bin/python scripts/benchmark_executors.py head       tasks a second, memory a task, files a second
    .venv/bin/python scripts/benchmark_executors.py model      where it stops scaling: 1,000 GPUs, 10 trillion tokens

`scaling` replaces the prior by a wait: a machine with two cores cannot show what four GPUs do, but it can show what the
executor adds. Each worker commits a small file a shard, as real work does. `model` is arithmetic on the numbers that
`head` prints; they are its options.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from toedit import executors
from toedit.artifacts import Artifact
from toedit.config import ExecutorConfig
from toedit.executors import ShardWork, over_shards
from toedit.workspace import Result, Workspace

REPOSITORY = Path(__file__).resolve().parents[1]


class Wait:
    """Work that takes `seconds` a shard and commits it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, folder: Path, shard: Path) -> float:
        begun = time.time()
        time.sleep(self.seconds)
        with Workspace(folder, {}).shard(shard.name, f"scores/{shard.name}") as ((path,), record):
            path.write_bytes(b"0" * 1000)
            record["documents"] = 1
        return begun


def timed(work: Path, shards: int, seconds: float, executor: ExecutorConfig) -> tuple[float, float]:
    """Seconds of (everything, from the first shard's beginning to the end) for so many shards of `Wait`."""
    work.mkdir(parents=True)
    begun: list[float] = []

    def build(workspace: Workspace) -> Result:
        tasks = [(workspace.path, Path(f"{number:06d}")) for number in range(shards)]
        begun.extend(at for _, at in over_shards(workspace, ShardWork("wait", Wait, (seconds,)), tasks, None))
        return Result()

    start = time.time()
    with executors.using(executor):
        Artifact("waits", "waits", {"shards": shards}, work, build=build, out=work / "out").ensure()
    end = time.time()
    return end - start, end - min(begun)


def scaling(work: Path, seconds: float) -> None:
    """Shards of `seconds` each, eight a worker."""
    print(f"{'workers':>8} {'shards':>7} {'ideal s':>8} {'measured s':>11} {'of ideal':>9} {'start-up s':>11}")
    for workers in (1, 2, 4, 8, 16):
        shards = 8 * workers
        ray = ExecutorConfig(kind="ray", workers=workers, cpus=0.01)
        whole, working = timed(work / f"scaling{workers}", shards, seconds, ray)
        ideal = shards * seconds / workers
        print(
            f"{workers:>8} {shards:>7} {ideal:>8.1f} {working:>11.1f} {ideal / working:>9.1%} {whole - working:>11.1f}"
        )


def head(work: Path) -> None:
    """What the head of the cluster and the shared file system do for each shard."""
    for per_task in (1, 16):
        ray = ExecutorConfig(kind="ray", workers=2, cpus=0.5, shards_per_task=per_task)
        seen: list[tuple[int, float, int]] = []
        for tasks in (250, 1500):  # what the second costs more than the first, Ray itself left out
            shards = tasks * per_task
            _, working = timed(work / f"head{per_task}-{tasks}", shards, 0.0, ray)
            seen.append((shards, working, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
        more, seconds, grown = (last - first for first, last in zip(*seen, strict=True))
        print(f"shards_per_task={per_task:<3} {more / seconds:7.0f} shards/s, {more / per_task / seconds:6.0f} tasks/s,"
              f" driver +{grown / more:,.0f} B a shard")  # fmt: skip
    workspace = Workspace(work / "files", {})
    count = 4000
    spent: dict[str, float] = {}

    def measure(name: str, do: Callable[[], object]) -> None:
        begun = time.perf_counter()
        do()
        spent[name] = count / (time.perf_counter() - begun)

    wait = Wait(0)
    measure("commits", lambda: [wait(workspace.path, Path(f"{n:06d}")) for n in range(count)])
    measure("records read", lambda: [workspace.finished(f"{n:06d}") for n in range(count)])
    measure("checksums gathered", workspace.checksums)
    for name, rate in spent.items():
        print(f"{name}: {rate:,.0f} files/s on this file system")


def cost(work: Path, corpus: Path, prior: Path, rounds: int) -> None:
    """The same scoring with one worker of each kind, by turns: seconds from the plan to the finished artifact."""
    work.mkdir(parents=True, exist_ok=True)
    spent: dict[str, list[float]] = {"local": [], "ray": []}
    for number in range(rounds):
        for kind in ("local", "ray") if number % 2 else ("ray", "local"):
            keys = ["executor=ray", "executor.workers=1"] if kind == "ray" else ["scorer.threads=1"]
            out = work / f"{kind}{number}"
            command = [sys.executable, str(REPOSITORY / "run.py"), "stage=score", "corpus=local", "prior=local",
                       f"corpus.path={corpus}", f"prior.path={prior}", f"out={out}", *keys]  # fmt: skip
            # Ray makes its workers nicer than itself; beside others' work that would be what is measured.
            unlike = os.environ | {"RAY_worker_niceness": "0"}
            run = subprocess.run(command, capture_output=True, text=True, cwd=work, env=unlike)
            if run.returncode:
                raise SystemExit(run.stderr)
            spent[kind].append(json.loads((out / "manifest.json").read_text())["timings"]["seconds"])
            print(f"{kind:<6} {spent[kind][-1]:7.1f} s", flush=True)
    whole, best = (many(spent["ray"]) / many(spent["local"]) for many in (sum, min))
    print(f"ray / local = {whole:.3f}, of the fastest {best:.3f}")


def model(tokens: float, gpus: int, rate: float, dispatched: float, memory: float, files: float) -> None:
    """Where the time goes at a size nobody has measured, shard by shard."""
    print(f"{tokens:.3g} tokens on {gpus} GPUs at {rate:,.0f} tokens/s each: {tokens / gpus / rate / 86400:.1f} days\n")
    print(f"{'shard':>8} {'shards':>9} {'min a shard':>12} {'done a s':>9} {'head busy':>10} {'head memory':>12} "
          f"{'records read':>13} {'lost with a GPU':>16}")  # fmt: skip
    for megabytes in (16, 64, 256, 1024):
        per_shard = megabytes * 1e6 / 4
        shards, seconds = tokens / per_shard, per_shard / rate
        done = gpus / seconds
        print(
            f"{megabytes:>5} MB {shards:>9,.0f} {seconds / 60:>12.1f} {done:>9.2f} {done / dispatched:>10.1%} "
            f"{shards * memory / 1e9:>9.1f} GB {shards / files / 60:>9.1f} min {seconds / 60:>12.1f} min"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "scaling", "head", "model"])
    parser.add_argument("--work", type=Path, default=Path("outputs/benchmark_executors"))
    parser.add_argument("--seconds", type=float, default=5.0, help="scaling: of one shard")
    parser.add_argument("--corpus", type=Path, help="cost: a corpus artifact with shards of realistic size")
    parser.add_argument("--prior", type=Path, help="cost: a model folder")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tokens", type=float, default=1e13)
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=25_000, help="model: tokens a second of one GPU (stage=plan)")
    parser.add_argument("--dispatched", type=float, default=100, help="model: tasks a second of the head")
    parser.add_argument("--memory", type=float, default=20_000, help="model: bytes of the driver a shard")
    parser.add_argument(
        "--files", type=float, default=1_000, help="model: small files a second of a shared file system"
    )
    asked = parser.parse_args()
    work = asked.work / f"{asked.what}-{int(time.time())}"
    if asked.what == "cost":
        cost(work.resolve(), asked.corpus.resolve(), asked.prior.resolve(), asked.rounds)
    elif asked.what == "model":
        model(asked.tokens, asked.gpus, asked.rate, asked.dispatched, asked.memory, asked.files)
    else:
        scaling(work, asked.seconds) if asked.what == "scaling" else head(work)


if __name__ == "__main__":
    main()
