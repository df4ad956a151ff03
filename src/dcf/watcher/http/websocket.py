"""A stream on a WebSocket (RFC 6455), directly between the connection and the handler.

The WebSocket takes the connection over from HTTP after an upgrade request. It does not use ASGI:
the messages of one read go to the handler as one batch, and all available replies leave in one
write. The library ``websockets`` does handshake, control frames and closing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast
from urllib.parse import unquote

from dcf.errors import BadRequest, BodyTooLarge, CallError, DcfError, NotReady, PathUnknown
from dcf.protocol import http
from dcf.protocol.stream import (
    CONTROL,
    SUBPROTOCOL,
    CloseCode,
    StreamFailure,
    close_code,
    close_reason,
    read_control,
)
from dcf.settings import WatcherSettings
from dcf.watcher.admission import Dispatcher
from dcf.watcher.call import Call, CallState, Recipient
from dcf.watcher.execution.response_stream import ResponseStream
from dcf.watcher.http import ws_handshake
from dcf.watcher.http.responses import Headers, log_failure, visible_error
from dcf.watcher.http.stream_encoders import WebSocketEncoder, is_utf8
from dcf.watcher.http.third_party import PayloadTooBig, ServerProtocol, ServerState, State
from dcf.watcher.http.ws_frames import PONG, WebSocketFrameReader

PATIENCE = 5.0
"""Seconds that a client may take to close its connection after the stream has ended."""

UNCOUNTED = 64 * 1024
"""Bytes of an incomplete message that do not count towards the limit of bodies in memory."""

_CONTROL = CONTROL.encode()

logger = logging.getLogger("dcf.watcher.http.websocket")
# The library logs every connection, which would hide the important lines.
logger.addFilter(lambda record: record.levelno >= logging.WARNING)


class WebSocket(asyncio.Protocol, Recipient):
    """One connection, from the upgrade request on."""

    def __init__(
        self,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
        server_state: ServerState,
        settings: WatcherSettings,
    ) -> None:
        """Take over a connection after an upgrade request.

        Args:
            transport: The connection. This object becomes its protocol.
            dispatcher: Admits streams.
            server_state: Contains the connections for which uvicorn waits when it ends.
            settings: Limits.
        """
        self._transport = transport
        self._dispatcher = dispatcher
        self._connections = cast("set[Any]", server_state.connections)
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol(
            select_subprotocol=ws_handshake.select, max_size=settings.max_message, logger=logger
        )
        self._frames = WebSocketFrameReader(self._protocol, settings.max_message)
        self._call: Call | None = None
        self._encoder = WebSocketEncoder(words=False)
        self._words = False
        self._has_ended = False
        self._is_over = False
        self._has_closed = False
        self._is_alive = True
        self._reads = True
        self._waits: asyncio.Task[None] | None = None
        self._writes = True
        self._pong = b""
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self._connections.add(self)
        transport.set_protocol(self)

    # The handshake

    def open(self, method: str, url: bytes, headers: Headers) -> None:
        """Accept the handshake, or reject it.

        Args:
            method: The request's method.
            url: Path and query.
            headers: The request's headers, names in lower case.
        """
        try:
            response = ws_handshake.accept(self._protocol, method, headers)
            call = self._call = self._admit(url, headers)
        except DcfError as error:
            self._transport.write(ws_handshake.refuse(error, method, headers))
            self._transport.close()
            return
        response.headers[http.REQUEST_ID] = call.request.request_id
        response.headers[http.SERVER_TIMING] = call.clock.timing().decode("ascii")
        self._protocol.send_response(response)
        self._words = self._protocol.subprotocol == SUBPROTOCOL
        self._encoder = WebSocketEncoder(words=self._words)
        self._dispatcher.open_stream(call, self._on_room).encoder = self._encoder
        self._flush()
        self._timer = self._loop.call_later(self._settings.ping, self._ping)

    def _admit(self, url: bytes, headers: Headers) -> Call:
        if self._dispatcher.closing:
            raise NotReady(f"{self._settings.function} is draining")
        raw_path, _, query = url.partition(b"?")
        path = unquote(raw_path.decode("ascii", "replace"))
        if path.startswith(http.OWN_PREFIX):
            raise PathUnknown(f"there is no stream at {path}")
        return self._dispatcher.admit("GET", path, query, headers, self)

    # Callbacks of the transport

    def data_received(self, data: bytes) -> None:
        """Read the messages in ``data``."""
        self._is_alive = True
        if self._has_closed:
            return  # the connection stays open until the client has read the reason
        try:
            self._accept(self._frames.feed(data))
            self._count_pending()
        except DcfError as error:
            self._end(error)
        except Exception:
            logger.exception("a message could not be read")
            self._transport.abort()

    def eof_received(self) -> None:
        """End the stream: the client closed its side without a close frame."""
        self._end_call()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """End the stream of a connection that is closed."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._end_call()

    def pause_writing(self) -> None:
        """Hold the replies: the client reads more slowly than the watcher writes."""
        self._writes = False
        if self._call is not None and self._call.replies is not None:
            self._call.replies.hold(held=True)

    def resume_writing(self) -> None:
        """Send the replies again: the client has caught up."""
        self._writes = True
        self._answer_ping()
        if self._call is not None and self._call.replies is not None:
            self._call.replies.hold(held=False)

    def shutdown(self) -> None:
        """Do nothing when the server begins to end. The dispatcher ends the stream in time."""

    # Messages

    def _accept(self, received: list[tuple[bool, bytes]]) -> None:
        messages: list[bytes] = []
        for is_text, message in received:
            if is_text:
                if self._words and message.startswith(_CONTROL):
                    self._pass_on(messages)
                    messages = []
                    self._read_word(message)
                    continue
                if not is_utf8(message):
                    self._protocol.fail(CloseCode.NO_TEXT, "expected UTF-8 in a text message")
                    break
            messages.append(message)
        self._pass_on(messages)
        if self._protocol.state is not State.OPEN:
            if isinstance(self._protocol.parser_exc, PayloadTooBig) and not self._is_over:
                # Send this before the close, which the library has prepared already.
                self._send_error(BodyTooLarge(self._settings.max_message))
            self._flush()
            self._end_call()
        else:
            self._flush()

    def _pass_on(self, messages: list[bytes]) -> None:
        if not messages or self._is_over or self._call is None:
            return
        if self._has_ended:
            raise BadRequest("expected no message after the end of the stream")
        if not self._dispatcher.pass_on(self._call, messages) and self._reads:
            self._reads = False
            self._transport.pause_reading()

    def _read_word(self, message: bytes) -> None:
        if self._is_over or self._call is None:
            return
        if not is_utf8(message):
            raise BadRequest("expected UTF-8 in a text message")
        failure = read_control(message.decode())
        if failure is not None:
            self._call.end(CallError(f"the client ended the stream: {failure.error}"))
            return
        self._has_ended = True
        self._dispatcher.no_more(self._call)

    def _on_room(self) -> None:
        if not self._reads and not self._transport.is_closing():
            self._reads = True
            if self._waits is None:
                self._transport.resume_reading()

    def _count_pending(self) -> None:
        """Count a message that is still arriving with the other bodies, and wait for room."""
        call, pending = self._call, self._frames.pending
        if call is None or self._is_over:
            return
        counted = call.body.received if call.body is not None else 0
        if pending <= UNCOUNTED and not counted:
            return
        bodies = self._dispatcher.bodies
        if pending <= UNCOUNTED:
            bodies.release(call)
            return
        if not counted:
            bodies.begin(call)
        bodies.add(call, pending - counted)
        if self._waits is None and not bodies.has_room(call):
            self._transport.pause_reading()
            self._waits = self._loop.create_task(self._wait_for_room(call))

    async def _wait_for_room(self, call: Call) -> None:
        await self._dispatcher.bodies.room(call)
        self._waits = None
        if self._reads and not self._transport.is_closing():
            self._transport.resume_reading()

    # Replies

    def settled(self, call: Call) -> None:
        """Send the replies once the first exists, or the error that ended the stream."""
        replies = call.replies
        if replies is not None and call.state is CallState.DONE:
            if not self._writes:
                replies.hold(held=True)
            self._writer = self._loop.create_task(self._write(call, replies))
        else:
            error = call.verdict
            self._finish(
                error if isinstance(error, DcfError) else CallError("the handler gave no outcome")
            )

    async def _write(self, call: Call, replies: ResponseStream) -> None:
        error = None
        try:
            while (data := await replies.get()) is not None:
                self._transport.write(data)
                call.progress()
        except CallError as failure:
            error = failure
        self._finish(call.failure if call.state is CallState.ENDED else error)

    def _end(self, error: DcfError) -> None:
        """End the stream with an error of the client."""
        if self._call is not None:
            self._call.end(error)

    def _finish(self, error: DcfError | None) -> None:
        """Close the connection after the last reply, or with an error."""
        call = self._call
        if self._is_over or call is None:
            return
        self._is_over = True
        self._dispatcher.release(call)
        if self._waits is not None:
            # Continue to read, so that the client can read the end.
            self._waits.cancel()
            self._waits = None
            if not self._transport.is_closing():
                self._transport.resume_reading()
        if error is not None:
            log_failure(error, call)
        if self._protocol.state is State.OPEN and not self._transport.is_closing():
            if error is not None:
                self._send_error(error)
                self._protocol.send_close(close_code(error), close_reason(error))
            else:
                self._transport.write(self._encoder.end())
                self._protocol.send_close(CloseCode.DONE)
            self._flush()
            self._await_close()

    def _send_error(self, error: DcfError) -> None:
        """Send the error that ends the stream, if the client understands control words."""
        call = self._call
        if call is not None:
            word = self._encoder.failure(
                StreamFailure(visible_error(error, call)), call.request.request_id
            )
            self._transport.write(word)

    def _flush(self) -> None:
        """Write the bytes that the library has prepared."""
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                if not self._writes and data[0] == PONG:
                    # The client does not read, so answers to its pings would pile up. The newest
                    # answer replaces all earlier ones (RFC 6455, 5.5.3).
                    self._pong = data
                else:
                    self._transport.write(data)
                continue
            self._has_closed = True
            if self._transport.can_write_eof():
                # Do not close at once: bytes that the client still sends would reset the connection
                # before it has read the last ones.
                self._transport.write_eof()
            else:
                self._transport.close()

    def _answer_ping(self) -> None:
        """Send the answer that was kept while the client did not read."""
        answer, self._pong = self._pong, b""
        if answer and self._protocol.state is State.OPEN and not self._transport.is_closing():
            self._transport.write(answer)

    # The end

    def _await_close(self) -> None:
        self._on_room()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(PATIENCE, self._transport.abort)

    def _end_call(self) -> None:
        """End the call: the client disconnected, closed, or broke the protocol."""
        if self._call is not None:
            self._call.end(CallError("the client disconnected"))
        if not self._transport.is_closing():
            self._await_close()

    def _ping(self) -> None:
        """Send a ping. Disconnect a client that has been silent since the last one.

        While nothing is read from the connection or written to it, no pong can arrive. Then
        ``idle_timeout`` ends the stream.
        """
        if self._protocol.state is not State.OPEN:
            return
        if not self._is_alive and self._reads and self._writes:
            self._transport.abort()
            return
        self._is_alive = False
        if self._writes:
            self._protocol.send_ping(b"")
            self._flush()
        self._timer = self._loop.call_later(self._settings.ping, self._ping)
