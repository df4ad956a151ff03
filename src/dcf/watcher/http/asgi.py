"""Calls by ASGI (asgi.readthedocs.io, HTTP spec 2.x): bodies that come in parts, and probes.

The common call is whole when it comes and does not pass here:
:mod:`dcf.watcher.http.http_protocol`. Replies in chunks do, whichever way their call came.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from dcf.errors import BodyTooLarge, CallError, DcfError
from dcf.function.reply import Encoded
from dcf.model.replica import ReplicaState
from dcf.protocol import http
from dcf.protocol.stream import StreamFailure
from dcf.settings import WatcherSettings
from dcf.watcher import revoked
from dcf.watcher.admission import Dispatcher
from dcf.watcher.call import Call, CallState, Message, Receive
from dcf.watcher.execution.response_stream import ResponseStream
from dcf.watcher.http.body_decoders import ChunkDecoder, LineDecoder
from dcf.watcher.http.responses import Headers, headers_of, reason, refusal, told
from dcf.watcher.http.server import BrokenStream
from dcf.watcher.http.stream_encoders import RAW
from dcf.watcher.http.unread import Unread
from dcf.watcher.lifecycle import Lifecycle

Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger("dcf.watcher")

INTERIM = "dcf.interim"
"""Key of the ASGI scope for a function that writes an interim response (100 Continue)."""


class AsgiApp:
    """The watcher's ASGI application.

    Attributes:
        desk: Lets calls in.
        settings: Bounds.
        unread: Disconnects clients that do not read.
    """

    def __init__(
        self,
        settings: WatcherSettings,
        life: Lifecycle,
        loop: asyncio.AbstractEventLoop,
        on_stuck: Callable[[Call], None],
    ) -> None:
        """An application that lets nobody in yet; arguments as for :class:`Dispatcher`."""
        self.desk = Dispatcher(settings, life, loop, on_slow=self._watch_client, on_stuck=on_stuck)
        self.settings = settings
        self.unread = Unread(loop, settings.idle_timeout)
        self._life = life
        self._loop = loop

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        call = None
        try:
            if scope["path"].startswith(http.OWN_PREFIX):
                self.desk.check_host(scope["headers"])
                if scope["path"] == http.REVOKED and scope["method"] == "POST":
                    await self._revoke(scope, receive, send)
                else:
                    await self._probe(scope, send)
                return
            settled: asyncio.Future[None] = self._loop.create_future()
            call = self.desk.admit(
                scope["method"],
                scope["path"],
                scope["query_string"],
                scope["headers"],
                settled=lambda _: _resolve(settled),
                receive=receive,
            )
            call.interim = scope.get(INTERIM)
            if self.desk.is_stream(call):
                self._open_stream(call, receive)
            elif await self._read(call, receive):
                self.desk.submit(call)
            else:
                return
            await settled
            await self.reply(call, send)
        except DcfError as error:
            await _refuse(error, scope, call, send)
        finally:
            if call is not None:
                self.desk.release(call)
                if call.inbox is not None:
                    call.inbox.abandon()

    async def _probe(self, scope: Message, send: Send) -> None:
        path, state = scope["path"], self._life.state
        if path == http.LOAD and self.settings.call_table:
            if scope["method"] == "POST":
                count = scope["query_string"].removeprefix(b"hand-back=")
                if count.isdigit():
                    self.desk.hand_back("another replica is less busy", int(count[:9]))
            body = json.dumps(self.desk.load()).encode()
            await _send_whole(200, [(b"content-type", http.JSON.encode())], body, send)
            return
        known = path in {http.HEALTH, http.READY}
        good = path == http.HEALTH or (known and state is ReplicaState.READY)
        status = 200 if good else 503 if known else 404
        body = f'{{"state": "{state}"}}\n'.encode()
        await _send_whole(status, [(b"content-type", http.JSON.encode())], body, send)

    async def _revoke(self, scope: Message, receive: Receive, send: Send) -> None:
        body, more = b"", True
        try:
            while more:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > revoked.LARGEST:
                    raise BodyTooLarge(revoked.LARGEST)
                more = message.get("more_body", False)
            self.desk.revoke(body)
        except DcfError as error:
            await _refuse(error, scope, None, send)
        else:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def _read(self, call: Call, receive: Receive) -> bool:
        """Reads the body; False when the client went away before it was whole."""
        call.waiter = asyncio.current_task(self._loop)
        bodies = self.desk.bodies
        bodies.begin(call)
        try:
            parts: list[bytes] = []
            size, limit = 0, self.desk.max_body
            while (message := await receive())["type"] == "http.request":
                body = message["body"]
                size += len(body)
                if size > limit:
                    raise BodyTooLarge(limit)
                bodies.add(call, len(body))
                if not message.get("more_body"):
                    bodies.complete(call)
                    call.whole(b"".join((*parts, body)) if parts else body)
                    return True
                parts.append(body)
                await bodies.room(call)
        except asyncio.CancelledError:
            if call.failure is not None:
                raise call.failure from None
            raise
        finally:
            call.waiter = None
        call.end(CallError("the client went away"))
        return False

    def _open_stream(self, call: Call, receive: Receive) -> None:
        """Lets the handler have the body while it comes, and reply meanwhile."""
        room = asyncio.Event()
        self.desk.open_stream(call, room.set)
        body = LineDecoder(self.settings.max_message) if call.lines else ChunkDecoder()
        call.watch = self._loop.create_task(self._pass_on(call, receive, body, room))

    async def _pass_on(
        self, call: Call, receive: Receive, body: LineDecoder | ChunkDecoder, room: asyncio.Event
    ) -> None:
        """Passes a body on. Ends when its client is gone, or the reply is complete."""
        try:
            while (message := await receive())["type"] == "http.request":
                messages = body.take(message["body"])
                last = not message.get("more_body")
                if last:
                    messages += body.rest()
                room.clear()
                if not self.desk.pass_on(call, messages):
                    await room.wait()
                if last:
                    self.desk.no_more(call)
        except DcfError as error:
            call.end(error)
        else:
            call.end(CallError("the client went away"))

    async def reply(self, call: Call, send: Send) -> None:
        """Sends the outcome of a call that is settled.

        Raises:
            DcfError: Where the outcome is one; nothing was sent.
            BrokenStream: When the reply broke off after it had begun.
        """
        outcome = call.verdict
        if not isinstance(outcome, Encoded):
            raise outcome if outcome is not None else CallError("the handler gave no outcome")
        headers = headers_of(call, outcome)
        if self.desk.closing or call.last:
            headers.append((b"connection", b"close"))
        if call.pipe is None:
            body = outcome.body if isinstance(outcome.body, bytes) else None
            await _send_whole(outcome.status, headers, body, send)
        else:
            self._watch_client(call)
            start = {"type": "http.response.start", "status": outcome.status, "headers": headers}
            await send(start)
            await _send_chunks(call, call.pipe, send)

    def _watch_client(self, call: Call) -> None:
        if call.watch is None and call.receive is not None:
            call.watch = self._loop.create_task(_until_gone(call, call.receive))


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():  # else the server ended the task that waited
        future.set_result(None)


async def _send_chunks(call: Call, pipe: ResponseStream, send: Send) -> None:
    error: DcfError | None = None
    try:
        while (chunk := await pipe.get()) is not None:
            call.waiter = asyncio.current_task()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            call.waiter = None
            call.progress()
    except asyncio.CancelledError:
        # The reader has stood still for too long: not even the error would reach it.
        if call.failure is None:
            raise
        raise BrokenStream from call.failure
    except CallError as failure:
        # Most forms cannot tell it any more, so the log does, however little else it may say.
        logger.critical("call %s broke off: %s", call.request.request_id, reason(failure))
        error = failure
    if call.state is CallState.ENDED:
        error = call.failure
    form = call.form or RAW
    if error is None:
        last = form.end()
    else:
        last = form.failure(StreamFailure(told(error, call)), call.request.request_id)
        if not last:
            raise BrokenStream from error
    await send({"type": "http.response.body", "body": last, "more_body": False})


async def _until_gone(call: Call, receive: Receive) -> None:
    """Ends the call when its client goes away. Ends by itself when the reply is complete."""
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
    if call.state is CallState.WAITING or call.pipe is not None:
        call.end(CallError("the client went away"))


async def _send_whole(status: int, headers: Headers, body: bytes | None, send: Send) -> None:
    """Send a whole reply; :class:`ReplyCycle` leaves out what must not be sent.

    A body of None stands for a generator that was closed unsent, so its length is unknown.
    """
    if body is not None:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body or b""})


async def _refuse(error: DcfError, scope: Message, call: Call | None, send: Send) -> None:
    """Sends ``error`` as a problem document."""
    status, headers, body = refusal(error, call, scope["headers"])
    if call is None or call.unread or call.last:
        # The rest of a body that nobody reads must not be taken for the next request.
        headers.append((b"connection", b"close"))
    await _send_whole(status, headers, body, send)
