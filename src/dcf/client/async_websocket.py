"""A stream's WebSocket over asyncio. Messages are sent and received in batches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Self, cast

from dcf.client import ws_protocol
from dcf.client.address import Address
from dcf.client.http11 import CHUNK
from dcf.client.network import CONNECT_TIMEOUT, tls_context, unreachable
from dcf.client.timeout import Timeout
from dcf.client.ws_protocol import Item, Message, StreamProtocol
from dcf.errors import DcfError

LINGER = 1.0
"""Maximum seconds to wait for the other side to close a stream that is over."""

YIELD_EVERY = 16
"""Messages, or batches of them, after which other tasks of the loop run."""


class AsyncWebSocket(asyncio.Protocol):
    """One stream on a connection of its own, for one event loop.

    Both directions are bounded: :meth:`send` waits while the other side does not read, and nothing
    is read from the connection while :meth:`receive` is not called. ::

        stream = await AsyncWebSocket.open(address, "/function/echo", headers)
        await stream.send([b"one", b"two"])
        stream.end()
        while replies := await stream.receive():
            ...
        await stream.close()

    Attributes:
        loop: The event loop.
    """

    def __init__(self, protocol: StreamProtocol) -> None:
        """Create a stream for :meth:`open`, which connects it."""
        self.loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._transport: asyncio.Transport | None = None
        self._items: list[Item] = []
        self._unread = 0
        self._sends = 0
        self._failure: BaseException | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._disconnected = asyncio.Event()

    @classmethod
    async def open(
        cls,
        address: Address,
        target: str,
        headers: Iterable[tuple[str, str]],
        timeout: Timeout | None = None,
        max_message: int | None = None,
    ) -> Self:
        """Connect, and open a stream.

        Args:
            address: Where a gateway or a watcher listens.
            target: Path and query.
            headers: Names and values, ``host`` among them.
            timeout: Time limits for the connect and the handshake; None for no limit.
            max_message: Maximum bytes of a reply; None for no limit.

        Raises:
            GatewayUnreachable: When the connect or TLS fails.
            BadRequest: When a header or the path contains characters that HTTP does not allow.
            DeadlineExceeded: When the time is over.
            DcfError: When the other side refuses the stream; the error that it reports.
        """
        timeout = timeout or Timeout()
        self = cls(StreamProtocol(target, headers, max_message))
        try:
            async with asyncio.timeout(min(timeout.left() or CONNECT_TIMEOUT, CONNECT_TIMEOUT)):
                await self._connect(address)
        except OSError as error:
            raise unreachable(address, error) from error
        try:
            await self._handshake(timeout)
        except BaseException:
            await self._disconnect()
            raise
        return self

    @property
    def is_over(self) -> bool:
        """Whether no more replies arrive and no messages are accepted."""
        return self._protocol.is_over

    async def send(self, messages: Iterable[Message]) -> bool:
        """Send messages in one write.

        Returns:
            Whether the other side still accepts messages. If not, :meth:`receive` raises why.
        """
        self._sends += 1
        if not self._writable.is_set():
            await self._writable.wait()
        elif self._sends % YIELD_EVERY == 0:
            # Without a wait, a sender would never let other tasks run.
            await asyncio.sleep(0)
        is_accepted = self._protocol.send(messages)
        self._write()
        return is_accepted

    def end(self) -> None:
        """Send the end of the messages. Replies may still arrive."""
        self._protocol.end()
        self._write()

    async def receive(self, timeout: Timeout | None = None) -> list[Item]:
        """Return the replies that have arrived, at least one; an empty list at the end.

        A :class:`~dcf.protocol.stream.StreamFailure` among them is the error of a single message.
        The stream continues after it.

        Args:
            timeout: Time limits; None waits as long as the connection exists.

        Raises:
            DcfError: When the stream has ended with an error; with the handler's traceback.
            ReplicaLost: When the connection broke.
            DeadlineExceeded: When the time is over. The stream can still be used.
            BaseException: The exception that was passed to :meth:`fail`.
        """
        while not self._items:
            if self._failure is not None:
                raise self._failure
            if self._protocol.is_over:
                if self._protocol.error is not None:
                    raise self._protocol.error
                return []
            await self._wait(timeout or Timeout())
        items, self._items = self._items, []
        self._unread = 0
        self._stop_heartbeat()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        return items

    def fail(self, failure: BaseException) -> None:
        """End the stream because sending failed; :meth:`receive` raises ``failure``."""
        self._failure = failure
        self._protocol.close()
        self._write()
        self.abort()
        self._changed.set()

    async def close(self) -> None:
        """Close the connection: with a closing handshake if the stream is over, else at once."""
        was_over = self._protocol.is_over
        self._protocol.close()
        self._write()
        if was_over and self._protocol.error is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while not self._protocol.is_closed:
                        await self._wait(Timeout())
        await self._disconnect()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await self._disconnected.wait()

    def abort(self) -> None:
        """Close the connection at once. Tasks that send or receive are woken."""
        self._protocol.close()
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=CHUNK)
        self._write()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes. Stop reading when enough is buffered."""
        self._feed(data)
        self._unread += len(data)
        if self._unread >= CHUNK and self._items and self._transport is not None:
            self._transport.pause_reading()
            if self._heartbeat is None:
                self._heartbeat = self.loop.call_later(ws_protocol.HEARTBEAT, self._beat)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the stream."""
        if isinstance(exc, ConnectionError):
            self._feed_rest()
        self._feed(b"")
        self._stop_heartbeat()
        self._writable.set()
        self._disconnected.set()

    def pause_writing(self) -> None:
        """Make senders wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let senders continue."""
        self._writable.set()
        self._write()

    # Internal

    async def _connect(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        if address.socket:
            await loop.create_unix_connection(lambda: self, address.socket)
        else:
            tls = tls_context(address)
            await loop.create_connection(lambda: self, address.host, address.port, ssl=tls)

    async def _disconnect(self) -> None:
        self.abort()
        if self._transport is not None:
            # asyncio closes an aborted transport in one of the loop's next iterations.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._disconnected.wait()

    async def _handshake(self, timeout: Timeout) -> None:
        while not self._protocol.has_opened:
            if self._failure is not None:
                raise self._failure
            await self._wait(timeout)

    async def _wait(self, timeout: Timeout) -> None:
        """Wait until bytes have arrived, if only a ping."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout.left()):
                await self._changed.wait()
        except TimeoutError:
            raise timeout.error() from None

    def _feed(self, data: bytes) -> None:
        try:
            self._items += self._protocol.feed(data)
        except DcfError as error:
            self._failure = self._failure or error
        self._write()
        self._changed.set()

    def _feed_rest(self) -> None:
        """Parse what the other side sent before it closed.

        If a write fails first, asyncio does not read those bytes.
        """
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return
        with (
            contextlib.suppress(OSError),
            transport.get_extra_info("socket").dup() as rest,
        ):
            while data := rest.recv(CHUNK):
                self._feed(data)

    def _beat(self) -> None:
        self._protocol.send_pong()
        self._write()
        self._heartbeat = self.loop.call_later(ws_protocol.HEARTBEAT, self._beat)

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    def _write(self) -> None:
        data = self._protocol.data_to_send(is_read=self._writable.is_set())
        if data and self._transport is not None:
            self._transport.write(data)
