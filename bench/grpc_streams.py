"""A hand-made gRPC stream: HTTP/2 frames are made in advance, and counted when they come back.

Python's gRPC clients are so slow that they would be the bottleneck. This client has one stream on
one connection, and all its messages are equal (RFC 9113; grpc/grpc, doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

from bench.figures import BenchFailed

from dcf.rpc.gateway_messages import MESSAGES, SERVICE

PATIENCE = 20.0
"""Seconds without a byte after which a measurement is aborted."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST = 2**31 - 1
"""Bytes of the receive window: more than any measurement receives."""
FRAME = 16_384
"""Maximum bytes of a frame, unless negotiated otherwise."""
STREAM = 1
"""The id of the only stream."""

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4


def rate(port: int, function: str, data: bytes, *, messages: int, ahead: int) -> float:
    """Return the messages per second, on one stream, each answered with what was sent.

    Args:
        port: A port of 127.0.0.1.
        function: The function.
        data: The content of each message.
        messages: The number of messages.
        ahead: The maximum number of messages in flight.

    Raises:
        BenchFailed: If the stream ends before every message is answered.
    """
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pump = _Pump(connection, function, data)
        pump.run(1, 1)
        begin = time.perf_counter()
        pump.run(messages, ahead)
        return messages / (time.perf_counter() - begin)


def delay(port: int, function: str, data: bytes, *, messages: int) -> float:
    """Return the seconds from each message to its reply, one message at a time."""
    return 1 / rate(port, function, data, messages=messages, ahead=1)


class _Pump:
    def __init__(self, connection: socket.socket, function: str, data: bytes) -> None:
        self._connection = connection
        request = MESSAGES["InvokeServiceRequest"](Service=function, Input=data)
        self._message = _prefixed(request.SerializeToString())
        self._answer = len(_prefixed(MESSAGES["Messages"](Output=data).SerializeToString()))
        self._in = b""
        self._rest = self._answered = 0
        self._may_send = self._stream_may_send = 65_535
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": f"/{SERVICE}/Invokes",
            ":authority": "127.0.0.1",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = b"".join(_field(name, value) for name, value in fields.items())
        connection.sendall(
            PREFACE
            + _frame(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _word(MOST))
            + _frame(WINDOW_UPDATE, 0, 0, _word(MOST - 65_535))
            + _frame(HEADERS, END_HEADERS, STREAM, block)
        )

    def run(self, messages: int, ahead: int) -> None:
        sent, target = 0, self._answered + messages
        most = min(ahead, FRAME // len(self._message))
        unsent = b""
        while self._answered < target:
            under_way = sent - (messages - (target - self._answered))
            # Half of them at once: answering each reply with a message would cost a write each.
            room = min(messages - sent, ahead - under_way, most)
            if not unsent and room and (room == messages - sent or 2 * room >= most):
                size = room * len(self._message)
                if size <= min(self._may_send, self._stream_may_send):
                    self._may_send -= size
                    self._stream_may_send -= size
                    unsent = _frame(DATA, 0, STREAM, self._message * room)
                    sent += room
            if unsent:
                _, ready, _ = select.select((), (self._connection,), (), 0)
                if ready:
                    unsent = unsent[self._connection.send(unsent) :]
            idle = not unsent and (sent == messages or under_way)
            if select.select((self._connection,), (), (), PATIENCE if idle else 0)[0]:
                self._read()
            elif idle:
                raise BenchFailed("nothing comes any more")

    def _read(self) -> None:
        data = self._connection.recv(256 * 1024)
        if not data:
            raise BenchFailed("the connection was closed")
        self._in += data
        for kind, flags, body in self._frames():
            if kind == DATA:
                whole, self._rest = divmod(self._rest + len(body), self._answer)
                self._answered += whole
            elif kind == WINDOW_UPDATE:
                self._grow(body)
            elif kind in {SETTINGS, PING} and not flags & ACK:
                if kind == SETTINGS:
                    self._heed(body)
                self._connection.sendall(_frame(kind, ACK, 0, body if kind == PING else b""))
            elif kind in {RST_STREAM, GOAWAY} or (kind == HEADERS and flags & END_STREAM):
                raise BenchFailed(f"the stream ended: {body!r}")

    def _frames(self) -> Iterator[tuple[int, int, bytes]]:
        at = 0
        while len(self._in) - at >= 9:  # noqa: PLR2004  the head of a frame
            end = at + 9 + int.from_bytes(self._in[at : at + 3], "big")
            if end > len(self._in):
                break
            self._stream = int.from_bytes(self._in[at + 5 : at + 9], "big")
            yield self._in[at + 3], self._in[at + 4], self._in[at + 9 : end]
            at = end
        self._in = self._in[at:]

    def _grow(self, body: bytes) -> None:
        more = int.from_bytes(body, "big")
        if self._stream:
            self._stream_may_send += more
        else:
            self._may_send += more

    def _heed(self, body: bytes) -> None:
        for at in range(0, len(body), 6):
            if int.from_bytes(body[at : at + 2], "big") == INITIAL_WINDOW_SIZE:
                self._stream_may_send += int.from_bytes(body[at + 2 : at + 6], "big") - 65_535


def _prefixed(message: bytes) -> bytes:
    return b"\0" + _word(len(message)) + message


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + _word(stream) + body


def _word(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _field(name: str, value: str) -> bytes:
    """Return a header as a literal without indexing (RFC 7541, 6.2.2)."""
    return b"\0" + b"".join(bytes((len(text),)) + text.encode() for text in (name, value))
