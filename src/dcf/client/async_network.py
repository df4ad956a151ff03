"""The network of the async client: asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from dcf.client.address import Address
from dcf.client.http11 import CHUNK
from dcf.client.network import tls_context
from dcf.client.timeout import Timeout

Result = TypeVar("Result")


class AsyncioStream:
    """One connection over asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes, timeout: Timeout) -> None:
        """Send all bytes."""
        async with asyncio.timeout(timeout.left()):
            self._writer.write(data)
            await self._writer.drain()

    async def receive(self, timeout: Timeout) -> bytes:
        """Return the bytes that arrive next; b"" when the other side has closed."""
        async with asyncio.timeout(timeout.left()):
            return await self._reader.read(CHUNK)

    def is_readable(self) -> bool:
        """Return whether the other side has closed. Data is left to the reading task."""
        return self._writer.is_closing() or self._reader.at_eof()

    def close(self) -> None:
        """Close the connection at once. Unsent bytes are lost."""
        self._writer.transport.abort()


class AsyncNetwork:
    """The network of one event loop. See :class:`~dcf.client.network.Network`."""

    async def connect(self, address: Address, seconds: float) -> AsyncioStream:
        """Connect, with TLS if the address says so."""
        async with asyncio.timeout(seconds):
            if address.socket:
                streams = await asyncio.open_unix_connection(address.socket, limit=CHUNK)
            else:
                streams = await asyncio.open_connection(
                    address.host, address.port, ssl=tls_context(address), limit=CHUNK
                )
        return AsyncioStream(*streams)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def overlap(
        self,
        send: Callable[[], Coroutine[Any, Any, None]],
        receive: Callable[[], Coroutine[Any, Any, Result]],
    ) -> Result:
        """Send and receive at the same time. A reply that comes early ends the sending."""
        sending = asyncio.create_task(send())
        receiving = asyncio.create_task(receive())
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not isinstance(sending.exception(), ConnectionError):
                sending.result()
            return await receiving
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def after(
        self,
        seconds: float,
        poll: Callable[[], Awaitable[Result]],
        notify: Callable[[Result], object],
    ) -> AsyncIterator[None]:
        """Call ``notify``, on the event loop, if the block takes longer than ``seconds``."""

        async def watch() -> None:
            await asyncio.sleep(seconds)
            notify(await poll())

        task = asyncio.get_running_loop().create_task(watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()
