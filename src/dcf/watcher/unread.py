"""Replies that are not read: bounded in time, and in bytes for all of them together.

A whole reply is written at once, and its call is over: what its client has not read yet waits in
the connection. Replies in chunks are bounded by their pipe and by ``idle_timeout``.
"""

from __future__ import annotations

import asyncio

MOST = 1024**3
"""Bytes of unread replies that a replica keeps: as much as the largest body. Beyond it the client
that has been behind for longest is disconnected."""


class Unread:
    """The connections whose clients are behind. On the server's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float, most: int = MOST) -> None:
        """Nobody is behind.

        Args:
            loop: The server's.
            patience: Seconds after which a client that has read nothing is disconnected; up to
                twice as many.
            most: Bytes that may wait in all.
        """
        self._loop = loop
        self._patience = patience
        self._most = most
        self._left: dict[asyncio.Transport, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, transport: asyncio.Transport) -> None:
        """Look after a connection on which more waits than should."""
        self._left[transport] = transport.get_write_buffer_size()
        if len(self._left) > 1:
            self._make_room()
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._look)

    def discard(self, transport: asyncio.Transport) -> None:
        """Its client has read, or is gone."""
        self._left.pop(transport, None)

    def _make_room(self) -> None:
        sizes = {one: one.get_write_buffer_size() for one in self._left}
        total = sum(sizes.values())
        for transport, size in list(sizes.items())[:-1]:
            if total <= self._most:
                return
            total -= size
            self._end(transport)

    def _look(self) -> None:
        self._timer = None
        for transport, before in list(self._left.items()):
            size = transport.get_write_buffer_size()
            if size >= before:
                self._end(transport)
            else:
                self._left[transport] = size
        if self._left:
            self._timer = self._loop.call_later(self._patience, self._look)

    def _end(self, transport: asyncio.Transport) -> None:
        self.discard(transport)
        transport.abort()
