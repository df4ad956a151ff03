"""One writer, many readers at their own pace, and a bound on what waits for a slow one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from dcf.errors import ObserverTooSlow

WAITING_LIMIT = 4 * 1024 * 1024
"""Bytes that may wait for one reader. 4 MiB: tens of thousands of lines, more than any pause of a
reader that is well."""


class Subscription:
    """What waits for one reader."""

    def __init__(self, limit: int) -> None:
        """Starts empty.

        Args:
            limit: Bytes that may wait.
        """
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._over = False
        self._dropped = False
        self._news = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Adds a line, or drops the reader if that is more than may wait."""
        if self._dropped:
            return
        self._size += len(line)
        if self._size > self._limit:
            self._dropped = True
            self._waiting.clear()
        else:
            self._waiting.append(line)
        self._news.set()

    def end(self) -> None:
        """No more will come."""
        self._over = True
        self._news.set()

    async def take(self) -> bytes:
        """All that waits, at least a line; b"" at the end.

        Raises:
            ObserverTooSlow: When the reader was dropped.
        """
        while not self._waiting and not self._dropped and not self._over:
            self._news.clear()
            await self._news.wait()
        if self._dropped:
            raise ObserverTooSlow(f"more than {self._limit} bytes waited to be read")
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return data


class Broadcast:
    """The readers of one writer."""

    def __init__(self, limit: int = WAITING_LIMIT) -> None:
        """Starts without readers.

        Args:
            limit: Bytes that may wait for each reader.
        """
        self._limit = limit
        self._readers: set[Subscription] = set()

    @property
    def heard(self) -> bool:
        """Whether there is a reader."""
        return bool(self._readers)

    def tell(self, line: bytes) -> None:
        """Passes a line to every reader; never waits."""
        for reader in self._readers:
            reader.put(line)

    def end(self) -> None:
        """Tells every reader that no more will come."""
        for reader in self._readers:
            reader.end()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Reads from now on, for as long as the context is open."""
        reader = Subscription(self._limit)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
