"""An HTTP/2 client with control over every frame (RFC 9113), for behaviour that no client has.

It writes headers as literals and does not decode headers: tests read Envoy's access log instead.
"""

import socket
import struct
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Self

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_STREAMS, INITIAL_WINDOW = 3, 4
GRPC = {"content-type": "application/grpc", "te": "trailers"}


class Http2:
    """A connection.

    Attributes:
        received: Received bytes of bodies, by stream.
        begun: Streams whose response headers have arrived.
        ended: Streams whose reply is complete.
        resets: Error codes of streams that were reset.
        limits: Settings of the other side, by number.
        is_closed: Whether the other side has closed the connection.
    """

    def __init__(self, port: int, *, window: int = 65535, patience: float = 10) -> None:
        """Connect.

        Args:
            port: A port of this machine.
            window: Bytes of each reply's body that are accepted; the window never grows.
            patience: Seconds to wait for each condition.
        """
        self.received: dict[int, int] = defaultdict(int)
        self.begun: set[int] = set()
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.limits: dict[int, int] = {}
        self.is_closed = False
        self._patience = patience
        self._next = 1
        self._left = b""
        self._room: dict[int, int] = {0: 65535}
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(SETTINGS, 0, 0, struct.pack("!HI", INITIAL_WINDOW, window))
        self.until(lambda: bool(self.limits))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        """Send a frame."""
        size = len(payload)
        self.socket.sendall(struct.pack("!BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream))
        self.socket.sendall(payload)

    def begin(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        end: bool = False,
    ) -> int:
        """Send the headers of a request; return its stream."""
        stream, self._next = self._next, self._next + 2
        named = {":method": method, ":path": path, ":scheme": "http", ":authority": "test"}
        named |= headers or {}
        block = b"".join(map(_literal, named, named.values()))
        self._room[stream] = self.limits.get(INITIAL_WINDOW, 65535)
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> int:
        """Send a part of a body as far as the other side's window allows; return the number of
        bytes."""
        sent = 0
        while sent < len(data):
            room = min(self._room[0], self._room[stream], 16384)
            if room <= 0:
                if not self.read(0.5) or stream in self.resets | dict.fromkeys(self.ended):
                    return sent
                continue
            part = data[sent : sent + room]
            sent += len(part)
            last = END_STREAM if end and sent == len(data) else 0
            self._room[0] -= len(part)
            self._room[stream] -= len(part)
            self.frame(DATA, last, stream, part)
        return sent

    def grant(self, stream: int, size: int) -> None:
        """Grant more of a body; stream 0 is all bodies together."""
        self.frame(WINDOW, 0, stream, struct.pack("!I", size))

    def until(self, condition, patience: float | None = None) -> None:
        """Read until a condition holds."""
        end = time.monotonic() + (patience or self._patience)
        while not condition():
            assert time.monotonic() < end, "the condition did not become true"
            assert not self.is_closed or condition(), "the connection was closed"
            self.read(0.1)

    def read(self, patience: float) -> bool:
        """Handle the next frame; return whether there was one."""
        self.socket.settimeout(patience)
        try:
            data = self.socket.recv(1 << 20)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        finally:
            self.socket.settimeout(self._patience)
        if not data:
            self.is_closed = True
            return False
        self._left += data
        while len(self._left) >= 9:
            high, low, kind, flags, stream = struct.unpack("!BHBBI", self._left[:9])
            size = 9 + (high << 16) + low
            if len(self._left) < size:
                break
            payload, self._left = self._left[9:size], self._left[size:]
            self._take(kind, flags, stream & 0x7FFFFFFF, payload)
        return True

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self.limits.update(struct.iter_unpack("!HI", payload))
            self.frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self.frame(PING, ACK, 0, payload)
        elif kind == WINDOW:
            self._room[stream] = self._room.get(stream, 0) + int.from_bytes(payload)
        elif kind == RESET:
            self.resets[stream] = int.from_bytes(payload)
        elif kind == DATA:
            self.received[stream] += len(payload)
        elif kind == HEADERS:
            self.begun.add(stream)
        if kind in {DATA, HEADERS} and flags & END_STREAM:
            self.ended.add(stream)


def _literal(name: str, value: str) -> bytes:
    """Return a header as a literal that is in no table of HPACK (RFC 7541, 6.2.2)."""
    return b"\x00" + b"".join(_text(text.encode()) for text in (name, value))


def _text(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest = len(data) - 127
    length = b"\x7f"
    while rest >= 128:
        length += bytes((128 + rest % 128,))
        rest //= 128
    return length + bytes((rest,)) + data
