"""The parts of HTTP/2 (RFC 9113) that are needed to send any request, and to read statuses and
bodies."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PATIENCE = 20

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GO_AWAY, _WINDOW = 0, 1, 3, 4, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_LARGEST = 2**31 - 1
_INDEXED = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
"""Statuses in HPACK's static table (RFC 7541, appendix A)."""
_DIGITS = {
    "00000": "0", "00001": "1", "00010": "2", "011001": "3", "011010": "4", "011011": "5",
    "011100": "6", "011101": "7", "011110": "8", "011111": "9",
}  # fmt: skip
"""Digits in HPACK's Huffman code (RFC 7541, appendix B)."""


class EndedError(Exception):
    """The server has closed the connection."""


@dataclass
class Outcome:
    """The reply on a stream. The status is 0 if the stream was reset without a status."""

    status: int = 0
    body: bytes = b""
    ended: bool = False


class Http2:
    """A client with a single connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=PATIENCE)
        self._read = b""
        self._next = 1
        self._open: dict[int, Outcome] = {}
        # No dynamic table: each header block can be decoded on its own.
        settings = struct.pack("!HIHI", 1, 0, 4, _LARGEST)
        window = struct.pack("!I", _LARGEST - 65535)
        self._socket.sendall(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, window)
        )

    def close(self) -> None:
        self._socket.close()

    def request(self, fields: Sequence[tuple[str, str]], body: bytes | None = None) -> Outcome:
        """Send a request; :meth:`wait` fills its outcome in."""
        stream, self._next = self._next, self._next + 2
        block = b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + _length(len(value)) + value.encode()
            for name, value in fields
        )
        flags = _END_HEADERS if body is not None else _END_HEADERS | _END_STREAM
        self._socket.sendall(_frame(_HEADERS, flags, stream, block))
        if body is not None:
            self._socket.sendall(_frame(_DATA, _END_STREAM, stream, body))
        outcome = self._open[stream] = Outcome()
        return outcome

    def wait(self) -> None:
        """Return once every stream has ended."""
        while not all(outcome.ended for outcome in self._open.values()):
            size, kind, flags, stream = self._head()
            payload = self._exactly(size)
            if kind == _SETTINGS and not flags & _ACK:
                self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _GO_AWAY:
                raise EndedError(f"the connection is ended: {payload!r}")
            elif stream in self._open:
                self._take(self._open[stream], kind, flags, payload)

    def _head(self) -> tuple[int, int, int, int]:
        head = self._exactly(9)
        kind, flags, stream = struct.unpack("!BBI", head[3:])
        return int.from_bytes(head[:3], "big"), kind, flags, stream & _LARGEST

    def _take(self, outcome: Outcome, kind: int, flags: int, payload: bytes) -> None:
        assert not outcome.ended, "bytes behind the end of a stream"
        if kind == _HEADERS:
            assert flags & _END_HEADERS
            if not outcome.status:
                outcome.status = _status(payload)
        elif kind == _DATA:
            outcome.body += payload
        outcome.ended = kind == _RESET or (kind in {_DATA, _HEADERS} and bool(flags & _END_STREAM))

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EndedError("the connection was closed")
            self._read += data
        data, self._read = self._read[:size], self._read[size:]
        return data


@contextlib.contextmanager
def connected(address: tuple[str, int]) -> Iterator[Http2]:
    connection = Http2(address)
    try:
        yield connection
    finally:
        connection.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def _length(size: int) -> bytes:
    return bytes([size]) if size < 127 else bytes([127, *_varint(size - 127)])


def _varint(number: int) -> bytes:
    encoded = b""
    while number >= 128:
        encoded += bytes([number % 128 + 128])
        number //= 128
    return encoded + bytes([number])


def _status(block: bytes) -> int:
    """Return the status, which is always the first header."""
    while block[0] & 0xE0 == 0x20:  # the table's size
        block = block[1:]
    if block[0] & 0x80:
        return _INDEXED[block[0] & 0x7F]
    assert block[0] & 0x0F == 8, f"no status: {block!r}"
    size, text = block[1] & 0x7F, block[2:]
    if not block[1] & 0x80:
        return int(text[:size])
    bits = "".join(f"{byte:08b}" for byte in text[:size])
    digits = ""
    while len(digits) < 3:
        code = next(code for code in _DIGITS if bits.startswith(code))
        digits, bits = digits + _DIGITS[code], bits[len(code) :]
    return int(digits)
