"""HTTP connections that stay open between requests."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncIterable, Iterable

import h11

from dcf.client.address import Address
from dcf.client.http11 import CHUNK, Event, Head, Http11Protocol, head_of
from dcf.client.network import CONNECT_TIMEOUT, Network, NetworkStream
from dcf.client.timeout import Timeout

MAX_IDLE = 32
"""Maximum idle connections. Those that only a burst needed are closed."""

Body = bytes | Iterable[bytes] | AsyncIterable[bytes]


class HttpConnection:
    """One HTTP/1.1 connection.

    Its methods raise OSError when the connection breaks; TimeoutError is one of these.

    Attributes:
        used: Whether it has carried a request before.
        sent: Whether the current request was sent completely.
    """

    def __init__(self, network: Network, stream: NetworkStream) -> None:
        self.used = False
        self.sent = False
        self._network = network
        self._stream = stream
        self._http = Http11Protocol()

    @classmethod
    async def open(cls, network: Network, address: Address, timeout: Timeout) -> HttpConnection:
        """Connect.

        Raises:
            OSError: When that fails.
        """
        seconds = min(timeout.left() or CONNECT_TIMEOUT, CONNECT_TIMEOUT)
        return cls(network, await network.connect(address, seconds))

    @property
    def begun(self) -> bool:
        """Whether a byte of the current reply has arrived."""
        return self._http.begun

    async def request(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: Body,
        timeout: Timeout,
    ) -> Head:
        """Send a request and return the status and headers of its reply.

        Raises:
            BadRequest: When the request is not valid HTTP.
            AnswerInvalid: When the reply is not HTTP.
        """
        self.sent = False
        start = self._http.head(method, target, headers)
        if not isinstance(body, bytes) or len(body) > CHUNK:
            return await self._network.overlap(
                lambda: self._send_parts(start, body, timeout), lambda: self._receive_head(timeout)
            )
        # A reply may arrive before sending fails: it says why the other side has closed.
        with contextlib.suppress(ConnectionError):
            content = self._http.data(body) if body else b""
            await self._stream.send(start + content + self._http.end(), timeout)
            self.sent = True
        return await self._receive_head(timeout)

    async def read(self, timeout: Timeout) -> bytes:
        """Return the next part of the reply's body; b"" at its end.

        Raises:
            AnswerInvalid: When the reply is not HTTP.
        """
        event = await self._receive_event(timeout)
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def reset(self) -> bool:
        """Prepare for the next request; return whether that is possible."""
        self.used = True
        return self._http.reset()

    def is_stale(self) -> bool:
        """Return whether the other side has closed an idle connection, or sent something."""
        return self._stream.is_readable()

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    async def _send_parts(self, start: bytes, body: Body, timeout: Timeout) -> None:
        await self._stream.send(start, timeout)
        if isinstance(body, AsyncIterable):
            async for part in body:
                await self._stream.send(self._http.data(part), timeout)
        else:
            for piece in _slices(body):
                if self._stream.is_readable():
                    return  # the reply is here, or the connection is closed
                await self._stream.send(self._http.data(piece), timeout)
        await self._stream.send(self._http.end(), timeout)
        self.sent = True

    async def _receive_head(self, timeout: Timeout) -> Head:
        event = await self._receive_event(timeout)
        while not isinstance(event, h11.Response):
            event = await self._receive_event(timeout)
        return head_of(event)

    async def _receive_event(self, timeout: Timeout) -> Event:
        while (event := self._http.event()) is None:
            self._http.feed(await self._stream.receive(timeout))
        return event


class ConnectionPool:
    """The idle connections to one address. Threads may share it."""

    def __init__(self, max_idle: int) -> None:
        """Create an empty pool.

        Args:
            max_idle: Maximum connections that it keeps; 0 keeps none.
        """
        self._max_idle = max_idle
        self._idle: list[HttpConnection] = []
        # Reentrant: garbage collection may close an abandoned reply while its thread holds it.
        self._lock = threading.RLock()
        self._owner = os.getpid()

    def pop(self) -> HttpConnection | None:
        """Return a connection that is still open; None if there is none."""
        while (connection := self._pop()) is not None:
            if not connection.is_stale():
                return connection
            connection.close()
        return None

    def put(self, connection: HttpConnection) -> None:
        """Keep a connection, or close it if its reply was not read completely."""
        is_kept = connection.reset() and len(self._idle) < self._max_idle
        if is_kept:
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close all idle connections."""
        while (connection := self._pop()) is not None:
            connection.close()

    def _pop(self) -> HttpConnection | None:
        with self._lock:
            if self._owner != os.getpid():
                # After a fork: a child process must not use its parent's connections.
                self._owner, inherited = os.getpid(), self._idle
                self._idle = []
                for connection in inherited:
                    connection.close()
            return self._idle.pop() if self._idle else None


def _slices(body: bytes | Iterable[bytes]) -> Iterable[bytes | memoryview]:
    """Return the parts of a body that are sent one at a time."""
    if not isinstance(body, bytes):
        return body
    view = memoryview(body)
    return (view[start : start + CHUNK] for start in range(0, len(view), CHUNK))
