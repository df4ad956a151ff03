"""One function in a call: the WebSocket to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from dcf.client.address import Address
from dcf.client.async_websocket import AsyncWebSocket
from dcf.client.ws_protocol import Item
from dcf.errors import DcfError
from dcf.protocol import http

BACKLOG = 256 * 1024
"""Bytes of messages for one function that may wait; with more, the client is not read from."""

ROUND_MESSAGE = 64
"""Bytes that a message counts for beside its own."""

Headers = Sequence[tuple[str, str]]


class Owner(Protocol):
    """The call that a link is part of."""

    async def reply(self, items: Sequence[Item]) -> None:
        """Passes replies on; returns when there is room for more."""

    def eased(self) -> None:
        """There is room for messages again."""

    def ended(self, link: Link) -> None:
        """The function has sent all that it has to say."""

    def failed(self, error: DcfError) -> None:
        """There is no stream, or none any more."""


class Link:
    """The WebSocket to one function, from its opening to its end.

    What is put here before it is open waits.
    """

    def __init__(self, owner: Owner, name: str, most: int) -> None:
        """Nothing is connected yet.

        Args:
            owner: Is told what comes.
            name: The function's.
            most: Bytes that a reply may have.
        """
        self.name = name
        self._owner = owner
        self._most = most
        self._waiting: list[bytes] = []
        self._size = 0
        self._has_ended = False
        self._news = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether more waits to be sent than should."""
        return self._size > BACKLOG

    def put(self, message: bytes) -> None:
        """Sends a message, as soon as there is room."""
        self._waiting.append(message)
        self._size += len(message) + ROUND_MESSAGE
        self._news.set()

    def end(self) -> None:
        """No message comes any more."""
        self._has_ended = True
        self._news.set()

    async def run(self, address: Address, headers: Headers) -> None:
        """Connects, and passes messages on both ways until the function has ended.

        Args:
            address: Where the gateway is called without a key.
            headers: What the function sees of the call.
        """
        try:
            target = f"{http.FUNCTION_PREFIX}{self.name}"
            stream = await AsyncWebSocket.open(address, target, headers, max_message=self._most)
            try:
                await self._pass_on(stream)
                self._owner.ended(self)
                await stream.close()
            finally:
                stream.abort()
        except DcfError as error:
            self._owner.failed(error)

    async def _pass_on(self, stream: AsyncWebSocket) -> None:
        sending = asyncio.create_task(self._send(stream))
        try:
            while items := await stream.receive():
                await self._owner.reply(items)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, stream: AsyncWebSocket) -> None:
        while True:
            while not self._waiting:
                if self._has_ended:
                    stream.end()
                    return
                self._news.clear()
                await self._news.wait()
            batch, self._waiting = self._waiting, []
            size = self._size
            await stream.send(batch)
            self._size -= size
            self._owner.eased()
