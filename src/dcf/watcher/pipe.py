"""The chunks of a streamed reply, on their way from the handler's thread to the server's loop.

Bounded: a handler that is faster than its reader waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

AHEAD = 1024 * 1024
"""Bytes that a handler may be ahead of its reader. 1 MiB: a dozen camera frames, and far below what
a model holds anyway."""


class ChunkPipe:
    """One writer in another thread, one reader on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()
        self._woken = False
        self._finished = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._when_room: Callable[[], object] | None = None

    def put(self, chunk: bytes, when_room: Callable[[], object]) -> bool:
        """Adds a chunk. Called by the writer.

        Args:
            chunk: The bytes.
            when_room: Called once there is room again, from the loop, if there is none now.

        Returns:
            Whether there is room for more; if not, wait for ``when_room``.
        """
        with self._lock:
            if not self._abandoned:
                self._chunks.append(chunk)
                self._size += len(chunk)
            full = self._size > AHEAD
            self._when_room = when_room if full else None
        self._wake()
        return not full

    def finish(self, error: BaseException | None = None) -> None:
        """No chunk comes any more; with ``error``, because the handler failed. For the writer."""
        self._error = error
        self._finished = True
        self._wake()

    @property
    def abandoned(self) -> bool:
        """Whether nobody reads any more."""
        return self._abandoned

    def abandon(self) -> None:
        """Nobody reads any more. For the loop."""
        with self._lock:
            self._abandoned = True
            self._chunks.clear()
            self._size = 0
            notify, self._when_room = self._when_room, None
        self._arrived.set()
        if notify is not None:
            notify()

    async def get(self) -> bytes | None:
        """All chunks that are there, as one; None after the last. For the loop.

        Raises:
            Exception: What the handler failed with, after the chunks before it.
        """
        while True:
            self._arrived.clear()
            self._woken = False
            finished = self._finished
            with self._lock:
                data = b"".join(self._chunks)
                self._chunks.clear()
                self._size = 0
                notify, self._when_room = self._when_room, None
            if notify is not None:
                notify()
            if data:
                return data
            if self._abandoned or finished:
                if self._error is not None and not self._abandoned:
                    raise self._error
                return None
            await self._arrived.wait()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._arrived.set)
