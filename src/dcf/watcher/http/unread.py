"""Limits unread replies: each in time, and all of them together in bytes.

The watcher writes a whole reply at once, and then the call is over. The bytes that the client has
not read wait in the connection. Replies in chunks are limited by their buffer and by
``idle_timeout``.
"""

from __future__ import annotations

import asyncio

MOST = 1024**3
"""Maximum bytes of unread replies, as much as the largest body. Beyond it, the replica disconnects
the client that has been behind for the longest time."""


class Unread:
    """The connections whose clients are behind. All methods run on the server's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float, most: int = MOST) -> None:
        """Create an empty set of connections.

        Args:
            loop: The server's loop.
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
            self._timer = self._loop.call_later(self._patience, self._check)

    def discard(self, transport: asyncio.Transport) -> None:
        """Stop watching a connection: its client has caught up or disconnected."""
        self._left.pop(transport, None)

    def _make_room(self) -> None:
        sizes = {transport: transport.get_write_buffer_size() for transport in self._left}
        total = sum(sizes.values())
        for transport, size in list(sizes.items())[:-1]:
            if total <= self._most:
                return
            total -= size
            self._disconnect(transport)

    def _check(self) -> None:
        self._timer = None
        for transport, before in list(self._left.items()):
            size = transport.get_write_buffer_size()
            if size >= before:
                self._disconnect(transport)
            else:
                self._left[transport] = size
        if self._left:
            self._timer = self._loop.call_later(self._patience, self._check)

    def _disconnect(self, transport: asyncio.Transport) -> None:
        self.discard(transport)
        transport.abort()
