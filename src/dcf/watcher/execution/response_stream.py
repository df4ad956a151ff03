"""The chunks of a streamed reply, on their way from the handler's thread to the server's loop.

Bounded: a handler that is faster than its reader waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

AHEAD = 1024 * 1024
"""Bytes that one side may be ahead of the other. 1 MiB: a dozen camera frames, and far below what a
model holds anyway."""
OVERHEAD = 64
"""Bytes that a chunk counts for beside its own, so that a million empty ones are no empty pipe."""
PIECE = 256 * 1024
"""Bytes from which on what is taken out at once is enough: the rest waits here, where it counts."""


class ResponseStream:
    """One writer in another thread, one reader on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        # Each of the two is changed by one side alone, so that neither needs a lock.
        self._came = 0
        self._taken = 0
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()
        self._woken = False
        self._held = False
        self._finished = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._when_room: Callable[[], object] | None = None

    def put(self, chunk: bytes) -> bool:
        """Adds a chunk. Called by the writer.

        Returns:
            Whether there is room for more; if not, ask :meth:`notify_room`.
        """
        if not self._abandoned:
            self._chunks.append(chunk)
            self._came += len(chunk) + OVERHEAD
        self._wake()
        return self._has_room

    def notify_room(self, notify: Callable[[], object]) -> bool:
        """Has ``notify`` called from the loop once there is room. Called by the writer.

        Returns:
            False when there is room already; then ``notify`` is not called.
        """
        with self._lock:
            if self._abandoned or self._has_room:
                return False
            self._when_room = notify
            return True

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
        self._abandoned = True
        self._chunks.clear()
        self._arrived.set()
        self._notify()

    def hold(self, *, held: bool) -> None:
        """Whether :meth:`get` waits although there are chunks: the reader is slow. For the loop."""
        self._held = held
        if not held:
            self._arrived.set()

    async def get(self) -> bytes | None:
        """The chunks that are there, as one; None after the last. For the loop.

        Raises:
            Exception: What the handler failed with, after the chunks before it.
        """
        while True:
            self._arrived.clear()
            self._woken = False
            finished = self._finished
            if self._abandoned:
                return None
            if not self._held:
                data = self._take()
                if data:
                    return data
                if finished and not self._chunks:
                    if self._error is not None:
                        raise self._error
                    return None
                if self._chunks:  # empty ones went before
                    continue
            await self._arrived.wait()

    @property
    def _has_room(self) -> bool:
        return self._came - self._taken <= AHEAD

    def _take(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        chunks = self._chunks
        while chunks and size < PIECE:
            chunk = chunks.popleft()
            size += len(chunk) + OVERHEAD
            parts.append(chunk)
        self._taken += size
        self._notify()
        return b"".join(parts)

    def _notify(self) -> None:
        # The lock, or a writer that has just found no room could leave its call when it is late.
        with self._lock:
            if self._when_room is None or not (self._abandoned or self._has_room):
                return
            notify, self._when_room = self._when_room, None
        notify()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._arrived.set)
