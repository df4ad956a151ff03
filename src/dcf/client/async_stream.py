"""Streams of the async client: messages go out of a task of their own while replies are read."""

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
"""Messages that are sent in one piece, where they are there already."""
BATCH_BYTES = 64 * 1024
"""Or so many bytes."""

Begin = Callable[[Timeout], Awaitable[AsyncWebSocket]]
"""Connects, and begins a stream."""


class AsyncStream:
    """The replies of one stream, an async iterator; and an async context manager, which ends it.

    Connects when the first reply is asked for, or at ``async with``. Otherwise as
    :class:`~dcf.client.sync_stream.Stream`.
    """

    def __init__(
        self,
        begin: Begin,
        messages: Iterable[Part] | AsyncIterable[Part],
        timeout: Callable[[], Timeout],
        on_error: OnError | None = None,
    ) -> None:
        """A stream that is still to be begun.

        Args:
            begin: Connects.
            messages: What is sent, as it comes, from another task.
            timeout: From when it is called on, how long a reply is waited for.
            on_error: Is told the error of one message, instead of ``anext`` raising it.
        """
        self._begin = begin
        self._messages: Iterable[Part] | AsyncIterable[Part] | None = messages
        self._timeout_from_now = timeout
        self._timeout = Timeout()
        self._on_error = on_error
        self._items: deque[Item] = deque()
        self._connection: AsyncWebSocket | None = None
        self._serving: asyncio.Task[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            item = self._items.popleft() if self._items else await self._next()
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
            # Whatever thread this is: the collector of garbage runs in any.
            assert self._serving is not None  # noqa: S101  started together
            self._connection.loop.call_soon_threadsafe(_abandon, self._connection, self._serving)

    async def close(self) -> None:
        """Ends the stream; the function is told that nobody reads any more. More than once is
        fine.
        """
        self._items.clear()
        self._messages = None
        connection, self._connection = self._connection, None
        serving, self._serving = self._serving, None
        if connection is not None and serving is not None:
            try:
                await connection.close()
            finally:
                connection.abort()
                serving.cancel()
            await asyncio.wait({serving})

    async def _start(self) -> None:
        if self._connection is None and self._messages is not None:
            messages, self._messages = self._messages, None
            self._timeout = self._timeout_from_now()
            self._connection = await self._begin(self._timeout)
            # No reference to this object: what nobody reads must end.
            serving = _serve(self._connection, messages)
            self._serving = asyncio.create_task(serving, name="dcf-stream")

    async def _next(self) -> Item:
        await self._start()
        if self._connection is None:
            raise StopAsyncIteration
        try:
            self._items.extend(await self._connection.receive(self._timeout))
            if not self._items:
                raise StopAsyncIteration  # noqa: TRY301  all has come
        except BaseException:
            await self.close()
            raise
        return self._items.popleft()


def _abandon(connection: AsyncWebSocket, serving: asyncio.Task[None]) -> None:
    serving.cancel()
    connection.abort()


async def _serve(
    connection: AsyncWebSocket, messages: Iterable[Part] | AsyncIterable[Part]
) -> None:
    """Sends the messages, and stays as long as the connection.

    So a loop that ends, which cancels its tasks, ends connections that nobody has closed.
    """
    try:
        if await _send(connection, messages):
            connection.end()
        await connection.wait_closed()
    except asyncio.CancelledError:
        # Not this one, which holds on to the messages by its traceback.
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
        # An iterable that is not awaited gives the loop no turn by itself.
        await asyncio.sleep(0)
    return True


def _batches(messages: Iterable[Part]) -> Iterator[list[Message]]:
    """Messages that are there already several at a time, others one by one."""
    are_here = isinstance(messages, Sequence)
    batch: list[Message] = []
    size = 0
    for message in messages:
        batch.append(message_of(message))
        size += len(batch[-1])
        if not are_here or len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
