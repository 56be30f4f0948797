"""executor=ray: a cluster of two machines scores, edits and counts real text; one of them is killed in the middle."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import REPOSITORY, run_command
from machines_fixture import two_machines
from slurm_fixture import slurm_job
from tokenizers_fixture import require_test_data

from toedit.fingerprints import hash_file

COMMAND = (sys.executable, str(REPOSITORY / "run.py"))
RAY = str(Path(sys.executable).with_name("ray"))
PORT = 26379
SMALL = {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5e" * 32, "RAY_USAGE_STATS_ENABLED": "0"}


class Cluster:
    """Ray on two machines, two CPUs each of which a worker takes one."""

    def __init__(self, machines, folder):
        self.machines, self.folder = machines, folder
        self.address = f"{machines[0].address}:{PORT}"
        head = ["--head", f"--port={PORT}", f"--temp-dir={folder}", "--include-dashboard=false"]
        self.start(0, *head)
        self.wait(1)

    def start(self, number, *options, mounts=()):
        """`mounts`: folders that only this machine sees in the place of others."""
        machine = self.machines[number]
        options = options or (f"--address={self.address}",)
        over = [f"mount --bind '{what}' '{where}' && " for what, where in mounts]
        unlike = ["unshare", "-m", "sh", "-c", "".join(over) + 'exec "$@"', "sh"] if mounts else []
        command = [*machine.inside, *unlike, RAY, "start", *options, f"--node-ip-address={machine.address}",
                   "--num-cpus=1", "--object-store-memory=80000000", "--block"]  # fmt: skip
        marked = {**os.environ, **SMALL, "TOEDIT_TEST_MACHINE": f"{self.folder}-{number}"}
        with (Path(self.folder) / f"{number}.log").open("ab") as log:
            subprocess.Popen(command, stdout=log, stderr=log, env=marked, start_new_session=True)

    def nodes(self):
        script = f"import ray; ray.init('{self.address}', logging_level='CRITICAL')\n"
        run = self.run(0, sys.executable, "-c", script + "print('alive', sum(node['Alive'] for node in ray.nodes()))")
        told = re.findall(r"^alive (\d+)$", run.stdout, re.MULTILINE)  # Ray says other things there, too
        return int(told[0]) if told else 0

    def wait(self, nodes):
        for _ in range(30):
            if self.nodes() == nodes:
                return
        raise AssertionError("\n".join(file.read_text() for file in Path(self.folder).glob("?.log")))

    def run(self, number, *command, cwd=None):
        return subprocess.run([*self.machines[number].inside, *command], cwd=cwd, env={**os.environ, **SMALL},
                              capture_output=True, text=True, timeout=300)  # fmt: skip

    def kill(self, number):
        """All of a machine at once, as when its power is cut."""
        kill_all(TOEDIT_TEST_MACHINE=f"{self.folder}-{number}")

    def command(self, *overrides, cwd):
        return self.run(0, *COMMAND, *overrides, "executor=ray", f"executor.address={self.address}", cwd=cwd)


def kill_all(**environment):
    """Every process with this in its environment."""
    ((name, value),) = environment.items()
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                process.send_signal(signal.SIGKILL)
        except (psutil.Error, ProcessLookupError):
            continue


@pytest.fixture(scope="module")
def cluster():
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # Ray's sockets need a short path
    with two_machines("ray", "10.213.8") as machines:
        cluster = Cluster(machines, folder)
        try:
            yield cluster
        finally:
            for number in (0, 1):
                cluster.kill(number)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def both(cluster):
    """The cluster with both of its machines."""
    if cluster.nodes() != 2:
        cluster.start(1)
        cluster.wait(2)
    return cluster


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Real text in a dozen shards."""
    folder = tmp_path_factory.mktemp("ray-corpus")
    text = require_test_data() / "human" / "documents" / "validation"
    keys = ("corpus.split=null", "corpus.max_document_bytes=6000", "corpus.shard_bytes=20000")
    run_command("stage=corpus", "corpus=local", f"corpus.path={text}", *keys, f"out={folder / 'corpus'}", cwd=folder)
    return folder / "corpus"


@pytest.fixture(scope="module")
def local(corpus, small_prior, tmp_path_factory):
    """The scores, the edit and the counts that one machine makes."""
    folder = tmp_path_factory.mktemp("ray-local")
    run_command(*score(corpus, small_prior), f"out={folder / 'scores'}", cwd=folder)
    run_command(*edit(folder / "scores"), f"out={folder / 'edited'}", cwd=folder)
    return folder


def score(corpus, prior):
    return ("stage=score", "corpus=local", f"corpus.path={corpus}", "prior=local", f"prior.path={prior}",
            "score.min_p=0.2", "score.top_k=8")  # fmt: skip


def edit(scores):
    return ("stage=edit", f"scores.path={scores}", "edit.p=0.2", "edit.temperature=2")


def files(folder):
    return {
        file.relative_to(folder).as_posix(): hash_file(file)
        for file in folder.rglob("*")
        if file.is_file() and file.name != "manifest.json"
    }


def one_line(run, code, *words):
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert run.returncode == code and len(errors) == 1 and "Traceback" not in run.stderr, run.stdout + run.stderr
    assert all(word in errors[0] for word in words), errors[0]


def test_a_machine_is_killed_in_the_middle_and_the_bytes_are_those_of_one_machine(both, corpus, small_prior, local,
                                                                                   tmp_path):  # fmt: skip
    out = tmp_path / "scores"
    command = [*both.machines[0].inside, *COMMAND, *score(corpus, small_prior), f"out={out}", "executor=ray",
               f"executor.address={both.address}"]  # fmt: skip
    run = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **SMALL}, stderr=subprocess.PIPE, text=True)
    while run.poll() is None and len(list(out.glob(".progress/*.json"))) < 2:
        time.sleep(0.05)
    both.kill(1)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0 and "2 workers on 2 machines" in said, said
    assert "lost their worker and are done again" in said
    assert files(out) == files(local / "scores")

    edited = both.command(*edit(out), f"out={tmp_path / 'edited'}", cwd=tmp_path)  # on the machine that is left
    assert edited.returncode == 0 and "1 workers on 1 machine" in edited.stderr, edited.stderr
    assert files(tmp_path / "edited") == files(local / "edited")


def test_edits_counts_and_tokens_are_those_of_one_machine(both, corpus, small_prior, local, tmp_path):
    edited = both.command(*edit(local / "scores"), "executor.shards_per_task=3", "out=edited", cwd=tmp_path)
    assert edited.returncode == 0 and "2 workers on 2 machines" in edited.stderr, edited.stderr
    assert files(tmp_path / "edited") == files(local / "edited")  # a relative out=, too
    tokens = ("stage=tokenize", "corpus=local", f"corpus.path={corpus}", f"tokens.tokenizer={small_prior}")
    ngrams = ("stage=analyze", "analysis=ngrams", "corpus=local", f"corpus.path={corpus}")
    for number, command in enumerate((tokens, ngrams)):
        run = both.command(*command, f"out=ray{number}", "artifacts=A", cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        run_command(*command, f"out=local{number}", "artifacts=B", cwd=tmp_path)
        assert files(tmp_path / f"ray{number}") == files(tmp_path / f"local{number}")


def test_a_fresh_cluster_of_this_machine_scores_and_edits_the_same(corpus, small_prior, local, tmp_path, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    both_stages = (*edit(None)[2:], *score(corpus, small_prior)[1:], "executor.shards_per_task=4")
    run_command("stage=edit", *both_stages, "executor=ray", "artifacts=A", "out=edited", cwd=tmp_path)
    assert files(tmp_path / "edited") == files(local / "edited")
    (scores,) = (tmp_path / "A" / "scores").iterdir()
    assert files(scores) == files(local / "scores")


def test_what_does_not_fit_is_one_line(both, corpus, small_prior, tmp_path):
    command = (*score(corpus, small_prior), "out=scores")
    one_line(both.command(*command, "executor.memory_gb=0.1", cwd=tmp_path), 2, "executor.memory_gb=0.1", "needs about")
    one_line(
        both.command(*command, "executor.memory_gb=9000", cwd=tmp_path), 2, "executor.memory_gb", "largest machine"
    )
    one_line(both.command(*command, "executor.gpus=2", cwd=tmp_path), 2, "executor.gpus=2", "has 0")
    assert not (tmp_path / "scores" / "manifest.json").exists()


def test_a_machine_with_other_files_is_refused(both, corpus, small_prior, tmp_path):
    """Machine 1 has the same paths, with something else behind them."""
    if not both.machines[1].inside:
        pytest.skip("no namespaces here, so both machines see the same files; test_executors.py compares descriptions")
    prior, other = shutil.copytree(small_prior, tmp_path / "prior"), shutil.copytree(small_prior, tmp_path / "other")
    config = other / "generation_config.json"
    config.write_text('{"max_new_tokens": 7}')
    hidden, empty = tmp_path / "hidden", tmp_path / "empty"
    hidden.mkdir()
    empty.mkdir()
    with unlike(both, [(other, prior), (empty, hidden)]):
        run = both.command(*score(corpus, prior), f"out={hidden / 'scores'}", cwd=tmp_path)
        one_line(run, 2, f"out={hidden / 'scores'}", both.machines[1].address, "does not see this folder")
        run = both.command(*score(corpus, prior), "out=scores", cwd=tmp_path)
        one_line(run, 2, str(prior), both.machines[1].address, "another version of the prior")
    library = shutil.copytree(REPOSITORY / "toedit", tmp_path / "another")
    with (library / "sampling.py").open("a") as file:
        file.write("# another version\n")
    with unlike(both, [(library, REPOSITORY / "toedit")]):
        run = both.command(*score(corpus, prior), "out=scores", cwd=tmp_path)
        one_line(run, 2, both.machines[1].address, "another version of the code of toedit", "there", "here")


@contextmanager
def unlike(cluster, mounts):
    """The cluster while its second machine sees other files."""
    cluster.kill(1)
    cluster.wait(1)
    cluster.start(1, mounts=mounts)
    cluster.wait(2)
    try:
        yield
    finally:
        cluster.kill(1)
        cluster.wait(1)


@pytest.mark.parametrize("launcher", ["ray_local", "ray_cluster"])
def test_a_sweep_goes_to_the_cluster_it_names_or_to_none(launcher, both, local, tmp_path):
    """Ray by itself joins any cluster of which it finds a process on this machine."""
    address = [f"hydra.launcher.ray.init.address={both.address}"] if launcher == "ray_cluster" else []
    run = both.run(0, *COMMAND, "-m", f"hydra/launcher={launcher}", *address, *edit(local / "scores")[:2], "edit.p=0.2",
                   "edit.k=4,8", "dry_run=true", cwd=tmp_path)  # fmt: skip
    assert run.returncode == 0, run.stderr
    table = run.stdout[run.stdout.index("state\n") :]
    assert [line.split()[-1] for line in table.splitlines()[2:4]] == ["ok", "ok"], run.stdout
    assert ("Connecting to existing Ray cluster" in run.stdout + run.stderr) == bool(address)


def test_no_cluster_at_the_address_is_one_line(local, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    for address, code, word in ((f"127.0.0.1:{free}", 3, "ray start --head"), ("nonsense", 2, "host:port")):
        command = [*COMMAND, *edit(local / "scores"), "executor=ray", f"executor.address={address}", "out=edited"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        one_line(run, code, f"executor.address={address}", word)
        sweep = [
            *COMMAND,
            "-m",
            "hydra/launcher=ray_cluster",
            f"hydra.launcher.ray.init.address={address}",
            "stage=edit",
        ]
        run = subprocess.run(sweep, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        one_line(run, code, f"hydra.launcher.ray.init.address={address}", word)


def test_a_slurm_job_starts_the_cluster_stops_at_its_warning_and_goes_on(corpus, small_prior, local, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    small = {
        **slurm_job(tmp_path),
        **SMALL,
        "TOEDIT_PORT": port,
        "SLURM_CPUS_ON_NODE": "1",
        "TOEDIT_RAY_OPTIONS": "--object-store-memory=80000000",
    }
    out, log = tmp_path / "scores", tmp_path / "job.txt"
    command = ["bash", str(REPOSITORY / "scripts/slurm/ray.sbatch"), *score(corpus, small_prior), f"out={out}"]

    def job(warn):
        """Its exit code; Ray's processes hold on to its output until Slurm ends them."""
        with log.open("w") as file:
            job = subprocess.Popen(command, env=small, cwd=tmp_path, stdout=file, stderr=file)
            while warn and job.poll() is None and len(list(out.glob(".progress/*.json"))) < 2:
                time.sleep(0.05)
            if warn:
                job.send_signal(signal.SIGTERM)
            code = job.wait(300)
        kill_all(TOEDIT_HEAD=f"localhost:{port}")
        return code

    assert job(warn=True) == 75 and "on 2 machines" in log.read_text(), log.read_text()
    assert (tmp_path / "asked").read_text() == "requeue 7\n" and not (out / "manifest.json").exists()
    assert job(warn=False) == 0, log.read_text()
    assert files(out) == files(local / "scores")
