"""Events wait for the disk, but nothing waits for events."""

import asyncio
import logging
import time

from dcf.controlplane.recording import Recorder
from dcf.errors import DiskFull
from dcf.model.event import Event, EventKind


class Paper:
    """A fake event log, which can be full or hang."""

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


def test_events_wait_while_the_disk_is_full_and_keep_their_order(caplog):
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


def test_an_event_that_cannot_be_recorded_delays_no_other():
    async def check() -> None:
        paper = Paper()
        recorder = Recorder(paper)  # type: ignore[arg-type]
        await recorder.record([event(1, "odd"), event(2)])
        assert paper.kept == ["2"]

    asyncio.run(check())


def test_a_hanging_disk_delays_a_turn_only_briefly():
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
