"""Workers: results in the order of the tasks, errors as they are, and no silence when a worker dies."""

import os

import pytest

from toedit.errors import Interrupted, UnusableInput
from toedit.workers import in_order


def prepare(offset: int):
    def work(number: int, what: str) -> int:
        if what == "refuse":
            raise UnusableInput(f"shard {number}: damaged")
        if what == "die":
            os._exit(9)
        return number + offset

    return work


@pytest.mark.parametrize("processes", [1, 2, None])
def test_results_come_in_the_order_of_the_tasks(processes):
    assert list(in_order(prepare, (100,), [(number, "add") for number in range(9)], processes)) == list(range(100, 109))
    assert list(in_order(prepare, (100,), [], processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_is_raised_as_it_is(processes):
    results = in_order(prepare, (0,), [(0, "add"), (1, "refuse"), (2, "add")], processes)
    assert next(results) == 0
    with pytest.raises(UnusableInput, match="shard 1: damaged"):
        next(results)


def test_a_worker_that_dies_interrupts_the_run():
    with pytest.raises(Interrupted, match="same command resumes"):
        list(in_order(prepare, (0,), [(0, "die"), (1, "add")], 2))
