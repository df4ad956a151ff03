"""Careless callers of chaos."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from chaos import careless
from chaos.careless import SlowBody, Unfinished, Unread
from chaos.judge import Ending


class Server:
    """Accepts connections, reads until a body is complete, and replies or does not reply."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.arrivals: list[float] = []
        self._last = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connected, _ = self._listener.accept()
            connected.settimeout(10)
            if connected.getpeername()[1] == self._last:
                connected.close()
                return
            thread = threading.Thread(target=self._serve, args=(connected,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        data = b""
        with connected, contextlib.suppress(OSError):
            while part := connected.recv(65536):
                data += part
                self.arrivals.append(time.monotonic())
                if data.endswith(b"END"):
                    body = b"x" * 1_000_000
                    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
                    connected.sendall(head + body)
            self.heard.append(data)

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._last = last.getsockname()[1]
            last.connect(("127.0.0.1", self.port))
        self._thread.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(careless, "LEAVES", 0.05)
    made = Server()
    yield made
    made.close()


def test_a_slow_body_is_sent_in_pieces_and_its_reply_is_read(server: Server) -> None:
    came = SlowBody(server.port, 0.1, 5).send("f", b"a" * 97 + b"END")
    assert came.ending is Ending.REPLY
    assert len(came.body) == 1_000_000
    assert len(server.arrivals) >= 5


def test_unfinished_bodies_are_abandoned_after_their_first_byte(server: Server) -> None:
    assert Unfinished(server.port, 3).send("f", b"a" * 100).ending is Ending.LEFT
    server.close()
    assert len(server.heard) == 3
    assert all(data.endswith(b"content-length: 100\r\n\r\na") for data in server.heard)


def test_an_unread_reply_is_abandoned(server: Server) -> None:
    assert Unread(server.port).send("f", b"aEND").ending is Ending.LEFT


def test_a_refused_connection_is_a_broken_connection(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for way in (SlowBody(port, 0.1, 2), Unfinished(port, 2), Unread(port)):
        assert way.send("f", b"END").ending is Ending.BROKEN
