"""The WebSocket to a function of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from dcf.client.address import Address
from dcf.client.stream_connection import StreamConnection
from dcf.client.stream_exchange import Item
from dcf.errors import DcfError
from dcf.protocol import http

BACKLOG = 256 * 1024
"""Maximum bytes of messages queued for a function. Above it the client is not read."""

ROUND_MESSAGE = 64
"""Bytes that a message counts for in addition to its content."""

Headers = Sequence[tuple[str, str]]


class Owner(Protocol):
    """The call that a link is part of."""

    async def reply(self, items: Sequence[Item]) -> None:
        """Forward replies; return when the client accepts more."""

    def unblocked(self) -> None:
        """Handle a queue of messages that has become shorter."""

    def ended(self, link: Link) -> None:
        """Handle the end of the function's replies."""

    def failed(self, error: DcfError) -> None:
        """Handle a stream that could not be opened, or broke."""


class Link:
    """The WebSocket to a function, from its opening to its end.

    Messages that are put before it is open are queued.
    """

    def __init__(self, owner: Owner, name: str, most: int) -> None:
        """Create a link, without connecting.

        Args:
            owner: Receives replies and events.
            name: The function's name.
            most: Maximum bytes of a reply.
        """
        self.name = name
        self._owner = owner
        self._most = most
        self._waiting: list[bytes] = []
        self._size = 0
        self._has_ended = False
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether more than ``BACKLOG`` bytes are queued."""
        return self._size > BACKLOG

    def put(self, message: bytes) -> None:
        """Queue a message."""
        self._waiting.append(message)
        self._size += len(message) + ROUND_MESSAGE
        self._changed.set()

    def end(self) -> None:
        """End the messages to the function after those in the queue."""
        self._has_ended = True
        self._changed.set()

    async def run(self, address: Address, headers: Headers) -> None:
        """Connect, and forward messages in both directions until the function has ended.

        Args:
            address: The gateway's address for calls without a key.
            headers: The headers that the function receives.
        """
        try:
            target = f"{http.FUNCTION_PREFIX}{self.name}"
            stream = await StreamConnection.open(address, target, headers, most=self._most)
            try:
                await self._forward(stream)
                self._owner.ended(self)
                await stream.close()
            finally:
                stream.abort()
        except DcfError as error:
            self._owner.failed(error)

    async def _forward(self, stream: StreamConnection) -> None:
        sending = asyncio.create_task(self._send(stream))
        try:
            while items := await stream.receive():
                await self._owner.reply(items)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, stream: StreamConnection) -> None:
        while True:
            while not self._waiting:
                if self._has_ended:
                    stream.end()
                    return
                self._changed.clear()
                await self._changed.wait()
            batch, self._waiting = self._waiting, []
            size = self._size
            await stream.send(batch)
            self._size -= size
            self._owner.unblocked()
