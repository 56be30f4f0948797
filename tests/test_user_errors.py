"""A full disk, no memory, a failing device: one line and the right exit code, whatever library met it first."""

import errno
import gzip
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from pretrain import launch
from pretrain.job import Job
from toedit.command import as_user_error
from toedit.config import Config, TrainerConfig
from toedit.corpora.streams import plain_stream
from toedit.documents import ShardWriter, read_documents
from toedit.errors import Diverged, Interrupted
from toedit.parquet_files import write_parquet

FULL = "/dev/full"  # a file that never has room


def save_documents(path):
    with ShardWriter(path) as writer:
        for number in range(20_000):
            writer.write({"id": str(number), "text": os.urandom(50).hex(), "source": "s"})


def save_lines(path):
    with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file) as lines:
        lines.write(os.urandom(1 << 20))


def save_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(1 << 20))


def save_tensor(path):
    import torch

    torch.save(torch.zeros(1 << 20), path)


def save_tokenizer(path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({str(number): number for number in range(10_000)}, "0")).save(str(path))


def save_table(path):
    write_parquet(path, pa.table({"a": np.random.default_rng(0).random(1 << 18)}))


SAVERS = (save_documents, save_lines, save_array, save_tensor, save_tokenizer, save_table)


@pytest.mark.parametrize("save", SAVERS, ids=lambda save: save.__name__)
def test_what_each_library_says_of_a_full_disk(save, tmp_path):
    place = tmp_path / "out"
    place.symlink_to(FULL)
    with pytest.raises(Exception) as caught:  # each has its own
        save(place)
    known = as_user_error(caught.value)
    assert isinstance(known, Interrupted) and str(known).startswith("the disk is full"), repr(caught.value)


def test_a_full_disk_in_the_words_of_safetensors():
    """It writes through a memory map, which /dev/full has not: its words, as met on a full tmpfs."""
    error = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "the disk is full" in str(as_user_error(error))


def test_an_error_on_the_way_out_does_not_hide_the_full_disk():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "shard")
        finally:
            raise zipfile.BadZipFile("not closed")
    except zipfile.BadZipFile as error:
        assert "the disk is full (shard)" in str(as_user_error(error))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 64 bytes"),
        RuntimeError("could not create a primitive"),
        RuntimeError("unable to mmap 518216 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
        zstandard.ZstdError("zstd compress error: Allocation error : not enough memory"),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: failed to map segment from shared object"),
        SystemError("error return without exception set"),
    ],
    ids=lambda error: f"{type(error).__name__} {str(error)[:20]}",
)
def test_no_memory(error):
    known = as_user_error(error)
    assert isinstance(known, Interrupted) and "not enough memory" in str(known) and "\n" not in str(known)


@pytest.mark.parametrize(
    "read",
    [lambda path: list(read_documents(path)), lambda path: plain_stream(path.open("rb", buffering=0), "zst")[0].read()],
)
def test_a_decompressor_without_memory_found_no_damage(read, tmp_path, monkeypatch):
    path = tmp_path / "texts.jsonl.zst"
    path.write_bytes(zstandard.compress(b'{"id": "1", "text": "a"}\n'))

    class Lacking:
        def decompressobj(self):
            return self

        def decompress(self, _):
            raise zstandard.ZstdError("zstd decompressor error: Allocation error : not enough memory")

    monkeypatch.setattr(zstandard, "ZstdDecompressor", Lacking)
    with pytest.raises(MemoryError):
        read(path)


def test_libraries_are_not_asked_to_end_where_there_is_no_memory():
    script = (
        "import atexit, sys\n"
        "from toedit.command import as_user_error, end_with\n"
        "atexit.register(lambda: 1 / 0)\n"
        "print('done')\n"
        "sys.exit(end_with(as_user_error({})))"
    )
    lacking = subprocess.run([sys.executable, "-c", script.format("MemoryError()")], capture_output=True, text=True)
    other = subprocess.run([sys.executable, "-c", script.format("KeyboardInterrupt()")], capture_output=True, text=True)
    assert (lacking.returncode, lacking.stdout) == (75, "done\n") and lacking.stderr.count("\n") == 1
    assert other.returncode == 75 and "ZeroDivisionError" in other.stderr  # all others end as ever


@pytest.mark.parametrize(
    ("codes", "kind"),
    [({0: -9, 1: launch.LOST}, Interrupted), ({1: launch.LOST}, Interrupted), ({0: -15, 1: launch.LOST}, Interrupted),
     ({0: 1, 1: launch.LOST}, RuntimeError)],
)  # fmt: skip
def test_a_rank_that_others_left_behind_is_no_failure_of_its_own(tmp_path, codes, kind):
    stopped = launch._what_stopped(Job(Config(), tmp_path, "name", tmp_path, None, None), codes)
    assert type(stopped) is kind and ("SIGKILL" in str(stopped)) == (-9 in codes.values())


def test_a_failing_device_without_a_file_name():
    """Arrow's errors have a number and no file name: what they say names the file."""
    error = OSError(errno.EROFS, "Failed to open local file 'x.parquet'. Detail: [errno 30] Read-only file system")
    known = as_user_error(error)
    assert known is not None and known.exit_code == 2 and str(known).startswith("Failed to open local file 'x.parquet'")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shape (3,)"),
        RuntimeError("size mismatch"),
        KeyError("text"),
        OSError(),
        SystemError("<built-in function f> returned NULL without setting an exception"),
    ],
)
def test_a_defect_keeps_its_traceback(error):
    assert as_user_error(error) is None


def test_a_rank_on_a_full_disk_cannot_leave_its_error_in_a_file(tmp_path):
    (tmp_path / "state").mkdir()
    job = Job(Config(), tmp_path, "name", tmp_path, None, None)
    stopped = launch._what_stopped(job, {0: launch.FULL, 1: -15})
    assert isinstance(stopped, Interrupted) and f"the disk is full ({tmp_path})" in str(stopped)
    held = {"class": "UnusableInput", "message": "tokens: damaged"}
    launch.error_file(job, 0).write_text(json.dumps(held))
    assert str(launch._what_stopped(job, {0: 2})) == "tokens: damaged"


def test_every_machine_reads_a_rank_s_error(tmp_path):
    """The folder is shared; whichever machine looks first must not take the error away from the others."""
    (tmp_path / "state").mkdir()
    job = Job(Config(trainer=TrainerConfig(nodes=2, nproc=2)), tmp_path, "name", tmp_path, None, None)
    launch.error_file(job, 0).write_text(json.dumps({"class": "Diverged", "message": "the loss is not finite"}))
    for codes in ({2: launch.LOST, 3: launch.LOST}, {0: 2, 1: -15}):
        stopped = launch._what_stopped(job, codes)
        assert type(stopped) is Diverged and str(stopped) == "the loss is not finite"


@pytest.mark.parametrize("nodes", [1, 2])
def test_errors_of_an_earlier_run_are_forgotten_before_the_job_is_there(tmp_path, monkeypatch, nodes):
    (tmp_path / "state").mkdir()
    job = Job(Config(trainer=TrainerConfig(nodes=nodes, nproc=2)), tmp_path, "name", tmp_path, None, None)
    launch.error_file(job, 7).write_text("of a run with more ranks")

    def meets_an_error(job, path, python, trainer):
        assert not list((tmp_path / "state").glob("error-*")) and path.exists()
        launch.error_file(job, 0).write_text("of this run")

    monkeypatch.setattr(launch, "run_ranks", meets_an_error)
    launch.launch(job)
    assert launch.error_file(job, 0).exists() == (nodes > 1)


@pytest.mark.parametrize("name", ["TerminatedWorkerError", "BrokenProcessPool"])
def test_a_killed_worker_of_joblib_s_is_an_interruption(name):
    """Its class is known by its name, as joblib need not be installed."""
    kind = type(name, (RuntimeError,), {"__module__": "joblib.externals.loky.process_executor"})
    known = as_user_error(kind("A worker process was unexpectedly terminated.\n\nThe exit codes are {SIGKILL(-9)}"))
    assert isinstance(known, Interrupted) and "\n" not in str(known) and "same command resumes" in str(known)
    assert as_user_error(type("AnotherError", (RuntimeError,), {"__module__": kind.__module__})()) is None
