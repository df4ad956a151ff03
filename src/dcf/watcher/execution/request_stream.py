"""Passes the messages of a stream from the server's loop to the handler.

It is bounded, as :mod:`dcf.watcher.execution.response_stream` is: a client that is faster than the
handler must wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Self

from dcf.function.messages import Messages
from dcf.watcher.execution.response_stream import AHEAD, OVERHEAD

ENOUGH = AHEAD // 2
"""Reading from the client resumes when no more than this many bytes are left."""


class RequestStream(Messages):
    """The messages, with one writer on the loop and one reader in another thread or loop.

    When the stream is abandoned, the loop over it raises GeneratorExit in a plain handler, as if
    its generator were closed, and CancelledError in an async handler. ``except Exception`` catches
    neither, and ``finally`` runs at once.
    """

    __slots__ = ("_abandoned", "_async_bell", "_bell", "_came", "_ended", "_full", "_loop",
                 "_messages", "_on_room", "_on_wait", "_on_work", "_ring", "_rung",
                 "_taken")  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_room: Callable[[], object],
        on_wait: Callable[[], object],
        on_work: Callable[[], object],
    ) -> None:
        """Create an empty stream.

        Args:
            loop: The server's loop.
            on_room: Called on the loop when there is room again after :meth:`put` found none.
            on_wait: Called by the reader when it begins to wait for a message.
            on_work: Called by the reader when it has a message, or its wait was interrupted.
        """
        super().__init__()
        self._loop = loop
        self._on_room = on_room
        self._on_wait = on_wait
        self._on_work = on_work
        self._messages: deque[bytes] = deque()
        # Each counter is written by one side only, so neither needs a lock.
        self._came = 0
        self._taken = 0
        self._full = False
        self._ended = False
        self._abandoned = False
        self._rung = True
        self._ring: Callable[[], object] | None = None
        self._bell: threading.Event | None = None
        self._async_bell: asyncio.Event | None = None

    # For the server's loop

    def put(self, messages: Collection[bytes]) -> bool:
        """Add messages.

        Returns:
            Whether there is room for more; if not, ``on_room`` is called once there is.
        """
        if self._abandoned:
            return True
        self._messages.extend(messages)
        self._came += sum(map(len, messages)) + OVERHEAD * len(messages)
        self._wake()
        if self._came - self._taken > AHEAD:
            self._full = True
            # Check again, for a reader that read the flag before it was set.
            if self._came - self._taken > ENOUGH:
                return False
            self._full = False
        return True

    def end(self) -> None:
        """Mark the end: no message follows."""
        self._ended = True
        self._wake()

    def abandon(self) -> None:
        """Discard all messages and end the reader's loop."""
        if not self._abandoned:
            self._abandoned = True
            self._messages.clear()
            self._wake()
            self._on_room()

    def _wake(self) -> None:
        if not self._rung and self._ring is not None:
            self._rung = True
            self._ring()

    # For the handler

    def __iter__(self) -> Self:
        if _inside_a_loop():
            raise TypeError("an async handler must iterate over req.stream with `async for`")
        return self

    def __next__(self) -> bytes:
        while True:
            if self._messages and (message := self._take()) is not None:
                return message
            if self._abandoned:
                raise GeneratorExit
            if self._is_through():
                raise StopIteration
            self._wait()

    async def __anext__(self) -> bytes:
        while True:
            if self._messages and (message := self._take()) is not None:
                return message
            if self._abandoned:
                raise asyncio.CancelledError
            if self._is_through():
                raise StopAsyncIteration
            await self._wait_async()

    def _take(self) -> bytes | None:
        try:
            message = self._messages.popleft()
        except IndexError:  # abandoned in between
            return None
        self._taken += len(message) + OVERHEAD
        if self._full and self._came - self._taken <= ENOUGH:
            self._full = False
            self._loop.call_soon_threadsafe(self._on_room)
        self._on_work()
        return message

    def _is_through(self) -> bool:
        # Read the flag first: messages that came before the end are visible once the flag is.
        return self._ended and not self._messages

    @property
    def _quiet(self) -> bool:
        return not (self._messages or self._ended or self._abandoned)

    def _wait(self) -> None:
        if self._bell is None:
            self._bell = threading.Event()
            self._ring = self._bell.set
        self._bell.clear()
        self._rung = False
        if self._quiet:
            self._on_wait()
            self._bell.wait()
            self._on_work()

    async def _wait_async(self) -> None:
        if self._async_bell is None:
            own, bell = asyncio.get_running_loop(), asyncio.Event()
            self._async_bell = bell
            self._ring = lambda: own.call_soon_threadsafe(bell.set)
        self._async_bell.clear()
        self._rung = False
        if self._quiet:
            self._on_wait()
            try:
                await self._async_bell.wait()
            finally:
                self._on_work()


def _inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
