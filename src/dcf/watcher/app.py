"""Between the HTTP server and the lanes: one ASGI application (asgi.readthedocs.io, HTTP spec 2.x).

The life of a call: admitted or refused, body read, handed to the lane, answered. The common case
awaits three times: the body, the handler, the reply.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable

from dcf.errors import (
    BodyTooLarge,
    CallError,
    DcfError,
    FunctionNotFound,
    HandlerRaised,
    NotReady,
    Overloaded,
    UnsupportedReply,
)
from dcf.function.reply import Encoded
from dcf.function.request import Request
from dcf.model.replica import ReplicaState
from dcf.protocol import http
from dcf.protocol.problem import to_problem
from dcf.protocol.status import status_of
from dcf.settings import WatcherSettings
from dcf.telemetry.ids import new_request_id
from dcf.watcher.call import Call, CallState, Message, Receive
from dcf.watcher.lanes import Lane
from dcf.watcher.life import Life
from dcf.watcher.pipe import ChunkPipe
from dcf.watcher.server import BrokenStream
from dcf.watcher.sweeper import Sweeper
from dcf.watcher.whole import write_whole

Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_REQUEST_ID = http.REQUEST_ID.encode()
_DEADLINE_MS = http.DEADLINE_MS.encode()
_SERVER_TIMING = http.SERVER_TIMING.encode()
_RETRY_AFTER = http.RETRY_AFTER.encode()
logger = logging.getLogger("dcf.watcher")

_USABLE_MS = re.compile(rb"[0-9]{1,12}")
_USABLE_ID = re.compile(rb"[!-~]{1,128}")


class App:
    """The watcher's side of HTTP.

    Attributes:
        lane: Where the handler runs; None until it is ready.
        closing: Whether each reply also ends its connection, because the replica drains.
    """

    def __init__(
        self,
        settings: WatcherSettings,
        life: Life,
        loop: asyncio.AbstractEventLoop,
        on_stuck: Callable[[Call], None],
    ) -> None:
        self.lane: Lane | None = None
        self.closing = False
        self._settings = settings
        self._life = life
        self._loop = loop
        self._room = 0
        self._own_path = http.FUNCTION_PREFIX + settings.function
        self._sweeper = Sweeper(
            loop,
            settings.grace,
            on_slow=self._watch_client,
            on_expired=self._interrupt,
            on_stuck=on_stuck,
        )

    def open(self, lane: Lane) -> None:
        """Lets calls in, to be handled by ``lane``."""
        self.lane = lane
        self._room = lane.concurrency + self._settings.queue

    def answered(self, call: Call) -> None:
        """The handler's outcome for ``call`` is there, or the first chunk of it. On the loop."""
        if call.state is CallState.WAITING:
            call.answer()
        elif call.pipe is not None:
            call.pipe.abandon()

    def end_all(self, error: DcfError) -> None:
        """Gives up every call that is under way."""
        for call in self._sweeper:
            call.end(error)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        if scope["path"].startswith(http.OWN_PREFIX):
            await self._probe(scope["path"], send)
            return
        call = None
        try:
            call = self._admit(scope, receive)
            if await self._read(call):
                call.to(CallState.WAITING)
                self.lane.submit(call)  # type: ignore[union-attr]  # admitted, so there is a lane
                await call.ready
                await self._reply(call, send)
        except DcfError as error:
            await _refuse(error, scope, call, send)
        finally:
            if call is not None:
                self._room += 1
                self._sweeper.discard(call)

    async def _probe(self, path: str, send: Send) -> None:
        state = self._life.state
        known = path in {http.HEALTH, http.READY}
        good = path == http.HEALTH or (known and state is ReplicaState.READY)
        status = 200 if good else 503 if known else 404
        body = f'{{"state": "{state}"}}\n'.encode()
        await send_whole(status, [(b"content-type", http.JSON.encode())], body, send)

    def _admit(self, scope: Message, receive: Receive) -> Call:
        now, settings = time.monotonic(), self._settings
        request_id, deadline, rolling = b"", now + settings.timeout, settings.timeout
        last = False
        for name, value in scope["headers"]:
            if name == _REQUEST_ID and _USABLE_ID.fullmatch(value):
                request_id = value
            elif name == _DEADLINE_MS and _USABLE_MS.fullmatch(value):
                deadline, rolling = min(deadline, now + int(value) / 1000), 0.0
            elif name == b"connection":
                last = value.lower() == b"close"
            elif name == b"content-length" and int(value) > settings.max_body:
                raise BodyTooLarge(settings.max_body)
        if self.lane is None:
            raise NotReady(f"{settings.function} is {self._life.state}")
        if self._room <= 0:
            waiting = f"{self.lane.concurrency} running and {settings.queue} waiting"
            raise Overloaded(f"{settings.function} has {waiting} calls already")
        request_id = request_id or new_request_id()
        request = Request(
            method=scope["method"],
            path=self._path(scope["path"]),
            query=scope["query_string"],
            headers=scope["headers"],
            function=settings.function,
            request_id=request_id,
            ends=deadline,
        )
        call = Call(
            request,
            receive,
            self._loop.create_future(),
            request_id=request_id,
            last=last,
            arrived=now,
            deadline=deadline,
            rolling=rolling,
        )
        self._room -= 1
        self._sweeper.add(call)
        return call

    def _path(self, path: str) -> str:
        """The path that the handler sees, behind a gateway or not."""
        if not path.startswith(http.FUNCTION_PREFIX):
            return path
        if path == self._own_path:
            return "/"
        if path.startswith(self._own_path + "/"):
            return path[len(self._own_path) :]
        name = path.removeprefix(http.FUNCTION_PREFIX).partition("/")[0]
        near = (self._settings.function,)
        raise FunctionNotFound(f"this is {self._settings.function}, not {name}", near)

    async def _read(self, call: Call) -> bool:
        """Reads the body; False when the client went away before it was whole."""
        receive = call.receive
        call.reader = asyncio.current_task(self._loop)
        try:
            parts: list[bytes] = []
            size, limit = 0, self._settings.max_body
            while (message := await receive())["type"] == "http.request":
                body = message["body"]
                size += len(body)
                if size > limit:
                    raise BodyTooLarge(limit)
                if not message.get("more_body"):
                    call.unread = False
                    call.request.input = b"".join((*parts, body)) if parts else body
                    return True
                parts.append(body)
        except asyncio.CancelledError:
            if isinstance(call.outcome, DcfError):
                raise call.outcome from None
            raise
        finally:
            call.reader = None
        call.end(CallError("the client went away"))
        return False

    async def _reply(self, call: Call, send: Send) -> None:
        outcome = call.outcome
        if not isinstance(outcome, Encoded):
            raise outcome if outcome is not None else CallError("the handler gave no outcome")
        headers = [
            (b"content-type", outcome.content_type),
            (_REQUEST_ID, call.request_id),
            (_SERVER_TIMING, call.timing()),
            *outcome.headers,
        ]
        last = self.closing or call.last
        if last:
            headers.append((b"connection", b"close"))
        if isinstance(outcome.body, bytes):
            if not last and write_whole(send, outcome.status, headers, outcome.body):
                return
            await send_whole(outcome.status, headers, outcome.body, send)
        elif call.pipe is not None:
            self._watch_client(call)
            start = {"type": "http.response.start", "status": outcome.status, "headers": headers}
            await send(start)
            await _send_chunks(call, call.pipe, send)

    def _watch_client(self, call: Call) -> None:
        if call.watch is None:
            call.watch = self._loop.create_task(_until_gone(call))

    def _interrupt(self, call: Call) -> None:
        if self.lane is not None:
            self.lane.cancel(call)


async def _send_chunks(call: Call, pipe: ChunkPipe, send: Send) -> None:
    try:
        while (chunk := await pipe.get()) is not None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            call.progress()
    except CallError as error:
        # No reply can tell it any more, so the log does, however little else it may say.
        logger.critical("call %s broke off: %s", call.request.request_id, _reason(error))
        raise BrokenStream from error
    if call.state is CallState.ENDED:
        raise BrokenStream
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(call: Call) -> None:
    """Ends the call when its client goes away. Ends by itself when the reply is complete."""
    message = await call.receive()
    while message["type"] != "http.disconnect":
        message = await call.receive()
    if call.state is CallState.WAITING or call.pipe is not None:
        call.end(CallError("the client went away"))


async def send_whole(status: int, headers: Headers, body: bytes, send: Send) -> None:
    """Sends a reply whose body is all there."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(error: DcfError, scope: Message, call: Call | None, send: Send) -> None:
    """Sends ``error`` as a problem document."""
    if call is not None:
        request_id = call.request_id
        _log(call, error)
    else:
        request_id = dict(scope["headers"]).get(_REQUEST_ID, b"")
    headers = [(b"content-type", http.PROBLEM.encode()), (_REQUEST_ID, request_id)]
    if call is not None:
        headers.append((_SERVER_TIMING, call.timing()))
    if isinstance(error, Overloaded | NotReady):
        headers.append((_RETRY_AFTER, b"%d" % getattr(error, "retry_after", 1)))
    status = status_of(type(error)).http
    body = to_problem(error, request_id.decode("latin-1"))
    if call is None or call.unread or call.last:
        # The rest of a body that nobody reads must not be taken for the next request.
        headers.append((b"connection", b"close"))
    elif write_whole(send, status, headers, body):
        return
    await send_whole(status, headers, body, send)


def _log(call: Call, error: DcfError) -> None:
    if isinstance(error, HandlerRaised | UnsupportedReply):
        logger.error("call %s: %s", call.request.request_id, _reason(error))


def _reason(error: DcfError) -> str:
    return getattr(error, "traceback", "") or str(error)
