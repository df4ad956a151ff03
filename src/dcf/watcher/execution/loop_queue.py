"""From any thread to a loop, with one wake-up for many items."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class LoopQueue(Generic[Item]):
    """Items posted by any thread, handled on one loop in the order they came.

    A wake-up costs a system call; under load most items ride on the wake-up of an earlier one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: Callable[[Item], None]) -> None:
        self._loop = loop
        self._handle = handle
        self._items: deque[Item] = deque()
        self._woken = False

    def post(self, item: Item) -> None:
        """Hands ``item`` to the loop. An item for a loop that has ended is dropped."""
        self._items.append(item)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._flush)
            except RuntimeError:
                self._items.clear()

    def take_back(self) -> list[Item]:
        """Take back the items that the loop has not handled, in order. From any thread."""
        items = []
        while self._items:
            try:
                items.append(self._items.popleft())
            except IndexError:  # the loop was faster
                break
        return items

    def _flush(self) -> None:
        # First the flag, then the items: an item posted from here on wakes the loop again.
        self._woken = False
        while self._items:
            try:
                item = self._items.popleft()
            except IndexError:  # taken back just now
                break
            self._handle(item)
