"""Passes lines of one writer to many readers, with a limit on what is queued for a slow reader."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from dcf.errors import ObserverTooSlow

WAITING_LIMIT = 4 * 1024 * 1024
"""Maximum bytes queued for a reader. 4 MiB: tens of thousands of lines, more than collect during
any pause of a healthy reader."""


class Subscription:
    """The queue of one reader."""

    def __init__(self, limit: int) -> None:
        """Create an empty queue.

        Args:
            limit: Maximum bytes queued.
        """
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._has_ended = False
        self._is_dropped = False
        self._changed = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Queue a line; drop the reader if that exceeds the limit."""
        if self._is_dropped:
            return
        self._size += len(line)
        if self._size > self._limit:
            self._is_dropped = True
            self._waiting.clear()
        else:
            self._waiting.append(line)
        self._changed.set()

    def end(self) -> None:
        """End the stream after the queued lines."""
        self._has_ended = True
        self._changed.set()

    async def take(self) -> bytes:
        """Wait for a line and return all queued lines; b"" at the end.

        Raises:
            ObserverTooSlow: If the reader was dropped.
        """
        while not self._waiting and not self._is_dropped and not self._has_ended:
            self._changed.clear()
            await self._changed.wait()
        if self._is_dropped:
            raise ObserverTooSlow(
                f"expected at most {self._limit} unread bytes, got more; read faster"
            )
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return data


class Broadcast:
    """The readers of one writer."""

    def __init__(self, limit: int = WAITING_LIMIT) -> None:
        """Create a broadcast without readers.

        Args:
            limit: Maximum bytes queued for each reader.
        """
        self._limit = limit
        self._readers: set[Subscription] = set()

    @property
    def has_readers(self) -> bool:
        """Whether there are readers."""
        return bool(self._readers)

    def publish(self, line: bytes) -> None:
        """Queue a line for every reader, without waiting."""
        for reader in self._readers:
            reader.put(line)

    def end(self) -> None:
        """End the streams of all readers."""
        for reader in self._readers:
            reader.end()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Read from now on, during the block."""
        reader = Subscription(self._limit)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
