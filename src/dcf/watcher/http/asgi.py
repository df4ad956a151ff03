"""Calls by ASGI (asgi.readthedocs.io, HTTP spec 2.x): bodies that arrive in parts, and probes.

Most calls arrive completely at once and do not use this module: see
:mod:`dcf.watcher.http.http_protocol`. Replies in chunks use it, however their call arrived.
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
from dcf.watcher.call import WHOLE, BodyKind, Call, CallState, Message, Receive, Recipient
from dcf.watcher.execution.response_stream import ResponseStream
from dcf.watcher.http.body_decoders import ChunkDecoder, LineDecoder
from dcf.watcher.http.responses import (
    Headers,
    Response,
    reason,
    refusal,
    response_to,
    visible_error,
)
from dcf.watcher.http.server import BrokenStream
from dcf.watcher.http.stream_encoders import RAW
from dcf.watcher.http.unread import Unread
from dcf.watcher.lifecycle import Lifecycle

Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger("dcf.watcher")

INTERIM = "dcf.interim"
"""Key of the ASGI scope for a function that writes an interim response (100 Continue)."""

_JSON = (b"content-type", http.JSON.encode())


class AsgiRecipient(Recipient):
    """A task of the application that waits for a call.

    Attributes:
        receive: ASGI's ``receive``.
        last: Whether the client wants its connection closed after the reply.
        is_settled: Is set once the call has an outcome.
        watcher: The task that waits for the client to disconnect; None for most calls.
    """

    __slots__ = (
        "_interim", "can_announce", "is_settled", "last", "receive", "waiter", "watcher",
    )  # fmt: skip

    def __init__(
        self, receive: Receive, interim: Callable[[], None] | None = None, *, last: bool = False
    ) -> None:
        self.receive = receive
        self.last = last
        self.is_settled = asyncio.Event()
        self.waiter: asyncio.Task[None] | None = None
        self.watcher: asyncio.Task[None] | None = None
        self.can_announce = interim is not None
        self._interim = interim

    def settled(self, call: Call) -> None:  # noqa: ARG002  the interface's
        """Wake the task."""
        self.is_settled.set()

    def announce(self) -> None:
        """Write an interim response."""
        if self._interim is not None:
            self._interim()

    def watch(self, call: Call) -> None:
        """Start the task that waits for the client to disconnect."""
        if self.watcher is None:
            waits = _end_when_disconnected(call, self.receive)
            self.watcher = asyncio.get_running_loop().create_task(waits)


class AsgiApp:
    """The watcher's ASGI application.

    Attributes:
        dispatcher: Admits calls.
        settings: Limits.
        unread: Disconnects clients that do not read.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: WatcherSettings,
        life: Lifecycle,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Create the application.

        Args:
            dispatcher: Admits calls.
            settings: Limits.
            life: The replica's state, for probes.
            loop: The server's loop.
        """
        self.dispatcher = dispatcher
        self.settings = settings
        self.unread = Unread(loop, settings.idle_timeout)
        self._life = life

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        call, last, dispatcher = None, True, self.dispatcher
        try:
            if scope["path"].startswith(http.OWN_PREFIX):
                dispatcher.check_host(scope["headers"])
                if scope["path"] == http.REVOKED and scope["method"] == "POST":
                    await self._revoke(scope, receive, send)
                else:
                    await self._probe(scope, send)
                return
            last = _wants_close(scope["headers"])
            recipient = AsgiRecipient(receive, scope.get(INTERIM), last=last)
            call = dispatcher.admit(
                scope["method"], scope["path"], scope["query_string"], scope["headers"], recipient
            )
            if call.body_kind is not WHOLE:
                self._open_stream(call, recipient)
            elif await self._read(call, recipient):
                dispatcher.submit(call)
            else:
                return
            await recipient.is_settled.wait()
            await self.reply(call, recipient, send)
        except DcfError as error:
            response = refusal(error, call, scope["headers"])
            # The rest of an unread body must not be read as the next request.
            close = call is None or call.is_unread or last
            await _send_whole(response, send, last=close)
        finally:
            if call is not None:
                dispatcher.release(call)
                if call.requests is not None:
                    call.requests.abandon()

    async def _probe(self, scope: Message, send: Send) -> None:
        path, state = scope["path"], self._life.state
        if path == http.LOAD and self.settings.call_table:
            if scope["method"] == "POST":
                count = scope["query_string"].removeprefix(b"hand-back=")
                if count.isdigit():
                    self.dispatcher.hand_back("another replica is less busy", int(count[:9]))
            body = json.dumps(self.dispatcher.load()).encode()
            await _send_whole((200, [_JSON], body), send)
            return
        is_known = path in {http.HEALTH, http.READY}
        is_good = path == http.HEALTH or (is_known and state is ReplicaState.READY)
        status = 200 if is_good else 503 if is_known else 404
        await _send_whole((status, [_JSON], f'{{"state": "{state}"}}\n'.encode()), send)

    async def _revoke(self, scope: Message, receive: Receive, send: Send) -> None:
        body, more = b"", True
        try:
            while more:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > revoked.LARGEST:
                    raise BodyTooLarge(revoked.LARGEST)
                more = message.get("more_body", False)
            self.dispatcher.revoke(body)
        except DcfError as error:
            await _send_whole(refusal(error, None, scope["headers"]), send, last=True)
        else:
            await _send_whole((204, [], None), send)

    async def _read(self, call: Call, recipient: AsgiRecipient) -> bool:
        """Read the body. Return False if the client disconnected before it was complete."""
        recipient.waiter = asyncio.current_task()
        bodies = self.dispatcher.bodies
        bodies.begin(call)
        try:
            parts: list[bytes] = []
            size, limit = 0, self.dispatcher.max_body
            while (message := await recipient.receive())["type"] == "http.request":
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
            recipient.waiter = None
        call.end(CallError("the client disconnected"))
        return False

    def _open_stream(self, call: Call, recipient: AsgiRecipient) -> None:
        """Pass the body to the handler while it arrives, and send replies meanwhile."""
        room = asyncio.Event()
        self.dispatcher.open_stream(call, room.set)
        body = decoder_of(call, self.settings.max_message)
        passes_on = self._pass_on(call, recipient.receive, body, room)
        recipient.watcher = asyncio.get_running_loop().create_task(passes_on)

    async def _pass_on(
        self, call: Call, receive: Receive, body: LineDecoder | ChunkDecoder, room: asyncio.Event
    ) -> None:
        """Pass a body on until its client disconnects or the reply is complete."""
        try:
            while (message := await receive())["type"] == "http.request":
                messages = body.take(message["body"])
                last = not message.get("more_body")
                if last:
                    messages += body.rest()
                room.clear()
                if not self.dispatcher.pass_on(call, messages):
                    await room.wait()
                if last:
                    self.dispatcher.no_more(call)
        except DcfError as error:
            call.end(error)
        else:
            call.end(CallError("the client disconnected"))

    async def reply(self, call: Call, recipient: AsgiRecipient, send: Send) -> None:
        """Send the response to a call that is settled.

        Raises:
            BrokenStream: If the reply broke off after it had begun.
        """
        response, is_reply = response_to(call), isinstance(call.verdict, Encoded)
        # The rest of an unread body must not be read as the next request.
        last = recipient.last or (self.dispatcher.closing if is_reply else call.is_unread)
        if call.replies is None or not is_reply:
            await _send_whole(response, send, last=last)
        else:
            recipient.watch(call)
            await _send_head(response, send, last=last)
            await _send_chunks(call, call.replies, recipient, send)


def decoder_of(call: Call, longest: int) -> LineDecoder | ChunkDecoder:
    """Return the decoder for the body of a stream over HTTP.

    Args:
        call: The call.
        longest: Maximum length of a line in bytes.
    """
    return LineDecoder(longest) if call.body_kind is BodyKind.LINES else ChunkDecoder()


def _wants_close(headers: Headers) -> bool:
    values = [value for name, value in headers if name == b"connection"]
    return bool(values) and values[-1].lower() == b"close"


async def _send_chunks(
    call: Call, replies: ResponseStream, recipient: AsgiRecipient, send: Send
) -> None:
    error: DcfError | None = None
    try:
        while (chunk := await replies.get()) is not None:
            recipient.waiter = asyncio.current_task()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            recipient.waiter = None
            call.progress()
    except asyncio.CancelledError:
        # The reader has not read for too long, so it would not read the error either.
        if call.failure is None:
            raise
        raise BrokenStream from call.failure
    except CallError as failure:
        # Most encodings cannot express an error in the middle, so log it at every log level.
        logger.critical("call %s broke off: %s", call.request.request_id, reason(failure))
        error = failure
    if call.state is CallState.ENDED:
        error = call.failure
    encoder = (call.stream and call.stream.encoder) or RAW
    if error is None:
        last = encoder.end()
    else:
        broken = StreamFailure(visible_error(error, call))
        last = encoder.failure(broken, call.request.request_id)
        if not last:
            raise BrokenStream from error
    await send({"type": "http.response.body", "body": last, "more_body": False})


async def _end_when_disconnected(call: Call, receive: Receive) -> None:
    """End the call when its client disconnects. Return when the reply is complete."""
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
    if call.state is CallState.WAITING or call.replies is not None:
        call.end(CallError("the client disconnected"))


async def _send_head(response: Response, send: Send, *, last: bool) -> None:
    status, headers, _ = response
    if last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _send_whole(response: Response, send: Send, *, last: bool = False) -> None:
    """Send a whole response. :class:`ReplyCycle` removes content that must not be sent."""
    _, headers, body = response
    if body is not None:
        headers.append((b"content-length", b"%d" % len(body)))
    await _send_head(response, send, last=last)
    await send({"type": "http.response.body", "body": body or b""})
