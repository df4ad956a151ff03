"""Blocking connections to a gateway, kept open between requests."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterable

import h11

from dcf.client.address import Address
from dcf.client.http11 import CHUNK, Head, Http11Protocol, Timeout, head_of
from dcf.errors import GatewayUnreachable

CONNECT_TIMEOUT = 10.0
"""Seconds until a gateway accepts a connection: a lost packet is sent again after one and three."""
MOST_IDLE = 32
"""Connections kept open: what a burst needed is not held for ever."""


class Connection:
    """One connection.

    Its methods raise OSError when the connection broke, TimeoutError when the time was up.

    Attributes:
        used: Whether a request went over it before.
        sent: Whether the current request was sent whole.
    """

    def __init__(self, address: Address, timeout: Timeout) -> None:
        """Connects.

        Raises:
            GatewayUnreachable: When nobody answers, or TLS fails.
        """
        self.used = False
        self.sent = False
        self._exchange = Http11Protocol()
        try:
            self._socket = connected(
                address, min(timeout.left() or CONNECT_TIMEOUT, CONNECT_TIMEOUT)
            )
        except OSError as error:
            raise unreachable(address, error) from error

    @property
    def begun(self) -> bool:
        """Whether a byte of the current reply is here."""
        return self._exchange.begun

    def ask(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: bytes | Iterable[bytes],
        timeout: Timeout,
    ) -> Head:
        """Sends a request and reads the beginning of its reply.

        A reply that comes before the body was sent whole says why nobody wants the rest.

        Raises:
            BadRequest: When the request is no HTTP.
            AnswerInvalid: When the reply is none.
        """
        self.sent = False
        head = self._exchange.head(method, target, headers)
        try:
            self._send(head, body, timeout)
        except (BrokenPipeError, ConnectionResetError) as error:
            return self._refusal(timeout, error)
        return self._head(timeout)

    def chunk(self, timeout: Timeout) -> bytes:
        """The next part of the reply's body; nothing at its end.

        Raises:
            AnswerInvalid: When the reply is no HTTP.
        """
        event = self._event(timeout)
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def renew(self) -> bool:
        """Makes ready for another request; returns whether that is possible."""
        self.used = True
        return self._exchange.renew()

    def is_stale(self) -> bool:
        """Whether the other side has closed it, or said what nobody asked for."""
        try:
            self._received_by_now()
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _send(self, head: bytes, body: bytes | Iterable[bytes], timeout: Timeout) -> None:
        exchange = self._exchange
        if isinstance(body, bytes) and len(body) <= CHUNK:
            self._write(head + (exchange.data(body) if body else b"") + exchange.end(), timeout)
        else:
            self._write(head, timeout)
            for chunk in slices(body):
                if self._is_refused():
                    return
                self._write(exchange.data(chunk), timeout)
            self._write(exchange.end(), timeout)
        self.sent = True

    def _write(self, data: bytes, timeout: Timeout) -> None:
        self._socket.settimeout(timeout.left())
        self._socket.sendall(data)

    def _is_refused(self) -> bool:
        """Whether a reply is here already."""
        try:
            self._exchange.feed(self._received_by_now())
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        return True

    def _received_by_now(self) -> bytes:
        self._socket.settimeout(0)
        return self._socket.recv(CHUNK)

    def _refusal(self, timeout: Timeout, error: OSError) -> Head:
        """The reply that came before the connection broke, if there is one; else ``error``."""
        try:
            return self._head(timeout)
        except OSError:
            raise error from None

    def _head(self, timeout: Timeout) -> Head:
        event = self._event(timeout)
        while not isinstance(event, h11.Response):
            event = self._event(timeout)
        return head_of(event)

    def _event(self, timeout: Timeout) -> h11.Response | h11.Data | h11.EndOfMessage:
        while (event := self._exchange.event()) is None:
            self._socket.settimeout(timeout.left())
            self._exchange.feed(self._socket.recv(CHUNK))
        return event


class Pool:
    """The idle connections to one gateway. For any number of threads."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._owner = os.getpid()

    def take(self, timeout: Timeout) -> Connection:
        """A connection that was open just now, else a new one.

        Raises:
            GatewayUnreachable: When there is none to be had.
        """
        while (connection := self._pop()) is not None:
            if not connection.is_stale():
                return connection
            connection.close()
        return Connection(self._address, timeout)

    def give(self, connection: Connection) -> None:
        """Takes back a connection whose reply was read, or given up."""
        is_kept = connection.renew() and len(self._idle) < MOST_IDLE
        if is_kept:
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Closes all that are idle."""
        while (connection := self._pop()) is not None:
            connection.close()

    def _pop(self) -> Connection | None:
        with self._lock:
            if self._owner != os.getpid():
                # A child process must not speak on its parent's connections.
                self._owner, forgotten = os.getpid(), self._idle
                self._idle = []
                for connection in forgotten:
                    connection.close()
            return self._idle.pop() if self._idle else None


def slices(body: bytes | Iterable[bytes]) -> Iterable[bytes | memoryview]:
    """A body in parts that are sent one at a time."""
    if not isinstance(body, bytes):
        return body
    view = memoryview(body)
    return (view[start : start + CHUNK] for start in range(0, len(view), CHUNK))


def unreachable(address: Address, error: OSError) -> GatewayUnreachable:
    """The error that no connection to ``address`` came about because of ``error``."""
    if isinstance(error, ssl.SSLError):
        reason = f"TLS failed: {getattr(error, 'verify_message', '') or error.reason or error}"
    elif isinstance(error, TimeoutError):
        reason = "nothing came in time"
    elif error.errno is None or isinstance(error, socket.gaierror):
        reason = error.strerror or str(error)
    else:
        # Not asyncio's own words, which hide the reason.
        reason = os.strerror(error.errno).lower()
    return GatewayUnreachable(f"no gateway answers at {address.url}: {reason}")


def connected(address: Address, timeout: float) -> socket.socket:
    """A socket that is connected, with TLS where the address says so.

    Args:
        address: Where to.
        timeout: Seconds for each step; the socket keeps it.

    Raises:
        OSError: When nobody answers, or TLS fails.
    """
    if address.socket:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.settimeout(timeout)
            found.connect(address.socket)
        except OSError:
            found.close()
            raise
        return found
    found = socket.create_connection((address.host, address.port), timeout)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if not address.tls:
        return found
    try:
        return ssl.create_default_context().wrap_socket(found, server_hostname=address.host)
    except OSError:
        found.close()
        raise
