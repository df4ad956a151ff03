"""What an observer of calls is notified of."""

import asyncio
import os

from dcf.function.reply import encode
from dcf.settings import WatcherSettings
from dcf.watcher.admission import Dispatcher
from dcf.watcher.call import Call, Recipient
from dcf.watcher.lifecycle import Lifecycle
from property.served import Echo


class Notes:
    def __init__(self) -> None:
        self.events: list[tuple[str, Call, object]] = []

    def admitted(self, call: Call) -> None:
        self.events.append(("admitted", call, call.verdict))

    def released(self, call: Call) -> None:
        self.events.append(("released", call, call.verdict))


def test_an_observer_sees_a_call_when_it_is_admitted_and_when_it_is_released():
    async def check() -> None:
        notes, reports = Notes(), os.open(os.devnull, os.O_WRONLY)
        dispatcher = Dispatcher(
            WatcherSettings(),
            Lifecycle(reports),
            asyncio.get_running_loop(),
            on_stuck=lambda _: None,
            observer=notes,
        )
        dispatcher.open(Echo(dispatcher))
        call = dispatcher.admit("POST", "/", b"", [], Recipient())
        call.whole(b"body")
        dispatcher.submit(call)
        for _ in range(3):
            await asyncio.sleep(0)
        dispatcher.release(call)
        assert notes.events == [("admitted", call, None), ("released", call, encode(b"body"))]
        os.close(reports)

    asyncio.run(check())


def test_a_small_call_has_no_objects_for_streams_and_bodies_in_parts():
    async def check() -> None:
        reports = os.open(os.devnull, os.O_WRONLY)
        loop = asyncio.get_running_loop()
        life = Lifecycle(reports)
        dispatcher = Dispatcher(WatcherSettings(), life, loop, on_stuck=lambda _: None)
        dispatcher.open(Echo(dispatcher))
        call = dispatcher.admit("POST", "/", b"", [], Recipient())
        call.whole(b"body")
        dispatcher.submit(call)
        for _ in range(3):
            await asyncio.sleep(0)
        dispatcher.release(call)
        assert call.verdict == encode(b"body")
        assert call.stream is None
        assert call.body is None
        assert call.announce is None
        os.close(reports)

    asyncio.run(check())
