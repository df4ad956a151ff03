"""A connection from Envoy: gRPC calls as HTTP/1.1, one after another.

Envoy speaks HTTP/2 with the clients. This connection carries the same headers, bytes and trailers
in chunks, in both directions at once. So data that arrives together is read together, and this
module needs no HTTP/2 streams and windows.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Mapping
from typing import cast

import httptools

from dcf.bridge.grpc_call import Caller, GrpcCall
from dcf.rpc.grpc_framing import percent_encoded

Begin = Callable[[Caller, Mapping[str, str]], GrpcCall]
"""Begins a call of a client, with its metadata."""

POLL = 0.25
"""Seconds between two checks whether a paused client has disconnected. Only reading shows that."""

UNSENT = 256 * 1024
"""Maximum bytes queued for the client. Above it no function is read."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-accept-encoding: identity\r\n"
_BODY = b"transfer-encoding: chunked\r\n\r\n"
_NO_BODY = b"content-length: 0\r\n\r\n"


class EnvoyConnection(asyncio.Protocol):
    """A connection, on one event loop.

    Attributes:
        lost: Set when the connection is closed.
    """

    def __init__(self, begin: Begin, connections: set[EnvoyConnection], idle: float) -> None:
        """Create the protocol of a new connection.

        Args:
            begin: Begins calls.
            connections: Contains this connection while it is open.
            idle: Seconds until the client must have read the end of a finished call.
        """
        self.lost = asyncio.Event()
        self._begin = begin
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._metadata: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._call: GrpcCall | None = None
        self._is_complete = True
        self._has_begun_reply = False
        self._is_answered = True
        self._poll: asyncio.TimerHandle | None = None
        self._idle = idle
        self._is_writable = asyncio.Event()
        self._is_writable.set()

    @property
    def call(self) -> GrpcCall | None:
        """The call in progress."""
        return self._call

    def close(self) -> None:
        """Close the connection after everything is sent."""
        if self._transport is not None:
            self._transport.close()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNSENT)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse data."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            # Envoy never sends invalid HTTP.
            if self._transport is not None:
                self._transport.abort()
            return
        self._flush_parts()

    def connection_lost(self, _reason: Exception | None) -> None:
        """End the call in progress: its client has disconnected."""
        self._connections.discard(self)
        self._transport = None
        self.lost.set()
        self._is_writable.set()
        if self._call is not None:
            self._call.disconnected()

    def pause_writing(self) -> None:
        """Pause the functions."""
        self._is_writable.clear()

    def resume_writing(self) -> None:
        """Resume the functions."""
        self._is_writable.set()

    # Called by the parser

    def on_message_begin(self) -> None:
        """Prepare for the headers of a call."""
        self._metadata = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header."""
        self._metadata[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Begin the call."""
        self._is_complete = self._has_begun_reply = self._is_answered = False
        self._call = self._begin(self, self._metadata)

    def on_body(self, body: bytes) -> None:
        """Store a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """End the client's messages."""
        self._flush_parts()
        self._is_complete = True
        if self._call is not None and not self._is_answered:
            self._call.half_closed()
        self._settle()

    # Called by the call

    def send(self, frames: bytes) -> None:
        """Send messages."""
        if self._transport is not None:
            head = b"" if self._has_begun_reply else _HEAD + _BODY
            self._has_begun_reply = True
            self._transport.write(b"%b%x\r\n%b\r\n" % (head, len(frames), frames))

    async def drain(self) -> None:
        """Wait until the client accepts more."""
        if not self._is_writable.is_set():
            await self._is_writable.wait()

    def finish(self, number: int, message: str) -> None:
        """Send the status.

        If the client has not sent all its messages, Envoy closes the connection. Until then further
        data is read: a connection that is closed with unread bytes may lose the last bytes sent.
        """
        if self._transport is not None:
            status = b"grpc-status: %d\r\n" % number
            if message:
                status += b"grpc-message: %b\r\n" % percent_encoded(message)
            if self._has_begun_reply:
                self._transport.write(b"0\r\n%b\r\n" % status)
            else:
                self._transport.write(_HEAD + status + _NO_BODY)
            if self._transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(self._idle, self._abort_if_unread)
        self.resume()
        self._is_answered = True
        self._settle()

    def pause(self) -> None:
        """Stop reading."""
        if self._transport is not None:
            self._transport.pause_reading()
            self._poll_later()

    def resume(self) -> None:
        """Read again."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        if self._transport is not None:
            self._transport.resume_reading()

    # Internal

    def _poll_later(self) -> None:
        self._poll = asyncio.get_running_loop().call_later(POLL, self._abort_if_disconnected)

    def _abort_if_disconnected(self) -> None:
        if self._transport is None:
            return
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLHUP)
        if poll.poll(0):
            self._transport.abort()
        else:
            self._poll_later()

    def _abort_if_unread(self) -> None:
        """Abort the connection if its client has not read the end of its call.

        The connection has no other call: Envoy sends the next call only after it has read the
        previous one completely.
        """
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._transport.abort()

    def _settle(self) -> None:
        if self._is_complete and self._is_answered:
            self._call = None

    def _flush_parts(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            if self._call is not None:
                self._call.received(parts[0] if len(parts) == 1 else b"".join(parts))
