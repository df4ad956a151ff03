"""HTTP/1.x byte by byte: sends requests with any framing, reads replies as strictly as RFC 9112
allows."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

PATIENCE = 10

FRAMINGS = ("none", "length", "chunked", "split", "expect")
"""How a request sends its body: no body, with its length, in chunks, with its length in several
writes, or only after the server asks for it.
"""

SINGLE = frozenset({
    "connection", "content-length", "content-type", "date", "transfer-encoding", "x-request-id",
})  # fmt: skip
"""Headers that a reply may have only once."""


@dataclass(frozen=True)
class Answer:
    """A reply. Header names are lowercase; the values of repeated headers are joined."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...]
    closed: bool


class Connection:
    """A client with a single connection, over TCP or a Unix socket."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(address)
        self._read = b""

    def close(self) -> None:
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._socket.sendall(piece)

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        version: str = "1.1",
        framing: str = "length",
        headers: tuple[str, ...] = (),
    ) -> tuple[bytes, ...]:
        """Send a request. With ``expect``, return its body, to be sent later."""
        lines = [f"{method} {target} HTTP/{version}", "host: x", *headers]
        if framing == "chunked":
            lines.append("transfer-encoding: chunked")
        elif framing != "none":
            lines.append(f"content-length: {len(body)}")
        if framing == "expect":
            lines.append("expect: 100-continue")
        head = "\r\n".join([*lines, "", ""]).encode()
        if framing == "expect":
            self.send(head)
            return (body,)
        if framing == "split":
            self.send(head[:5], head[5:], *(body[at : at + 2] for at in range(0, len(body), 2)))
        elif framing == "chunked":
            half = len(body) // 2
            chunks = [
                b"%x\r\n%b\r\n" % (len(one), one) for one in (body[:half], body[half:]) if one
            ]
            self.send(head, *chunks, b"0\r\n\r\n")
        elif framing == "length":
            self.send(head + body)
        else:
            self.send(head)
        return ()

    def answer(self, method: str, when_asked: tuple[bytes, ...] = ()) -> Answer:
        """Read a reply, and nothing of what follows it."""
        interim = []
        while True:
            version, status, headers = self._head()
            if status >= 200:
                break
            interim.append(status)
            self.send(*when_asked)
            when_asked = ()
        connection = headers.get("connection", "").lower()
        last = "close" in connection or (version == "HTTP/1.0" and "keep-alive" not in connection)
        if method == "HEAD" or status in {204, 304}:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            assert "content-length" not in headers
            body = self._chunks()
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            assert last, f"a body without a length on a connection that stays open: {headers}"
            body = self._rest()
        if last:
            assert self._rest() == b"", "bytes behind the last reply"
        return Answer(version, status, headers, body, tuple(interim), last)

    def _head(self) -> tuple[str, int, dict[str, str]]:
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version in {"HTTP/1.1", "HTTP/1.0"}, first
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            known = headers.get(name.lower())
            assert known is None or name.lower() not in SINGLE, f"{name} came twice: {lines}"
            headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
        return version, int(status), headers

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._line(), 16):
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"
        assert self._line() == b""
        return body

    def _line(self) -> bytes:
        while b"\r\n" not in self._read:
            self._more()
        line, _, self._read = self._read.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        data, self._read = self._read[:size], self._read[size:]
        return data

    def _rest(self) -> bytes:
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        data, self._read = self._read, b""
        return data

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError
        self._read += data


@contextlib.contextmanager
def connected(address: str | tuple[str, int]) -> Iterator[Connection]:
    connection = Connection(address)
    try:
        yield connection
    finally:
        connection.close()
