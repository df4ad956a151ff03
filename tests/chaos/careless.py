"""Careless callers: slow and unfinished bodies, and replies that are not read."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import time

from chaos.call_kinds import DEADLINE, GIVE_UP, Came, Way, of_response
from chaos.judge import Ending
from dcf.protocol import http as wire

LEAVES = 3.0
"""Seconds after which such a caller disconnects."""

CHUNK = 4096


class SlowBody(Way):
    """Sends a complete body in pieces with pauses; the call is an ordinary call.

    Args:
        port: The gateway's port.
        seconds: Duration of the whole body.
        pieces: Number of pieces.
    """

    name = "slow body"

    def __init__(self, port: int, seconds: float, pieces: int) -> None:
        self.connected = 0.0
        self._port = port
        self._pause = seconds / pieces
        self._pieces = pieces

    def send(self, function: str, body: bytes) -> Came:
        self.connected = time.monotonic()
        began = False
        try:
            with contextlib.closing(_connection(self._port)) as connection:
                connection.putrequest("POST", f"/function/{function}")
                connection.putheader("content-length", str(len(body)))
                connection.putheader(wire.DEADLINE_MS, f"{DEADLINE * 1000:.0f}")
                connection.endheaders()
                size = len(body) // self._pieces + 1
                for start in range(0, len(body), size):
                    connection.send(body[start : start + size])
                    # A reply that arrives before the end of the body is the last reply of the
                    # connection (RFC 9112, 9.3): a client that keeps sending may not be able to
                    # read it.
                    if select.select([connection.sock], [], [], self._pause)[0]:
                        break
                response = connection.getresponse()
                began = True
                return of_response(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            return Came(Ending.BROKEN, detail=repr(error), partial=began)

    def close(self) -> None:
        """Do nothing: no connection is kept."""


class Unfinished(Way):
    """Sends only the first byte of many bodies.

    Args:
        port: The gateway's port.
        number: Number of connections. None of these calls may ever begin.
    """

    name = "unfinished bodies"

    def __init__(self, port: int, number: int) -> None:
        self.connected = 0.0
        self._port = port
        self._number = number

    def send(self, function: str, body: bytes) -> Came:
        self.connected = time.monotonic()
        head = (
            f"POST /function/{function} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        with contextlib.ExitStack() as opened:
            try:
                for _ in range(self._number):
                    connection = opened.enter_context(_socket(self._port))
                    connection.sendall(head.encode() + body[:1])
            except OSError as error:
                return Came(Ending.BROKEN, detail=repr(error))
            time.sleep(LEAVES)
        return Came(Ending.LEFT)

    def close(self) -> None:
        """Do nothing: no connection is kept."""


class Unread(Way):
    """Reads only the beginning of a reply.

    Args:
        port: The gateway's port.
    """

    name = "unread replies"

    def __init__(self, port: int) -> None:
        self.connected = 0.0
        self._port = port

    def send(self, function: str, body: bytes) -> Came:
        self.connected = time.monotonic()
        head = (
            f"POST /function/{function} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        try:
            with _socket(self._port) as connection:
                connection.sendall(head.encode() + body)
                connection.recv(100)
                time.sleep(LEAVES)
        except OSError as error:
            return Came(Ending.BROKEN, detail=repr(error))
        return Came(Ending.LEFT)

    def close(self) -> None:
        """Do nothing: no connection is kept."""


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP)


def _socket(port: int) -> socket.socket:
    connection = socket.socket()
    # A small receive buffer, so that little of an unread reply leaves the gateway.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
    connection.settimeout(GIVE_UP)
    try:
        connection.connect(("127.0.0.1", port))
    except OSError:
        connection.close()
        raise
    return connection
