"""What the client needs of a network. Two implementations: sockets that block, and asyncio.

All code above it is written once, as coroutines. On the blocking network no coroutine ever
suspends, so that :func:`~dcf.client.sync_network.run` can run it without an event loop. Generating
the sync code from the async code, as httpcore does, would need a build step and a second copy of
each file; generators that yield their waits, as in psycopg, cannot be typed precisely.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from dcf.client.address import Address
from dcf.client.timeout import Timeout
from dcf.errors import GatewayUnreachable

CONNECT_TIMEOUT = 10.0
"""Maximum seconds for a connect. TCP sends a lost packet again after one and three seconds."""

Result = TypeVar("Result")


class NetworkStream(Protocol):
    """One connection. Its methods raise OSError when it breaks; TimeoutError is one of these."""

    async def send(self, data: bytes, timeout: Timeout) -> None:
        """Send all bytes."""

    async def receive(self, timeout: Timeout) -> bytes:
        """Return the bytes that arrive next; b"" when the other side has closed."""

    def is_readable(self) -> bool:
        """Return whether data has arrived or the other side has closed, without waiting."""

    def close(self) -> None:
        """Close the connection at once. Unsent bytes are lost."""


class Network(Protocol):
    """Opens connections and waits."""

    async def connect(self, address: Address, seconds: float) -> NetworkStream:
        """Connect, with TLS if the address says so.

        Raises:
            OSError: When that fails or takes longer than ``seconds``.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def overlap(
        self,
        send: Callable[[], Coroutine[Any, Any, None]],
        receive: Callable[[], Coroutine[Any, Any, Result]],
    ) -> Result:
        """Send a request's body and return what ``receive`` returns.

        A reply that arrives before the whole body is sent ends the sending: it says why the other
        side does not want the rest.
        """

    def after(
        self,
        seconds: float,
        poll: Callable[[], Awaitable[Result]],
        notify: Callable[[Result], object],
    ) -> AbstractAsyncContextManager[None]:
        """Call ``notify`` with the result of ``poll`` if the block takes longer than ``seconds``.

        If the block ends while ``poll`` is in progress, ``notify`` is not called.
        """


def tls_context(address: Address) -> ssl.SSLContext | None:
    """Return the TLS settings for an address; None for no TLS."""
    if not address.tls:
        return None
    context = ssl.create_default_context()
    if not address.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def unreachable(address: Address, error: OSError) -> GatewayUnreachable:
    """Return the error for a connect that failed."""
    return GatewayUnreachable(f"cannot connect to the gateway at {address.url}: {reason_of(error)}")


def reason_of(error: OSError) -> str:
    """Return why a connect failed, in a few words."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # asyncio's own text hides the reason.
    return os.strerror(error.errno).lower()
