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


def connect(running, path: str = "/", *, words: bool = True, **options: Any) -> ClientConnection:
    client: ClientConnection = unix_connect(
        running.endpoint.removeprefix("unix:"),
        f"ws://function{path}",
        subprotocols=["dcf.v1"] if words else None,
        compression=None,
        close_timeout=2,
        **options,
    )
    return client


def closed(client: ClientConnection) -> tuple[int, str]:
    """Return code and reason of the close, which must be next."""
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    received = closed.value.rcvd
    assert received is not None, "broken off"
    return received.code, received.reason


def error_word(client: ClientConnection) -> dict[str, Any]:
    word: dict[str, Any] = json.loads(client.recv(5))
    assert word.pop("dcf") == "error"
    return word


def rest(client: ClientConnection) -> list[str | bytes]:
    """Return all messages up to the end of the stream, whose control messages must be valid."""
    messages: list[str | bytes] = []
    while (message := client.recv(5)) != END:
        messages.append(message)
    assert closed(client)[0] == 1000
    return messages


class Bare:
    """A connection with control over every byte."""

    def __init__(self, running) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(running.endpoint.removeprefix("unix:"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def upgrade(self, *more: str, path: str = "/") -> bytes:
        """Request the WebSocket; return the head of the answer."""
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
        head = b""
        while not head.endswith(end):
            byte = self.socket.recv(1)
            assert byte, f"closed after {head!r}"
            head += byte
        return head

    def all(self) -> bytes:
        received = b""
        while data := self.socket.recv(65536):
            received += data
        return received

    def frames(self, count: int) -> list[tuple[int, bytes]]:
        """Return the first byte and the data of each of the next small frames."""
        frames = []
        for _ in range(count):
            first, size = self.exactly(2)
            frames.append((first, self.exactly(size)))
        return frames

    def exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            data = self.socket.recv(size - len(received))
            assert data, f"closed after {received!r}"
            received += data
        return received


def masked(first: int, data: bytes) -> bytes:
    """Return a frame as a client sends it."""
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
