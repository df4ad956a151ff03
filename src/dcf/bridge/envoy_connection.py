"""A connection of Envoy's: gRPC as HTTP/1.1, one call after another.

Envoy speaks HTTP/2 with the clients. Here the same headers, bytes and trailers come and go in
chunks, both ways at once, so that what came together is read together, and nothing here needs to
know of streams and windows.
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
"""Makes a call of who called and its metadata."""

LOOK = 0.25
"""Seconds between two looks whether a client that is not read from is gone; reading would tell."""

UNSENT = 256 * 1024
"""Bytes that may wait for the client; with more, no function is read from."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-accept-encoding: identity\r\n"
_BODY = b"transfer-encoding: chunked\r\n\r\n"
_NO_BODY = b"content-length: 0\r\n\r\n"


class EnvoyConnection(asyncio.Protocol):
    """One connection, on one event loop.

    Attributes:
        lost: It is no more.
    """

    def __init__(self, begin: Begin, connections: set[EnvoyConnection], idle: float) -> None:
        """A connection to come.

        Args:
            begin: Begins calls.
            connections: Has this one in it for as long as it lasts.
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
        self._looking: asyncio.TimerHandle | None = None
        self._idle = idle
        self._room = asyncio.Event()
        self._room.set()

    @property
    def call(self) -> GrpcCall | None:
        """The one under way."""
        return self._call

    def close(self) -> None:
        """Ends the connection once all is sent that is to be sent."""
        if self._transport is not None:
            self._transport.close()

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNSENT)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Takes what came."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            # Envoy would have to be broken.
            if self._transport is not None:
                self._transport.abort()
            return
        self._hand_over()

    def connection_lost(self, _reason: Exception | None) -> None:
        """The client went away, or there is no call."""
        self._connections.discard(self)
        self._transport = None
        self.lost.set()
        self._room.set()
        if self._call is not None:
            self._call.gone()

    def pause_writing(self) -> None:
        """Has functions wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Has functions go on."""
        self._room.set()

    # The parser's calls

    def on_message_begin(self) -> None:
        """A call begins."""
        self._metadata = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._metadata[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Its messages may come."""
        self._is_complete = self._has_begun_reply = self._is_answered = False
        self._call = self._begin(self, self._metadata)

    def on_body(self, body: bytes) -> None:
        """Some of them."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """No more come."""
        self._hand_over()
        self._is_complete = True
        if self._call is not None and not self._is_answered:
            self._call.half_closed()
        self._settle()

    # The call's

    def send(self, frames: bytes) -> None:
        """Sends messages."""
        if self._transport is not None:
            head = b"" if self._has_begun_reply else _HEAD + _BODY
            self._has_begun_reply = True
            self._transport.write(b"%b%x\r\n%b\r\n" % (head, len(frames), frames))

    async def room(self) -> None:
        """Waits until the client takes more."""
        if not self._room.is_set():
            await self._room.wait()

    def finish(self, number: int, message: str) -> None:
        """Sends the status.

        If the client has more to send, Envoy closes the connection; what still comes is read, as a
        connection that is closed with unread bytes may lose what was sent last.
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
                asyncio.get_running_loop().call_later(self._idle, self._give_up)
        self.go_on()
        self._is_answered = True
        self._settle()

    def hold(self) -> None:
        """Reads no more for now."""
        if self._transport is not None:
            self._transport.pause_reading()
            self._look_later()

    def go_on(self) -> None:
        """Reads again."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._transport is not None:
            self._transport.resume_reading()

    # Its own

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        if self._transport is None:
            return
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLHUP)
        if poll.poll(0):
            self._transport.abort()
        else:
            self._look_later()

    def _give_up(self) -> None:
        """End the connection if its client has not read the end of its call.

        The connection has no other call: Envoy sends the next one only after it has read all of
        this one.
        """
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._transport.abort()

    def _settle(self) -> None:
        if self._is_complete and self._is_answered:
            self._call = None

    def _hand_over(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            if self._call is not None:
                self._call.received(parts[0] if len(parts) == 1 else b"".join(parts))
