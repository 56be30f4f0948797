"""executor=ray: the shards of a corpus over the actors of a Ray cluster, by Ray Data.

What travels are the names of shards and the counts that come back, never text: workers read the corpus and commit what
they make of it themselves, in folders that all machines see. Ray Data hands out no more than workers take, starts
workers anew where they died, and goes on with the others meanwhile; a shard whose worker was lost is handed out again.

    ray start --head --port=6379                                                 on one machine
    ray start --address=node0:6379                                               on the others
    python run.py stage=edit executor=ray executor.address=node0:6379 out=/shared/edited
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from toedit.config import ExecutorConfig
from toedit.console import human, note
from toedit.errors import BadConfiguration, Interrupted, MissingInput, UnusableInput
from toedit.executors import Need, ShardWork
from toedit.executors.addresses import how_to_start, refuse_silence
from toedit.executors.local import cores
from toedit.executors.machines import Machine, difference, here
from toedit.workspace import Workspace

_OBJECT_STORE_BYTES = 200_000_000
"""Of a cluster that we start: only names and counts travel."""
_begun = False
"""Whether Ray was started by us: who already uses it keeps it."""


def on_cluster(
    workspace: Workspace, work: ShardWork, tasks: Sequence[tuple[Any, ...]], executor: ExecutorConfig
) -> Iterator[tuple[int, Any]]:
    """`toedit.executors.over_shards` on a Ray cluster."""
    with _connected(executor) as ray:
        demand = _demand(ray, work, executor)
        room = _room(ray, demand, work.need, executor)
        workers = min(executor.workers or room, room, len(tasks))
        note(f"{work.title}: {workers} workers on {_machines(ray)} (Ray {ray.__version__})")
        todo = dict(enumerate(tasks))
        while todo:
            before = len(todo)
            for number, result in _round(ray, workspace, work, todo, demand, workers, executor):
                del todo[number]
                yield number, result
            if len(todo) == before:
                raise Interrupted(
                    f"{work.title}: the workers of {before} shards died each time, first {tasks[min(todo)][1]} (out of "
                    "memory? executor.memory_gb sets more aside for each); the same command resumes"
                )
            if todo:
                note(f"{work.title}: {len(todo)} shards lost their worker and are done again")


def _round(
    ray: Any,
    workspace: Workspace,
    work: ShardWork,
    todo: dict[int, tuple[Any, ...]],
    demand: dict[str, float],
    workers: int,
    executor: ExecutorConfig,
) -> Iterator[tuple[int, Any]]:
    """Hand out every task once; yield the results of those whose worker lived to tell."""
    per_task = executor.shards_per_task or _shards_per_task(work, len(todo), workers)
    package = work.prepare.__module__.partition(".")[0].replace("__main__", "toedit")  # a script is sent along
    output = workspace.path.absolute()
    inputs = {role: path.absolute() for role, path in workspace.inputs.items()}
    rows = [{"number": number, "task": pickle.dumps(task)} for number, task in todo.items()]
    dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // per_task)).map_batches(
        ShardActor,
        fn_constructor_args=(work, here(inputs, output, package), inputs, output, package, str(Path.cwd())),
        batch_size=per_task,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            initial_size=min(workers, len(rows)),
            max_size=executor.workers,
            max_tasks_in_flight_per_actor=2,
        ),
        # An actor whose machine is lost begins again as soon as there is room. Its shards do not wait for that: they
        # fail, and the next round has them.
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": 0},
        **demand,
    )
    seen: set[str] = set()
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            for number, answer in zip(batch["number"], batch["answer"], strict=True):
                outcome, notes = pickle.loads(answer)
                for line in notes:
                    if line not in seen:
                        seen.add(line)
                        note(line)
                if isinstance(outcome, BaseException):
                    raise outcome
                yield int(number), outcome
    except ray.exceptions.RayError as error:
        raise _as_one_line(error, work) from None


def _shards_per_task(work: ShardWork, shards: int, workers: int) -> int:
    """Four where work on one overlaps with work on the next, and where each worker has its share all the same."""
    return 4 if hasattr(work.prepare, "many") and shards >= 32 * workers else 1


class ShardActor:
    """One worker: prepares itself with its first shard, then takes one shard after another."""

    def __init__(
        self, work: ShardWork, driver: Machine, inputs: dict[str, Path], output: Path, package: str, folder: str
    ) -> None:
        self._shard_work = work
        self._work: Any = None
        self._check = (driver, inputs, output, package)
        if Path(folder).is_dir():
            os.chdir(folder)  # paths may be relative to where the command was given

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns number, task to number, answer: (result or exception, what was said), pickled."""
        tasks, said = [pickle.loads(task) for task in batch["task"]], StringIO()
        try:
            with redirect_stderr(said):
                outcomes = self._do(tasks)
        except Exception as error:
            error.add_note(f"On a worker: {traceback.format_exc()}")
            outcomes = [error] * len(tasks)
        answers = [_packed(outcome, said.getvalue().splitlines()) for outcome in outcomes]
        return {"number": list(batch["number"]), "answer": answers}

    def _do(self, tasks: list[tuple[Any, ...]]) -> list[Any]:
        if self._work is None:
            self._refuse_another_machine()
            self._work = self._shard_work.prepare(*self._shard_work.arguments)
        if len(tasks) > 1 and hasattr(self._work, "many"):
            return list(self._work.many(tasks))
        return [self._work(*task) for task in tasks]

    def _refuse_another_machine(self) -> None:
        import ray

        driver, inputs, output, package = self._check
        own = ray.get_runtime_context().get_node_id()
        address = next((node["NodeManagerAddress"] for node in ray.nodes() if node["NodeID"] == own), own)
        refusal = difference(driver, here(inputs, output, package), address, inputs, output)
        if refusal:
            raise UnusableInput(refusal)


def _packed(outcome: Any, notes: list[str]) -> bytes:
    try:
        return pickle.dumps((outcome, notes))
    except Exception:  # an exception that cannot travel
        return pickle.dumps((RuntimeError("".join(traceback.format_exception(outcome))), notes))


@contextmanager
def _connected(executor: ExecutorConfig) -> Iterator[Any]:
    """Ray, connected to the cluster at the address or to one of this machine, until the command ends."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "FATAL")  # lost workers are ours to tell
    try:
        import ray
        import ray.data
    except ImportError:
        raise BadConfiguration("executor=ray: Ray is not installed here; bash scripts/environment.sh ray") from None
    with redirect_stdout(sys.stderr), warnings.catch_warnings():  # what Ray prints is no result of ours
        warnings.filterwarnings("ignore", "`ray_remote_args", category=DeprecationWarning)  # no successor yet
        if not ray.is_initialized():
            _begin(ray, executor)
        _set_up(ray.data.DataContext.get_current())
        yield ray


def disconnect() -> None:
    """End the connection that the command began, and with it a cluster of this machine."""
    global _begun
    if _begun:
        import ray

        with redirect_stdout(sys.stderr):
            ray.shutdown()
        _begun = False


def _set_up(context: Any) -> None:
    """Ray Data's own settings: silent, and going on without what was lost."""
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.issue_detectors_config.detectors = []
    context.max_errored_blocks = -1  # only lost workers: what the work raises comes back as an answer
    context.max_consecutive_actor_init_deaths = 3
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def _begin(ray: Any, executor: ExecutorConfig) -> None:
    where, handler = executor.address, signal.getsignal(signal.SIGTERM)
    quiet = {"logging_level": logging.CRITICAL, "log_to_driver": False, "include_dashboard": False}
    if where is not None:
        refuse_silence("executor.address", where, executor.connect_seconds)
    try:
        if where is None:
            ray.init("local", num_cpus=max(cores(), 1), object_store_memory=_OBJECT_STORE_BYTES, **quiet)
        else:
            ray.init(address=where, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:300]
        raise MissingInput(
            f"executor.address={where}: no Ray cluster to work on ({reason}); {how_to_start(where)}, here and on the "
            "others with the same RAY_AUTH_MODE and token"
        ) from None
    else:
        global _begun
        _begun = True
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end the command without a word


def _demand(ray: Any, work: ShardWork, executor: ExecutorConfig) -> dict[str, float]:
    """What Ray sets aside for one worker."""
    need = work.need
    if executor.memory_gb is not None and executor.memory_gb * 1e9 < need.memory_bytes:
        raise BadConfiguration(
            f"executor.memory_gb={executor.memory_gb:g}: {need.memory_of} needs about {human(need.memory_bytes, 'B')}"
        )
    gpus = executor.gpus
    if gpus is None:
        gpus = 1.0 if need.gpu and ray.cluster_resources().get("GPU", 0) >= 1 else 0.0
    demand = {"num_cpus": executor.cpus, "num_gpus": gpus}
    memory = executor.memory_gb * 1e9 if executor.memory_gb else need.memory_bytes
    return demand | ({"memory": float(int(memory))} if memory else {})


def _room(ray: Any, demand: dict[str, float], need: Need, executor: ExecutorConfig) -> int:
    """How many workers the cluster has room for. Raises BadConfiguration where no machine has room for one."""
    known = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(
        min(int(machine.get(known[key], 0) / value) for key, value in demand.items() if value) for machine in machines
    )
    if room:
        return room
    for key, name in known.items():
        wanted, most = demand.get(key, 0), max(machine.get(name, 0) for machine in machines)
        if wanted > most and key == "memory":
            setting = "executor.memory_gb" if executor.memory_gb else f"executor=ray: {need.memory_of}"
            raise BadConfiguration(
                f"{setting}: a worker needs {human(wanted, 'B')} of memory; the largest machine of the cluster offers "
                f"{human(most, 'B')}"
            )
        if wanted > most:
            raise BadConfiguration(
                f"executor.{key.removeprefix('num_')}={wanted:g}: the largest machine of the cluster has {most:g}"
            )
    raise BadConfiguration("executor=ray: no machine of the cluster has CPUs, GPUs and memory enough for one worker")


def _machines(ray: Any) -> str:
    count = sum(node["Alive"] for node in ray.nodes())
    return f"{count} machine{'s' if count > 1 else ''}"


def _as_one_line(error: BaseException, work: ShardWork) -> Exception:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if missing := next((line for line in lines if "No module named" in line), None):
        return UnusableInput(f"executor=ray: a machine of the cluster lacks what this one has: {missing}")
    return Interrupted(f"{work.title}: Ray gave up: {lines[-1] if lines else error!r}; the same command resumes")
