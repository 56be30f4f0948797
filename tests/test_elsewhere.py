"""An engine in another process: it answers, its errors are ours, and neither side outlives the other unnoticed."""

import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import REPOSITORY

from toedit.config import SynthesisConfig
from toedit.elsewhere import Elsewhere
from toedit.errors import BadConfiguration, UnusableInput

HERE = Path(sys.executable)


def ends(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_facts_and_answers_come_from_the_other_process():
    third = Elsewhere("third=1", HERE, Fraction, (1, 3), facts=("numerator", "denominator"))
    assert (third.numerator, third.denominator) == (1, 3)
    assert third.call("limit_denominator", 2) == Fraction(1, 2)
    assert third.call("__add__", Fraction(1, 6)) == Fraction(1, 2)
    assert third.process.poll() is None


def test_an_error_of_the_engine_is_the_same_error_here():
    with pytest.raises(BadConfiguration, match=r"synthesis\.engine=nonsense"):
        Elsewhere("engine=x", HERE, SynthesisConfig, ("nonsense",), facts=())


def test_its_death_is_one_line():
    third = Elsewhere("third=1", HERE, Fraction, (1, 3), facts=())
    third.process.kill()
    with pytest.raises(UnusableInput, match=r"^third=1: its process ended \(exit code -9\)") as error:
        third.call("limit_denominator", 2)
    assert "\n" not in str(error.value)


def test_a_python_that_cannot_begin_is_one_line(tmp_path):
    with pytest.raises(UnusableInput, match=r"^third=1: its process ended \(exit code 1\)"):
        Elsewhere("third=1", Path("/bin/false"), Fraction, (1, 3), facts=())


def test_it_ends_with_the_object_and_with_the_parent():
    third = Elsewhere("third=1", HERE, Fraction, (1, 3), facts=())
    process = third.process
    del third
    assert ends(process)

    parent = (
        "import sys, time; from fractions import Fraction; from pathlib import Path\n"
        "from toedit.elsewhere import Elsewhere\n"
        "third = Elsewhere('third=1', Path(sys.executable), Fraction, (1, 3), facts=())\n"
        "print(third.process.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=REPOSITORY) as killed:
        child = int(killed.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        killed.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the engine outlives a killed command"
        time.sleep(0.05)
