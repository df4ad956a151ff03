"""A limited number of builds runs at a time. The others wait in order."""

import threading

import pytest

from dcf.builder.slots import Slots
from dcf.builder.uv import BuildStop
from dcf.errors import BuildError
from unit.builder.kit import Heard, wait_until


class Waiting(threading.Thread):
    """A build that works as soon as it has a slot, until the test ends it."""

    def __init__(self, slots: Slots) -> None:
        super().__init__()
        self.heard = Heard()
        self.stop = BuildStop()
        self.works = threading.Event()
        self.go = threading.Event()
        self.error: BuildError | None = None
        self._slots = slots
        self.start()

    def run(self) -> None:
        try:
            with self._slots.taken(self.heard, self.stop):
                self.works.set()
                self.go.wait(20)
        except BuildError as error:
            self.error = error

    def is_told(self, position: int) -> bool:
        wanted = f"Waiting for other builds: position {position} in the queue (1 at a time)"
        return self.heard.notices[-1:] == [wanted]

    def end(self) -> None:
        self.go.set()
        self.join()


def test_builds_wait_in_order_and_report_their_position() -> None:
    slots = Slots(1)
    first = Waiting(slots)
    assert first.works.wait(20)
    second = Waiting(slots)
    wait_until(lambda: second.is_told(1))
    third = Waiting(slots)
    wait_until(lambda: third.is_told(2))
    first.end()
    assert second.works.wait(20)
    wait_until(lambda: third.is_told(1))
    assert not third.works.is_set()
    second.end()
    assert third.works.wait(20)
    third.end()
    assert first.heard.notices == []


def test_a_build_that_is_cancelled_leaves_the_queue() -> None:
    slots = Slots(1)
    first = Waiting(slots)
    assert first.works.wait(20)
    second = Waiting(slots)
    wait_until(lambda: second.is_told(1))
    third = Waiting(slots)
    wait_until(lambda: third.is_told(2))
    second.stop.set()
    second.join()
    assert str(second.error) == "the build was cancelled"
    wait_until(lambda: third.is_told(1))
    first.end()
    assert third.works.wait(20)
    third.end()


def test_a_limit_of_0_means_no_limit() -> None:
    slots, heard = Slots(0), Heard()
    with (
        slots.taken(heard, BuildStop()),
        slots.taken(heard, BuildStop()),
        slots.taken(heard, BuildStop()),
    ):
        assert heard.notices == []


def test_a_build_that_fails_releases_its_slot() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.taken(Heard(), BuildStop()):
        raise ZeroDivisionError
    with slots.taken(heard := Heard(), BuildStop()):
        assert heard.notices == []
