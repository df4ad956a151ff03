"""When a connection on which nobody calls is closed."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import wraps
from time import monotonic

from dcf.function.reply import encode
from dcf.settings import WatcherSettings
from dcf.watcher.admission import Dispatcher
from dcf.watcher.call import Call
from dcf.watcher.http.asgi import AsgiApp
from dcf.watcher.http.http_protocol import HttpProtocol
from dcf.watcher.http.server import WatcherServer
from dcf.watcher.lifecycle import Lifecycle

QUIET = 0.4
CALL = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
PROBE = b"GET /-/health HTTP/1.1\r\nhost: x\r\n\r\n"


def on_a_loop(test):
    @wraps(test)
    def run():
        asyncio.run(asyncio.wait_for(test(), 30))

    return run


class LateEcho:
    """Answers after a while, on the loop."""

    concurrency, generator, place = 1, False, "loop"

    def run(self, target: object, opened: Callable[[], object]) -> None: ...

    def __init__(self, dispatcher: Dispatcher, wait: float) -> None:
        self.dispatcher = dispatcher
        self.wait = wait

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call.outcome = encode(call.request.input)
            asyncio.get_running_loop().call_later(self.wait, self.dispatcher.answered, call)

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        return []

    def waiting(self) -> int:
        return 0

    def cancel(self, call: Call) -> None: ...

    def close(self) -> None: ...


@contextlib.asynccontextmanager
async def connected(
    wait: float = 0.0,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that closes quiet ones soon."""
    loop, reports = asyncio.get_running_loop(), os.open(os.devnull, os.O_WRONLY)
    settings, life = WatcherSettings(), Lifecycle(reports)
    dispatcher = Dispatcher(settings, life, loop, on_stuck=lambda _: None)
    dispatcher.open(LateEcho(dispatcher, wait))
    app = AsgiApp(dispatcher, settings, life, loop)
    server = WatcherServer(app, HttpProtocol, drain=1, on_started=lambda: None)

    def protocol() -> HttpProtocol:
        state = server.server_state
        one = HttpProtocol(config=server.config, server_state=state, app_state={}, app=app)
        one.timeout_keep_alive = QUIET  # type: ignore[assignment]  # uvicorn knows whole seconds
        return one

    listening = await loop.create_server(protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        listening.close()
        await listening.wait_closed()
        await asyncio.gather(*server.server_state.tasks)
        os.close(reports)


async def reply(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)


async def closed_after(reader: asyncio.StreamReader) -> float:
    begin = monotonic()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    return monotonic() - begin


@on_a_loop
async def test_it_is_closed_some_time_after_the_last_reply_whichever_way_that_went():
    for last in (CALL, PROBE):
        async with connected() as (reader, writer):
            for request in (CALL, PROBE, CALL, last):
                writer.write(request)
                await reply(reader)
                await asyncio.sleep(QUIET / 4)
            assert 0.5 * QUIET < await closed_after(reader) < 5 * QUIET


@on_a_loop
async def test_a_call_that_takes_longer_is_not_cut_off():
    async with connected(wait=2.5 * QUIET) as (reader, writer):
        for _ in range(2):
            writer.write(CALL)
            await reply(reader)
        assert 0.7 * QUIET < await closed_after(reader) < 5 * QUIET


@on_a_loop
async def test_calls_that_were_sent_ahead_are_all_answered_first():
    async with connected(wait=QUIET) as (reader, writer):
        writer.write(3 * CALL)
        for _ in range(3):
            await reply(reader)
        assert 0.7 * QUIET < await closed_after(reader) < 5 * QUIET
