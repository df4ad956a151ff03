"""Most calls: directly from the connection to the handler and back, without ASGI.

A call whose head and body arrive together, as in most calls, does not need what ASGI creates for
each call: a scope, a task, events, a reply in two messages. For a small call, these cost more than
the watcher's own work. This module passes such a call to the dispatcher at once and sends its
reply in one write (figures: docs/decisions/0018-direct-calls.md).

The protocol replaces uvicorn's own, and leaves all other requests to it: a body that is still
arriving, an upgrade, HTTP/1.0, ``Expect``, a pipelined request whose predecessor has no reply yet,
probes. A reply in chunks uses ASGI as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, cast
from urllib.parse import unquote

import httptools

from dcf.errors import BadRequest, BodyTooLarge, CallError, DcfError
from dcf.protocol import http
from dcf.watcher.call import WHOLE, Call, Message, Receive, Recipient
from dcf.watcher.http.asgi import INTERIM, AsgiApp, AsgiRecipient, Send, decoder_of
from dcf.watcher.http.responses import Response, refusal, response_to
from dcf.watcher.http.third_party import HttpToolsProtocol
from dcf.watcher.http.websocket import WebSocket
from dcf.watcher.http.writing import ReplyCycle, write_response

logger = logging.getLogger("dcf.watcher")

PIPELINED = 256
"""Requests that a client may pipeline on a connection before they are answered. A client that sends
more is disconnected: one read can hold thousands of requests, and each takes a hundred times its
size in memory."""


_OWN = http.OWN_PREFIX.encode()


class _NullEvent:
    """An event without waiters."""

    def set(self) -> None:
        """Do nothing."""


class HttpExchange(Recipient):
    """One call and its reply, in the place of uvicorn's request-response cycle.

    Attributes:
        call: The call; None until it is admitted.
        keep_alive: Whether the connection outlives the reply. uvicorn clears it when the server
            ends.
        disconnected: Whether the client has disconnected. uvicorn sets it.
        response_complete: Whether the reply was sent; then the next request may begin.
    """

    __slots__ = ("_protocol", "call", "disconnected", "keep_alive", "response_complete")
    message_event = _NullEvent()
    can_announce = True

    def __init__(self, protocol: HttpProtocol) -> None:
        self._protocol = protocol
        self.call: Call | None = None
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False

    def settled(self, call: Call) -> None:
        """Send the call's outcome."""
        self._protocol.answer(self, call)

    def announce(self) -> None:
        """Tell the gateway that the handler begins, so that it no longer retries the call."""
        self._protocol.write_interim()


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    cycle: Any  # uvicorn's cycle, or an HttpExchange

    def __init__(self, *args: Any, app: AsgiApp, **kwargs: Any) -> None:
        """Create the protocol of a connection.

        Args:
            *args: As for uvicorn's protocol.
            app: Serves the requests that are not direct calls; its dispatcher admits the others.
            **kwargs: As for uvicorn's protocol.
        """
        super().__init__(*args, **kwargs)
        self._app = app
        self._dispatcher = app.dispatcher
        # uvicorn rejects upgrades without a class for WebSockets.
        self.ws_protocol_class = WebSocket
        self._parts: list[bytes] | None = None
        """The parts of the body while the request can be a direct call, otherwise None."""
        self._ignores_upgrade = False
        self._due: HttpExchange | ReplyCycle | None = None
        """The request whose reply is next on the connection; further ones may be pipelined."""
        self._is_flooded = False
        self._quiet_since = 0.0
        self._clock: asyncio.TimerHandle | None = None

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._ignores_upgrade = False

    def on_headers_complete(self) -> None:
        """Decide from the head whether the request can be a direct call."""
        before, parser = self.cycle, self.parser
        if len(self.pipeline) >= PIPELINED:
            self._is_flooded, self._parts = True, []
            self.transport.abort()
            return
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._ignores_upgrade = not self._should_upgrade()
            return  # the parser stops after the head: see :meth:`_feed`
        if (
            (before is None or before.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
            and self.url.startswith(b"/")
            and not self.url.startswith(_OWN)
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and parser.get_method() != b"CONNECT"
            and parser.get_method() != b"HEAD"
        ):
            self._parts = []
        else:
            self._by_asgi([])

    def on_body(self, body: bytes) -> None:
        """Accept a part of the body."""
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Handle a request that has arrived completely."""
        if self._is_flooded or self._ignores_upgrade:
            return
        if self._parts is None:
            super().on_message_complete()
            return
        parts, self._parts = self._parts, None
        self._begin(parts[0] if len(parts) == 1 else b"".join(parts))

    def data_received(self, data: bytes) -> None:
        """Parse bytes. A request that they do not contain completely goes to ASGI."""
        self._feed(data)
        if self._parts is not None:
            parts, self._parts = self._parts, None
            if not self.transport.is_closing():
                self._by_asgi(parts)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._ignores_upgrade:
                self._feed_without_upgrade(data[upgrade.args[0] :])
            elif self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserError:
            self.send_400_response("expected a request of HTTP/1.1, got something else")

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """Parse a request that offers an upgrade as if it did not (RFC 9110, 7.8).

        The parser would take its body for the other protocol. Clients that offer HTTP/2 do send a
        body.
        """
        parser, dropped = self.parser, {b"upgrade", b"connection"}
        lines = [b"%b %b HTTP/1.1" % (parser.get_method(), self.url)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] not in dropped]
        if not parser.should_keep_alive():
            lines.append(b"connection: close")
        self.parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(AttributeError):  # httptools before 0.6.3
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed(b"\r\n".join((*lines, b"", rest)))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the call of a connection that is closed, by either side."""
        super().connection_lost(exc)
        self._stop_clock()
        self._app.unread.discard(self.transport)
        due = self._due
        if due is None or due.response_complete:
            return
        due.disconnected = True
        due.message_event.set()
        if isinstance(due, HttpExchange) and due.call:
            due.call.end(CallError("the client disconnected"))

    def send_400_response(self, msg: str) -> None:
        """Reject input that is not HTTP, and close the connection.

        If an earlier request still waits for its reply, send nothing: the client would take the
        rejection for that reply.
        """
        due = self._due
        if isinstance(due, ReplyCycle) and due is self.cycle and due.more_body:
            may_answer = not due.response_started
        else:
            may_answer = due is None or due.response_complete
        if may_answer:
            response = refusal(BadRequest(msg), None, self.headers or [])
            write_response(self.transport.write, response, head=False, last=True)
        self.transport.close()

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than the watcher writes."""
        super().pause_writing()
        self._app.unread.add(self.transport)

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        super().resume_writing()
        self._app.unread.discard(self.transport)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to a WebSocket."""
        self.connections.discard(self)
        self._stop_clock()
        self._app.unread.discard(self.transport)
        if self.cycle is not None and not self.cycle.response_complete:
            # An earlier call has no reply yet. A correct client waits for it.
            self.transport.close()
            return
        websocket = WebSocket(
            self.transport, self._dispatcher, self.server_state, self._app.settings
        )
        websocket.open(self.parser.get_method().decode("ascii"), self.url, self.headers)

    # Idle connections

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or the clock of an idle connection.

        uvicorn's method sets a timer after each reply and cancels it at the next request. This one
        keeps one timer for the connection, which checks when the last reply was.
        """
        if (self.pipeline or self.flow.read_paused) and not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._run_cycle(*self.pipeline.pop())
        self._quiet_since = self.loop.time()
        if self._clock is None and not self.transport.is_closing():
            self._clock = self.loop.call_later(self.timeout_keep_alive, self._close_if_quiet)

    def _close_if_quiet(self) -> None:
        self._clock = None
        if not self.cycle.response_complete:
            return  # the next reply restarts the clock
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._clock = self.loop.call_later(left, self._close_if_quiet)
        else:
            self.timeout_keep_alive_handler()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    # Requests

    def _by_asgi(self, parts: list[bytes]) -> None:
        """Leave a request to uvicorn, as if uvicorn had received it from its first byte."""
        parser, before = self.parser, self.cycle
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        path, query = _target(method, self.url)
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "http_version": version,
            "headers": self.headers,
            INTERIM: self.write_interim,
        }
        self.cycle = self._cycle(
            scope,
            expects=self.expect_100_continue,
            # After a request for a tunnel, the bytes that follow are not HTTP.
            keep_alive=version == "1.1" and parser.should_keep_alive() and method != "CONNECT",
        )
        if before is None or before.response_complete:
            self._run_cycle(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        for part in parts:
            super().on_body(part)

    def _cycle(self, scope: Message, *, expects: bool, keep_alive: bool) -> ReplyCycle:
        return ReplyCycle(
            scope=cast("Any", scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=expects,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    def _run_cycle(self, cycle: Any, app: Any) -> None:
        self._due = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _begin(self, body: bytes) -> None:
        exchange = self.cycle = self._due = HttpExchange(self)
        dispatcher = self._dispatcher
        method = self.parser.get_method().decode("ascii")
        path, query = _target(method, self.url)
        try:
            call = dispatcher.admit(method, path, query, self.headers, exchange)
        except DcfError as error:
            self._write(exchange, refusal(error, None, self.headers))
            return
        exchange.call = call
        call.whole(body)
        if len(body) > dispatcher.max_body:
            call.end(BodyTooLarge(dispatcher.max_body))
        elif call.body_kind is not WHOLE:
            self._pass_on(call, body)
        else:
            dispatcher.submit(call)

    def write_interim(self) -> None:
        """Write an interim response (100 Continue)."""
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _pass_on(self, call: Call, body: bytes) -> None:
        """Pass a body that contains all messages of a stream to the handler."""
        decoder = decoder_of(call, self._app.settings.max_message)
        self._dispatcher.open_stream(call, on_room=lambda: None)  # nothing else will arrive
        try:
            messages = decoder.take(body) + decoder.rest()
        except DcfError as error:
            call.end(error)
        else:
            self._dispatcher.pass_on(call, messages)
            self._dispatcher.no_more(call)

    # Replies

    def answer(self, exchange: HttpExchange, call: Call) -> None:
        """Send the outcome of a call. An error here affects only this connection."""
        try:
            is_stream = call.stream is not None and call.replies is not None
            if is_stream and call.failure is None and not exchange.disconnected:
                self._stream(exchange, call)
                return
            self._dispatcher.release(call)
            if not exchange.disconnected:
                self._write(exchange, response_to(call))
        except Exception:
            logger.exception("a reply could not be sent")
            self.transport.close()

    def _write(self, exchange: HttpExchange, response: Response) -> None:
        """Send a whole reply."""
        last = self._dispatcher.closing or not exchange.keep_alive
        write_response(self.transport.write, response, head=False, last=last)
        exchange.response_complete = True
        if last:
            self.transport.close()
        self.on_response_complete()

    def _stream(self, exchange: HttpExchange, call: Call) -> None:
        """Send a reply in chunks, by ASGI."""

        async def go_on(_scope: Message, receive: Receive, send: Send) -> None:
            call.recipient = recipient = AsgiRecipient(receive)
            try:
                await self._app.reply(call, recipient, send)
            finally:
                self._dispatcher.release(call)

        # uvicorn's cycle reads only these members.
        scope = {"type": "http", "method": call.request.method, "http_version": "1.1"}
        cycle = self._cycle(scope, expects=False, keep_alive=exchange.keep_alive)
        if self.cycle is exchange:
            self.cycle = cycle  # otherwise the body of a pipelined request is still arriving
        self._run_cycle(cycle, go_on)


def _target(method: str, url: bytes) -> tuple[str, bytes]:
    """Return path and query of a request's target.

    Raises:
        HttpParserInvalidURLError: If it is neither a path nor a URL.
    """
    if url.startswith(b"/"):
        path, _, query = url.partition(b"?")
    elif method == "CONNECT":
        path, query = url, b""  # a host and a port
    else:
        parsed = httptools.parse_url(url)
        path, query = parsed.path or b"/", parsed.query or b""
    text = path.decode("ascii", "replace")
    return unquote(text) if "%" in text else text, query
