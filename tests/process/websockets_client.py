"""A client of a watcher's WebSocket, and a bare socket for what no client does."""

import json
import os
import socket
import struct
from typing import Any, Self

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, unix_connect

END = '{"dcf": "end"}'


def headers_of(client: ClientConnection) -> Headers:
    assert client.response is not None
    return client.response.headers


def connect(running, path: str = "/", *, words: bool = True, **given: Any) -> ClientConnection:
    client: ClientConnection = unix_connect(
        running.endpoint.removeprefix("unix:"),
        f"ws://function{path}",
        subprotocols=["dcf.v1"] if words else None,
        compression=None,
        close_timeout=2,
        **given,
    )
    return client


def closed(client: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close, which is what comes next."""
    with pytest.raises(ConnectionClosed) as found:
        client.recv(5)
    received = found.value.rcvd
    assert received is not None, "broken off"
    return received.code, received.reason


def error_word(client: ClientConnection) -> dict[str, Any]:
    word: dict[str, Any] = json.loads(client.recv(5))
    assert word.pop("dcf") == "error"
    return word


def rest(client: ClientConnection) -> list[str | bytes]:
    """All up to the end of the stream, whose words are as they should be."""
    found: list[str | bytes] = []
    while (message := client.recv(5)) != END:
        found.append(message)
    assert closed(client)[0] == 1000
    return found


class Bare:
    """A connection on which every byte is one's own."""

    def __init__(self, running) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(running.endpoint.removeprefix("unix:"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def upgrade(self, *more: str, path: str = "/") -> bytes:
        """Asks for the WebSocket; the head of the answer."""
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: x",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
            *more,
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        return self.until(b"\r\n\r\n")

    def until(self, end: bytes) -> bytes:
        found = b""
        while not found.endswith(end):
            byte = self.socket.recv(1)
            assert byte, f"closed after {found!r}"
            found += byte
        return found

    def all(self) -> bytes:
        found = b""
        while data := self.socket.recv(65536):
            found += data
        return found

    def frames(self, count: int) -> list[tuple[int, bytes]]:
        """The first byte and the data of each of the next small frames."""
        found = []
        for _ in range(count):
            first, size = self.exactly(2)
            found.append((first, self.exactly(size)))
        return found

    def exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            data = self.socket.recv(size - len(found))
            assert data, f"closed after {found!r}"
            found += data
        return found


def masked(first: int, data: bytes) -> bytes:
    """A frame as a client sends it."""
    mask = os.urandom(4)
    size = len(data)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, 254, size)
    else:
        head = struct.pack("!BBQ", first, 255, size)
    pattern = mask * (size // 4 + 1)
    mixed = int.from_bytes(data) ^ int.from_bytes(pattern[:size])
    return head + mask + mixed.to_bytes(size)
