"""Limits unread replies: each one in time, and all of them together in bytes.

The watcher writes a whole reply at once, and its call is over. What the client has not read yet
waits in the connection. Replies in chunks are limited by their pipe and by ``idle_timeout``.
"""

from __future__ import annotations

import asyncio

MOST = 1024**3
"""Bytes of unread replies that a replica keeps: as much as the largest body. Above it, the client
that has been behind for the longest time is disconnected."""


class Unread:
    """The connections whose clients are behind. On the server's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float, most: int = MOST) -> None:
        """Create an empty set of connections.

        Args:
            loop: The server's.
            patience: A client that reads nothing is disconnected after once to twice this many
                seconds.
            most: Maximum number of unread bytes in all.
        """
        self._loop = loop
        self._patience = patience
        self._most = most
        self._left: dict[asyncio.Transport, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, transport: asyncio.Transport) -> None:
        """Watch a connection whose client is behind."""
        self._left[transport] = transport.get_write_buffer_size()
        if len(self._left) > 1:
            self._make_room()
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._look)

    def discard(self, transport: asyncio.Transport) -> None:
        """Stop watching a connection: its client has caught up or disconnected."""
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
