"""Connections to a gateway over asyncio: ``connection.py``, awaited."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Iterable

import h11

from dcf.client.address import Address
from dcf.client.connection import CONNECT_TIMEOUT, slices, unreachable
from dcf.client.http11 import CHUNK, Head, Http11Protocol, Timeout, head_of

Body = bytes | Iterable[bytes] | AsyncIterable[bytes]


class AsyncConnection:
    """One connection.

    Its methods raise OSError when the connection broke, TimeoutError when the time was up.

    Attributes:
        used: Whether a request went over it before.
        sent: Whether the current request was sent whole.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.used = False
        self.sent = False
        self._exchange = Http11Protocol()
        self._reader = reader
        self._writer = writer

    @classmethod
    async def opened(cls, address: Address, timeout: Timeout) -> AsyncConnection:
        """Connects.

        Raises:
            GatewayUnreachable: When nobody answers, or TLS fails.
        """
        try:
            async with asyncio.timeout(min(timeout.left() or CONNECT_TIMEOUT, CONNECT_TIMEOUT)):
                return cls(*await _streams(address))
        except OSError as error:
            raise unreachable(address, error) from error

    @property
    def begun(self) -> bool:
        """Whether a byte of the current reply is here."""
        return self._exchange.begun

    async def ask(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: Body,
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
        if isinstance(body, bytes) and len(body) <= CHUNK:
            await self._send_whole(head, body, timeout)
            return await self._head(timeout)
        sending = asyncio.create_task(self._send_parts(head, body, timeout))
        reading = asyncio.create_task(self._head(timeout))
        try:
            await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
            broke = sending.done() and isinstance(sending.exception(), ConnectionError)
            if sending.done() and not broke:
                sending.result()
            return await reading
        finally:
            for task in (sending, reading):
                task.cancel()
            await asyncio.gather(sending, reading, return_exceptions=True)

    async def chunk(self, timeout: Timeout) -> bytes:
        """The next part of the reply's body; nothing at its end.

        Raises:
            AnswerInvalid: When the reply is no HTTP.
        """
        event = await self._event(timeout)
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def renew(self) -> bool:
        """Makes ready for another request; returns whether that is possible."""
        self.used = True
        return self._exchange.renew()

    def is_stale(self) -> bool:
        """Whether the other side has closed it."""
        return self._writer.is_closing() or self._reader.at_eof()

    def close(self) -> None:
        """Ends the connection, whatever is still to be sent."""
        self._writer.transport.abort()

    async def _send_whole(self, head: bytes, body: bytes, timeout: Timeout) -> None:
        data = self._exchange.data(body) if body else b""
        await self._write(head + data + self._exchange.end(), timeout)
        self.sent = True

    async def _send_parts(self, head: bytes, body: Body, timeout: Timeout) -> None:
        await self._write(head, timeout)
        if isinstance(body, AsyncIterable):
            async for part in body:
                await self._write(self._exchange.data(part), timeout)
        else:
            for piece in slices(body):
                await self._write(self._exchange.data(piece), timeout)
        await self._write(self._exchange.end(), timeout)
        self.sent = True

    async def _write(self, data: bytes, timeout: Timeout) -> None:
        async with asyncio.timeout(timeout.left()):
            self._writer.write(data)
            await self._writer.drain()

    async def _head(self, timeout: Timeout) -> Head:
        event = await self._event(timeout)
        while not isinstance(event, h11.Response):
            event = await self._event(timeout)
        return head_of(event)

    async def _event(self, timeout: Timeout) -> h11.Response | h11.Data | h11.EndOfMessage:
        while (event := self._exchange.event()) is None:
            async with asyncio.timeout(timeout.left()):
                self._exchange.feed(await self._reader.read(CHUNK))
        return event


async def _streams(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.socket:
        return await asyncio.open_unix_connection(address.socket, limit=CHUNK)
    tls = ssl.create_default_context() if address.tls else None
    return await asyncio.open_connection(address.host, address.port, ssl=tls, limit=CHUNK)
