"""The network of the sync client: sockets that block."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
)
from typing import Any, TypeVar

from dcf.client.address import Address
from dcf.client.http11 import CHUNK
from dcf.client.network import tls_context
from dcf.client.timeout import Timeout

Result = TypeVar("Result")


def run(awaitable: Awaitable[Result]) -> Result:
    """Run a coroutine whose only waits are those of the blocking network."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration is untyped
    raise RuntimeError("a coroutine of the client waits for an event loop")


def iterate(source: AsyncIterator[Result]) -> Iterator[Result]:
    """Yield the items of an async iterator that only waits for the blocking network.

    The end of the generator calls the iterator's ``aclose`` if it has one.
    """
    try:
        while True:
            try:
                item = run(anext(source))
            except StopAsyncIteration:
                return
            yield item
    finally:
        if hasattr(source, "aclose"):
            run(source.aclose())


class SocketStream:
    """One connection over a blocking socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._early: bytes | None = None
        self._poller = select.poll()
        self._poller.register(connected, select.POLLIN)

    async def send(self, data: bytes, timeout: Timeout) -> None:
        """Send all bytes."""
        self._socket.settimeout(timeout.left())
        self._socket.sendall(data)

    async def receive(self, timeout: Timeout) -> bytes:
        """Return the bytes that arrive next; b"" when the other side has closed."""
        if self._early is not None:
            data, self._early = self._early, None
            return data
        self._socket.settimeout(timeout.left())
        return self._socket.recv(CHUNK)

    def is_readable(self) -> bool:
        """Return whether data has arrived or the other side has closed, without waiting."""
        if self._early is not None:
            return True
        pending = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        if not pending and not self._poller.poll(0):
            return False
        # TLS has messages of its own that carry no data: only reading shows whether there is any.
        self._socket.settimeout(0)
        try:
            self._early = self._socket.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            self._early = b""
        return True

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class SyncNetwork:
    """The network of threads. See :class:`~dcf.client.network.Network`."""

    async def connect(self, address: Address, seconds: float) -> SocketStream:
        """Connect, with TLS if the address says so."""
        return SocketStream(connect(address, seconds))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251  this network blocks

    async def overlap(
        self,
        send: Callable[[], Coroutine[Any, Any, None]],
        receive: Callable[[], Coroutine[Any, Any, Result]],
    ) -> Result:
        """Send, then receive. Sending fails if the other side has replied early and closed."""
        with contextlib.suppress(ConnectionError):
            await send()
        return await receive()

    @contextlib.asynccontextmanager
    async def after(
        self,
        seconds: float,
        poll: Callable[[], Awaitable[Result]],
        notify: Callable[[Result], object],
    ) -> AsyncIterator[None]:
        """Call ``notify``, from a thread, if the block takes longer than ``seconds``."""
        over = threading.Event()

        def watch() -> None:
            if not over.wait(seconds):
                result = run(poll())
                if not over.is_set():
                    notify(result)

        thread = threading.Thread(target=watch, name="dcf-waiting", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def connect(address: Address, seconds: float) -> socket.socket:
    """Return a connected socket, with TLS if the address says so.

    Args:
        address: Where to connect.
        seconds: Time limit of each step. The socket keeps it as its timeout.

    Raises:
        OSError: When that fails.
    """
    if address.socket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(seconds)
            connected.connect(address.socket)
        except OSError:
            connected.close()
            raise
        return connected
    connected = socket.create_connection((address.host, address.port), seconds)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    try:
        context = tls_context(address)
        if context is None:
            return connected
        return context.wrap_socket(connected, server_hostname=address.host)
    except OSError:
        connected.close()
        raise
