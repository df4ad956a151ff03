"""A watcher's connection without a network: the calls that bytes become, and the replies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from dcf.function.reply import encode
from dcf.settings import WatcherSettings
from dcf.watcher.admission import Dispatcher
from dcf.watcher.call import Call
from dcf.watcher.http.asgi import AsgiApp
from dcf.watcher.http.http_protocol import HttpProtocol
from dcf.watcher.http.server import WatcherServer
from dcf.watcher.lifecycle import Lifecycle

QUIET = 12
"""Iterations of the loop without a call or a reply after which the connection counts as idle."""

Seen = tuple[str, str, dict[str, str], dict[str, str], bytes]
"""A call: method, path, query, headers and body."""


class Pipe(asyncio.Transport):
    """A connection's transport that keeps what is written."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self._loop = loop
        self._closing = False
        self._protocol: asyncio.BaseProtocol | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:  # the name that asyncio uses
            self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self.get_protocol().connection_lost, None)

    abort = close


class Echo:
    """An executor that records each call and answers with its body at once."""

    concurrency, generator, place = 1, False, "loop"

    def run(self, target: object, opened: Callable[[], object]) -> None: ...

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.seen: list[Seen] = []
        self._dispatcher = dispatcher

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            request = call.request
            messages = [request.input] if call.requests is None else call.requests._messages
            body = b"".join(messages)
            seen = (request.method, request.path, request.query, dict(request.headers), body)
            self.seen.append(seen)
            call.outcome = encode(body)
            asyncio.get_running_loop().call_soon(self._dispatcher.answered, call)

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        return []

    def waiting(self) -> int:
        return 0

    def cancel(self, call: Call) -> None: ...

    def close(self) -> None: ...


class Errors(logging.Handler):
    """Keeps lines of errors: no input of a client may cause an error line."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Served:
    """The result of a connection's bytes.

    Attributes:
        calls: The calls, in order.
        written: The bytes of the replies.
        closed: Whether the watcher closed the connection.
        errors: The error lines of the log.
    """

    calls: list[Seen] = field(default_factory=list)
    written: bytes = b""
    closed: bool = False
    errors: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def watcher(settings: WatcherSettings) -> AsyncIterator[tuple[AsgiApp, WatcherServer, Echo]]:
    """Return a ready watcher without a listener."""
    loop, reports = asyncio.get_running_loop(), os.open(os.devnull, os.O_WRONLY)
    life = Lifecycle(reports)
    dispatcher = Dispatcher(settings, life, loop, on_stuck=lambda _: None)
    echo = Echo(dispatcher)
    dispatcher.open(echo)
    app = AsgiApp(dispatcher, settings, life, loop)
    server = WatcherServer(app, HttpProtocol, drain=1, on_started=lambda: None)
    try:
        yield app, server, echo
    finally:
        os.close(reports)


async def serve(pieces: Sequence[bytes], settings: WatcherSettings) -> Served:
    """Send ``pieces`` on one connection, one after another, and close it."""
    loop = asyncio.get_running_loop()
    errors = Errors()
    logging.getLogger().addHandler(errors)
    try:
        async with watcher(settings) as (app, server, echo):
            state = server.server_state
            protocol = HttpProtocol(config=server.config, server_state=state, app_state={}, app=app)
            pipe = Pipe(loop)
            pipe.set_protocol(protocol)
            protocol.connection_made(pipe)
            for piece in filter(None, pieces):
                if not pipe.reading:
                    await _rest(pipe, echo)
                if pipe.is_closing():
                    break
                cast("asyncio.Protocol", pipe.get_protocol()).data_received(piece)
            await _rest(pipe, echo)
            closed = pipe.is_closing()
            pipe.close()
            await _rest(pipe, echo)
            await asyncio.gather(*state.tasks)
            return Served(echo.seen, pipe.written, closed, errors.lines)
    finally:
        logging.getLogger().removeHandler(errors)


async def _rest(pipe: Pipe, echo: Echo) -> None:
    last, quiet = (0, 0), 0
    while quiet < QUIET:
        await asyncio.sleep(0)
        now = (len(pipe.written), len(echo.seen))
        quiet = quiet + 1 if now == last else 0
        last = now
