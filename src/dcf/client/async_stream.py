"""Streams of the async client: a task sends messages while replies are read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Self

from dcf.client.async_websocket import AsyncWebSocket
from dcf.client.payload import Part, message_of
from dcf.client.sync_stream import OnError
from dcf.client.timeout import Timeout
from dcf.client.ws_protocol import Item, Message

BATCH = 64
"""Maximum messages of a sequence that are sent in one write."""
BATCH_BYTES = 64 * 1024
"""Bytes of messages after which a batch is sent."""

Connect = Callable[[Timeout], Awaitable[AsyncWebSocket]]
"""Connects, and opens a stream."""


class AsyncStream:
    """The replies of one stream: an async iterator, and an async context manager that ends it.

    It connects when the first reply is requested, or at ``async with``. Otherwise it is like
    :class:`~dcf.client.sync_stream.Stream`.
    """

    def __init__(
        self,
        connect: Connect,
        messages: Iterable[Part] | AsyncIterable[Part],
        start_timeout: Callable[[], Timeout],
        on_error: OnError | None = None,
    ) -> None:
        """Create a stream. It is not connected yet.

        Args:
            connect: Connects.
            messages: Sent as they are produced, from another task.
            start_timeout: Starts the clock of the time limits for a reply.
            on_error: Called with the error of a single message, instead of raising it.
        """
        self._connect = connect
        self._messages: Iterable[Part] | AsyncIterable[Part] | None = messages
        self._start_timeout = start_timeout
        self._timeout = Timeout()
        self._on_error = on_error
        self._items: deque[Item] = deque()
        self._connection: AsyncWebSocket | None = None
        self._sender: asyncio.Task[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            item = self._items.popleft() if self._items else await self._receive()
            if isinstance(item, bytes):
                return item
            if self._on_error is None:
                raise item.error
            self._on_error(item.error)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._connection is not None and not self._connection.loop.is_closed():
            # The garbage collector may run in any thread.
            assert self._sender is not None  # noqa: S101  started with the connection
            self._connection.loop.call_soon_threadsafe(_abandon, self._connection, self._sender)

    async def close(self) -> None:
        """End the stream. The function is notified. Further calls have no effect."""
        self._items.clear()
        self._messages = None
        connection, self._connection = self._connection, None
        sender, self._sender = self._sender, None
        if connection is not None and sender is not None:
            try:
                await connection.close()
            finally:
                connection.abort()
                sender.cancel()
            await asyncio.wait({sender})

    async def _start(self) -> None:
        if self._connection is None and self._messages is not None:
            messages, self._messages = self._messages, None
            self._timeout = self._start_timeout()
            self._connection = await self._connect(self._timeout)
            # The task must not refer to this object: its last reference ends the stream.
            sending = _serve(self._connection, messages)
            self._sender = asyncio.create_task(sending, name="dcf-stream")

    async def _receive(self) -> Item:
        await self._start()
        if self._connection is None:
            raise StopAsyncIteration
        try:
            self._items.extend(await self._connection.receive(self._timeout))
            if not self._items:
                raise StopAsyncIteration  # noqa: TRY301  closes the stream as well
        except BaseException:
            await self.close()
            raise
        return self._items.popleft()


def _abandon(connection: AsyncWebSocket, sender: asyncio.Task[None]) -> None:
    sender.cancel()
    connection.abort()


async def _serve(
    connection: AsyncWebSocket, messages: Iterable[Part] | AsyncIterable[Part]
) -> None:
    """Send the messages, and run until the connection is closed.

    An event loop that ends cancels its tasks. So it also ends connections that were not closed.
    """
    try:
        if await _send(connection, messages):
            connection.end()
        await connection.wait_closed()
    except asyncio.CancelledError:
        # A new error: the traceback of this one refers to the messages.
        connection.fail(asyncio.CancelledError())
        raise
    except Exception as failure:  # noqa: BLE001  the reader's task raises it
        connection.fail(failure)


async def _send(connection: AsyncWebSocket, messages: Iterable[Part] | AsyncIterable[Part]) -> bool:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            if not await connection.send((message_of(message),)):
                return False
        return True
    for batch in _batches(messages):
        if not await connection.send(batch):
            return False
        # A sync iterable never gives control back to the loop.
        await asyncio.sleep(0)
    return True


def _batches(messages: Iterable[Part]) -> Iterator[list[Message]]:
    """Yield the messages of a sequence in batches, and those of any other iterable one by one."""
    is_sequence = isinstance(messages, Sequence)
    batch: list[Message] = []
    size = 0
    for message in messages:
        batch.append(message_of(message))
        size += len(batch[-1])
        if not is_sequence or len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
