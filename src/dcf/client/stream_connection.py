"""A stream's connection over asyncio: messages in and out by the batch."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Self, cast

from dcf.client import stream_exchange
from dcf.client.address import Address
from dcf.client.connection import CONNECT_TIMEOUT, unreachable
from dcf.client.exchange import CHUNK, Patience
from dcf.client.stream_exchange import Item, Message, StreamExchange
from dcf.errors import DcfError

LINGER = 1.0
"""Seconds that the other side has to close what is over."""

TURN = 16
"""Messages, or batches of them, after which others on the loop have their turn."""


class StreamConnection(asyncio.Protocol):
    """One stream on a connection of its own, for one event loop.

    Both ways are bounded: :meth:`send` waits while the other side takes nothing, and nothing is
    read from the connection while what came is not fetched by :meth:`receive`. ::

        stream = await StreamConnection.open(address, "/function/echo", headers)
        await stream.send([b"one", b"two"])
        stream.end()
        while replies := await stream.receive():
            ...
        await stream.close()

    Attributes:
        loop: The event loop.
    """

    def __init__(self, exchange: StreamExchange) -> None:
        """What :meth:`open` connects."""
        self.loop = asyncio.get_running_loop()
        self._exchange = exchange
        self._transport: asyncio.Transport | None = None
        self._items: list[Item] = []
        self._unread = 0
        self._sent = 0
        self._failure: BaseException | None = None
        self._heart: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._gone = asyncio.Event()

    @classmethod
    async def open(
        cls,
        address: Address,
        target: str,
        headers: Iterable[tuple[str, str]],
        patience: Patience | None = None,
        most: int | None = None,
    ) -> Self:
        """Connects, and begins a stream.

        Args:
            address: Where a gateway or a watcher listens.
            target: Path and query.
            headers: Names and values, ``host`` among them.
            patience: How long that may take; None waits as long as the other side likes.
            most: Bytes that a reply may have; None takes any.

        Raises:
            GatewayUnreachable: When nobody answers, or TLS fails.
            BadRequest: When a header or the path has what HTTP does not allow.
            DeadlineExceeded: When the time is up.
            DcfError: Why there is no stream, as the other side tells.
        """
        patience = patience or Patience()
        self = cls(StreamExchange(target, headers, most))
        try:
            async with asyncio.timeout(min(patience.left() or CONNECT_TIMEOUT, CONNECT_TIMEOUT)):
                await self._connect(address)
        except OSError as error:
            raise unreachable(address, error) from error
        try:
            await self._begin(patience)
        except BaseException:
            await self._let_go()
            raise
        return self

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more, and nobody takes what is sent."""
        return self._exchange.over

    async def send(self, messages: Iterable[Message]) -> bool:
        """Sends messages, in one piece.

        Returns:
            Whether somebody takes them. Why nobody does is told by :meth:`receive`.
        """
        self._sent += 1
        if not self._room.is_set():
            await self._room.wait()
        elif self._sent % TURN == 0:
            # A sender that never waits would be the only one at work.
            await asyncio.sleep(0)
        is_taken = self._exchange.put(messages)
        self._flush()
        return is_taken

    def end(self) -> None:
        """Says that no further messages are sent; replies may go on coming."""
        self._exchange.end()
        self._flush()

    async def receive(self, patience: Patience | None = None) -> list[Item]:
        """The replies that have come since, at least one; none at the end.

        A ``StreamFailure`` among them is the error of one message and does not end the stream.

        Args:
            patience: How long to wait for it; None waits as long as the connection lives.

        Raises:
            DcfError: Why the stream has ended, with the traceback from over there.
            ReplicaLost: When the connection broke.
            DeadlineExceeded: When the time is up. The stream can still be used.
            BaseException: What :meth:`fail` was told.
        """
        while not self._items:
            if self._failure is not None:
                raise self._failure
            if self._exchange.over:
                if self._exchange.error is not None:
                    raise self._exchange.error
                return []
            await self._wait(patience or Patience())
        items, self._items = self._items, []
        self._unread = 0
        self._calm()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        return items

    def fail(self, failure: BaseException) -> None:
        """Ends the stream from the sender's side; :meth:`receive` raises ``failure``."""
        self._failure = failure
        self._exchange.leave()
        self._flush()
        self.abort()
        self._news.set()

    async def close(self) -> None:
        """Ends the connection: in an orderly way when the stream is over, else at once."""
        was_over = self._exchange.over
        self._exchange.leave()
        self._flush()
        if was_over and self._exchange.error is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while not self._exchange.closed:
                        await self._wait(Patience())
        await self._let_go()

    async def wait_closed(self) -> None:
        """Returns when there is no connection any more."""
        await self._gone.wait()

    def abort(self) -> None:
        """Ends the connection at once. Whoever waits to send or to receive is told."""
        self._exchange.leave()
        if self._transport is not None:
            self._transport.abort()

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=CHUNK)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Takes what came."""
        self._feed(data)
        self._unread += len(data)
        if self._unread >= CHUNK and self._items and self._transport is not None:
            self._transport.pause_reading()
            if self._heart is None:
                self._heart = self.loop.call_later(stream_exchange.HEARTBEAT, self._beat)

    def connection_lost(self, reason: Exception | None) -> None:
        """Takes the end."""
        if isinstance(reason, ConnectionError):
            self._feed_rest()
        self._feed(b"")
        self._calm()
        self._room.set()
        self._gone.set()

    def pause_writing(self) -> None:
        """Has senders wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Has senders go on."""
        self._room.set()
        self._flush()

    # Its own

    async def _connect(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        if address.socket:
            await loop.create_unix_connection(lambda: self, address.socket)
        else:
            tls = ssl.create_default_context() if address.tls else None
            await loop.create_connection(lambda: self, address.host, address.port, ssl=tls)

    async def _let_go(self) -> None:
        """A transport that is aborted ends in one of the loop's next rounds."""
        self.abort()
        if self._transport is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._gone.wait()

    async def _begin(self, patience: Patience) -> None:
        while not self._exchange.opened:
            if self._failure is not None:
                raise self._failure
            await self._wait(patience)

    async def _wait(self, patience: Patience) -> None:
        """Until something has come, be it only a ping."""
        self._news.clear()
        try:
            async with asyncio.timeout(patience.left()):
                await self._news.wait()
        except TimeoutError:
            raise patience.spent() from None

    def _feed(self, data: bytes) -> None:
        try:
            self._items += self._exchange.feed(data)
        except DcfError as error:
            self._failure = self._failure or error
        self._flush()
        self._news.set()

    def _feed_rest(self) -> None:
        """Takes what the other side said before it closed: where sending fails first, asyncio
        leaves that unread.
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
        """While nothing is read."""
        self._exchange.live()
        self._flush()
        self._heart = self.loop.call_later(stream_exchange.HEARTBEAT, self._beat)

    def _calm(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
            self._heart = None

    def _flush(self) -> None:
        data = self._exchange.outgoing(is_read=self._room.is_set())
        if data and self._transport is not None:
            self._transport.write(data)
