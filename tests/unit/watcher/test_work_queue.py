"""Items given to threads."""

import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from dcf.watcher.execution.work_queue import WorkQueue


@pytest.fixture
def handover():
    one = WorkQueue[int | None]()
    yield one
    one.close()


def takers(
    handover: WorkQueue[int | None], number: int
) -> tuple[list[threading.Thread], list[int]]:
    """Threads that take until they are given None, and what they took."""
    taken: list[int] = []

    def take() -> None:
        while (item := handover.take()) is not None:
            taken.append(item)

    threads = [threading.Thread(target=take) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, taken


def test_items_come_in_the_order_they_were_given(handover):
    handover.give([1, 2])
    handover.give([3])
    assert [handover.take() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_item_is_taken_once_whatever_the_threads_are_doing(handover, threads):
    """With the interpreter changing threads all the time, so that every order of things happens."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        started, taken = takers(handover, threads)
        for number in range(20_000):
            handover.give([number])
            if number % 500 == 0:
                time.sleep(0.002)  # now all of them wait
        handover.give([None] * threads)
        for thread in started:
            thread.join(10)
    finally:
        sys.setswitchinterval(before)
    assert not any(thread.is_alive() for thread in started)
    assert Counter(taken) == Counter(range(20_000))
    if threads == 1:
        assert taken == sorted(taken)


def test_as_many_threads_wake_as_there_is_work_for(handover):
    meeting = threading.Barrier(3, timeout=10)

    def take() -> None:
        handover.take()
        meeting.wait()  # all three work at one time

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    handover.give([1, 2, 3])
    for thread in threads:
        thread.join(10)
    assert not meeting.broken


def test_a_closed_handover_leaves_no_file_open_and_wakes_nobody():
    before = sum(1 for _ in Path("/dev/fd").iterdir())
    one = WorkQueue[int]()
    one.close()
    assert sum(1 for _ in Path("/dev/fd").iterdir()) == before
    one.give([1])
