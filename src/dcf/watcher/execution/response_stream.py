"""Passes the chunks of a streamed reply from the handler's thread to the server's loop.

It is bounded: a handler that is faster than its reader must wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

AHEAD = 1024 * 1024
"""Bytes that one side may be ahead of the other. 1 MiB is a dozen camera frames, and small compared
to the memory of a model."""
OVERHEAD = 64
"""Bytes that each chunk counts in addition to its content, so that empty chunks are limited too."""
PIECE = 256 * 1024
"""Once this many bytes are taken out at once, the rest stays here, where it counts as not read."""


class ResponseStream:
    """The chunks, with one writer in another thread and one reader on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        # Each counter is written by one side only, so neither needs a lock.
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
        """Add a chunk. Called by the writer.

        Returns:
            Whether there is room for more; if not, call :meth:`notify_room`.
        """
        if not self._abandoned:
            self._chunks.append(chunk)
            self._came += len(chunk) + OVERHEAD
        self._wake()
        return self._has_room

    def notify_room(self, notify: Callable[[], object]) -> bool:
        """Call ``notify`` from the loop once there is room. Called by the writer.

        Returns:
            False if there is room already. Then ``notify`` is not called.
        """
        with self._lock:
            if self._abandoned or self._has_room:
                return False
            self._when_room = notify
            return True

    def finish(self, error: BaseException | None = None) -> None:
        """Mark the end of the reply. Called by the writer.

        Args:
            error: Why the handler failed; None if it did not.
        """
        self._error = error
        self._finished = True
        self._wake()

    @property
    def abandoned(self) -> bool:
        """Whether the rest of the reply will not be read."""
        return self._abandoned

    def abandon(self) -> None:
        """Discard the chunks: the rest will not be read. Called on the loop."""
        self._abandoned = True
        self._chunks.clear()
        self._arrived.set()
        self._notify()

    def hold(self, *, held: bool) -> None:
        """Make :meth:`get` wait, or stop that: the reader is slow. Called on the loop."""
        self._held = held
        if not held:
            self._arrived.set()

    async def get(self) -> bytes | None:
        """Return the available chunks as one; None after the last. Called on the loop.

        Raises:
            Exception: The handler's error, after the chunks before it.
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
                if self._chunks:  # only empty chunks were taken
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
        # Without the lock, a writer that has just found no room could register too late.
        with self._lock:
            if self._when_room is None or not (self._abandoned or self._has_room):
                return
            notify, self._when_room = self._when_room, None
        notify()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._arrived.set)
