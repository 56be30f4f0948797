"""Programs that nobody has read: what is right passes, what is wrong fails, what is harmful fails and does no harm.

Each holds with the kernel's means (namespaces, Landlock) and with Python's alone, as on a machine that has no others.
"""

import os
import subprocess
import tempfile
import time
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers_fixture import require_test_data

from eval import code_execution
from eval.code_execution import guards, run_program, run_programs
from eval.code_tasks import count, estimate
from eval.task_files import LocalTask, read_rows
from toedit.config import ExecutionConfig
from toedit.errors import BadConfiguration, UnusableInput

TOUCHED = Path(tempfile.gettempdir()) / "touched-by-a-program"

QUICK = ExecutionConfig(seconds=1.5, memory_mb=512, processes=4, file_mb=1)
ROOMY = ExecutionConfig(seconds=60)
both = pytest.mark.parametrize("kernel", [True, False])


def rows_of(name: str, split: str) -> list[dict]:
    file = require_test_data() / "tasks" / name / f"{split}.jsonl.gz"
    return read_rows(LocalTask(name, file, {split: [file]}), split)


# --- right and wrong --------------------------------------------------------------------------------------------------


def test_every_reference_solution_of_humaneval_passes():
    rows = rows_of("humaneval", "test")
    programs = [f"{r['prompt']}{r['canonical_solution']}\n{r['test']}\ncheck({r['entry_point']})\n" for r in rows]
    assert [verdict.reason for verdict in run_programs(programs, ROOMY)] == ["passed"] * 164


def test_reference_solutions_of_mbpp_pass_and_those_of_other_tasks_do_not():
    rows = {row["task_id"]: row for row in rows_of("mbpp", "full")}
    asked = [rows[task_id] for task_id in (367, 927, *range(11, 61))]  # two that need their setup, then the first ones
    tests = ["\n".join([row["test_setup_code"], *row["test_list"]]) for row in asked]
    assert all(v.passed for v in run_programs([f"{r['code']}\n{t}" for r, t in zip(asked, tests, strict=True)], ROOMY))
    shifted = zip(asked[1:] + asked[:1], tests, strict=True)
    assert not any(verdict.passed for verdict in run_programs([f"{r['code']}\n{t}" for r, t in shifted], ROOMY))


@both
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("assert 1 + 1 == 2", "passed"),
        ("print('much' * 10**6)\nassert True", "passed"),
        ("open('own', 'w').write('x'); assert open('own').read() == 'x'", "passed"),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'\nassert A(1).x == 1", "passed"),
        ("import threading\nt = threading.Thread(target=print)\nt.start(); t.join()", "passed"),
        ("import input_output_of_nobody", "ModuleNotFoundError"),
        ("assert 1 + 1 == 3", "wrong answer"),
        ("def f(:", "SyntaxError"),
        ("assert missing == 2", "NameError"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("assert input() == ''", "EOFError"),
        ("import sys\nsys.exit(0)\nassert False", "ended before its tests were over (SystemExit)"),
        ("exit()", "ended before its tests were over (SystemExit)"),
        ("import os\nos._exit(0)\nassert False", "ended before its tests were over (exit code 0)"),
        ("import os, signal\nsignal.raise_signal(signal.SIGSEGV)", "ended before its tests were over (signal 11)"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
        ("try:\n    import os\n    os._exit(0)\nexcept BaseException: pass", "ended before its tests were over"),
        ("raise ValueError('\\x1b[2J\\n')", "ValueError: \\x1b[2J\\n"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_program(program, reason, kernel):
    assert run_program(program, ROOMY, kernel).reason.startswith(reason)


def test_verdicts_come_in_the_order_of_the_programs():
    slow = [f"import time\ntime.sleep({0.3 - number / 20})\nassert {number} % 2" for number in range(6)]
    limits = ExecutionConfig(seconds=60, workers=4)
    assert [verdict.passed for verdict in run_programs(slow, limits)] == [False, True] * 3
    assert run_programs([], limits) == []


# --- harmful ----------------------------------------------------------------------------------------------------------

FOREVER = "while True:\n    try:\n        while True: {}\n    except BaseException: pass"


@both
@pytest.mark.parametrize(
    ("program", "reasons"),
    [
        (FOREVER.format("pass"), ["time"]),
        (FOREVER.format("print('x' * 10**5)"), ["time"]),
        ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass", ["time"]),
        ("x = ' ' * (1 << 32)", ["memory"]),
        ("x = []\nwhile True: x.append(' ' * 10**7)", ["memory"]),
        ("import os\nwhile True: os.fork()", ["PermissionError", "BlockingIOError", "time"]),
        ("import os\nwhile os.fork() == 0: pass\nwhile True: pass", ["PermissionError", "BlockingIOError", "time"]),
        ("import threading, time\nfor _ in range(99): threading.Thread(target=time.sleep, args=(9,)).start()",
         ["RuntimeError: can't start new thread", "time", "memory"]),
        ("open('big', 'wb').write(b'x' * 10**7)", ["OSError: [Errno 27]"]),
        ("x = [open('x', 'w') for _ in range(200)]", ["OSError: [Errno 24]"]),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", ["PermissionError"]),
        ("import urllib.request\nurllib.request.urlopen('http://localhost:9')", ["<urlopen error", "PermissionError"]),
        ("import socket\nsocket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')", ["PermissionError"]),
        ("import os\nos.kill(os.getppid(), 9)", ["PermissionError"]),
        ("import os\nos.kill(-1, 9)", ["PermissionError", "ProcessLookupError"]),
        (f"import os\nos.system('touch {TOUCHED}')\nassert not 'started'",
         ["PermissionError", "wrong answer"]),
        ("import sys\nfor name in list(sys.modules): sys.modules.pop(name)\nraise KeyError", ["KeyError"]),
    ],
)  # fmt: skip
def test_a_harmful_program_fails_with_a_reason_in_time(program, reasons, kernel):
    started = time.monotonic()
    reason = run_program(program, QUICK, kernel).reason
    assert any(wanted in reason for wanted in reasons), reason
    assert time.monotonic() - started < 15
    assert not TOUCHED.exists()


@both
@pytest.mark.parametrize(
    "act",
    [
        "open({!r}, 'w')",
        "open({!r}, 'a').write('x')",
        "import os; os.remove({!r})",
        "import os; os.rename({!r}, 'mine')",
        "import os; os.truncate({!r}, 0)",
        "import pathlib; pathlib.Path({!r}).chmod(0)",
        "import sqlite3; sqlite3.connect({!r}).execute('create table t (x)')",
        "import shutil, os; shutil.rmtree(os.path.dirname({!r}))",
    ],
)
def test_files_outside_its_folder_stay_as_they_are(act, kernel, tmp_path):
    file = tmp_path / "inside" / "mine"
    file.parent.mkdir()
    file.write_text("kept")
    mode = file.stat().st_mode
    verdict = run_program(act.format(str(file)), QUICK, kernel)
    if not (kernel and "chmod" in act):  # Landlock does not know modes; another user's files it cannot reach at all
        assert "PermissionError" in verdict.reason or "unable to open database" in verdict.reason
        assert file.stat().st_mode == mode
    file.chmod(mode)
    assert file.read_text() == "kept"


def test_the_kernel_closes_what_python_s_hooks_do_not_see(tmp_path):
    """They see no named pipe; and reading they let pass."""
    if not {"landlock", "namespaces"} <= set(guards(ROOMY)):
        pytest.skip("this kernel has no Landlock or allows no namespaces")
    secret = tmp_path / "secret"
    secret.write_text("x")
    for act in (f"os.mkfifo({str(tmp_path / 'pipe')!r})", f"open({str(secret)!r})", "os.listdir('/home')"):
        assert run_program(f"import os\n{act}", ROOMY).reason.startswith("PermissionError: [Errno 13]")
    assert (
        run_program("import socket\nraise ValueError(socket.if_nameindex())", ROOMY).reason == "ValueError: [(1, 'lo')]"
    )


@both
def test_nothing_it_starts_outlives_it(kernel):
    """A process in a session of its own, started past every hook."""
    name = f"{'1' if kernel else '2'}{os.getpid()}"
    arguments = [[b"sleep", name.encode()], [b"/bin/sleep"], True, (), None, None, *[-1] * 7]
    program = (
        "import os, _posixsubprocess\nerror = os.pipe()[1]\n"
        f"_posixsubprocess.fork_exec(*{arguments!r}, error, True, True, -1, None, None, None, -1, None, True)\n"
    )
    assert run_program(program, QUICK, kernel).passed
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert f"sleep {name}" not in running


@both
def test_its_environment_is_empty_and_its_folder_its_own(kernel, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    program = (
        "import os, sys\nassert 'SECRET_TOKEN' not in os.environ\nassert os.listdir() == []\n"
        "assert os.environ['HOME'] == os.environ['TMPDIR'] == os.getcwd()\nassert 'eval' not in sys.path[0]\n"
        "os.mkdir('closed'); open('closed/x', 'w'); os.chmod('closed', 0)\nraise ValueError(os.getcwd())"
    )
    reason = run_program(program, ROOMY, kernel).reason
    assert reason.startswith("ValueError: /")
    assert not Path(reason.removeprefix("ValueError: ")).exists()


def test_sets_come_in_the_same_order_every_time():
    program = "raise ValueError(list({'a', 'b', 'c', 'd', 'e', 'f'}))"
    assert len({run_program(program, ROOMY).reason for _ in range(4)}) == 1


def test_where_nothing_can_pass_it_is_said(monkeypatch):
    monkeypatch.setattr(code_execution.sys, "executable", "/bin/false")
    with pytest.raises(UnusableInput, match=r"eval\.execution: not even a program without a mistake passes here"):
        run_programs(["pass"], QUICK)


@pytest.mark.parametrize("key", ["seconds", "memory_mb", "processes", "file_mb", "open_files", "workers"])
def test_limits_are_checked(key):
    with pytest.raises(BadConfiguration, match=rf"eval\.execution\.{key}=0: must be"):
        ExecutionConfig(**{key: 0})


# --- pass@k -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_choices_of_k_samples_in_which_one_passed(passed, data):
    k = data.draw(st.integers(1, len(passed)))
    chosen = list(combinations(passed, k))
    assert estimate(len(passed), sum(passed), k) == pytest.approx(sum(map(any, chosen)) / len(chosen))


def test_samples_are_counted_by_their_verdicts():
    results = [["passed", "time", "passed", "wrong answer"]]
    assert count({}, results, [1, 2]) == {"pass@1": 0.5, "pass@2": pytest.approx(5 / 6)}
