"""Events wait for the disk, and nothing waits for events."""

import asyncio
import logging
import time

from dcf.controlplane.recording import Recorder
from dcf.errors import DiskFull
from dcf.model.event import Event, EventKind


class Paper:
    """A journal that can be full, or stand still."""

    def __init__(self) -> None:
        self.full = False
        self.delay = 0.0
        self.kept: list[str] = []

    def record(self, event: Event) -> bool:
        time.sleep(self.delay)
        if self.full:
            raise DiskFull("no space is left")
        if event.function == "odd":
            raise RuntimeError("a defect")
        self.kept.append(event.key)
        return True


def event(key: int, function: str = "a") -> Event:
    return Event(function, EventKind.CRASHED, 1.0, 1, str(key))


def test_events_wait_on_a_full_disk_and_come_in_their_order(caplog):
    async def check() -> None:
        paper = Paper()
        recorder = Recorder(paper, waiting=3)  # type: ignore[arg-type]
        paper.full = True
        for number in range(5):
            await recorder.record([event(number)])
        assert recorder.is_behind
        paper.full = False
        await recorder.record([])
        assert paper.kept == ["2", "3", "4"]
        assert not recorder.is_behind

    with caplog.at_level(logging.INFO, "dcf.controlplane"):
        asyncio.run(check())
    assert "2 were dropped" in caplog.text


def test_an_event_that_cannot_be_recorded_keeps_no_other_one_back():
    async def check() -> None:
        paper = Paper()
        recorder = Recorder(paper)  # type: ignore[arg-type]
        await recorder.record([event(1, "odd"), event(2)])
        assert paper.kept == ["2"]

    asyncio.run(check())


def test_a_disk_that_stands_still_keeps_no_turn_waiting_for_long():
    async def check() -> None:
        paper = Paper()
        paper.delay = 1.5
        recorder = Recorder(paper)  # type: ignore[arg-type]
        began = time.monotonic()
        await recorder.record([event(1)])
        assert time.monotonic() - began < 1.4
        await recorder.close()
        assert paper.kept == ["1"]

    asyncio.run(check())
