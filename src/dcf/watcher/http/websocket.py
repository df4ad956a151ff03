"""A stream on a WebSocket (RFC 6455), straight between the connection and the handler.

Takes the connection over from HTTP when its client asks for that. Here as there nothing of ASGI is
between: what comes in one piece is handed on as one batch, and the replies that are there are sent
in one write. Handshake, control frames and closing are the library's.
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
    MessageFailure,
    close_code,
    close_reason,
    read_word,
)
from dcf.settings import WatcherSettings
from dcf.watcher.admission import Dispatcher
from dcf.watcher.call import Call, Caller, CallState
from dcf.watcher.execution.response_stream import ResponseStream
from dcf.watcher.http import ws_handshake
from dcf.watcher.http.responses import Headers, log_failure, visible_error
from dcf.watcher.http.stream_encoders import WebSocketEncoder, is_utf8
from dcf.watcher.http.third_party import PayloadTooBig, ServerProtocol, ServerState, State
from dcf.watcher.http.ws_frames import PONG, WebSocketFrameReader

PATIENCE = 5.0
"""Seconds that a client may take to close a connection after it was told that all is over."""

UNCOUNTED = 64 * 1024
"""Bytes of an incomplete message that do not count towards the limit of bodies in memory."""

_CONTROL = CONTROL.encode()

logger = logging.getLogger("dcf.watcher.http.websocket")
# The library tells of every connection, which is nobody's news.
logger.addFilter(lambda record: record.levelno >= logging.WARNING)


class WebSocket(asyncio.Protocol, Caller):
    """One connection, from the request to change over on."""

    def __init__(
        self,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
        server_state: ServerState,
        settings: WatcherSettings,
    ) -> None:
        """A connection on which a request for a WebSocket has come.

        Args:
            transport: The connection; its protocol is this from now on.
            dispatcher: Admits streams.
            server_state: Where uvicorn looks for what it has to wait for when it ends.
            settings: Bounds.
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
        self._heard_end = False
        self._over = False
        self._said_all = False
        self._heard = True
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
        """Changes over, or refuses.

        Args:
            method: The request's method.
            url: Path and query.
            headers: The request's, names in lower case.
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
            raise NotReady(f"{self._settings.function} is ending")
        raw_path, _, query = url.partition(b"?")
        path = unquote(raw_path.decode("ascii", "replace"))
        if path.startswith(http.OWN_PREFIX):
            raise PathUnknown(f"there is no stream at {path}")
        return self._dispatcher.admit("GET", path, query, headers, self)

    # What the connection tells

    def data_received(self, data: bytes) -> None:
        """Bytes are there."""
        self._heard = True
        if self._said_all:
            return  # read only so that the client's connection lasts until it has read the reason
        try:
            self._take(self._frames.feed(data))
            self._count_pending()
        except DcfError as error:
            self._end(error)
        except Exception:
            logger.exception("a message could not be taken")
            self._transport.abort()

    def eof_received(self) -> None:
        """The client sends no more; it has not closed as it should."""
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """The connection is no more."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._gone()

    def pause_writing(self) -> None:
        """The client reads more slowly than is written."""
        self._writes = False
        if self._call is not None and self._call.replies is not None:
            self._call.replies.hold(held=True)

    def resume_writing(self) -> None:
        """The client has read."""
        self._writes = True
        self._answer_ping()
        if self._call is not None and self._call.replies is not None:
            self._call.replies.hold(held=False)

    def shutdown(self) -> None:
        """The server is about to end. A stream may go on meanwhile; the desk ends it in time."""

    # In

    def _take(self, found: list[tuple[bool, bytes]]) -> None:
        messages: list[bytes] = []
        for text, message in found:
            if text:
                if self._words and message.startswith(_CONTROL):
                    self._pass_on(messages)
                    messages = []
                    self._hear(message)
                    continue
                if not is_utf8(message):
                    self._protocol.fail(CloseCode.NO_TEXT, "a text message is not UTF-8")
                    break
            messages.append(message)
        self._pass_on(messages)
        if self._protocol.state is not State.OPEN:
            if isinstance(self._protocol.parser_exc, PayloadTooBig) and not self._over:
                # Told before the close, which the library has written already.
                self._tell(BodyTooLarge(self._settings.max_message))
            self._flush()
            self._gone()
        else:
            self._flush()

    def _pass_on(self, messages: list[bytes]) -> None:
        if not messages or self._over or self._call is None:
            return
        if self._heard_end:
            raise BadRequest("a message came behind the end")
        if not self._dispatcher.pass_on(self._call, messages) and self._reads:
            self._reads = False
            self._transport.pause_reading()

    def _hear(self, message: bytes) -> None:
        if self._over or self._call is None:
            return
        if not is_utf8(message):
            raise BadRequest("a text message is not UTF-8")
        failure = read_word(message.decode())
        if failure is not None:
            self._call.end(CallError(f"the client gave up: {failure.error}"))
            return
        self._heard_end = True
        self._dispatcher.no_more(self._call)

    def _on_room(self) -> None:
        if not self._reads and not self._transport.is_closing():
            self._reads = True
            if self._waits is None:
                self._transport.resume_reading()

    def _count_pending(self) -> None:
        """Count a message that is still arriving with the other bodies, and wait for room."""
        call, pending = self._call, self._frames.pending
        if call is None or self._over:
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

    # Out

    def settled(self, call: Call) -> None:
        """Send the replies, of which the first is there, or the error that ended the stream."""
        replies = call.replies
        if replies is not None and call.state is CallState.DONE:
            if not self._writes:
                replies.hold(held=True)
            self._writer = self._loop.create_task(self._write(call, replies))
        else:
            error = call.verdict
            self._finish(error if isinstance(error, DcfError) else CallError("no outcome"))

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
        """Ends the stream by the client's fault."""
        if self._call is not None:
            self._call.end(error)

    def _finish(self, error: DcfError | None) -> None:
        """The last reply has been written, or there is an error in its place."""
        call = self._call
        if self._over or call is None:
            return
        self._over = True
        self._dispatcher.release(call)
        if self._waits is not None:
            # The connection is read on, so that its client gets to read the end.
            self._waits.cancel()
            self._waits = None
            if not self._transport.is_closing():
                self._transport.resume_reading()
        if error is not None:
            log_failure(error, call)
        if self._protocol.state is State.OPEN and not self._transport.is_closing():
            if error is not None:
                self._tell(error)
                self._protocol.send_close(close_code(error), close_reason(error))
            else:
                self._transport.write(self._encoder.end())
                self._protocol.send_close(CloseCode.DONE)
            self._flush()
            self._await_close()

    def _tell(self, error: DcfError) -> None:
        """Tells a client that knows the words of an error that ends the stream."""
        call = self._call
        if call is not None:
            word = self._encoder.failure(
                MessageFailure(visible_error(error, call)), call.request.request_id
            )
            self._transport.write(word)

    def _flush(self) -> None:
        """Writes what the library has to say."""
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
            self._said_all = True
            if self._transport.can_write_eof():
                # Not closed at once: what the client still sends would have what was just written
                # taken from it.
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

    def _gone(self) -> None:
        """The client is gone, or closes, or breaks the protocol."""
        if self._call is not None:
            self._call.end(CallError("the client went away"))
        if not self._transport.is_closing():
            self._await_close()

    def _ping(self) -> None:
        """Asks whether the client is there; one that was silent since the last time is not.

        Where nothing is read or written at the moment an answer cannot come: then the time that a
        stream may stand still is what ends it.
        """
        if self._protocol.state is not State.OPEN:
            return
        if not self._heard and self._reads and self._writes:
            self._transport.abort()
            return
        self._heard = False
        if self._writes:
            self._protocol.send_ping(b"")
            self._flush()
        self._timer = self._loop.call_later(self._settings.ping, self._ping)
